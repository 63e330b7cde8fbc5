/* SPDX-License-Identifier: BSD-2-Clause
 * ReLU6: y = min(max(0, x), 6). No parameters. bottom: any shape; top: the same; in place
 * allowed (a copy of x is kept). Gradient: dx = dy where 0 <= x <= 6, 0 elsewhere. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_CLIP, .a = 0, .b = 6};
    return DN_OK;
}

const dni_layer_class dni_layer_relu6 = {
    .type = "ReLU6",
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
