/* SPDX-License-Identifier: BSD-2-Clause
 * net.h: the net a user holds: layers of the graph with their weights, the program they lower
 * to, its plan, and the blobs that show its memory. Building is in create.c, running in run.c.
 */
#ifndef DNI_NET_H
#define DNI_NET_H

#include <stdatomic.h>

#include "core/mirror.h"
#include "deepnet/net.h"
#include "graph/graph.h"
#include "layers/host.h"
#include "plan/plan.h"

/* Memory of one weight; nets that share it count it. */
typedef struct dni_store {
    const dn_context *context;
    atomic_size_t references; /* nets that share it may be freed in any thread */
    int64_t count;
    int32_t dtype;
    void *data;         /* count values */
    void *diff;         /* made when first asked for, zero */
    bool cleared;       /* diff is zero, though its memory may not say so yet */
    bool diff_open;     /* the host has a pointer to diff */
    dn_net *late;       /* this net's backward left it to the update to make diff; NULL: none */
    bool taken;         /* the update did, and kept nothing of it */
    uint64_t changes;   /* of data, so far */
    int64_t writers;    /* pointers to data that the host may write through */
    uint64_t version;   /* of data; DNI_VOLATILE: the host has a pointer to write through */
    atomic_bool held;   /* the host may keep the memory longer than we; by any net's thread */
    dni_span *spans[2]; /* of data and diff, once a plan is gone that had them on a device */
} dni_store;

struct dn_blob {
    char *name;
    dni_shape shape;
    int32_t dtype;
    dn_net *net;
    bool input;          /* may be reshaped by the host */
    void *own;           /* an input's values, memory of its own; NULL: in the plan's arena */
    bool lent;           /* the host has a pointer to write to `own` through */
    bool lent_on_device; /* or one to the device's side of it */
    dni_span *view;      /* the device's side of `own` is the host's memory; NULL: it is ours */
    void *zero;          /* diff of a blob without gradient, made when looked at */
    size_t zero_bytes;
    dni_store *store;      /* a weight's; NULL: an activation */
    dni_tensor data, diff; /* an activation's tensors; diff DNI_NONE: no gradient */
    int32_t value;         /* the last value of an activation in the graph */
};

/* A learnable or statistical parameter; layers that share it by name refer to the same one. */
typedef struct dni_param {
    dn_blob blob;
    float lr_mult, decay_mult;
    bool has_lr, has_decay;
    bool statistic;          /* never updated by a solver */
    bool wanted;             /* some layer computes its gradient */
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
    bool ran_fused; /* its last forward was part of a fused run: what its own backward reads is
                       not all there */
    dn_net *net;
    dni_host_class *host_class; /* of a type of the host's; else NULL */
    bool *shape_given; /* per top: INPUT layers, the host chose this shape; dynamic ones, the
                          last run found it */
    dni_shape *shapes; /* backing of layer.bottom and layer.top */
    ProtobufCMessage *defaults; /* layer.own where the prototxt has none; or NULL */
} dni_net_layer;

/* Gradients of weights, from the last to the first, as a backward is done with them. */
typedef struct dni_groups {
    size_t *params, *of; /* in that order: indices into dn_net.params, and their group */
    size_t *ends;        /* per group: the backward's ops after which it is done */
    size_t num_params, count;
    bool made;                                        /* for the present plan */
    dn_status (*ready)(void *user, dni_param *param); /* NULL: nobody asks */
    void *user;
} dni_groups;

/* What is used most comes first: instructions reach the first 128 bytes in less. */
struct dn_net {
    dn_context *context;
    const dni_heap *heap;
    dni_net_layer *layers;
    size_t num_layers;
    dni_param **params; /* distinct ones, in order of declaration */
    size_t num_params, cap_params;
    dni_program *program;
    dni_plan *plan; /* NULL: wire_only, or the last planning failed */
    dni_graph graph;
    dni_net_file *file; /* NULL when shared from another net */
    dn_net *origin;     /* the net whose prototxt this one shares; one of its references */
    atomic_size_t references; /* itself and the nets that share its prototxt */
    dni_net_state state;
    int32_t dtype, memory_mode, compute;
    bool must_compute; /* fails where no backend offers `compute` */
    size_t memory_limit;
    dni_heap tables;     /* the layers': no block larger than memory_limit */
    atomic_bool refused; /* one was asked for, by whichever thread */
    bool wire_only;
    int32_t guess;        /* wire_only: which of the shapes that data may have */
    bool shapes_changed;  /* an input was given another shape: plan again */
    bool dynamic;         /* has layers whose shapes are known only after they ran */
    bool dynamic_changed; /* such a layer just found another shape */
    size_t sound;         /* layers whose shapes fit each other: those that are lowered */
    bool ran_forward;
    /* In compact memory: the layers before it have left their values, and no backward has taken
     * their places. */
    int32_t left;
    bool once;        /* a forward cannot be done again: a layer changes its source in place */
    bool reshaped;    /* since the latest forward: its values are gone */
    bool fused_state; /* the last forward was whole, and fused */
    bool may_leave;   /* the backward that runs may leave gradients to the update (late.c) */
    bool leaves;      /* it does, or the latest did */
    bool stay_plain;  /* the host mixes ranges with whole runs: fuse no more */
    char **keep;
    size_t num_keep;

    dni_shape *value_shapes; /* per value */
    dni_index shared;        /* of params, by shared_name */
    dni_groups groups;

    uint64_t plans;            /* so far */
    dni_tensor *data, *diff;   /* per value */
    dn_blob **blobs;           /* per graph blob */
    int32_t *inputs, *outputs; /* graph blobs */
    int32_t num_inputs, num_outputs;

    uint64_t seed;
    int64_t random_state[2]; /* {seed, step}: what random ops read */
    int64_t step;            /* forwards so far */
    char *report_text[3];    /* of the last load: missing, unused, mismatched */
};

/* A net of an already read file (takes it over on success); the solver creates its nets so. */
/* describe.c: dn_net_describe; update (NULL: none): printed behind the net's plan. */
dn_status dni_net_describe(dn_net *net, uint32_t what, dni_plan *update, char **out);
dn_status dni_net_create(dn_net **out, dn_context *context, dni_net_file *file,
                         const dni_net_state *state, const dn_net_options *options,
                         uint64_t seed);
/* Does a solver change it? (Caffe keeps a history for those it does not, too.) */
bool dni_param_trained(const dni_param *param);
/* The version that ops of this net may rely on; NULL: its weights change all the time. */
const uint64_t *dni_net_version(const dn_net *net, const dni_store *store);
/* After a change of a weight's data. */
void dni_store_touch(dni_store *store);
/* Brings all weights, and their gradients if wanted, to the host. */
dn_status dni_net_fetch_weights(const dn_net *net, bool with_diff);
/* Before a plan goes: what a device has of them stays there. */
void dni_net_keep_weights(const dn_net *net);
/* Makes the gradient memory of a weight, zero; what is cleared is zero in memory then. */
dn_status dni_store_diff(dni_store *store);
/* The same, but leaves it to a backward to overwrite what is cleared. */
dn_status dni_store_make_diff(dni_store *store);
dn_status dni_store_clear(dni_store *store);
/* Allocates and binds gradients; done by the first backward or look at a diff. */
dn_status dni_net_bind_backward(dn_net *net);
/* late.c: dn_net_backward, but gradients that late.c of the plan put off are left to the
 * update, if they can be: net->leaves. */
dn_status dni_net_backward_leaving(dn_net *net);
bool dni_net_can_leave(const dn_net *net);
/* Is this one left, or about to be, or was it? */
bool dni_net_leaves(const dn_net *net, const dni_param *param);
/* One that is left to the update in every step so far. */
bool dni_net_without_diff(const dn_net *net, const dni_param *param);
/* DN_E_STATE if the update made the weight's gradient; it will not from the next step on. */
dn_status dni_net_was_kept(const dn_blob *weight);
dn_status dni_net_all_kept(const dn_net *net);
/* Makes what was left after all: before the host looks, or another run. */
dn_status dni_net_catch_up(dn_net *net);
/* What was left was made by the update (taken), or is nobody's any more. */
void dni_net_take_left(dn_net *net, bool taken);
/* Memory for gradients that are not left. for_plain: a plain run adds to what is there. */
dn_status dni_net_bind_gradients(dn_net *net, bool for_plain);
/* Of the latest whole forward; waits for the device. */
dn_status dni_net_loss(const dn_net *net, float *out);
/* The net with its weights as a .caffemodel. */
dn_status dni_net_save(dn_net *net, const char *path, bool with_diff);

dn_status dni_store_create(dni_store **out, const dn_context *context, int64_t count,
                           int32_t dtype);
void dni_store_release(dni_store *store);

/* Steps of (re)building, in order; each in its own file. */
dn_status dni_net_wire(dn_net *net);          /* wire.c: graph, classes, counts of operands */
dn_status dni_net_set_up_layers(dn_net *net); /* shapes.c: set-up, weights, first shapes */
/* shapes.c: shapes again, after layer `ran` of a run found those of its tops (num_layers:
 * before a run). Where they do not fit further on, but a layer in between will find its own,
 * `sound` says up to where they do. */
dn_status dni_net_infer_shapes(dn_net *net, size_t ran);
dn_status dni_net_infer_gradients(dn_net *net);                      /* gradient.c */
dn_status dni_net_declare_params(dn_net *net, dni_net_layer *layer); /* params.c */
/* Makes and fills the weights: when all shapes fit, so that no mistake waits for that. */
dn_status dni_net_fill_params(dn_net *net);
size_t dni_net_weight_bytes(const dn_net *net);
size_t dni_net_gradient_bytes(const dn_net *net); /* of weights */
dn_status dni_net_make_blobs(dn_net *net);        /* blob.c */
void dni_blob_release_own(dn_blob *blob);
/* Of data, as dni_mirror_fetch_soon. */
dn_status dni_blob_fetch_soon(dn_blob *blob);
dn_status dni_net_lower(dn_net *net); /* lower.c: program and plan; keeps what fits */
/* replay.c: what plain runs of layers before `end` would have left for others; of `all`, or of
 * those that last ran fused. */
dn_status dni_net_replay(dn_net *net, int32_t end, bool all);
/* groups.c: dn_net_backward; `ready` is told of each weight's gradient as soon as nothing will
 * be added to it, while the rest is still to be computed (on a device: queued). Of plain runs
 * not at all. */
dn_status dni_net_backward_telling(dn_net *net,
                                   dn_status (*ready)(void *user, dni_param *param),
                                   void *user);
/* For backward_whole: makes them for the plan; NULL: nobody asks. */
dn_status dni_net_groups(dn_net *net, dni_pauses *pauses);
void dni_net_free_groups(dn_net *net);
dn_status dni_in_layer(const dn_net *net, const dni_net_layer *layer, dn_status st);

#endif
