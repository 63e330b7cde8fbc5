/* SPDX-License-Identifier: BSD-2-Clause
 * graph.h: which layers take part in a phase, and which names mean which blob. An in-place
 * layer makes a new value of the same blob: values are what gradients belong to, blobs are
 * memory. */
#ifndef DNI_GRAPH_H
#define DNI_GRAPH_H

#include "core/core.h"
#include "proto/proto.h"

typedef struct dni_value {
    int32_t blob;      /* its memory */
    int32_t layer;     /* who makes it, */
    int32_t top;       /* as which top */
    int32_t consumers; /* how many bottoms read it */
    int32_t first;     /* who reads it first, if anybody */
    bool gradient;     /* wants one */
    uint8_t reads;     /* DNI_READS_*: of its maker and those who worked in its place before */
} dni_value;

/* What a backward reads of the layer's top. */
enum { DNI_READS_TOP = 1, DNI_READS_SIGN = 2 };

typedef struct dni_node {
    Cnn__LayerParameter *param; /* borrowed from the net message */
    int32_t num_bottoms, num_tops;
    int32_t *bottoms, *tops; /* values; one allocation, at bottoms */
} dni_node;

typedef struct dni_graph {
    const dni_heap *heap;
    dni_node *nodes;
    size_t num_nodes, cap_nodes;
    dni_value *values;
    size_t num_values, cap_values;
    char **blobs; /* names */
    size_t num_blobs, cap_blobs;
    dni_index names; /* of values, by their blobs' names */
} dni_graph;

typedef struct dni_net_state {
    int32_t phase; /* DN_PHASE_TRAIN, DN_PHASE_TEST */
    int32_t level;
    const char *const *stages;
    size_t num_stages;
    int32_t rank, ranks;      /* of a solver that trains with others; ranks 0: alone */
    const int64_t *iteration; /* the present one of the solver; NULL: none */
    bool late; /* it may make large gradients of weights by itself (plan/late.c) */
} dni_net_state;

/* Caffe's refusal of a layer with rules of both kinds. */
dn_status dni_layer_rules_check(const Cnn__LayerParameter *layer);
/* Does the layer take part (include and exclude rules)? */
bool dni_layer_included(const Cnn__LayerParameter *layer, const dni_net_state *state);

/* Filters and wires net (already upgraded). tops_needed says how many tops a layer must at
 * least have: missing ones are made, without a name in the prototxt ("loss" for layer 'loss').
 * reads: DNI_READS_* of a layer. spoils: of which of those what this layer does in place leaves
 * nothing; it then does not work in place on such a top.
 * Errors: a bottom that nothing makes, or only a later layer; a top made twice. */
dn_status dni_graph_build(dni_graph *graph, const dni_heap *heap, const Cnn__NetParameter *net,
                          const dni_net_state *state, const dni_locations *locations,
                          int32_t (*tops_needed)(const Cnn__LayerParameter *),
                          uint8_t (*reads)(const void *user, const Cnn__LayerParameter *),
                          uint8_t (*spoils)(const void *user, const Cnn__LayerParameter *),
                          const void *user);
void dni_graph_free(dni_graph *graph);

#endif
