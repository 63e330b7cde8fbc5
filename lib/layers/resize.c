/* SPDX-License-Identifier: BSD-2-Clause
 * Resize (happynear's fork and others): y = R x C^T for each plane: bilinear, row i of R having
 * the weights of the two rows of x around i H / P; of one below the last there are zeros.
 * resize_param: height, width; or is_pyramid_test: true and out_height_scale, out_width_scale:
 * P = H out_height_scale, Q = W out_width_scale, cut. Others, of SSD's preprocessing, are
 * refused. bottom: (N, C, H, W); top: (N, C, P, Q). Gradient: dx = R^T dy C. */
#include <math.h>

#include "layers/interp.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ResizeParameter *p = layer->own;
    DNI_REQUIRE(p->resize_mode == CNN__RESIZE_PARAMETER__RESIZE_MODE__WARP && p->prob == 1 &&
                    !p->n_interp_mode && !p->n_pad_value && !p->height_scale && !p->width_scale,
                DN_E_UNSUPPORTED,
                "Resize takes height and width, or is_pyramid_test and its scales, alone");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__ResizeParameter *p = layer->own;
    const int64_t *x = layer->bottom[0].dim;
    float scale[2] = {p->out_height_scale, p->out_width_scale};
    int64_t size[2] = {p->height, p->width};
    dni_interp_rule rule[2];
    for (int d = 0; p->is_pyramid_test && d < 2; d++)
        size[d] = (int64_t)fmax(fmin(scale[d] * (float)x[2 + d], 0x1p60), 0);
    dn_status st = dni_interp_size(layer, size);
    for (int d = 0; !st && d < 2; d++)
        rule[d] = (dni_interp_rule){DNI_TENT, (float)x[2 + d] / (float)size[d], 0, 1};
    return st ? st : dni_interp_weigh(layer, size, rule);
}

const dni_layer_class dni_layer_resize = {
    .type = "Resize",
    .own = DNI_OWN(resize_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(dni_interp),
    .setup = setup,
    .teardown = dni_interp_teardown,
    .shape = shape,
    .forward = dni_interp_forward,
    .backward = dni_interp_backward,
};
