/* SPDX-License-Identifier: BSD-2-Clause
 * Filter: y_i = the items of x_i whose selector is not 0; how many there are is known only once
 * it ran. A run that finds another number than it was lowered for says so and is run again.
 * Where none is selected the tops are empty, and what follows goes on with nothing: sums are 0.
 * No parameters. bottoms: x_0 (N, ...), ..., selector (N) or (N, 1, ...); tops: y_i (M, ...).
 * Gradient: dx_i = dy_i at the selected items, 0 at the others; none to the selector. */
#include "layers/values.h"

typedef struct filter_state {
    dni_layer *layer;
    int64_t items, chosen; /* chosen: as lowered */
    dni_tensor order;      /* (chosen): which item is the next, while lowering */
} filter_state;

static dn_status setup(dni_layer *layer)
{
    ((filter_state *)layer->state)->layer = layer;
    DNI_REQUIRE(layer->num_tops == layer->num_bottoms - 1, DN_E_NET,
                "Filter needs a top for each bottom but the selector: %d tops, %d bottoms",
                layer->num_tops, layer->num_bottoms);
    return DN_OK;
}

/* Before the first run all items are taken to pass. */
static dn_status shape(dni_layer *layer)
{
    const dni_shape *selector = &layer->bottom[layer->num_tops];
    DNI_REQUIRE(selector->axes >= 1 && dni_shape_count(selector) == selector->dim[0],
                DN_E_SHAPE, "the selector needs one number per item");
    DNI_REQUIRE(selector->dim[0] <= 1 << 24, DN_E_SHAPE, "more than 2^24 items");
    ((filter_state *)layer->state)->items = selector->dim[0];
    for (int32_t i = 0; i < layer->num_tops; i++) {
        const dni_shape *x = &layer->bottom[i];
        DNI_REQUIRE(x->axes >= 1 && x->dim[0] == selector->dim[0], DN_E_SHAPE,
                    "bottom %d has %lld items, the selector %lld", i,
                    (long long)(x->axes ? x->dim[0] : 0), (long long)selector->dim[0]);
        layer->top[i] = *x;
    }
    return DN_OK;
}

/* selector -> order: all that the host is asked is which items pass. */
static dn_status choose(void *user, void *const *in, void *const *out)
{
    const filter_state *s = user;
    int32_t type = s->layer->dtype;
    int64_t count = 0;
    for (int64_t i = 0; i < s->items; i++)
        if (dni_get(in[0], type, i) != 0 && count++ < s->chosen)
            dni_put(out[0], type, count - 1, (double)i);
    for (int64_t k = count; k < s->chosen; k++)
        dni_put(out[0], type, k, 0);
    return dni_dynamic_count(s->layer, 0, count);
}

/* to: the chosen rows of `from`, or, back, those rows and 0 in the others. */
static void move(const filter_state *s, dni_builder *b, bool back, int32_t i, dni_tensor from,
                 dni_tensor to)
{
    const dni_shape *x = &s->layer->bottom[i];
    dn_args_gather rows = {.count = s->chosen,
                           .cols = dni_shape_range(x, 1, x->axes),
                           .limit = s->items,
                           .set = back};
    if (s->chosen == s->items)
        dni_emit_copy(b, from, to);
    else
        dni_emit(b, back ? DN_OP_SCATTER_ADD : DN_OP_GATHER, &rows, DNI_TENSORS(from, s->order),
                 DNI_TENSORS(to));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    filter_state *s = layer->state;
    dn_args_host_call call = {.fn = choose, .user = s};
    s->chosen = layer->top[0].dim[0];
    s->order = dni_temp(b, b->dtype, 1, &s->chosen);
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[layer->num_tops]),
             DNI_TENSORS(s->order));
    for (int32_t i = 0; i < layer->num_tops; i++)
        move(s, b, false, i, b->x[i], b->y[i]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const filter_state *s = layer->state;
    for (int32_t i = 0; i < layer->num_tops; i++)
        move(s, b, true, i, b->dy[i], b->dx[i]);
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
};
