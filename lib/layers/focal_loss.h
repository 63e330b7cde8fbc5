/* SPDX-License-Identifier: BSD-2-Clause
 * focal_loss.h: the loss that forks call FocalLoss, and SoftmaxFocalLoss before. */
#ifndef DNI_FOCAL_LOSS_H
#define DNI_FOCAL_LOSS_H

#include "layers/loss.h"

typedef struct dni_focal {
    dni_loss loss; /* what it is divided by, the label that does not count */
    int64_t M, C;  /* positions, classes */
    double scale;  /* of the sum, beside `norm` */
    dni_tensor rows, index, valid, p, q, log_p, norm; /* while lowering */
} dni_focal;

dn_status dni_focal_shape(dni_layer *layer);
void dni_focal_forward(dni_layer *layer, dni_builder *b);
void dni_focal_backward(dni_layer *layer, dni_builder *b);

#define DNI_FOCAL_CLASS                                                                        \
    .own = DNI_OWN(focal_loss_param), .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1,       \
    .tops_max = 2, .flags = DNI_LAYER_LOSS, .no_gradient = 1u << 1,                            \
    .state_size = sizeof(dni_focal), .shape = dni_focal_shape, .forward = dni_focal_forward,   \
    .backward = dni_focal_backward

#endif
