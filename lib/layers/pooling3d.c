/* SPDX-License-Identifier: BSD-2-Clause
 * Pooling3D (C3D): Pooling over (N, C, time, height, width). Formula, shapes, gradient: as
 * Pooling's. pooling_param (or pooling3d_param): as there, but kernel_depth (1),
 * temporal_stride (1) and temporal_pad (0) are for the time. */
#include "layers/pooling.h"

const dni_layer_class dni_layer_pooling3d = {
    .type = "Pooling3D",
    DNI_POOLING_CLASS,
};
