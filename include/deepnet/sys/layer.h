/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/sys/layer.h: custom layers. The host describes a layer type by one table of functions
 * and passes it to a context in dn_context_options.layers; prototxts then use it by its `type`.
 * A custom layer computes on the CPU, in the net's element type, even when the layers around it
 * run on a GPU. */
#ifndef DEEPNET_SYS_LAYER_H
#define DEEPNET_SYS_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include "deepnet/status.h"
#include "deepnet/sys/backend.h"

DN_BEGIN_DECLS

/* One layer of one net. It is valid from create to destroy; the functions below may be called
 * on it only from within the class's functions. */
typedef struct dn_layer dn_layer;

enum {
    DN_LAYER_LOSS = 1,   /* top 0 has loss weight 1 unless the prototxt says otherwise */
    DN_LAYER_SOURCE = 2, /* it produces data: no gradient passes through it */
    /* The shapes of its tops are known only when it runs: forward may set new shapes and
     * return; it is then called again with tops of these shapes. */
    DN_LAYER_DYNAMIC = 4
};

/* The arguments of forward and backward, borrowed for the duration of the call. Values are
 * float, or double where dtype is DN_F64; arrays are row-major and contiguous. */
typedef struct dn_layer_io {
    size_t struct_size;
    dn_layer *layer;
    int32_t dtype;
    int32_t num_bottoms, num_tops, num_weights;
    const dn_shape *bottom_shapes, *top_shapes;
    const void *const *bottoms;
    void *const *tops; /* forward writes every element; backward reads them */
    const void *const *weights;
    /* Backward only. A diff is the gradient of the loss with respect to the values. */
    const void *const *top_diffs; /* [i] is NULL where the gradient is zero */
    void *const *bottom_diffs;    /* overwrite every element; [i] is NULL where not wanted */
    void *const *weight_diffs;    /* the same; the engine accumulates them over calls */
} dn_layer_io;

/* A layer type. Set struct_size, leave the rest zero for its default (use designated
 * initialisers); later versions only append fields. The table and its strings must outlive the
 * contexts they are passed to.
 *
 * A function that fails returns a negative status and gives its reason by dn_layer_fail; a
 * positive return value counts as DN_E_HOST.
 *
 * Thread-safety: the functions of one layer are called by one thread at a time. Layers of
 * different nets may be called at the same time, so `user` needs a lock if they change it. */
typedef struct dn_layer_class {
    size_t struct_size;
    const char *type;                 /* "MyLayer"; overrides a built-in type of that name */
    int32_t bottoms_min, bottoms_max; /* number of bottoms; max -1: no limit */
    int32_t tops_min, tops_max;
    uint32_t flags;       /* DN_LAYER_* */
    uint32_t no_gradient; /* bit i: bottom i < 16 never gets a gradient (labels) */
    void *user;
    /* Called once, when the bottoms' shapes are known: reads parameters, adds weights, sets
     * *state. May be NULL. */
    dn_status (*create)(void **state, dn_layer *layer, void *user);
    void (*destroy)(void *state); /* also after create failed with *state set. May be NULL */
    /* Called whenever the bottoms' shapes change: calls dn_layer_set_top_shape for every top.
     */
    dn_status (*shape)(void *state, dn_layer *layer);
    dn_status (*forward)(void *state, const dn_layer_io *io);
    dn_status (*backward)(void *state, const dn_layer_io *io); /* NULL: no gradient passes */
    /* Whether this class implements a given layer, judged by its parameters. Returns 0 to leave
     * the layer to the built-in type of the same name. NULL: it implements all. */
    int32_t (*takes)(const dn_layer *layer, void *user);
} dn_layer_class;

/* Name, phase (DN_PHASE_TRAIN or DN_PHASE_TEST), number of bottoms and tops. Since 0.1. */
DN_API const char *dn_layer_name(const dn_layer *layer);
DN_API int32_t dn_layer_phase(const dn_layer *layer);
DN_API int32_t dn_layer_num_bottoms(const dn_layer *layer);
DN_API int32_t dn_layer_num_tops(const dn_layer *layer);

/* The shape of a bottom, borrowed until the next change of shape; NULL: no such bottom.
 * Since 0.1. */
DN_API const dn_shape *dn_layer_bottom_shape(const dn_layer *layer, int32_t index);

/* Sets the shape of a top. Call it in `shape`, or in `forward` of a DN_LAYER_DYNAMIC layer.
 * Returns DN_OK, DN_E_INVALID (no such top), DN_E_STATE (called elsewhere). Since 0.1. */
DN_API dn_status dn_layer_set_top_shape(dn_layer *layer, int32_t index, const dn_shape *shape);

/* Adds a weight; call it in `create` only. It is trained as `param { lr_mult decay_mult }` of
 * the prototxt says, and saved and loaded with the net.
 * filler: a FillerParameter as text, such as "type: 'xavier'"; NULL: zeros.
 * Returns DN_OK, DN_E_SHAPE, DN_E_PARSE (the filler), DN_E_UNSUPPORTED (more than 8),
 * DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_layer_add_weight(dn_layer *layer, const dn_shape *shape,
                                     const char *filler);

/* A parameter of the layer, by its path in LayerParameter, such as "power_param.scale": the
 * value in the prototxt, or else the schema's default. Bools and enums are read as numbers.
 * A type whose parameters fit no field of the schema can put them in python_param.param_str.
 * index: which element of a repeated field; 0 for other fields.
 * dn_layer_number returns DN_OK or DN_E_NOTFOUND (no such field or element); dn_layer_text
 * returns NULL in that case. The text is borrowed from the layer. Since 0.1. */
DN_API dn_status dn_layer_number(const dn_layer *layer, const char *field, int32_t index,
                                 double *out);
DN_API const char *dn_layer_text(const dn_layer *layer, const char *field, int32_t index);

/* Records why a function of the class fails, in one line, and returns `status`:
 * `return dn_layer_fail(layer, DN_E_SHAPE, "bottom 1 is too small");`. Since 0.1. */
DN_API dn_status dn_layer_fail(dn_layer *layer, dn_status status, const char *reason);

DN_END_DECLS
#endif
