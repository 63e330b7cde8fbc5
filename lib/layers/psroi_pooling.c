/* SPDX-License-Identifier: BSD-2-Clause
 * PSROIPooling (R-FCN): the mean of each bin of a region, each bin from a channel of its own.
 * psroi_pooling_param: spatial_scale (required), output_dim, group_size (G; required).
 * bottoms: map (N, output_dim G G, H, W), regions (R, 5): item, x0, y0, x1, y1 in pixels of the
 * image; top: (R, output_dim, G, G). The region is [round(x0), round(x1) + 1) scaled, at least
 * 0.1 long; bin (g, h) of output c is read from channel (c G + g) G + h; an empty bin gives 0.
 * Gradient: spread evenly over the bin; none to the regions. */
#include "layers/roi.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__PSROIPoolingParameter *p = layer->param->psroi_pooling_param;
    dni_roi *s = layer->state;
    DNI_REQUIRE(p && p->spatial_scale > 0 && p->output_dim > 0 && p->group_size > 0, DN_E_NET,
                "psroi_pooling_param needs spatial_scale, output_dim and group_size");
    s->K = p->output_dim;
    s->P = s->Q = p->group_size;
    s->args = (dn_args_roi){.method = DN_ROI_PS_AVERAGE, .scale = p->spatial_scale};
    return DN_OK;
}

const dni_layer_class dni_layer_psroi_pooling = {.type = "PSROIPooling", DNI_ROI_CLASS};
