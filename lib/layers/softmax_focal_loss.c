/* SPDX-License-Identifier: BSD-2-Clause
 * SoftmaxFocalLoss: FocalLoss by its first name. */
#include "layers/focal_loss.h"

const dni_layer_class dni_layer_softmax_focal_loss = {
    .type = "SoftmaxFocalLoss",
    DNI_FOCAL_CLASS,
};
