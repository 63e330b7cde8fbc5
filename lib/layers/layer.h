/* SPDX-License-Identifier: BSD-2-Clause
 * layer.h: what a layer file writes against. A layer is a small compiler front end: it reads
 * its LayerParameter, declares its weights, says the shapes of its tops and lowers to ops. It
 * never computes. One file per layer; its class is listed by name in this folder's meson.build.
 */
#ifndef DNI_LAYER_H
#define DNI_LAYER_H

#include <stddef.h>

#include "cnn.pb-c.h"
#include "core/context.h"
#include "program/program.h"

typedef struct dni_layer dni_layer;

enum {
    DNI_LAYER_INPLACE = 1, /* top 0 may be bottom 0 */
    DNI_LAYER_LOSS = 2,    /* top 0 has loss weight 1 unless the prototxt says otherwise; made
                              by the engine if the prototxt names none */
    DNI_LAYER_SOURCE = 4,  /* makes data: no gradient through it */
    DNI_LAYER_INPUT = 8,   /* its tops are inputs of the net, written by the host */
    DNI_LAYER_DYNAMIC =
        16, /* shapes of its tops are known only after it ran (see dni_dynamic) */
    DNI_LAYER_SCRATCH_DIFF = 32, /* see dni_layer.scratch_diff */
    DNI_LAYER_SHARED_DIFF = 64,  /* in Caffe bottom 0's diff is top 0's: what is left in one
                                    shows in the other */
    DNI_LAYER_READS_TOP = 128,   /* the backward reads a top: no layer works in place on it */
    DNI_LAYER_READS_SIGN = 256,  /* ... in place, and only its sign: one that keeps it may */
    DNI_LAYER_KEEPS_SIGN = 512,  /* where a gradient goes back */
};

/* Of layers that go on where they stopped: records delivered so far, and going on from there (a
 * snapshot keeps it). begin: told before each forward; may be NULL. */
typedef struct dni_layer_cursor {
    int64_t (*tell)(const dni_layer *layer);
    dn_status (*seek)(dni_layer *layer, int64_t position);
    void (*begin)(dni_layer *layer);
} dni_layer_cursor;

typedef struct dni_layer_class {
    const char *type;                 /* as prototxt spells it */
    int16_t bottoms_min, bottoms_max; /* max -1: any number */
    int16_t tops_min, tops_max;
    uint16_t own; /* DNI_OWN: where its own parameters are in a LayerParameter; 0: nowhere */
    uint16_t no_gradient; /* bit i: bottom i never gets a gradient (labels) */
    uint16_t flags;
    uint16_t state_size; /* bytes of dni_layer.state, zeroed */
    /* Once, bottom shapes known: checks parameters, declares weights. May be NULL. */
    dn_status (*setup)(dni_layer *layer);
    /* At every change of shape: layer->top[i] from layer->bottom[i]. */
    dn_status (*shape)(dni_layer *layer);
    /* Emits the ops. backward comes after forward on the same builder, in reverse order of the
     * layers; NULL: no gradient passes. */
    void (*forward)(dni_layer *layer, dni_builder *b);
    void (*backward)(dni_layer *layer, dni_builder *b);
    void (*teardown)(dni_layer *layer); /* frees what state holds; NULL: nothing */
} dni_layer_class;
#define DNI_OWN(field) offsetof(Cnn__LayerParameter, field)

/* A parameter blob of a layer as declared. */
typedef struct dni_weight {
    dni_shape shape;
    const Cnn__FillerParameter *filler; /* NULL: constant 0 */
    double constant;                    /* value where filler is NULL */
    const float *diagonal; /* NULL, or what is on the diagonal of the last two axes, a square */
    bool statistic;        /* not trained: no gradient, whatever lr_mult says (BatchNorm) */
} dni_weight;

/* What a layer carries from run to run, and what it was before the last run. */
typedef struct dni_carry {
    void *now, *was; /* NULL: nothing */
    size_t bytes;
} dni_carry;

#define DNI_MAX_WEIGHTS 8
#define DNI_MAX_CARRY   2

/* What nearly all layers use comes first: instructions reach the first 128 bytes in less. */
struct dni_layer {
    const dni_layer_class *cls;
    const Cnn__LayerParameter *param;
    const void *own; /* the message of param that its class names, or one of the defaults */
    void *state;
    dni_shape *bottom; /* shapes of the bottoms: read */
    dni_shape *top;    /* shapes of the tops: written by cls->shape */
    int32_t num_bottoms, num_tops, num_weights;
    int32_t phase /* DN_PHASE_TRAIN or DN_PHASE_TEST */, dtype, index;
    bool *propagate;     /* bottom i wants a gradient (set before lowering) */
    bool *weight_wanted; /* weight i wants a gradient (set before lowering) */
    const dni_heap *heap;
    const dn_context *context;
    const char *name;
    bool scratch_diff; /* nobody wants bottom 0's gradient; its diff is this layer's to leave
                          something in (set before lowering) */
    bool fixed;        /* of a DYNAMIC class, set by its setup: this one's shapes stand */
    bool wire_only;    /* shapes only: open no data */
    bool guessed;  /* wire_only: its tops' shapes stand nowhere, set where they are guessed */
    bool vague;    /* wire_only: ... or come from those of a layer before */
    int32_t guess; /* wire_only: which guess of such shapes, from 0 */
    const dni_layer_cursor *cursor; /* set by its setup; NULL: none */
    dni_carry carry[DNI_MAX_CARRY]; /* set by its shape */
    const char *folder;             /* of the prototxt, for relative paths; NULL: none */
    const char **bottom_names, **top_names;
    dni_weight weight[DNI_MAX_WEIGHTS];
    uint64_t stream;     /* of its random numbers; use stream, stream + 1, ... up to + 15 */
    uint64_t seed;       /* of the net */
    int32_t rank, ranks; /* records rank, rank + ranks, ... are this net's; ranks >= 1 */
    const int64_t *iteration; /* of the solver that trains the net; NULL: none */
};

/* Declares the next weight; filler may be NULL (constant 0). In setup only. */
dn_status dni_declare_weight(dni_layer *layer, const dni_shape *shape,
                             const Cnn__FillerParameter *filler);
/* Fails as "layer 'conv1': <text>" will read; the engine adds the breadcrumb. */
#define DNI_REQUIRE(condition, status, ...)                                                    \
    do {                                                                                       \
        if (!(condition))                                                                      \
            return dni_fail(status, __VA_ARGS__);                                              \
    } while (0)
/* Canonical axis of bottom i; fails naming the field. */
dn_status dni_layer_axis(const dni_layer *layer, int32_t bottom, int64_t axis,
                         const char *field, int32_t *out);
/* Bottom i has so many axes, or with `more` at least so many. */
dn_status dni_need_axes(const dni_layer *layer, int32_t bottom, int32_t axes, bool more);
/* Bottoms 1 and on have as many values as bottom 0. */
dn_status dni_same_counts(const dni_layer *layer);
/* Most elementwise layers: every top has the shape of bottom 0. */
dn_status dni_shape_like_bottom(dni_layer *layer);
/* Of layers whose values only get another shape. */
void dni_copy_forward(dni_layer *layer, dni_builder *b);
void dni_copy_backward(dni_layer *layer, dni_builder *b);
/* A layer whose top shapes were found by its host call tells them here, from inside the call.
 * Where they are others than the tops were lowered for it writes nothing: it runs again. */
dn_status dni_dynamic_shape(dni_layer *layer, int32_t top, const dni_shape *shape);
/* The same of all tops, of which but `count`, the dim of `axis`, is known. */
dn_status dni_dynamic_count(dni_layer *layer, int32_t axis, int64_t count);

static inline bool dni_layer_is_dynamic(const dni_layer *layer)
{
    return layer->cls->flags & DNI_LAYER_DYNAMIC && !layer->fixed;
}

/* The class of a type, or NULL with *nearest set to the nearest known type (or NULL). */
const dni_layer_class *dni_layer_class_find(const char *type, const char **nearest);
extern const dni_layer_class *const dni_layer_classes[]; /* ends with NULL; generated */

/* Fills count values of dtype as filler says (NULL: constant 0), shape being the weight's:
 * fan-in is count / dim 0, fan-out count / dim 1. Random numbers from (seed, stream). */
dn_status dni_fill(const Cnn__FillerParameter *filler, const dni_shape *shape, int32_t dtype,
                   void *values, uint64_t seed, uint64_t stream);
/* Is there such a filler? For nets whose weights are not filled. */
dn_status dni_filler_check(const Cnn__FillerParameter *filler);

#endif
