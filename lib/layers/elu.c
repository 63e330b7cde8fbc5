/* SPDX-License-Identifier: BSD-2-Clause
 * ELU (Clevert et al., 2015): y = x > 0 ? x : alpha (exp(x) - 1).
 * elu_param: alpha (1). bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy where x > 0, dy (y + alpha) elsewhere. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ELUParameter *p = layer->own;
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_ELU, .a = p->alpha};
    return DN_OK;
}

const dni_layer_class dni_layer_elu = {
    .type = "ELU",
    .own = DNI_OWN(elu_param),
    .setup = setup,
    DNI_NEURON_CLASS(DNI_LAYER_READS_TOP),
};
