/* SPDX-License-Identifier: BSD-2-Clause
 * loss.h: what the loss layers have in common: ops LOSS and LOSS_BWD, the normaliser's
 * spelling. */
#ifndef DNI_LOSS_H
#define DNI_LOSS_H

#include "layers/layer.h"

/* State of a loss layer; args are filled by its shape function, the tensors while lowering. */
typedef struct dni_loss {
    dn_args_loss args;
    double fixed;        /* PRE_FIXED: what the sum is divided by; else 1 */
    void *class_weights; /* of SegNet's SoftmaxWithLoss, in the net's type; NULL: all 1 */
    dni_tensor x, weight, norm, aux;
} dni_loss;

/* loss_param's normalization, or what the older `normalize` means; otherwise `otherwise`. */
int32_t dni_loss_normalization(const Cnn__LossParameter *p, int32_t otherwise);
/* Reads ignore_label and normalization, of the forks PRE_FIXED: pre_fixed_normalizer (1)
 * divides the sum. p may be NULL. */
dn_status dni_loss_read(dni_loss *s, const Cnn__LossParameter *p, int32_t otherwise);
/* Bottoms 0 and 1 have items, and the same number of them. */
dn_status dni_loss_check_items(const dni_layer *layer);
/* Top 0 is one number; args gets items x values (outer, dim, 1); labels: bottom 1 has one
 * for each item. */
dn_status dni_loss_per_item(dni_layer *layer, int32_t loss, bool labels);
/* LOSS of x with bottom 1 as labels or targets. */
void dni_loss_forward(dni_loss *s, dni_builder *b, dni_tensor x, dni_tensor weight,
                      dni_tensor aux);
/* SoftmaxWithLoss, which others are by another name. */
dn_status dni_softmax_loss_shape(dni_layer *layer);
void dni_softmax_loss_forward(dni_layer *layer, dni_builder *b);
/* The same with a weight for each class, or DNI_NONE. */
void dni_softmax_loss_weighted(dni_layer *layer, dni_builder *b, dni_tensor weights);
/* LOSS_BWD into dx and dt (DNI_NONE: none). */
void dni_loss_backward(const dni_loss *s, dni_builder *b, dni_tensor dx, dni_tensor dt);
/* forward of a layer that keeps a dni_loss and has two bottoms, and backward of one whose
 * bottom 0 alone gets a gradient. */
void dni_loss_lower(dni_layer *layer, dni_builder *b);
void dni_loss_lower_back(dni_layer *layer, dni_builder *b);

#endif
