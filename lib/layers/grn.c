/* SPDX-License-Identifier: BSD-2-Clause
 * GRN (OpenVINO's training toolbox): y = x / sqrt(bias + sum x^2) over the channels of each
 * position. grn_param: bias (1; at least 0, with which zeros give NaN).
 * bottom: (N, C, ...); top: the same. Gradient: dx = (dy - y (y . dy)) / sqrt(bias + sum x^2).
 */
#include "layers/normalize.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__GRNParameter *p = layer->own;
    dni_normalize *s = layer->state;
    s->plain = true;
    s->eps = p->bias;
    DNI_REQUIRE(s->eps >= 0, DN_E_NET, "bias must be at least 0");
    return DN_OK;
}

const dni_layer_class dni_layer_grn = {
    .type = "GRN",
    .own = DNI_OWN(grn_param),
    .tops_max = 1,
    .setup = setup,
    DNI_NORMALIZE_CLASS,
};
