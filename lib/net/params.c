/* SPDX-License-Identifier: BSD-2-Clause
 * params.c: weights as layers declare them, filled, or shared by `param { name }`. */
#include <string.h>

#include "layers/values.h"
#include "net/net.h"

bool dni_param_trained(const dni_param *param)
{
    return param->wanted && !param->statistic && param->lr_mult != 0;
}

static const Cnn__ParamSpec *spec_of(const dni_layer *layer, int32_t i)
{
    return (size_t)i < layer->param->n_param ? layer->param->param[i] : NULL;
}

static int32_t find_shared(const dn_net *net, const char *name)
{
    int32_t i = dni_index_first(&net->shared, name, strlen(name));
    while (i >= 0 && strcmp(net->params[i]->shared_name, name))
        i = net->shared.links[i].next;
    return i;
}

static dn_status merge_multiplier(const char *what, const char *name, bool given, float value,
                                  bool *has, float *kept)
{
    if (!given)
        return DN_OK;
    if (*has && *kept != value)
        return dni_fail(DN_E_NET,
                        "shared weight '%s' has another %s here than where it is made", name,
                        what);
    *has = true;
    *kept = value;
    return DN_OK;
}

static dn_status share_param(dn_net *net, dni_net_layer *l, int32_t i,
                             const Cnn__ParamSpec *spec, int32_t owner)
{
    dni_param *p = net->params[owner];
    const dni_shape *shape = &l->layer.weight[i].shape;
    bool permissive = spec->share_mode == CNN__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE;
    char here[96], there[96];
    dni_shape_text(shape, here, sizeof here);
    dni_shape_text(&p->blob.shape, there, sizeof there);
    if (permissive && dni_shape_count(shape) != dni_shape_count(&p->blob.shape))
        return dni_fail(DN_E_SHAPE,
                        "shared weight '%s' is %s here and %s where it is made; the "
                        "counts differ",
                        spec->name, here, there);
    if (!permissive && !dni_shape_equal(shape, &p->blob.shape))
        return dni_fail(DN_E_SHAPE,
                        "shared weight '%s' is %s here and %s where it is made "
                        "(share_mode: PERMISSIVE would allow equal counts)",
                        spec->name, here, there);
    l->params[i] = owner;
    dn_status st = merge_multiplier("lr_mult", spec->name, spec->has_lr_mult, spec->lr_mult,
                                    &p->has_lr, &p->lr_mult);
    return st ? st
              : merge_multiplier("decay_mult", spec->name, spec->has_decay_mult,
                                 spec->decay_mult, &p->has_decay, &p->decay_mult);
}

static dn_status fill_param(dn_net *net, const dni_net_layer *l, int32_t i, dni_param *p)
{
    const dni_weight *w = &l->layer.weight[i];
    dn_status st =
        dni_store_create(&p->blob.store, net->context, dni_shape_count(&w->shape), net->dtype);
    if (st)
        return st;
    Cnn__FillerParameter constant = CNN__FILLER_PARAMETER__INIT;
    constant.has_value = 1;
    constant.value = (float)w->constant;
    st = dni_fill(w->filler ? w->filler : &constant, &w->shape, net->dtype, p->blob.store->data,
                  net->seed, l->layer.stream + 8 + (uint64_t)i % 8);
    int64_t side = w->diagonal ? w->shape.dim[w->shape.axes - 1] : 0;
    for (int64_t k = 0; !st && k < side; k++)
        dni_put(p->blob.store->data, net->dtype, k * (side + 1), w->diagonal[k]);
    return st;
}

static dn_status add_param(dn_net *net, dni_net_layer *l, int32_t i, const Cnn__ParamSpec *spec)
{
    const dni_weight *w = &l->layer.weight[i];
    dn_status st = dni_shape_check(&w->shape);
    if (!st)
        st = dni_grow(net->heap, &net->params, &net->cap_params, net->num_params + 1,
                      sizeof *net->params);
    if (st)
        return st;
    dni_param *p = dni_alloc(net->heap, 1, sizeof *p);
    if (!p)
        return DN_E_NOMEM;
    l->params[i] = (int32_t)net->num_params;
    net->params[net->num_params++] = p;
    *p = (dni_param){.blob = {.shape = w->shape,
                              .dtype = net->dtype,
                              .net = net,
                              .data = DNI_NONE,
                              .diff = DNI_NONE,
                              .value = -1},
                     .lr_mult = spec ? spec->lr_mult : 1,
                     .decay_mult = spec ? spec->decay_mult : 1,
                     .has_lr = spec && spec->has_lr_mult,
                     .has_decay = spec && spec->has_decay_mult,
                     .statistic = w->statistic,
                     .data = DNI_NONE,
                     .diff = DNI_NONE};
    if (spec && spec->name && *spec->name) {
        p->shared_name = spec->name;
        st = dni_index_add(&net->shared, net->heap, net->num_params - 1, spec->name,
                           strlen(spec->name));
        if (st)
            return st;
    }
    p->blob.name = dni_format(net->heap, "%s/%d", l->layer.name, i);
    if (!p->blob.name)
        return DN_E_NOMEM;
    return dni_filler_check(w->filler);
}

dn_status dni_net_declare_params(dn_net *net, dni_net_layer *l)
{
    if (l->layer.param->n_param > (size_t)l->layer.num_weights && l->layer.num_weights)
        dni_log(net->context, DN_LOG_NOTICE,
                "layer '%s': %zu param entries for %d weights; the "
                "last are not used",
                l->layer.name, l->layer.param->n_param, l->layer.num_weights);
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        const Cnn__ParamSpec *spec = spec_of(&l->layer, i);
        int32_t owner = spec && spec->name && *spec->name ? find_shared(net, spec->name) : -1;
        dn_status st =
            owner >= 0 ? share_param(net, l, i, spec, owner) : add_param(net, l, i, spec);
        if (st)
            return dni_in(st, "weight %d", i);
    }
    return DN_OK;
}

static size_t bytes_of(const dn_net *net, bool gradients)
{
    size_t count = 0;
    for (size_t i = 0; i < net->num_params; i++)
        if (!gradients || net->params[i]->wanted)
            count += (size_t)dni_shape_count(&net->params[i]->blob.shape);
    return count * dni_dtype_size(net->dtype);
}

size_t dni_net_weight_bytes(const dn_net *net)
{
    return bytes_of(net, false);
}

size_t dni_net_gradient_bytes(const dn_net *net)
{
    return bytes_of(net, true);
}

dn_status dni_net_fill_params(dn_net *net)
{
    size_t bytes = dni_net_weight_bytes(net), limit = net->memory_limit;
    if (limit && bytes > limit)
        return dni_fail(DN_E_LIMIT, "the weights need %zu bytes; memory_limit is %zu", bytes,
                        limit);
    for (size_t k = 0; k < net->num_layers; k++) {
        const dni_net_layer *l = &net->layers[k];
        for (int32_t i = 0; i < l->layer.num_weights; i++) {
            dni_param *p = net->params[l->params[i]];
            dn_status st = p->blob.store ? DN_OK : fill_param(net, l, i, p);
            if (st)
                return dni_in_layer(net, l, dni_in(st, "weight %d", i));
        }
    }
    return DN_OK;
}
