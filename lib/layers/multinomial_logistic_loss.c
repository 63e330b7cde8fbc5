/* SPDX-License-Identifier: BSD-2-Clause
 * MultinomialLogisticLoss: L = -1/N sum_n log max(x[n, label], 1e-20); x are probabilities.
 * No parameters. bottoms: x (N, ...), labels (N); top: one number.
 * Gradient: -1 / (N max(x, 1e-20)) at the label, 0 elsewhere; none to the labels. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    return dni_loss_per_item(layer, DN_LOSS_MULTINOMIAL, true);
}

const dni_layer_class dni_layer_multinomial_logistic_loss = {
    .type = "MultinomialLogisticLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = dni_loss_lower,
    .backward = dni_loss_lower_back,
};
