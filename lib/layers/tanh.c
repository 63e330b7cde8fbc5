/* SPDX-License-Identifier: BSD-2-Clause
 * TanH: y = tanh(x).
 * tanh_param: engine (ignored). bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy (1 - y^2). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_TANH};
    return DN_OK;
}

const dni_layer_class dni_layer_tanh = {
    .type = "TanH",
    .setup = setup,
    DNI_NEURON_CLASS(DNI_LAYER_READS_TOP),
};
