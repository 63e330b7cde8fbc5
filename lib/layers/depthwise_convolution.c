/* SPDX-License-Identifier: BSD-2-Clause
 * DepthwiseConvolution: Convolution by another name, of forks where it chose a faster code:
 * each channel is its own group. Formula, shapes, gradient: as Convolution's.
 * convolution_param: as there, but group is the number of channels unless given. */
#include "layers/convolution.h"

const dni_layer_class dni_layer_depthwise_convolution = {
    .type = "DepthwiseConvolution",
    DNI_CONVOLUTION_CLASS,
};
