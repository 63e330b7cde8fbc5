/* SPDX-License-Identifier: BSD-2-Clause
 * HardSwish (MobileNet v3): y = x min(max(x + 3, 0), 6) / 6. No parameters are known here.
 * bottom: any shape; top: the same; in place allowed (a copy of x is kept).
 * Gradient: dy (2 x + 3) / 6 where -3 <= x <= 3, 0 below, dy above. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_HARD_SWISH, .a = 1.0 / 6};
    return DN_OK;
}

const dni_layer_class dni_layer_hard_swish = {
    .type = "HardSwish",
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
