/* SPDX-License-Identifier: BSD-2-Clause
 * accuracy.h: Accuracy for the class that is one by another name. */
#ifndef DNI_ACCURACY_H
#define DNI_ACCURACY_H

#include "layers/layer.h"

dn_status dni_accuracy_shape(dni_layer *layer);
void dni_accuracy_forward(dni_layer *layer, dni_builder *b);

/* The members every such class has. */
#define DNI_ACCURACY_CLASS                                                                     \
    .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1, .no_gradient = 3,                       \
    .state_size = sizeof(dn_args_accuracy), .shape = dni_accuracy_shape,                       \
    .forward = dni_accuracy_forward

#endif
