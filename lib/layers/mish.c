/* SPDX-License-Identifier: BSD-2-Clause
 * Mish (Misra, 2019): y = x t, t = tanh(log(1 + exp(x))). No parameters. bottom: any shape;
 * top: the same; in place allowed (a copy of x is kept).
 * Gradient: dx = dy t + dy x (1 - t^2) / (1 + exp(-x)). */
#include "layers/neuron.h"

typedef struct state {
    dni_tensor x, t; /* what backward reads, while lowering */
} state;

static void forward(dni_layer *layer, dni_builder *b)
{
    state *s = layer->state;
    s->x = dni_keep_input(b, layer->propagate[0]);
    s->t = dni_temp_like(b, b->x[0]);
    dni_emit_unary(b, DN_FN_BNLL, 0, 0, 0, b->x[0], s->t);
    dni_emit_unary(b, DN_FN_TANH, 0, 0, 0, s->t, s->t);
    dni_emit_product(b, b->x[0], s->t, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const state *s = layer->state;
    dni_tensor through = dni_temp_like(b, s->x);
    dni_emit_product(b, b->dy[0], s->x, through);
    dni_emit_unary_bwd(b, DN_FN_TANH, 0, 0, 0, DNI_NONE, s->t, through, through);
    dni_emit_unary_bwd(b, DN_FN_BNLL, 0, 0, 0, s->x, DNI_NONE, through, through);
    dni_emit_product(b, b->dy[0], s->t, b->dx[0]);
    dni_emit_sum2(b, 1, b->dx[0], 1, through, b->dx[0]);
}

const dni_layer_class dni_layer_mish = {
    .type = "Mish",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(state),
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
