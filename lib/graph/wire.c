/* SPDX-License-Identifier: BSD-2-Clause
 * wire.c: names to blobs. Layers are wired in the order of the file, as Caffe does: a bottom is
 * the last value of that name made before. A layer whose top names its bottom works in place
 * when nobody else reads that value; when somebody does, be it its maker's backward, the name
 * gets a blob of its own from there. */
#include <string.h>

#include "deepnet/net.h"
#include "graph/graph.h"

typedef struct wiring {
    dni_graph *graph;
    const Cnn__NetParameter *net;
    const dni_net_state *state;
    const dni_locations *locations;
    uint8_t (*reads)(const void *user, const Cnn__LayerParameter *layer);
    uint8_t (*spoils)(const void *user, const Cnn__LayerParameter *layer);
    const void *user;
} wiring;

static dn_status fail_at(const wiring *w, const Cnn__LayerParameter *layer, dn_status st)
{
    st = dni_in(st, "layer '%s'", layer->name ? layer->name : "");
    return dni_in_location(st, w->locations, layer);
}

/* The value a name means now, or -1. */
static int32_t find_value(const dni_graph *g, const char *name)
{
    int32_t v = dni_index_first(&g->names, name, strlen(name));
    while (v >= 0 && strcmp(g->blobs[g->values[v].blob], name))
        v = g->names.links[v].next;
    return v;
}

/* The first layer from `from` on (NULL: of all) with a top of that name, of those that take
 * part or of those left out. */
static const char *find_maker(const wiring *w, const char *name,
                              const Cnn__LayerParameter *from, bool included)
{
    bool after = !from;
    for (size_t i = 0; i < w->net->n_layer; i++) {
        const Cnn__LayerParameter *layer = w->net->layer[i];
        after |= layer == from;
        if (!after || dni_layer_included(layer, w->state) != included)
            continue;
        for (size_t t = 0; t < layer->n_top; t++)
            if (!strcmp(layer->top[t], name))
                return layer->name ? layer->name : "";
    }
    return NULL;
}

static dn_status unknown_bottom(const wiring *w, const Cnn__LayerParameter *layer,
                                const char *name)
{
    const dni_graph *g = w->graph;
    const char *later = find_maker(w, name, layer, true);
    if (later && layer->name && !strcmp(later, layer->name))
        return dni_fail(
            DN_E_NET, "bottom '%s' is the layer's own top, and nothing makes it before", name);
    if (later)
        return dni_fail(DN_E_NET,
                        "bottom '%s' is made only later, by layer '%s' (a cycle, or "
                        "layers out of order)",
                        name, later);
    const char *absent = find_maker(w, name, NULL, false);
    if (absent)
        return dni_fail(DN_E_NET,
                        "bottom '%s' is made by no layer that takes part; layer '%s' "
                        "makes it, which its rules (phase, level, stage) leave out in %s",
                        name, absent, w->state->phase == DN_PHASE_TRAIN ? "TRAIN" : "TEST");
    const char *near = dni_nearest(name, (const char *const *)g->blobs, g->num_blobs);
    if (near)
        return dni_fail(DN_E_NET, "bottom '%s' is made by no layer; did you mean '%s'?", name,
                        near);
    return dni_fail(DN_E_NET, "bottom '%s' is made by no layer", name);
}

static dn_status add_blob(dni_graph *g, const char *name, int32_t *out)
{
    dn_status st =
        dni_grow(g->heap, &g->blobs, &g->cap_blobs, g->num_blobs + 1, sizeof *g->blobs);
    if (st)
        return st;
    char *copy = dni_strdup(g->heap, name);
    if (!copy)
        return DN_E_NOMEM;
    *out = (int32_t)g->num_blobs;
    g->blobs[g->num_blobs++] = copy;
    return DN_OK;
}

static dn_status add_value(wiring *w, const Cnn__LayerParameter *layer, int32_t blob,
                           int32_t top, int32_t *out)
{
    dni_graph *g = w->graph;
    dn_status st =
        dni_grow(g->heap, &g->values, &g->cap_values, g->num_values + 1, sizeof *g->values);
    if (!st)
        st = dni_index_add(&g->names, g->heap, g->num_values, g->blobs[blob],
                           strlen(g->blobs[blob]));
    if (st)
        return st;
    *out = (int32_t)g->num_values;
    g->values[g->num_values++] = (dni_value){.blob = blob,
                                             .layer = (int32_t)g->num_nodes,
                                             .top = top,
                                             .reads = w->reads(w->user, layer)};
    return DN_OK;
}

/* Whether somebody but `layer`, whose bottoms are counted, reads a value, or it does twice. */
static bool read_by_others(const wiring *w, const Cnn__LayerParameter *layer, int32_t value)
{
    const dni_value *v = &w->graph->values[value];
    return v->consumers > 1 || v->reads & w->spoils(w->user, layer);
}

static dn_status wire_top(wiring *w, dni_node *node, size_t i)
{
    dni_graph *g = w->graph;
    const Cnn__LayerParameter *layer = node->param;
    const char *name = layer->top[i];
    int32_t before = find_value(g, name), blob;
    bool in_place = i < layer->n_bottom && !strcmp(layer->bottom[i], name);
    if (before >= 0 && !in_place) {
        const dni_value *v = &g->values[before];
        const char *maker =
            v->layer < (int32_t)g->num_nodes ? g->nodes[v->layer].param->name : layer->name;
        return dni_fail(DN_E_NET, "top '%s' is made twice; layer '%s' makes it too", name,
                        maker ? maker : "");
    }
    if (in_place && !read_by_others(w, layer, node->bottoms[i])) {
        const dni_value before_it = g->values[node->bottoms[i]];
        dn_status st = add_value(w, layer, before_it.blob, (int32_t)i, &node->tops[i]);
        if (!st)
            g->values[node->tops[i]].reads |= before_it.reads;
        return st;
    }
    dn_status st = add_blob(g, name, &blob);
    return st ? st : add_value(w, layer, blob, (int32_t)i, &node->tops[i]);
}

static dn_status wire_layer(wiring *w, Cnn__LayerParameter *layer, int32_t tops)
{
    dni_graph *g = w->graph;
    dn_status st =
        dni_grow(g->heap, &g->nodes, &g->cap_nodes, g->num_nodes + 1, sizeof *g->nodes);
    if (st)
        return st;
    int32_t bottoms = (int32_t)layer->n_bottom;
    int32_t *operands = dni_alloc(g->heap, (size_t)bottoms + (size_t)tops, sizeof *operands);
    if (!operands)
        return DN_E_NOMEM;
    dni_node node = {.param = layer,
                     .num_bottoms = bottoms,
                     .num_tops = tops,
                     .bottoms = operands,
                     .tops = operands + bottoms};
    for (int32_t i = 0; !st && i < bottoms; i++) {
        node.bottoms[i] = find_value(g, layer->bottom[i]);
        if (node.bottoms[i] < 0)
            st = unknown_bottom(w, layer, layer->bottom[i]);
        else if (g->values[node.bottoms[i]].consumers++ == 0)
            g->values[node.bottoms[i]].first = (int32_t)g->num_nodes;
    }
    for (int32_t i = 0; !st && i < tops; i++) {
        int32_t blob;
        if ((size_t)i < layer->n_top) {
            st = wire_top(w, &node, (size_t)i);
        } else { /* a loss without a top: its value goes by the layer's name */
            st = add_blob(g, layer->name ? layer->name : "", &blob);
            if (!st)
                st = add_value(w, layer, blob, i, &node.tops[i]);
        }
    }
    if (st) {
        dni_free(operands);
        return st;
    }
    g->nodes[g->num_nodes++] = node;
    return DN_OK;
}

/* An in-place layer must know of readers that come after it in the file but mean the value
 * before it: there are none, since names are resolved in order. Readers before it are counted.
 */
dn_status dni_graph_build(dni_graph *graph, const dni_heap *heap, const Cnn__NetParameter *net,
                          const dni_net_state *state, const dni_locations *locations,
                          int32_t (*tops_needed)(const Cnn__LayerParameter *),
                          uint8_t (*reads)(const void *, const Cnn__LayerParameter *),
                          uint8_t (*spoils)(const void *, const Cnn__LayerParameter *),
                          const void *user)
{
    *graph = (dni_graph){.heap = heap};
    wiring w = {.graph = graph,
                .net = net,
                .state = state,
                .locations = locations,
                .reads = reads,
                .spoils = spoils,
                .user = user};
    for (size_t i = 0; i < net->n_layer; i++) {
        Cnn__LayerParameter *layer = net->layer[i];
        dn_status st = dni_layer_rules_check(layer);
        if (!st && dni_layer_included(layer, state)) {
            int32_t tops = (int32_t)layer->n_top, needed = tops_needed(layer);
            st = wire_layer(&w, layer, tops > needed ? tops : needed);
        }
        if (st)
            return fail_at(&w, layer, st);
    }
    if (!net->n_layer)
        return dni_fail(DN_E_NET, "the net has no layer");
    if (!graph->num_nodes)
        return dni_fail(DN_E_NET,
                        "the net has no layer in this phase, %s: rules (phase, level, stage) "
                        "leave out all %zu",
                        state->phase == DN_PHASE_TRAIN ? "TRAIN" : "TEST", net->n_layer);
    return DN_OK;
}

void dni_graph_free(dni_graph *graph)
{
    for (size_t i = 0; i < graph->num_nodes; i++)
        dni_free(graph->nodes[i].bottoms);
    for (size_t i = 0; i < graph->num_blobs; i++)
        dni_free(graph->blobs[i]);
    dni_free(graph->nodes);
    dni_free(graph->values);
    dni_free(graph->names.links);
    dni_free(graph->blobs);
    *graph = (dni_graph){0};
}
