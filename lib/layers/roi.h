/* SPDX-License-Identifier: BSD-2-Clause
 * roi.h: what the layers that pool regions share. bottoms: map (N, C, H, W), regions (R, 5):
 * item, x0, y0, x1, y1 in pixels of the image. No gradient to the regions. */
#ifndef DNI_ROI_H
#define DNI_ROI_H

#include "layers/layer.h"

typedef struct dni_roi {
    dn_args_roi args;
    int64_t K, P, Q;          /* of top (R, K, P, Q); K 0: the map's channels. Set by setup */
    double pad;               /* share of its size that a region is widened by on each side */
    dni_tensor regions, mask; /* mask: of MAX, where there is a gradient; while lowering */
} dni_roi;

dn_status dni_roi_shape(dni_layer *layer);
void dni_roi_forward(dni_layer *layer, dni_builder *b);
void dni_roi_backward(dni_layer *layer, dni_builder *b);

#define DNI_ROI_CLASS                                                                          \
    .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1, .tops_max = 1, .no_gradient = 1u << 1,  \
    .state_size = sizeof(dni_roi), .setup = setup, .shape = dni_roi_shape,                     \
    .forward = dni_roi_forward, .backward = dni_roi_backward

#endif
