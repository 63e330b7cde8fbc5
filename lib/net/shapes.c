/* SPDX-License-Identifier: BSD-2-Clause
 * shapes.c: shapes flow through the layers in order. The first time each layer is set up on the
 * way, since its weights depend on its bottoms. */
#include <string.h>

#include "net/net.h"

static void take_bottoms(dn_net *net, dni_net_layer *l, const dni_node *node)
{
    for (int32_t i = 0; i < node->num_bottoms; i++)
        l->layer.bottom[i] = net->value_shapes[node->bottoms[i]];
}

/* Tops may be empty where a layer finds their shape, or a bottom is. */
static bool may_be_empty(const dni_layer *layer)
{
    bool empty = dni_layer_is_dynamic(layer);
    for (int32_t i = 0; i < layer->num_bottoms; i++)
        empty |= dni_shape_count(&layer->bottom[i]) == 0;
    return empty;
}

static dn_status check_top(const dni_layer *layer, int32_t i)
{
    char text[128];
    dn_status st = dni_shape_check(&layer->top[i]);
    for (int32_t a = 0; !st && a < layer->top[i].axes; a++)
        if (layer->top[i].dim[a] < 1 && !may_be_empty(layer))
            st = dni_fail(DN_E_SHAPE, "axis %d would have length %lld (%s)", a,
                          (long long)layer->top[i].dim[a],
                          dni_shape_text(&layer->top[i], text, sizeof text));
    return dni_in(st, "top '%s'", layer->top_names[i]);
}

/* Shapes of one layer's tops; those the host or the last run gave stand. */
static dn_status shape_layer(dn_net *net, dni_net_layer *l, const dni_node *node)
{
    for (int32_t i = 0; i < node->num_tops; i++)
        if (l->shape_given[i])
            l->layer.top[i] = net->value_shapes[node->tops[i]];
    dn_status st = l->layer.cls->shape(&l->layer);
    for (int32_t i = 0; !st && i < node->num_tops; i++) {
        if (l->shape_given[i])
            l->layer.top[i] = net->value_shapes[node->tops[i]];
        st = check_top(&l->layer, i);
        net->value_shapes[node->tops[i]] = l->layer.top[i];
    }
    return st;
}

/* Is the shape of a value a guess of the layer that makes it? */
static bool is_guessed(const dn_net *net, int32_t value)
{
    return net->layers[net->graph.values[value].layer].layer.guessed;
}

static void note_vague(const dn_net *net, dni_net_layer *l, const dni_node *node)
{
    const char *type = l->layer.cls->type;
    if (!strcmp(type, "Flatten") || !strcmp(type, "Reshape") || !strcmp(type, "Slice"))
        l->layer.guessed |= is_guessed(net, node->bottoms[0]);
    l->layer.vague |= l->layer.guessed;
    for (int32_t i = 0; i < node->num_bottoms; i++)
        l->layer.vague |= net->layers[net->graph.values[node->bottoms[i]].layer].layer.vague;
}

/* A guess that no layer saw yet. */
static bool may_refit(const dn_net *net, const dni_net_layer *l, int32_t value)
{
    return is_guessed(net, value) && net->graph.values[value].first == l->layer.index;
}

enum { WHOLE, ONE_CHANNEL, TWO_AXES, REFITS, FIRST = 4 };

/* Bottom i becomes what the comment of refit_guesses says. */
static void refit(const dni_layer *layer, int32_t i, int how)
{
    const Cnn__SliceParameter *p = layer->param->slice_param;
    dni_shape *y = &layer->bottom[i];
    if (layer->num_bottoms > 1) {
        *y = layer->bottom[!i];
        if (how == ONE_CHANNEL && y->axes > 1)
            y->dim[1] = 1;
        if (how == TWO_AXES && y->axes > 2)
            y->axes = 2;
    } else if (how) {
        y->axes = 5;
        y->dim[2] = y->dim[3] = y->dim[4] = 64;
    } else {
        y->axes = 2;
        y->dim[1] = p && p->n_slice_point ? 2 * (int64_t)p->slice_point[p->n_slice_point - 1]
                                          : layer->num_tops;
    }
}

/* Sets the layer up, or if that was done gives its tops their shapes. */
static dn_status set_up(dn_net *net, dni_net_layer *l, const dni_node *node, bool *done)
{
    dn_status st = DN_OK;
    if (!*done && l->layer.cls->setup)
        st = l->layer.cls->setup(&l->layer);
    note_vague(net, l, node);
    if (!st && !*done)
        st = dni_net_declare_params(net, l);
    *done |= !st;
    return st ? st : shape_layer(net, l, node);
}

/* As if it had never been set up. */
static void forget(dni_layer *layer)
{
    if (layer->cls->teardown)
        layer->cls->teardown(layer);
    memset(layer->state, 0, layer->cls->state_size);
    layer->num_weights = 0;
}

/* Truths whose shape is a guess that does not fit, and that no layer saw yet, are taken to have
 * that of bottom 0, which they are compared with, or one channel of it, or as marks of
 * sequences its first two axes: all of them, those but the first, ... (the first FIRST); then
 * bottom 0 that of bottom 1. An only bottom has enough values to slice, or is a volume. A layer
 * that was given weights, or is the host's, is not set up anew. st: how it failed. */
static dn_status refit_guesses(dn_net *net, dni_net_layer *l, const dni_node *node, bool *done,
                               dn_status st)
{
    size_t params = net->num_params;
    int32_t n = node->num_bottoms;
    dni_saved_error saved;
    dni_save_error(&saved);
    for (int32_t k = 1; k <= n; k = k < FIRST || k == n ? k + 1 : n)
        for (int how = 0; how < REFITS; how++) {
            bool any = false;
            take_bottoms(net, l, node);
            for (int32_t i = k % n; i < (k < n ? n : 1); i++)
                if (may_refit(net, l, node->bottoms[i])) {
                    refit(&l->layer, i, how);
                    any = true;
                }
            if (!any || (!*done && (l->host_class || net->num_params > params)))
                break;
            if (!*done)
                forget(&l->layer);
            dni_clear_error();
            dn_status now = set_up(net, l, node, done);
            if (now == DN_E_NOMEM)
                return now;
            if (now)
                continue;
            for (int32_t i = 0; i < n; i++)
                net->value_shapes[node->bottoms[i]] = l->layer.bottom[i];
            return DN_OK;
        }
    dni_restore_error(&saved);
    return st;
}

/* The next layer after `from`, before `to`, whose shapes are known only after it ran. */
static size_t next_dynamic(const dn_net *net, size_t from, size_t to)
{
    for (size_t i = from + 1; i < to; i++)
        if (dni_layer_is_dynamic(&net->layers[i].layer))
            return i;
    return to;
}

dn_status dni_net_infer_shapes(dn_net *net, size_t ran)
{
    net->sound = net->num_layers;
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        take_bottoms(net, l, &net->graph.nodes[i]);
        dn_status st = shape_layer(net, l, &net->graph.nodes[i]);
        if (!st)
            continue;
        size_t next = st == DN_E_NOMEM ? i : next_dynamic(net, ran, i);
        if (next == i)
            return dni_in_layer(net, l, st);
        dni_clear_error(); /* it may yet change what does not fit */
        net->sound = next + 1;
        return DN_OK;
    }
    return DN_OK;
}

dn_status dni_net_set_up_layers(dn_net *net)
{
    net->sound = net->num_layers;
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        const dni_node *node = &net->graph.nodes[i];
        size_t params = net->num_params;
        bool done = false;
        take_bottoms(net, l, node);
        dn_status st = set_up(net, l, node, &done);
        if ((st == DN_E_SHAPE || st == DN_E_NET) && net->wire_only &&
            (done || net->num_params == params))
            st = refit_guesses(net, l, node, &done, st);
        net->dynamic |= dni_layer_is_dynamic(&l->layer);
        if (st)
            return dni_in_layer(net, l, st);
    }
    return DN_OK;
}

/* Found during the run: the plan is made again before the next layer, see run.c. */
dn_status dni_dynamic_shape(dni_layer *layer, int32_t top, const dni_shape *shape)
{
    dni_net_layer *l = (dni_net_layer *)layer;
    dn_net *net = l->net;
    int32_t value = net->graph.nodes[layer->index].tops[top];
    if (dni_shape_equal(&net->value_shapes[value], shape))
        return DN_OK;
    dn_status st = dni_shape_check(shape);
    if (st)
        return st;
    net->value_shapes[value] = *shape;
    l->shape_given[top] = true;
    net->dynamic_changed = true;
    return DN_OK;
}
