/* SPDX-License-Identifier: BSD-2-Clause
 * Filter: y_i = the items of x_i whose selector is not 0; how many there are is known only once
 * it ran. A run that finds another number than it was lowered for says so and is run again.
 * Where none is selected the tops are empty, and what follows goes on with nothing: sums are 0.
 * No parameters. bottoms: x_0 (N, ...), ..., selector (N) or (N, 1, ...); tops: y_i (M, ...).
 * Gradient: dx_i = dy_i at the selected items, 0 at the others; none to the selector. */
#include <string.h>

#include "layers/layer.h"

typedef struct pair { /* one x and its y */
    dni_layer *layer;
    int32_t index;
    int64_t items;    /* of x and the selector */
    size_t item_size; /* bytes */
    dni_shape y;      /* as lowered */
} pair;

typedef struct filter_state {
    pair *pairs;
} filter_state;

static dn_status setup(dni_layer *layer)
{
    filter_state *s = layer->state;
    DNI_REQUIRE(layer->num_tops == layer->num_bottoms - 1, DN_E_NET,
                "Filter needs a top for each bottom but the selector: %d tops, %d bottoms",
                layer->num_tops, layer->num_bottoms);
    s->pairs = dni_alloc(layer->heap, (size_t)layer->num_tops, sizeof *s->pairs);
    return s->pairs ? DN_OK : DN_E_NOMEM;
}

static void teardown(dni_layer *layer)
{
    dni_free(layer->heap, ((filter_state *)layer->state)->pairs);
}

/* Before the first run all items are taken to pass. */
static dn_status shape(dni_layer *layer)
{
    const dni_shape *selector = &layer->bottom[layer->num_tops];
    DNI_REQUIRE(selector->axes >= 1 && dni_shape_count(selector) == selector->dim[0],
                DN_E_SHAPE, "the selector needs one number per item");
    for (int32_t i = 0; i < layer->num_tops; i++) {
        const dni_shape *x = &layer->bottom[i];
        DNI_REQUIRE(x->axes >= 1 && x->dim[0] == selector->dim[0], DN_E_SHAPE,
                    "bottom %d has %lld items, the selector %lld", i,
                    (long long)(x->axes ? x->dim[0] : 0), (long long)selector->dim[0]);
        layer->top[i] = *x;
    }
    return DN_OK;
}

static bool selected(const pair *p, const void *selector, int64_t i)
{
    return p->layer->dtype == DN_F64 ? ((const double *)selector)[i] != 0
                                     : ((const float *)selector)[i] != 0;
}

static int64_t count_selected(const pair *p, const void *selector)
{
    int64_t count = 0;
    for (int64_t i = 0; i < p->items; i++)
        count += selected(p, selector, i);
    return count;
}

static dn_status run_forward(void *user, void *const *in, void *const *out)
{
    const pair *p = user;
    dni_shape y = p->layer->bottom[p->index];
    char *to = out[0];
    y.dim[0] = count_selected(p, in[1]);
    if (!dni_shape_equal(&y, &p->y))
        return dni_dynamic_shape(p->layer, p->index, &y);
    for (int64_t i = 0; i < p->items; i++)
        if (selected(p, in[1], i)) {
            memcpy(to, (const char *)in[0] + (size_t)i * p->item_size, p->item_size);
            to += p->item_size;
        }
    return DN_OK;
}

static dn_status run_backward(void *user, void *const *in, void *const *out)
{
    const pair *p = user;
    const char *from = in[0];
    if (count_selected(p, in[1]) != p->y.dim[0]) /* the host's doing */
        return dni_fail(DN_E_DATA, "the selector has changed since the forward");
    for (int64_t i = 0; i < p->items; i++) {
        char *to = (char *)out[0] + (size_t)i * p->item_size;
        if (selected(p, in[1], i)) {
            memcpy(to, from, p->item_size);
            from += p->item_size;
        } else {
            memset(to, 0, p->item_size); /* 0 of either type */
        }
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    filter_state *s = layer->state;
    size_t element = dni_dtype_size(layer->dtype);
    for (int32_t i = 0; i < layer->num_tops; i++) {
        const dni_shape *x = &layer->bottom[i];
        pair *p = &s->pairs[i];
        *p = (pair){.layer = layer,
                    .index = i,
                    .items = x->dim[0],
                    .item_size = (size_t)dni_shape_range(x, 1, x->axes) * element,
                    .y = *dni_tensor_shape(b, b->y[i])};
        /* on the host: how many items pass is asked before they are written */
        dn_args_host_call call = {.fn = run_forward, .user = p};
        dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[i], b->x[layer->num_tops]),
                 DNI_TENSORS(b->y[i]));
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    filter_state *s = layer->state;
    for (int32_t i = 0; i < layer->num_tops; i++) {
        dn_args_host_call call = {.fn = run_backward, .user = &s->pairs[i]};
        dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->dy[i], b->x[layer->num_tops]),
                 DNI_TENSORS(b->dx[i]));
    }
    dni_emit_fill(b, b->dx[layer->num_tops], 0);
}

const dni_layer_class dni_layer_filter = {
    .type = "Filter",
    .bottoms_min = 2,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = -1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(filter_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .teardown = teardown,
};
