/* SPDX-License-Identifier: BSD-2-Clause
 * Convolution3D (C3D): Convolution over (N, C, time, height, width). Formula, shapes, gradient:
 * as Convolution's. convolution_param (or convolution3d_param): as there, but kernel_depth (1),
 * temporal_stride (1) and temporal_pad (0) are for the time. */
#include "layers/convolution.h"

const dni_layer_class dni_layer_convolution3d = {
    .type = "Convolution3D",
    DNI_CONVOLUTION_CLASS,
};
