/* SPDX-License-Identifier: BSD-2-Clause
 * permute.h: Permute for the class that is one by another name. */
#ifndef DNI_PERMUTE_H
#define DNI_PERMUTE_H

#include "layers/layer.h"

typedef struct dni_permute {
    dn_args_copy copy; /* x to y */
} dni_permute;

dn_status dni_permute_shape(dni_layer *layer);
void dni_permute_forward(dni_layer *layer, dni_builder *b);
void dni_permute_backward(dni_layer *layer, dni_builder *b);

/* The members both classes have. */
#define DNI_PERMUTE_CLASS                                                                      \
    .bottoms_min = 1, .bottoms_max = 1, .tops_min = 1, .tops_max = 1,                          \
    .state_size = sizeof(dni_permute), .shape = dni_permute_shape,                             \
    .forward = dni_permute_forward, .backward = dni_permute_backward

#endif
