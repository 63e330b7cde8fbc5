/* SPDX-License-Identifier: BSD-2-Clause
 * margin.h: MarginInnerProduct, and LargeMarginInnerProduct, which leaves the rows of W as long
 * as they are. */
#ifndef DNI_MARGIN_H
#define DNI_MARGIN_H

#include "layers/counted.h"

typedef struct dni_margin {
    dni_counted lambda; /* first: it is cast to */
    const dni_layer *layer;
    int64_t M, K, N;
    /* of dy at a label: what w gets beside it, and x, and W's row of itself: (M) */
    dni_tensor w, to_w, to_x, of_w;
} dni_margin;

dn_status dni_margin_setup(dni_layer *layer);
dn_status dni_margin_shape(dni_layer *layer);
void dni_margin_forward(dni_layer *layer, dni_builder *b);
void dni_margin_backward(dni_layer *layer, dni_builder *b);

#define DNI_MARGIN_CLASS                                                                       \
    .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1, .tops_max = 2, .no_gradient = 1u << 1,  \
    .state_size = sizeof(dni_margin), .setup = dni_margin_setup, .shape = dni_margin_shape,    \
    .forward = dni_margin_forward, .backward = dni_margin_backward

#endif
