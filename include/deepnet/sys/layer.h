/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/sys/layer.h: layers of the host's own. A layer type is one table of functions, given
 * to a context in dn_context_options.layers; prototxts name it by its `type`. It computes on
 * the host, in the net's element type, whatever its neighbours compute on. */
#ifndef DEEPNET_SYS_LAYER_H
#define DEEPNET_SYS_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include "deepnet/status.h"
#include "deepnet/sys/backend.h"

DN_BEGIN_DECLS

/* One layer of one net, as the engine sees it. Valid from create to destroy, and for the calls
 * below only within the class's functions. */
typedef struct dn_layer dn_layer;

enum {
    DN_LAYER_LOSS = 1,   /* top 0 has loss weight 1 unless the prototxt says otherwise */
    DN_LAYER_SOURCE = 2, /* it makes data: no gradient goes through it */
    /* The shapes of its tops are known only when it runs: forward may set others and return,
     * and is called again with room for them. */
    DN_LAYER_DYNAMIC = 4
};

/* What forward and backward work on; borrowed for the call. Values are float, or double where
 * dtype is DN_F64, row-major and without gaps. */
typedef struct dn_layer_io {
    size_t struct_size;
    dn_layer *layer;
    int32_t dtype;
    int32_t num_bottoms, num_tops, num_weights;
    const dn_shape *bottom_shapes, *top_shapes;
    const void *const *bottoms;
    void *const *tops; /* forward writes all of each; backward reads */
    const void *const *weights;
    /* Backward only. A diff is the gradient of the loss with respect to the values. */
    const void *const *top_diffs; /* an element is NULL where no gradient came: it is zero */
    void *const *bottom_diffs;    /* overwrite all of each; an element is NULL: not wanted */
    void *const *weight_diffs;    /* likewise; the engine adds them up */
} dn_layer_io;

/* struct_size first, append only, zero is the default; use designated initialisers. The table
 * and its texts must outlive the contexts they are given to. A function that fails returns a
 * negative status, its reason told by dn_layer_fail; a positive number is DN_E_HOST. The
 * functions of one layer are called by one thread at a time, those of different nets at once.
 */
typedef struct dn_layer_class {
    size_t struct_size;
    const char *type;                 /* "MyLayer"; comes before a built-in type of that name */
    int32_t bottoms_min, bottoms_max; /* how many it takes; max -1: any number */
    int32_t tops_min, tops_max;
    uint32_t flags;       /* DN_LAYER_* */
    uint32_t no_gradient; /* bit i: bottom i never gets a gradient (labels) */
    void *user;
    /* Once, bottom shapes known: reads parameters, adds weights, makes *state. May be NULL. */
    dn_status (*create)(void **state, dn_layer *layer, void *user);
    void (*destroy)(void *state); /* also after create failed with *state set. May be NULL */
    /* At every change of shape: dn_layer_set_top_shape for every top. */
    dn_status (*shape)(void *state, dn_layer *layer);
    dn_status (*forward)(void *state, const dn_layer_io *io);
    dn_status (*backward)(void *state, const dn_layer_io *io); /* NULL: no gradient passes */
    /* Does this class take that layer, by its parameters? 0: it is left to the built-in type of
     * the same name. NULL: it takes all. */
    int32_t (*takes)(const dn_layer *layer, void *user);
} dn_layer_class;

/* Name, phase (DN_PHASE_TRAIN or DN_PHASE_TEST), number of bottoms and tops. Since 0.1. */
DN_API const char *dn_layer_name(const dn_layer *layer);
DN_API int32_t dn_layer_phase(const dn_layer *layer);
DN_API int32_t dn_layer_num_bottoms(const dn_layer *layer);
DN_API int32_t dn_layer_num_tops(const dn_layer *layer);

/* The shape of a bottom, borrowed until the next change of shape; NULL: no such bottom. Sets
 * that of a top, in shape, or in forward of a DN_LAYER_DYNAMIC: DN_E_INVALID (no such top),
 * DN_E_STATE (not now). Since 0.1. */
DN_API const dn_shape *dn_layer_bottom_shape(const dn_layer *layer, int32_t index);
DN_API dn_status dn_layer_set_top_shape(dn_layer *layer, int32_t index, const dn_shape *shape);

/* Adds a weight, in create only: trained as `param { lr_mult decay_mult }` says, saved and
 * loaded with the net. filler: a FillerParameter as text, "type: 'xavier'"; NULL: zeros.
 * Returns DN_OK, DN_E_SHAPE, DN_E_PARSE (the filler), DN_E_UNSUPPORTED (more than 8),
 * DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_layer_add_weight(dn_layer *layer, const dn_shape *shape,
                                     const char *filler);

/* A parameter of the layer by its path in LayerParameter, "power_param.scale": the prototxt's
 * value, else the schema's default. index: which of a repeated field, else 0. Numbers, bools
 * and enums are numbers. param_str of python_param is free text for what no field fits.
 * DN_E_NOTFOUND: no such field, or not that many; the text is NULL then. Since 0.1. */
DN_API dn_status dn_layer_number(const dn_layer *layer, const char *field, int32_t index,
                                 double *out);
DN_API const char *dn_layer_text(const dn_layer *layer, const char *field, int32_t index);

/* Says why a function of the class fails, one line, and returns status: `return
 * dn_layer_fail(layer, DN_E_SHAPE, "bottom 1 is too small")`. Since 0.1. */
DN_API dn_status dn_layer_fail(dn_layer *layer, dn_status status, const char *reason);

DN_END_DECLS
#endif
