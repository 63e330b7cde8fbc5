/* SPDX-License-Identifier: BSD-2-Clause
 * MaskResize (multi-task network cascades, MNC): y = R x C^T for each plane: bilinear, row i of
 * R having the weights of the two rows of x around i H / P, at most H - 1; where that is more
 * than half a row beyond the last there are zeros.
 * mask_resize_param: output_height P, output_width Q. bottom: (N, C, H, W); top: (N, C, P, Q).
 * Gradient: dx = R^T dy C; MNC's adds up two rows and columns of dy at most, all of them where
 * the top is no larger. */
#include "layers/interp.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__MaskResizeParameter *p = layer->own;
    const int64_t *x = layer->bottom[0].dim;
    int64_t size[2] = {p->output_height, p->output_width};
    dni_interp_rule rule[2];
    dn_status st = dni_interp_size(layer, size);
    for (int d = 0; !st && d < 2; d++)
        rule[d] = (dni_interp_rule){DNI_CUT, (float)x[2 + d] / (float)size[d], 0, 1};
    return st ? st : dni_interp_weigh(layer, size, rule);
}

const dni_layer_class dni_layer_mask_resize = {
    .type = "MaskResize",
    .own = DNI_OWN(mask_resize_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(dni_interp),
    .teardown = dni_interp_teardown,
    .shape = shape,
    .forward = dni_interp_forward,
    .backward = dni_interp_backward,
};
