/* SPDX-License-Identifier: BSD-2-Clause
 * yolo_loss.h: what the training losses of YOLO v2 and v3 share: op YOLO_LOSS. A true box pulls
 * the anchor of its cell that has the most of its shape; what the other boxes believe is pushed
 * down. As darknet has it, the number shown is the sum of the squares of what is asked for, and
 * what is asked for goes back as it is: the one is not the derivative of the other. */
#ifndef DNI_YOLO_LOSS_H
#define DNI_YOLO_LOSS_H

#include "layers/layer.h"

typedef struct dni_yolo_loss {
    dn_args_yolo_loss args; /* set by setup */
    dni_tensor gradient;    /* while lowering: for a dy of 1 */
} dni_yolo_loss;

dn_status dni_yolo_loss_shape(dni_layer *layer);
void dni_yolo_loss_forward(dni_layer *layer, dni_builder *b);
void dni_yolo_loss_backward(dni_layer *layer, dni_builder *b);

#endif
