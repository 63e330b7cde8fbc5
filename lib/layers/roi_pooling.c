/* SPDX-License-Identifier: BSD-2-Clause
 * ROIPooling (Fast R-CNN): the largest value of each bin of a region of the map.
 * roi_pooling_param: pooled_h, pooled_w (required; or pooled_size, once or twice),
 * spatial_scale (1: map / image), pad_ratio (0; MS-CNN: a region is first widened by that share
 * of its width x1 - x0 + 1 on the left and on the right, likewise above and below).
 * bottoms: map (N, C, H, W), regions (R, 5): item, x0, y0, x1, y1 in pixels of the image; top:
 * (R, C, pooled_h, pooled_w). Corners are scaled and rounded, both belong to the region; bins
 * overlap by a row where they must; an empty bin gives 0.
 * Gradient: to the element chosen; none to the regions. */
#include "layers/roi.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ROIPoolingParameter *p = layer->param->roi_pooling_param;
    dni_roi *s = layer->state;
    DNI_REQUIRE(p, DN_E_NET, "roi_pooling_param needs pooled_h and pooled_w");
    s->P = p->n_pooled_size ? p->pooled_size[0] : p->pooled_h;
    s->Q = p->n_pooled_size ? p->pooled_size[p->n_pooled_size - 1] : p->pooled_w;
    s->pad = p->pad_ratio;
    s->args = (dn_args_roi){.method = DN_ROI_MAX, .scale = p->spatial_scale};
    DNI_REQUIRE(s->P > 0 && s->Q > 0, DN_E_NET, "pooled_h and pooled_w must be positive");
    return DN_OK;
}

const dni_layer_class dni_layer_roi_pooling = {.type = "ROIPooling", DNI_ROI_CLASS};
