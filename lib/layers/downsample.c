/* SPDX-License-Identifier: BSD-2-Clause
 * Downsample (FlowNet): y = R x C^T for each plane, corners onto corners, row i of R having a
 * triangle's weights, (H - 1) / (P - 1) to either side of its middle. What is NaN in x has
 * none, and y is NaN where more than a third of its weight would be NaN's. downsample_param:
 * top_height, top_width. bottoms: (N, C, H, W), [a blob whose size is taken]; top: (N, C, P,
 * Q). No gradient. */
#include "layers/interp.h"
#include "layers/known.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__DownsampleParameter *p = layer->param->downsample_param;
    int64_t size[2] = {p ? p->top_height : 0, p ? p->top_width : 0};
    dni_interp_rule rule[2];
    dn_status st = dni_interp_size(layer, size);
    for (int d = 0; !st && d < 2; d++) {
        float from = (float)layer->bottom[0].dim[2 + d], to = (float)size[d];
        float step = to > 1 && from > 1 ? (from - 1) / (to - 1) : from;
        rule[d] = (dni_interp_rule){DNI_TRIANGLE, to > 1 ? step : 0, 0, step};
    }
    return st ? st : dni_interp_weigh(layer, size, rule);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_known x = dni_emit_known(b, b->x[0], 0);
    dni_tensor y = dni_temp_like(b, b->y[0]), share = dni_temp_like(b, y);
    dni_interp_product(layer, b, x.value, y);
    dni_interp_product(layer, b, x.one, share);
    dni_emit_pair(b, DN_ELTWISE_DIV, y, share, y);
    dni_emit_unary(b, DN_FN_THRESHOLD, 2 / 3.0 - 1e-6, 0, 0, share, share);
    dni_emit_product(b, y, share, y);
    dni_emit_pair(b, DN_ELTWISE_DIV, y, share, b->y[0]);
}

const dni_layer_class dni_layer_downsample = {
    .type = "Downsample",
    DNI_INTERP_CLASS,
    .shape = shape,
    .forward = forward,
};
