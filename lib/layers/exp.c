/* SPDX-License-Identifier: BSD-2-Clause
 * Exp: y = base ^ (shift + scale x); base -1 stands for e.
 * exp_param: base (-1), scale (1), shift (0). bottom: any shape; top: the same; in place
 * allowed.
 * Gradient: dx = dy y scale log(base). */
#include <math.h>

#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ExpParameter *p = layer->own;
    double base = p->base, log_base = base == -1 ? 1 : log(base);
    DNI_REQUIRE(base == -1 || base > 0, DN_E_NET,
                "exp_param.base must be positive, or -1 for e");
    *(dni_neuron *)layer->state =
        (dni_neuron){.fn = DN_FN_EXP, .a = log_base * p->scale, .b = log_base * p->shift};
    return DN_OK;
}

const dni_layer_class dni_layer_exp = {
    .type = "Exp",
    .own = DNI_OWN(exp_param),
    .setup = setup,
    DNI_NEURON_CLASS(DNI_LAYER_READS_TOP),
};
