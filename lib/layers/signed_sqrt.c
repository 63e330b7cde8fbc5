/* SPDX-License-Identifier: BSD-2-Clause
 * SignedSqrt (compact bilinear pooling): y = sign(x) sqrt(|x|). No parameters. bottom: any
 * shape; top: the same, not in place.
 * Gradient: dx = dy / (2 (|y| + 0.03)), which is not the derivative, but finite at 0. */
#include "layers/layer.h"

static void forward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_tensor sign = dni_temp_like(b, b->x[0]);
    dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, b->x[0], sign);
    dni_emit_unary(b, DN_FN_ABS, 0, 0, 0, b->x[0], b->y[0]);
    dni_emit_unary(b, DN_FN_SQRT, 0, 0, 0, b->y[0], b->y[0]);
    dni_emit_product(b, b->y[0], sign, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_tensor t = dni_temp_like(b, b->y[0]);
    dni_emit_unary(b, DN_FN_ABS, 0, 0, 0, b->y[0], t);
    dni_emit_unary(b, DN_FN_AFFINE, 2, 0.06, 0, t, t);
    dni_emit_bcast(b, DN_BCAST_DIV, 1, dni_tensor_count(b, t), 1, b->dy[0], t, b->dx[0]);
}

const dni_layer_class dni_layer_signed_sqrt = {
    .type = "SignedSqrt",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_READS_TOP,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
