/* SPDX-License-Identifier: BSD-2-Clause
 * LSTMUnit: one step of an LSTM (Hochreiter and Schmidhuber, 1997) from its pre-activations i,
 * f, o, g: c = cont s(f) c_prev + s(i) tanh(g); h = s(o) tanh(c), s the sigmoid.
 * No parameters. bottoms: c_prev (1, N, D), x (1, N, 4 D), cont (1, N), 0 where a sequence
 * begins; tops: c, h (1, N, D).
 * Gradient: to c_prev and x as the chain rule has it; none to cont. */
#include "layers/layer.h"

typedef struct unit_state {
    dn_args_lstm args;
    dni_tensor gates; /* while lowering */
} unit_state;

static dn_status shape(dni_layer *layer)
{
    unit_state *s = layer->state;
    const dni_shape *c = &layer->bottom[0], *x = &layer->bottom[1], *cont = &layer->bottom[2];
    DNI_REQUIRE(c->axes == 3 && x->axes == 3 && cont->axes == 2, DN_E_SHAPE,
                "the bottoms have %d, %d and %d axes; c_prev and x need 3, cont 2", c->axes,
                x->axes, cont->axes);
    DNI_REQUIRE(c->dim[0] == 1 && x->dim[0] == 1 && cont->dim[0] == 1, DN_E_SHAPE,
                "the bottoms are of one time step: axis 0 has length 1");
    DNI_REQUIRE(x->dim[1] == c->dim[1] && cont->dim[1] == c->dim[1], DN_E_SHAPE,
                "c_prev has %lld sequences, x %lld and cont %lld", (long long)c->dim[1],
                (long long)x->dim[1], (long long)cont->dim[1]);
    DNI_REQUIRE(x->dim[2] == 4 * c->dim[2], DN_E_SHAPE,
                "x has %lld values per sequence, 4 times %lld are needed", (long long)x->dim[2],
                (long long)c->dim[2]);
    s->args.N = c->dim[1];
    s->args.D = c->dim[2];
    layer->top[0] = layer->top[1] = *c;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    unit_state *s = layer->state;
    s->gates = dni_temp_like(b, b->x[1]);
    dni_emit(b, DN_OP_LSTM_UNIT, &s->args, DNI_TENSORS(b->x[0], b->x[1], b->x[2]),
             DNI_TENSORS(b->y[0], b->y[1], s->gates));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const unit_state *s = layer->state;
    dni_tensor dc_prev = b->dx[0], dx = b->dx[1];
    if (dc_prev == DNI_NONE)
        dc_prev = dni_temp_like(b, b->x[0]);
    if (dx == DNI_NONE)
        dx = dni_temp_like(b, b->x[1]);
    dni_emit(b, DN_OP_LSTM_UNIT_BWD, &s->args,
             DNI_TENSORS(b->x[0], s->gates, b->y[0], b->x[2], b->dy[0], b->dy[1]),
             DNI_TENSORS(dc_prev, dx));
}

const dni_layer_class dni_layer_lstm_unit = {
    .type = "LSTMUnit",
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 2,
    .tops_max = 2,
    .flags = DNI_LAYER_READS_TOP,
    .no_gradient = 1u << 2,
    .state_size = sizeof(unit_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
