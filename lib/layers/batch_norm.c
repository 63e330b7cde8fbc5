/* SPDX-License-Identifier: BSD-2-Clause
 * BatchNorm: y = (x - mean) / sqrt(var + eps), mean and variance per channel over all the
 * rest. batch_norm_param: use_global_stats (in TEST), moving_average_fraction (0.999), eps
 * (1e-5). Of the forks: scale_bias (false; also set by scale_filler, filler, bias_filler or
 * use_weight_bias): y = scale * that + bias, with scale_filler | filler (constant 1),
 * bias_filler (constant 0). bottom: (N, C, ...), or (N) as one channel; top: the same; in
 * place allowed. weights, kept but not trained: running sums of mean (C) and variance (C),
 * and their factor (1): with use_global_stats both are divided by it; otherwise each forward
 * ages and adds to all three. With scale_bias two more, trained: scale (C), bias (C).
 * Gradient: dx = (dy - mean(dy) - y mean(dy y)) / sqrt(var + eps); with use_global_stats
 * without the means; behind a scale, of scale dy and the y before it. */
#include "deepnet/net.h"
#include "layers/layer.h"

typedef struct norm_state {
    dn_args_batch_norm args;
    bool scaled;           /* scale_bias */
    dni_tensor y, inv_std; /* for the gradient, while lowering; y before the scale */
} norm_state;

static bool is_scaled(const Cnn__BatchNormParameter *p)
{
    return p->scale_bias || p->scale_filler || p->filler || p->bias_filler ||
           (p->has_use_weight_bias && p->use_weight_bias);
}

static dn_status declare_scale(dni_layer *layer, const dni_shape *shape)
{
    const Cnn__BatchNormParameter *p = layer->own;
    dn_status st =
        dni_declare_weight(layer, shape, p->scale_filler ? p->scale_filler : p->filler);
    if (st)
        return st;
    layer->weight[3].constant = 1;
    return dni_declare_weight(layer, shape, p->bias_filler);
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__BatchNormParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    norm_state *s = layer->state;
    DNI_REQUIRE(!p->disable_mean && !p->disable_variance, DN_E_UNSUPPORTED,
                "disable_mean and disable_variance are not supported");
    DNI_REQUIRE(
        !p->relu && !p->fused_relu, DN_E_UNSUPPORTED,
        "a fused ReLU is not supported: a ReLU layer after this one has the same effect");
    DNI_REQUIRE(x->axes >= 1, DN_E_SHAPE, "bottom has no axes");
    s->scaled = is_scaled(p);
    dni_shape channels = dni_shape_of(1, (int64_t[]){x->axes > 1 ? x->dim[1] : 1});
    dni_shape one = dni_shape_of(1, (int64_t[]){1});
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < 3; i++) {
        st = dni_declare_weight(layer, i < 2 ? &channels : &one, NULL);
        layer->weight[i].statistic = true;
    }
    return st || !s->scaled ? st : declare_scale(layer, &channels);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__BatchNormParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    norm_state *s = layer->state;
    DNI_REQUIRE(x->axes >= 1, DN_E_SHAPE, "bottom has no axes");
    s->args = (dn_args_batch_norm){.outer = x->dim[0],
                                   .dim = x->axes > 1 ? x->dim[1] : 1,
                                   .inner = dni_shape_range(x, 2, x->axes),
                                   .eps = p->eps,
                                   .fraction = p->moving_average_fraction};
    s->args.use_global =
        p->has_use_global_stats ? p->use_global_stats : layer->phase == DN_PHASE_TEST;
    DNI_REQUIRE(s->args.dim == layer->weight[0].shape.dim[0], DN_E_SHAPE,
                "bottom has %lld channels, the statistics were made for %lld",
                (long long)s->args.dim, (long long)layer->weight[0].shape.dim[0]);
    return dni_shape_like_bottom(layer);
}

/* Does a layer in place come after this one, so that y will be gone when backward needs it? */
static bool is_overwritten(const dni_builder *b, dni_tensor y)
{
    const dni_program *p = b->program;
    for (size_t t = (size_t)y + 1; t < p->num_tensors; t++)
        if (p->tensors[t].role == p->tensors[y].role && dni_same(b, (dni_tensor)t, y))
            return true;
    return false;
}

/* Is the normalised value needed later, and y not the place where it will still be? */
static bool needs_own_place(const dni_layer *layer, const dni_builder *b)
{
    const norm_state *s = layer->state;
    if (s->scaled)
        return layer->propagate[0] || layer->weight_wanted[3];
    return layer->propagate[0] && !s->args.use_global && is_overwritten(b, b->y[0]);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    norm_state *s = layer->state;
    dn_args_bcast scale = {.op = DN_BCAST_MULADD,
                           .outer = s->args.outer,
                           .dim = s->args.dim,
                           .inner = s->args.inner};
    dni_tensor mean = dni_temp(b, b->dtype, 1, &s->args.dim);
    s->inv_std = dni_temp(b, b->dtype, 1, &s->args.dim);
    s->y = needs_own_place(layer, b) ? dni_temp_like(b, b->y[0]) : b->y[0];
    dni_emit(b, DN_OP_BATCH_NORM, &s->args, DNI_TENSORS(b->x[0]),
             DNI_TENSORS(s->y, mean, s->inv_std, b->w[0], b->w[1], b->w[2]));
    if (s->scaled)
        dni_emit(b, DN_OP_BCAST, &scale, DNI_TENSORS(s->y, b->w[3], b->w[4]),
                 DNI_TENSORS(b->y[0]));
    else
        dni_emit_copy(b, s->y, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const norm_state *s = layer->state;
    const dn_args_batch_norm *a = &s->args;
    dni_tensor dy = b->dy[0];
    if (s->scaled) {
        dni_emit_reduce_mid(b, a->outer, a->dim, a->inner, 1, dy, s->y, b->dw[3]);
        dni_emit_reduce_mid(b, a->outer, a->dim, a->inner, 1, dy, DNI_NONE, b->dw[4]);
        if (b->dx[0] == DNI_NONE)
            return;
        dy = dni_temp_like(b, b->dy[0]);
        dni_emit_bcast(b, DN_BCAST_MUL, a->outer, a->dim, a->inner, b->dy[0], b->w[3], dy);
    }
    dni_emit(b, DN_OP_BATCH_NORM_BWD, a, DNI_TENSORS(s->y, s->inv_std, dy),
             DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_batch_norm = {
    .type = "BatchNorm",
    .own = DNI_OWN(batch_norm_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(norm_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
