/* SPDX-License-Identifier: BSD-2-Clause
 * HardSigmoid (MobileNet v3): y = min(max(x + 3, 0), 6) / 6. No parameters are known here.
 * bottom: any shape; top: the same; in place allowed.
 * Gradient: dy / 6 where -3 <= x <= 3, else 0. */
#include "layers/neuron.h"

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_neuron *s = layer->state;
    s->x = dni_keep_input(b, layer->propagate[0]);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / 6, 0.5, 0, s->x, b->y[0]);
    dni_emit_unary(b, DN_FN_CLIP, 0, 1, 0, b->y[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_neuron *s = layer->state;
    dni_tensor g = dni_temp_like(b, s->x);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / 6, 0, 0, b->dy[0], g);
    dni_emit_unary_bwd(b, DN_FN_CLIP, -3, 3, 0, s->x, DNI_NONE, g, b->dx[0]);
}

const dni_layer_class dni_layer_hard_sigmoid = {
    .type = "HardSigmoid",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(dni_neuron),
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
