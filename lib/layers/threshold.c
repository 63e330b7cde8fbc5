/* SPDX-License-Identifier: BSD-2-Clause
 * Threshold: y = x > threshold ? 1 : 0.
 * threshold_param: threshold (0). bottom: any shape; top: the same; in place allowed.
 * Gradient: 0 (Caffe has none). */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ThresholdParameter *p = layer->own;
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_THRESHOLD, .a = p->threshold};
    return DN_OK;
}

const dni_layer_class dni_layer_threshold = {
    .type = "Threshold",
    .own = DNI_OWN(threshold_param),
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
