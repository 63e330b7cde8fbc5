/* SPDX-License-Identifier: BSD-2-Clause
 * wire.c: from the graph of names to layers of known classes, with the counts of bottoms and
 * tops that each class asks for. */
#include <stdio.h>
#include <string.h>

#include "net/net.h"

dn_status dni_in_layer(const dn_net *net, const dni_net_layer *layer, dn_status st)
{
    if (!st)
        return st;
    st = dni_in(st, "layer '%s'", layer->layer.name);
    const dn_net *from = net->origin ? net->origin : net;
    return dni_in_location(st, from->file->locations, layer->layer.param);
}

static int32_t tops_needed(const Cnn__LayerParameter *param)
{
    const dni_layer_class *cls = dni_layer_class_find(param->type ? param->type : "", NULL);
    return cls && cls->flags & DNI_LAYER_LOSS ? cls->tops_min : 0;
}

/* NULL as well where a class of the host goes by that type. */
static const dni_layer_class *own_class(const dn_net *net, const Cnn__LayerParameter *param)
{
    const char *type = param->type ? param->type : "";
    for (size_t i = 0; i < net->context->num_layers; i++)
        if (!strcmp(net->context->layers[i].type, type))
            return NULL;
    return dni_layer_class_find(type, NULL);
}

/* Is a top summed up as a loss? */
static bool is_loss(const dni_layer_class *cls, const Cnn__LayerParameter *param)
{
    for (size_t i = 0; i < param->n_loss_weight; i++)
        if (param->loss_weight[i] != 0)
            return true;
    return !param->n_loss_weight && cls && cls->flags & DNI_LAYER_LOSS;
}

/* What classes of the host read is not known; all is theirs to read. A loss is summed up after
 * the run. */
static uint8_t reads(const void *user, const Cnn__LayerParameter *maker)
{
    const dni_layer_class *of = own_class(user, maker);
    if (is_loss(of, maker))
        return DNI_READS_TOP;
    if (of && of->flags & DNI_LAYER_READS_SIGN) {
        bool in_place =
            maker->n_bottom && maker->n_top && !strcmp(maker->bottom[0], maker->top[0]);
        return in_place ? DNI_READS_SIGN : 0;
    }
    return !of || of->flags & DNI_LAYER_READS_TOP ? DNI_READS_TOP : 0;
}

static uint8_t spoils(const void *user, const Cnn__LayerParameter *next)
{
    const dni_layer_class *cls = own_class(user, next);
    if (!cls || !(cls->flags & DNI_LAYER_INPLACE))
        return 0; /* refused */
    return DNI_READS_TOP | (cls->flags & DNI_LAYER_KEEPS_SIGN ? 0 : DNI_READS_SIGN);
}

static bool is_known(const dni_layer *like, const Cnn__LayerParameter *param)
{
    dni_layer layer = *like; /* what a host's class may look at before it takes a layer */
    layer.param = param;
    layer.name = param->name ? param->name : "";
    return dni_layer_class_find(param->type, NULL) || dni_host_class_find(&layer, param->type);
}

/* The other types after a layer that are unknown, once each, and where: one look at a net
 * says all that it lacks. */
static void list_others(const dn_net *net, const dni_layer *layer, char *text, size_t size)
{
    size_t index = (size_t)layer->index;
    const dni_locations *locations = (net->origin ? net->origin : net)->file->locations;
    size_t used = 0;
    text[0] = 0;
    for (size_t i = index + 1; i < net->graph.num_nodes && used + 80 < size; i++) {
        const Cnn__LayerParameter *param = net->graph.nodes[i].param;
        int32_t line, column;
        bool seen = !param->type || is_known(layer, param);
        for (size_t k = index; !seen && k < i; k++) {
            const char *other = net->graph.nodes[k].param->type;
            seen = other && !strcmp(other, param->type);
        }
        if (seen || !dni_locations_find(locations, param, &line, &column))
            continue;
        const char *before = used ? ", " : "; so are ";
        used += (size_t)snprintf(text + used, size - used, "%s'%.40s' (%d:%d)", before,
                                 param->type, (int)line, (int)column);
    }
}

static dn_status find_class(const dn_net *net, dni_net_layer *l, const char *type,
                            const dni_layer_class **out)
{
    char others[320];
    const char *near = NULL;
    if (!type || !*type)
        return dni_fail(DN_E_NET, "the layer has no type");
    const dn_layer_class *given = dni_host_class_find(&l->layer, type);
    if (given) {
        l->host_class = dni_alloc(net->heap, 1, sizeof *l->host_class);
        if (!l->host_class)
            return DN_E_NOMEM;
        dni_host_class_make(l->host_class, given);
        *out = &l->host_class->cls;
        return DN_OK;
    }
    *out = dni_layer_class_find(type, &near);
    if (*out)
        return DN_OK;
    list_others(net, &l->layer, others, sizeof others);
    if (near)
        return dni_fail(DN_E_UNSUPPORTED, "unknown layer type '%s'; did you mean '%s'?%s", type,
                        near, others);
    return dni_fail(DN_E_UNSUPPORTED, "unknown layer type '%s'%s", type, others);
}

/* The reader went over it: a type unknown here is refused for that. */
static dn_status check_fields(const dn_net *net, const Cnn__LayerParameter *param)
{
    int32_t line, column;
    const dni_locations *locations = (net->origin ? net->origin : net)->file->locations;
    const char *name = dni_locations_find_unknown(locations, param, &line, &column);
    return !name ? DN_OK
                 : dni_fail(DN_E_UNSUPPORTED,
                            "unknown field '%s' (%d:%d) in LayerParameter of type '%s'", name,
                            (int)line, (int)column, param->type);
}

static dn_status check_count(const char *type, const char *what, int32_t have, int32_t min,
                             int32_t max)
{
    if (have < min || (max >= 0 && have > max)) {
        if (min == max)
            return dni_fail(DN_E_NET, "%s takes %d %s%s, the prototxt gives %d", type, min,
                            what, min == 1 ? "" : "s", have);
        if (have < min)
            return dni_fail(DN_E_NET, "%s takes at least %d %s%s, the prototxt gives %d", type,
                            min, what, min == 1 ? "" : "s", have);
        return dni_fail(DN_E_NET, "%s takes at most %d %s%s, the prototxt gives %d", type, max,
                        what, max == 1 ? "" : "s", have);
    }
    return DN_OK;
}

static dn_status check_in_place(const dn_net *net, const dni_net_layer *l, const dni_node *node)
{
    for (int32_t t = 0; t < node->num_tops; t++)
        for (int32_t i = 0; i < node->num_bottoms; i++) {
            bool same = net->graph.values[node->tops[t]].blob ==
                        net->graph.values[node->bottoms[i]].blob;
            bool allowed = l->layer.cls->flags & DNI_LAYER_INPLACE && t == 0 && i == 0;
            if (same && !allowed)
                return dni_fail(DN_E_NET,
                                "%s cannot work in place: top '%s' is also its bottom; "
                                "give the top a name of its own",
                                l->layer.cls->type, l->layer.top_names[t]);
        }
    return DN_OK;
}

static const char *value_name(const dn_net *net, int32_t value)
{
    return net->graph.blobs[net->graph.values[value].blob];
}

/* One allocation each for what a layer holds per bottom and per top. */
static dn_status make_arrays(dn_net *net, dni_net_layer *l, const dni_node *node)
{
    const dni_heap *heap = net->heap;
    size_t nb = (size_t)node->num_bottoms, nt = (size_t)node->num_tops;
    l->shapes = dni_alloc(heap, nb + nt, sizeof *l->shapes);
    l->layer.bottom_names = dni_alloc(heap, nb + nt, sizeof *l->layer.bottom_names);
    l->layer.propagate = dni_alloc(heap, nb + DNI_MAX_WEIGHTS, sizeof *l->layer.propagate);
    l->loss_weight = dni_alloc(heap, nt, sizeof *l->loss_weight);
    l->shape_given = dni_alloc(heap, nt, sizeof *l->shape_given);
    l->layer.state = dni_alloc(heap, 1, l->layer.cls->state_size);
    if (!l->shapes || !l->layer.bottom_names || !l->layer.propagate || !l->loss_weight ||
        !l->shape_given || !l->layer.state)
        return DN_E_NOMEM;
    l->layer.bottom = l->shapes;
    l->layer.top = l->shapes + nb;
    l->layer.top_names = l->layer.bottom_names + nb;
    l->layer.weight_wanted = l->layer.propagate + nb;
    for (size_t i = 0; i < nb; i++)
        l->layer.bottom_names[i] = value_name(net, node->bottoms[i]);
    for (size_t i = 0; i < nt; i++)
        l->layer.top_names[i] = value_name(net, node->tops[i]);
    return DN_OK;
}

static dn_status check_propagate_down(const dni_layer *layer)
{
    size_t given = layer->param->n_propagate_down;
    if (!given || given == (size_t)layer->num_bottoms)
        return DN_OK;
    return dni_fail(DN_E_NET, "%zu propagate_down for %d bottoms; give one for each or none",
                    given, layer->num_bottoms);
}

static dn_status set_loss_weights(dni_net_layer *l)
{
    const Cnn__LayerParameter *p = l->layer.param;
    if (p->n_loss_weight && p->n_loss_weight != (size_t)l->layer.num_tops)
        return dni_fail(DN_E_NET, "%zu loss_weight for %d tops; give one for each or none",
                        p->n_loss_weight, l->layer.num_tops);
    if (l->layer.cls->flags & DNI_LAYER_LOSS && l->layer.num_tops)
        l->loss_weight[0] = 1;
    for (size_t i = 0; i < p->n_loss_weight; i++)
        l->loss_weight[i] = p->loss_weight[i];
    return DN_OK;
}

/* FNV-1a: a layer's random numbers depend on its name, not on which layers stand before it. */
static uint64_t stream_of(const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash & ~(uint64_t)15;
}

/* layer.own; every default stands in the schema alone. */
static dn_status find_own(dni_net_layer *l)
{
    const ProtobufCMessageDescriptor *type = &cnn__layer_parameter__descriptor;
    uint16_t at = l->layer.cls->own;
    if (!at)
        return DN_OK;
    l->layer.own = *(void *const *)((const char *)l->layer.param + at);
    for (unsigned i = 0; !l->layer.own && i < type->n_fields; i++)
        if (type->fields[i].offset == at) {
            dn_status st = dni_binary_parse(&l->defaults, l->layer.heap,
                                            type->fields[i].descriptor, NULL, 0, "");
            l->layer.own = l->defaults;
            return st;
        }
    return DN_OK;
}

static dn_status wire_layer(dn_net *net, dni_net_layer *l, const dni_node *node, int32_t index)
{
    const dni_layer_class *cls;
    const Cnn__LayerParameter *param = node->param;
    l->net = net;
    l->layer = (dni_layer){.param = param,
                           .name = param->name ? param->name : "",
                           .context = net->context,
                           .heap = &net->tables,
                           .folder = (net->origin ? net->origin : net)->file->folder,
                           .index = index,
                           .phase = net->state.phase,
                           .dtype = net->dtype,
                           .wire_only = net->wire_only,
                           .guess = net->guess,
                           .num_bottoms = node->num_bottoms,
                           .num_tops = node->num_tops,
                           .seed = net->seed,
                           .rank = net->state.rank,
                           .iteration = net->state.iteration,
                           .ranks = net->state.ranks > 1 ? net->state.ranks : 1};
    l->layer.stream = stream_of(l->layer.name);
    dn_status st = find_class(net, l, param->type, &cls);
    if (st)
        return st;
    l->layer.cls = cls;
    st = check_fields(net, param);
    if (!st)
        st = check_count(cls->type, "bottom", node->num_bottoms, cls->bottoms_min,
                         cls->bottoms_max);
    if (!st)
        st = check_count(cls->type, "top", node->num_tops, cls->tops_min, cls->tops_max);
    if (!st)
        st = make_arrays(net, l, node);
    if (!st)
        st = check_in_place(net, l, node);
    if (!st)
        st = check_propagate_down(&l->layer);
    if (!st)
        st = find_own(l);
    return st ? st : set_loss_weights(l);
}

dn_status dni_net_wire(dn_net *net)
{
    const dn_net *from = net->origin ? net->origin : net;
    dn_status st = dni_graph_build(&net->graph, net->heap, from->file->net, &net->state,
                                   from->file->locations, tops_needed, reads, spoils, net);
    if (st)
        return st;
    net->layers = dni_alloc(net->heap, net->graph.num_nodes, sizeof *net->layers);
    net->value_shapes = dni_alloc(net->heap, net->graph.num_values, sizeof *net->value_shapes);
    if (!net->layers || !net->value_shapes)
        return DN_E_NOMEM;
    net->num_layers = net->graph.num_nodes;
    for (size_t i = 0; i < net->num_layers; i++) {
        st = wire_layer(net, &net->layers[i], &net->graph.nodes[i], (int32_t)i);
        if (st)
            return dni_in_layer(net, &net->layers[i], st);
    }
    return DN_OK;
}
