/* SPDX-License-Identifier: BSD-2-Clause
 * SeLu: y = lambda (x > 0 ? x : alpha (exp(x) - 1)), alpha 1.6732632423543772, lambda
 * 1.0507009873554805: activations tend to mean 0 and variance 1. No parameters. bottom: any
 * shape; top: the same; in place allowed. Gradient: dx = dy lambda where x > 0, else
 * dy (y + lambda alpha). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state =
        (dni_neuron){.fn = DN_FN_SELU, .a = 1.6732632423543772, .b = 1.0507009873554805};
    return DN_OK;
}

const dni_layer_class dni_layer_selu = {
    .type = "SeLu",
    .setup = setup,
    DNI_NEURON_CLASS(DNI_LAYER_READS_TOP),
};
