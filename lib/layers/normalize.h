/* SPDX-License-Identifier: BSD-2-Clause
 * normalize.h: Normalize for the classes that divide by a norm too. */
#ifndef DNI_NORMALIZE_H
#define DNI_NORMALIZE_H

#include "layers/layer.h"

typedef struct dni_normalize {
    int64_t N, C, inner;
    bool across, shared, plain; /* plain: without s */
    double eps;
    dni_tensor u, norm; /* for the gradient, while lowering */
} dni_normalize;

dn_status dni_normalize_shape(dni_layer *layer);
void dni_normalize_forward(dni_layer *layer, dni_builder *b);
void dni_normalize_backward(dni_layer *layer, dni_builder *b);

/* The members every such class has; its setup says across, plain and eps. */
#define DNI_NORMALIZE_CLASS                                                                    \
    .bottoms_min = 1, .bottoms_max = 1, .tops_min = 1, .flags = DNI_LAYER_READS_TOP,           \
    .state_size = sizeof(dni_normalize), .shape = dni_normalize_shape,                         \
    .forward = dni_normalize_forward, .backward = dni_normalize_backward

#endif
