/* SPDX-License-Identifier: BSD-2-Clause
 * ChannelNorm (FlowNet 2): y = sqrt(sum x^2) over the channels of each position.
 * No parameters. bottom: (N, C, ...); top: (N, 1, ...).
 * Gradient: dx = dy x / (y + 1e-9). */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    layer->top[0] = layer->bottom[0];
    layer->top[0].dim[1] = 1;
    return dni_need_axes(layer, 0, 2, true);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *x = &layer->bottom[0];
    int64_t C = x->dim[1], inner = dni_shape_range(x, 2, x->axes);
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, x->dim[0], C, inner, 1, b->x[0], DNI_NONE, b->y[0]);
    dni_emit_unary(b, DN_FN_POWER, 1, 0, 0.5, b->y[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *x = &layer->bottom[0];
    int64_t C = x->dim[1], inner = dni_shape_range(x, 2, x->axes);
    dni_tensor norm = dni_temp_like(b, b->y[0]), g = dni_temp_like(b, b->y[0]);
    dni_tensor wide = dni_temp_like(b, b->x[0]);
    dni_emit_unary(b, DN_FN_AFFINE, 1, 1e-9, 0, b->y[0], norm);
    dni_emit_bcast(b, DN_BCAST_DIV, 1, x->dim[0] * inner, 1, b->dy[0], norm, g);
    dni_emit_spread(b, x->dim[0], C, inner, 1, g, wide);
    dni_emit_product(b, b->x[0], wide, b->dx[0]);
}

const dni_layer_class dni_layer_channel_norm = {
    .type = "ChannelNorm",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_READS_TOP,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
