/* SPDX-License-Identifier: BSD-2-Clause
 * inner_product.h: weights of face nets, rows of length 1. */
#ifndef DNI_INNER_PRODUCT_H
#define DNI_INNER_PRODUCT_H

#include "layers/layer.h"

/* Weight 0, (rows, cols), each row divided by sqrt(eps + sum w^2): in TRAIN the weight itself
 * becomes that, as in the forks, so that the update starts from it. */
dni_tensor dni_unit_rows(const dni_layer *layer, dni_builder *b, int64_t rows, int64_t cols,
                         double eps);

#endif
