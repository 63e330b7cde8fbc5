/* SPDX-License-Identifier: BSD-2-Clause
 * HardSwish (MobileNet v3): y = x h, h = min(max(x + 3, 0), 6) / 6. No parameters are known
 * here. bottom: any shape; top: the same; in place allowed.
 * Gradient: dy (h + x / 6) where -3 <= x <= 3, else dy h. */
#include "layers/neuron.h"

typedef struct swish_state {
    dni_tensor x, h; /* while lowering */
} swish_state;

static void forward(dni_layer *layer, dni_builder *b)
{
    swish_state *s = layer->state;
    s->x = dni_keep_input(b, layer->propagate[0]);
    s->h = dni_temp_like(b, s->x);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / 6, 0.5, 0, s->x, s->h);
    dni_emit_unary(b, DN_FN_CLIP, 0, 1, 0, s->h, s->h);
    dni_emit_product(b, s->x, s->h, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const swish_state *s = layer->state;
    dni_tensor g = dni_temp_like(b, s->x), k = dni_temp_like(b, s->x);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / 6, 0, 0, s->x, k);
    dni_emit_unary_bwd(b, DN_FN_CLIP, -3, 3, 0, s->x, DNI_NONE, k, k);
    dni_emit_sum2(b, 1, s->h, 1, k, g);
    dni_emit_product(b, b->dy[0], g, b->dx[0]);
}

const dni_layer_class dni_layer_hard_swish = {
    .type = "HardSwish",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(swish_state),
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
