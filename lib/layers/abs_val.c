/* SPDX-License-Identifier: BSD-2-Clause
 * AbsVal: y = |x|.
 * No parameters. bottom: any shape; top: the same; in place allowed (a copy of x is kept).
 * Gradient: dx = dy sign(x), 0 at x = 0. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_ABS};
    return DN_OK;
}

const dni_layer_class dni_layer_abs_val = {
    .type = "AbsVal",
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
