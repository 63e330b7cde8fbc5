/* SPDX-License-Identifier: BSD-2-Clause
 * Normalization (forks for triplets, hashing and video): y = x / |x|, one norm for each item
 * over all its values (NaN where all are 0). No parameters. bottom: (N, C, ...); top: the same. Gradient: dx = (dy -
 * y (y . dy)) / |x|. */
#include "layers/normalize.h"

static dn_status setup(dni_layer *layer)
{
    dni_normalize *s = layer->state;
    s->plain = s->across = true;
    return DN_OK;
}

const dni_layer_class dni_layer_normalization = {
    .type = "Normalization",
    .tops_max = 1,
    .setup = setup,
    DNI_NORMALIZE_CLASS,
};
