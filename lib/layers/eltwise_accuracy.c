/* SPDX-License-Identifier: BSD-2-Clause
 * EltwiseAccuracy (DeconvNet, DecoupledNet): Accuracy under the name that it has there.
 * eltwise_accuracy_param: top_k (1), ignore_label (none). bottoms: scores (N, C, H, W), labels
 * (N, 1, H, W); top: one number. No gradient. */
#include "layers/accuracy.h"

const dni_layer_class dni_layer_eltwise_accuracy = {
    .type = "EltwiseAccuracy",
    .own = DNI_OWN(eltwise_accuracy_param),
    .tops_max = 1,
    DNI_ACCURACY_CLASS,
};
