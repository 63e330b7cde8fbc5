/* SPDX-License-Identifier: BSD-2-Clause
 * rrelu.h: RReLU under each of its names. */
#ifndef DNI_RRELU_H
#define DNI_RRELU_H

#include "layers/layer.h"

typedef struct dni_rrelu {
    double low, high, test; /* bounds of r; 1 / r in TEST */
    dni_tensor r;           /* TRAIN, while lowering */
} dni_rrelu;

/* In setup: r from U(low, high), in TEST (high - low) / log(high / low). */
dn_status dni_rrelu_bounds(dni_layer *layer, double low, double high);
void dni_rrelu_forward(dni_layer *layer, dni_builder *b);
void dni_rrelu_backward(dni_layer *layer, dni_builder *b);

/* The members every such class has; its setup says the bounds. */
#define DNI_RRELU_CLASS                                                                        \
    .bottoms_min = 1, .bottoms_max = 1, .tops_min = 1, .tops_max = 1,                          \
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_READS_SIGN, .state_size = sizeof(dni_rrelu),        \
    .shape = dni_shape_like_bottom, .forward = dni_rrelu_forward,                              \
    .backward = dni_rrelu_backward

#endif
