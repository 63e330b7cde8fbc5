/* SPDX-License-Identifier: BSD-2-Clause
 * HingeLoss: L = 1/N sum_n sum_d max(0, 1 - s x[n,d])^p, s = 1 where d is the label, else -1.
 * hinge_loss_param: norm (L1: p = 1; L2: p = 2).
 * bottoms: x (N, ...), labels (N); top: one number.
 * Gradient: -s / N where the margin is violated (times 2 (1 - s x) for L2); none to the
 * labels. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__HingeLossParameter *p = layer->own;
    dni_loss *s = layer->state;
    bool l2 = p->norm == CNN__HINGE_LOSS_PARAMETER__NORM__L2;
    s->args.param = l2 ? 2 : 1;
    return dni_loss_per_item(layer, DN_LOSS_HINGE, true);
}

const dni_layer_class dni_layer_hinge_loss = {
    .type = "HingeLoss",
    .own = DNI_OWN(hinge_loss_param),
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
