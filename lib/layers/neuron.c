/* SPDX-License-Identifier: BSD-2-Clause
 * neuron.c: lowering of one function per element: UNARY and UNARY_BWD, the gradient from y
 * wherever y is enough. */
#include "layers/neuron.h"

static bool from_y(const dni_neuron *s)
{
    return DN_FN_FROM_Y >> s->fn & 1 && (s->fn != DN_FN_ELU || s->a >= 0);
}

dni_tensor dni_keep_input(dni_builder *b, bool needed)
{
    if (!needed || !dni_same(b, b->x[0], b->y[0]))
        return b->x[0];
    dni_tensor copy = dni_temp_like(b, b->x[0]);
    dni_emit_copy(b, b->x[0], copy);
    return copy;
}

void dni_neuron_forward(dni_layer *layer, dni_builder *b)
{
    dni_neuron *s = layer->state;
    s->x = dni_keep_input(b, layer->propagate[0] && !from_y(s));
    dni_emit_unary(b, s->fn, s->a, s->b, s->c, b->x[0], b->y[0]);
}

void dni_neuron_backward(dni_layer *layer, dni_builder *b)
{
    const dni_neuron *s = layer->state;
    bool y = from_y(s);
    dni_emit_unary_bwd(b, s->fn, s->a, s->b, s->c, y ? DNI_NONE : s->x, y ? b->y[0] : DNI_NONE,
                       b->dy[0], b->dx[0]);
}
