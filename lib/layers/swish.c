/* SPDX-License-Identifier: BSD-2-Clause
 * Swish (Ramachandran et al., 2017): y = x / (1 + exp(-beta x)).
 * swish_param: beta (1). bottom: any shape; top: the same; in place allowed (a copy of x is
 * kept).
 * Gradient: dx = dy (beta y + s (1 - beta y)), s = 1 / (1 + exp(-beta x)). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__SwishParameter *p = layer->own;
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_SWISH, .a = p->beta};
    return DN_OK;
}

const dni_layer_class dni_layer_swish = {
    .type = "Swish",
    .own = DNI_OWN(swish_param),
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
