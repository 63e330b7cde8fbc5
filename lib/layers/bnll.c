/* SPDX-License-Identifier: BSD-2-Clause
 * BNLL (binomial normal log likelihood, softplus): y = log(1 + exp(x)).
 * No parameters. bottom: any shape; top: the same; in place allowed (a copy of x is kept).
 * Gradient: dx = dy / (1 + exp(-x)). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_BNLL};
    return DN_OK;
}

const dni_layer_class dni_layer_bnll = {
    .type = "BNLL",
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
