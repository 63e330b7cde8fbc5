/* SPDX-License-Identifier: BSD-2-Clause
 * channel_scale.h: ChannelScale for the class that is one by another name. */
#ifndef DNI_CHANNEL_SCALE_H
#define DNI_CHANNEL_SCALE_H

#include "layers/layer.h"

typedef struct dni_channel_scale {
    int64_t N, C, S;
    bool scales, to_x, to_f;
    dni_tensor f; /* stretched to x's shape: while lowering */
} dni_channel_scale;

dn_status dni_channel_scale_setup(dni_layer *layer);
dn_status dni_channel_scale_shape(dni_layer *layer);
void dni_channel_scale_forward(dni_layer *layer, dni_builder *b);
void dni_channel_scale_backward(dni_layer *layer, dni_builder *b);

/* The members every such class has. */
#define DNI_CHANNEL_SCALE_CLASS                                                                \
    .own = DNI_OWN(channel_scale_param), .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1,    \
    .tops_max = 1, .state_size = sizeof(dni_channel_scale), .setup = dni_channel_scale_setup,  \
    .shape = dni_channel_scale_shape, .forward = dni_channel_scale_forward,                    \
    .backward = dni_channel_scale_backward

#endif
