/* SPDX-License-Identifier: BSD-2-Clause
 * Unpooling: Upsample by a mask, under the name that DeconvNet's fork, FuseNet's and others
 * give it. unpooling_param: unpool (MAX), kernel_size, stride, unpool_size | unpool_h unpool_w;
 * FuseNet: output_h output_w | scale. bottoms, top, gradient: as Upsample's of two bottoms. */
#include "layers/upsample.h"

const dni_layer_class dni_layer_unpooling = {
    .type = "Unpooling",
    .bottoms_min = 2,
    DNI_UPSAMPLE_CLASS,
};
