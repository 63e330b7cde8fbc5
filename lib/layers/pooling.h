/* SPDX-License-Identifier: BSD-2-Clause
 * pooling.h: Pooling for the class that is one by another name. */
#ifndef DNI_POOLING_H
#define DNI_POOLING_H

#include "layers/layer.h"

typedef struct dni_pooling {
    dn_args_pool args;
    dni_tensor mask; /* while lowering */
} dni_pooling;

dn_status dni_pooling_shape(dni_layer *layer);
void dni_pooling_forward(dni_layer *layer, dni_builder *b);
void dni_pooling_backward(dni_layer *layer, dni_builder *b);

#define DNI_POOLING_CLASS                                                                      \
    .own = DNI_OWN(pooling_param), .bottoms_min = 1, .bottoms_max = 1, .tops_min = 1,          \
    .tops_max = 2, .state_size = sizeof(dni_pooling), .shape = dni_pooling_shape,              \
    .forward = dni_pooling_forward, .backward = dni_pooling_backward

#endif
