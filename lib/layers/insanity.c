/* SPDX-License-Identifier: BSD-2-Clause
 * Insanity (Caffe for Windows): RReLU. insanity_param: lb (5), ub (10). bottom: any shape; top:
 * the same; in place allowed. */
#include "layers/rrelu.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__RReLUParameter *p = layer->own;
    DNI_REQUIRE(!p->has_negative_slope_lower && !p->has_negative_slope_upper, DN_E_NET,
                "insanity_param has lb and ub alone");
    return dni_rrelu_bounds(layer, p->has_lb ? p->lb : 5, p->has_ub ? p->ub : 10);
}

const dni_layer_class dni_layer_insanity = {
    .type = "Insanity",
    .own = DNI_OWN(insanity_param),
    .setup = setup,
    DNI_RRELU_CLASS,
};
