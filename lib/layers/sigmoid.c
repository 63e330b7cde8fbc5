/* SPDX-License-Identifier: BSD-2-Clause
 * Sigmoid: y = 1 / (1 + exp(-x)).
 * sigmoid_param: engine (ignored). bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy y (1 - y). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_SIGMOID};
    return DN_OK;
}

const dni_layer_class dni_layer_sigmoid = {
    .type = "Sigmoid",
    .setup = setup,
    DNI_NEURON_CLASS(DNI_LAYER_READS_TOP),
};
