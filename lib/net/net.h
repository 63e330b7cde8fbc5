/* SPDX-License-Identifier: BSD-2-Clause
 * net.h: the net a user holds: layers of the graph with their weights, the program they lower to,
 * its plan, and the blobs that show its memory. Building is in build.c, running in run.c. */
#ifndef DNI_NET_H
#define DNI_NET_H

#include "deepnet/net.h"
#include "graph/graph.h"
#include "layers/layer.h"
#include "plan/plan.h"

/* Memory of one weight; nets that share it count it. */
typedef struct dni_store {
    const dni_heap *heap;
    size_t references;
    int64_t count;
    int32_t dtype;
    void *data; /* count values */
    void *diff; /* made when first asked for, zero */
} dni_store;

struct dn_blob {
    char *name;
    dni_shape shape;
    int32_t dtype;
    dn_net *net;
    bool input;        /* may be reshaped by the host */
    dni_store *store;  /* a weight's; NULL: an activation */
    dni_tensor data, diff; /* an activation's tensors; diff DNI_NONE: no gradient */
};

/* A learnable or statistical parameter; layers that share it by name refer to the same one. */
typedef struct dni_param {
    dn_blob blob;
    float lr_mult, decay_mult;
    bool has_lr, has_decay;
    bool statistic; /* never updated by a solver */
    bool permissive;
    const char *shared_name; /* NULL: not shared */
    dni_tensor data, diff;   /* in the present program */
} dni_param;

/* Ops [first, end) of a layer in each section. */
typedef struct dni_range {
    size_t first, end;
} dni_range;

typedef struct dni_net_layer {
    dni_layer layer;
    int32_t params[DNI_MAX_WEIGHTS]; /* indices into dn_net.params */
    bool needs_backward;
    float *loss_weight; /* per top */
    dni_range forward, backward;
    bool *dx_fresh;
    bool *shape_given; /* INPUT layers: per top, the host chose this shape */
} dni_net_layer;

struct dn_net {
    dn_context *context;
    const dni_heap *heap;
    dni_net_file *file; /* NULL when shared from another net */
    dn_net *origin;     /* the net whose prototxt this one shares */
    dni_net_state state;
    int32_t dtype, memory_mode;
    size_t memory_limit;
    bool wire_only, shapes_changed, ran_forward;
    char **keep;
    size_t num_keep;

    dni_graph graph;
    dni_shape *value_shapes; /* per value */
    dni_net_layer *layers;
    size_t num_layers;
    dni_param **params; /* distinct ones, in order of declaration */
    size_t num_params, cap_params;

    dni_program program;
    dni_plan *plan;
    dni_tensor *data, *diff; /* per value */
    dn_blob **blobs;         /* per graph blob */
    int32_t *inputs, *outputs; /* graph blobs */
    int32_t num_inputs, num_outputs;

    uint64_t seed;
    int64_t random_state[2]; /* {seed, step}: what random ops read */
    int64_t step;            /* forwards so far */
    char *report_text[3];    /* of the last load: missing, unused, mismatched */
};

/* A net of an already read file (takes it over on success); the solver creates its nets so. */
dn_status dni_net_create(dn_net **out, dn_context *context, dni_net_file *file,
                         const dni_net_state *state, const dn_net_options *options,
                         uint64_t seed);
/* Weights that a solver trains, in Caffe's order: those with a gradient. */
bool dni_param_trained(const dni_param *param);
/* Makes the gradient memory of a weight, zero. */
dn_status dni_store_diff(dni_store *store);
/* Allocates and binds gradients; done by the first backward or look at a diff. */
dn_status dni_net_bind_backward(dn_net *net);
/* The net with its weights as a message: heap-owned bytes of a .caffemodel. */
dn_status dni_net_serialise(dn_net *net, bool with_diff, uint8_t **out, size_t *size);

/* Steps, in order, of (re)building; each in its own file. */
dn_status dni_net_infer_shapes(dn_net *net);    /* build.c */
void dni_net_infer_gradients(dn_net *net);      /* gradient.c */
dn_status dni_net_lower(dn_net *net);           /* lower.c */
void dni_net_unlower(dn_net *net);              /* lower.c */

#endif
