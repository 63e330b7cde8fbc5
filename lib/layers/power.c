/* SPDX-License-Identifier: BSD-2-Clause
 * Power: y = (shift + scale x)^power; with power 0 or scale 0 the constant that remains.
 * power_param: power (1), scale (1), shift (0). bottom: any shape; top: the same; in place
 * allowed (a copy of x is kept where the gradient needs it).
 * Gradient: dx = dy power scale (shift + scale x)^(power - 1). */
#include <math.h>

#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__PowerParameter *p = layer->own;
    double power = p->power, scale = p->scale, shift = p->shift;
    dni_neuron *s = layer->state;
    if (power == 0 || scale == 0) /* whatever x is */
        *s = (dni_neuron){.fn = DN_FN_NONE, .c = power == 0 ? 1 : pow(shift, power)};
    else if (power == 1)
        *s = (dni_neuron){.fn = DN_FN_AFFINE, .a = scale, .b = shift};
    else
        *s = (dni_neuron){.fn = DN_FN_POWER, .a = scale, .b = shift, .c = power};
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_neuron *s = layer->state;
    if (s->fn == DN_FN_NONE)
        dni_emit_fill(b, b->y[0], s->c);
    else
        dni_neuron_forward(layer, b);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_neuron *s = layer->state;
    if (s->fn == DN_FN_NONE)
        dni_emit_fill(b, b->dx[0], 0);
    else
        dni_neuron_backward(layer, b);
}

const dni_layer_class dni_layer_power = {
    .type = "Power",
    .own = DNI_OWN(power_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(dni_neuron),
    .setup = setup,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
