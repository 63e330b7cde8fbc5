/* SPDX-License-Identifier: BSD-2-Clause
 * EuclideanLoss: L = 1/(2N) * sum (a - b)^2, N the length of axis 0.
 * No parameters. bottoms: a, b, of equal axis 0 and count; top: one number.
 * Gradient: da = (a - b) / N; db = -da. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    dn_status st = dni_same_counts(layer);
    return st ? st : dni_loss_per_item(layer, DN_LOSS_EUCLIDEAN, false);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dni_loss_backward(layer->state, b, b->dx[0], b->dx[1]);
}

const dni_layer_class dni_layer_euclidean_loss = {
    .type = "EuclideanLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = dni_loss_lower,
    .backward = backward,
};
