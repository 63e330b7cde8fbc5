/* SPDX-License-Identifier: BSD-2-Clause
 * SigmoidCrossEntropyLoss: L = -1/Z sum t log s(x) + (1 - t) log(1 - s(x)), s the sigmoid.
 * loss_param: ignore_label (none): elements whose target is that number do not count;
 * normalization (BATCH_SIZE): FULL: Z is the number of elements, VALID: of those that count,
 * BATCH_SIZE: of items, NONE: 1; the older normalize: true means VALID, false BATCH_SIZE.
 * bottoms: x (N, ...), targets of the same count; top: one number.
 * Gradient: (s(x) - t) / Z; none to the targets. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    dni_loss *s = layer->state;
    dn_status st = dni_loss_read(s, layer->param->loss_param,
                                 CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE);
    if (st)
        return st;
    int64_t x = dni_shape_count(&layer->bottom[0]), t = dni_shape_count(&layer->bottom[1]);
    DNI_REQUIRE(x == t, DN_E_SHAPE, "bottom 0 has %lld values, the targets %lld", (long long)x,
                (long long)t);
    return dni_loss_per_item(layer, DN_LOSS_SIGMOID_CE, false);
}

const dni_layer_class dni_layer_sigmoid_cross_entropy_loss = {
    .type = "SigmoidCrossEntropyLoss",
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
