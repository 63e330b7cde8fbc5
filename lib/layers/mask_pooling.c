/* SPDX-License-Identifier: BSD-2-Clause
 * MaskPooling (multi-task network cascades, MNC): ChannelScale under the name that it has
 * there: y[n, c, s] = x[n, c, s] f[n, s]; channel_scale_param counts. bottoms: x, masks f; top, gradient: as
 * ChannelScale's. */
#include "layers/channel_scale.h"

const dni_layer_class dni_layer_mask_pooling = {
    .type = "MaskPooling",
    DNI_CHANNEL_SCALE_CLASS,
};
