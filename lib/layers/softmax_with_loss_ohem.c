/* SPDX-License-Identifier: BSD-2-Clause
 * SoftmaxWithLossOHEM (R-FCN): SoftmaxWithLoss that also tells the loss of each position, by
 * which the hard ones are found. softmax_param, loss_param: as SoftmaxWithLoss's.
 * bottoms: x (any shape), labels (one for each position outside the axis). tops: one number;
 * [the probabilities (x's shape); [-log p[label] of each position, 0 where ignored (the labels'
 * shape)]]. Gradient: dx = (p - 1[label]) / norm, 0 where ignored; none to the labels. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    dn_status st = dni_softmax_loss_shape(layer);
    if (layer->num_tops > 2)
        layer->top[2] = layer->bottom[1];
    return st;
}

const dni_layer_class dni_layer_softmax_with_loss_ohem = {
    .type = "SoftmaxWithLossOHEM",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 3,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = dni_softmax_loss_forward,
    .backward = dni_loss_lower_back,
};
