/* SPDX-License-Identifier: BSD-2-Clause
 * upsample.h: Upsample for the class that is one by another name. */
#ifndef DNI_UPSAMPLE_H
#define DNI_UPSAMPLE_H

#include "layers/layer.h"

typedef struct dni_upsample {
    int64_t rows, columns; /* of a block */
    int64_t H, W;          /* of the top, 0: not given */
} dni_upsample;

dn_status dni_upsample_setup(dni_layer *layer);
dn_status dni_upsample_shape(dni_layer *layer);
void dni_upsample_forward(dni_layer *layer, dni_builder *b);
void dni_upsample_backward(dni_layer *layer, dni_builder *b);

/* The members every such class has. */
#define DNI_UPSAMPLE_CLASS                                                                     \
    .own = DNI_OWN(upsample_param), .bottoms_max = 2, .tops_min = 1, .tops_max = 1,            \
    .no_gradient = 1u << 1, .state_size = sizeof(dni_upsample), .setup = dni_upsample_setup,   \
    .shape = dni_upsample_shape, .forward = dni_upsample_forward,                              \
    .backward = dni_upsample_backward

#endif
