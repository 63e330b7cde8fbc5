/* SPDX-License-Identifier: BSD-2-Clause
 * Axpy (SENet): z = a x + y, a one number for each channel. No parameters.
 * bottoms: a (N, C, 1, 1) or (N, C), x (N, C, ...), y (x's shape); top: x's shape.
 * Gradient: da = sums of x dz over each channel; dx = a dz; dy = dz. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const dni_shape *a = &layer->bottom[0], *x = &layer->bottom[1];
    DNI_REQUIRE(x->axes >= 2 && a->axes >= 2 && a->dim[0] == x->dim[0] &&
                    a->dim[1] == x->dim[1] && dni_shape_range(a, 2, a->axes) == 1,
                DN_E_SHAPE, "bottom 0 must have one number for each channel of bottom 1");
    DNI_REQUIRE(dni_shape_equal(x, &layer->bottom[2]), DN_E_SHAPE,
                "bottoms 1 and 2 have different shapes");
    layer->top[0] = *x;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *x = &layer->bottom[1];
    dni_emit_bcast(b, DN_BCAST_MUL, 1, x->dim[0] * x->dim[1], dni_shape_range(x, 2, x->axes),
                   b->x[1], b->x[0], b->y[0]);
    dni_emit_sum2(b, 1, b->y[0], 1, b->x[2], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *x = &layer->bottom[1];
    int64_t channels = x->dim[0] * x->dim[1], inner = dni_shape_range(x, 2, x->axes);
    dni_emit_reduce_mid(b, 1, channels, inner, 1, b->dy[0], b->x[1], b->dx[0]);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, channels, inner, b->dy[0], b->x[0], b->dx[1]);
    dni_emit_copy(b, b->dy[0], b->dx[2]);
}

const dni_layer_class dni_layer_axpy = {
    .type = "Axpy",
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
