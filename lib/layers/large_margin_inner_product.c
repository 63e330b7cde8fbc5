/* SPDX-License-Identifier: BSD-2-Clause
 * LargeMarginInnerProduct (L-Softmax, Liu et al., 2016): MarginInnerProduct with rows of W of
 * any length: y = x W^T, but where a column is the item's label: (|x| |w| psi(cos) + lambda x
 * w) / (1 + lambda), cos = x w / (|x| |w| + 1e-9); psi and lambda as there.
 * largemargin_inner_product_param, bottoms, tops, weights: as there. Gradient: the derivative.
 */
#include "layers/margin.h"

const dni_layer_class dni_layer_large_margin_inner_product = {
    .type = "LargeMarginInnerProduct",
    DNI_MARGIN_CLASS,
};
