/* SPDX-License-Identifier: BSD-2-Clause
 * ReLU6: y = min(max(0, x), 6). No parameters. bottom: any shape; top: the same; in place
 * allowed (a copy of x is kept). Gradient: dx = dy where 0 < x < 6, 0 elsewhere. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_CLIP, .a = 0, .b = 6};
    return DN_OK;
}

/* CLIP's own gradient is 1 at its ends: these are the last numbers before them. */
static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_neuron *s = layer->state;
    dni_emit_unary_bwd(b, s->fn, 1.4e-45, 5.9999995, 0, s->x, DNI_NONE, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_relu6 = {
    .type = "ReLU6",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(dni_neuron),
    .setup = setup,
    .shape = dni_shape_like_bottom,
    .forward = dni_neuron_forward,
    .backward = backward,
};
