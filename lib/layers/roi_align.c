/* SPDX-License-Identifier: BSD-2-Clause
 * ROIAlign (Mask R-CNN): the mean of samples of each bin of a region, bilinear between the
 * elements of the map. roi_align_param: pooled_h, pooled_w (required), spatial_scale (1: map /
 * image), sampling_ratio (samples of a bin along each axis; not positive: as many as it has
 * rows or columns, rounded up). bottoms: map (N, C, H, W), regions (R, 5): item, x0, y0, x1, y1
 * in pixels of the image; top: (R, C, pooled_h, pooled_w). Corners are scaled and not rounded
 * (an element's place is its index), the region is at least 1 long, and what lies more than 1
 * outside the map is 0: Detectron's. Gradient: to the elements in their shares; none to the
 * regions. */
#include "layers/roi.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ROIAlignParameter *p = layer->param->roi_align_param;
    dni_roi *s = layer->state;
    DNI_REQUIRE(p && p->pooled_h > 0 && p->pooled_w > 0, DN_E_NET,
                "roi_align_param needs pooled_h and pooled_w");
    DNI_REQUIRE(p->sampling_ratio <= 1000, DN_E_LIMIT, "sampling_ratio is larger than 1000");
    s->P = p->pooled_h;
    s->Q = p->pooled_w;
    s->args = (dn_args_roi){.method = DN_ROI_ALIGN,
                            .samples = p->sampling_ratio > 0 ? p->sampling_ratio : 0,
                            .scale = p->spatial_scale};
    return DN_OK;
}

const dni_layer_class dni_layer_roi_align = {.type = "ROIAlign", DNI_ROI_CLASS};
