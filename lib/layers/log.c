/* SPDX-License-Identifier: BSD-2-Clause
 * Log: y = log_base(shift + scale x); base -1 stands for e.
 * log_param: base (-1), scale (1), shift (0). bottom: any shape; top: the same; in place
 * allowed (a copy of x is kept).
 * Gradient: dx = dy scale / (log(base) (shift + scale x)). */
#include <math.h>

#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__LogParameter *p = layer->own;
    double base = p->base;
    DNI_REQUIRE(base == -1 || (base > 0 && base != 1), DN_E_NET,
                "log_param.base must be positive and not 1, or -1 for e");
    *(dni_neuron *)layer->state = (dni_neuron){
        .fn = DN_FN_LOG, .a = p->scale, .b = p->shift, .c = base == -1 ? 1 : 1 / log(base)};
    return DN_OK;
}

const dni_layer_class dni_layer_log = {
    .type = "Log",
    .own = DNI_OWN(log_param),
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
