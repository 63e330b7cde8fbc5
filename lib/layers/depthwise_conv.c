/* SPDX-License-Identifier: BSD-2-Clause
 * DepthwiseConv: Convolution by another name, of forks where it chose a faster code.
 * convolution_param: group (one for each channel, as with DepthwiseConvolution; its nets give
 * it). Formula, other parameters, shapes, gradient: as Convolution's. */
#include "layers/convolution.h"

const dni_layer_class dni_layer_depthwise_conv = {
    .type = "DepthwiseConv",
    DNI_CONVOLUTION_CLASS,
};
