/* SPDX-License-Identifier: BSD-2-Clause
 * L2Normalize (compact bilinear pooling): y = x / |x|, |x| = sqrt(1e-7 + sum x^2), one norm for
 * each item over all its values. No parameters. bottom: (N, C, ...); top: the same, not in
 * place. Forks differ in the 1e-7, and one has a norm for each position.
 * Gradient: dx = (dy - y (y . dy)) / |x|. */
#include "layers/normalize.h"

static dn_status setup(dni_layer *layer)
{
    dni_normalize *s = layer->state;
    s->plain = s->across = true;
    s->eps = 1e-7;
    return DN_OK;
}

const dni_layer_class dni_layer_l2_normalize = {
    .type = "L2Normalize",
    .tops_max = 1,
    .setup = setup,
    DNI_NORMALIZE_CLASS,
};
