/* SPDX-License-Identifier: BSD-2-Clause
 * Flip: y = x mirrored. flip_param: flip_width (true), flip_height (false).
 * bottom: (N, C, H, W); top: the same. Gradient: dx = dy mirrored. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    dn_status st = dni_need_axes(layer, 0, 4, false);
    return st ? st : dni_shape_like_bottom(layer);
}

static void flip(const dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor y)
{
    const Cnn__FlipParameter *p = layer->own;
    bool width = p->flip_width, height = p->flip_height;
    const int64_t *dim = layer->bottom[0].dim, H = dim[2], W = dim[3];
    dn_args_copy a = {.axes = 3,
                      .dim = {dim[0] * dim[1], H, W},
                      .x_stride = {H * W, W, 1},
                      .y_stride = {H * W, height ? -W : W, width ? -1 : 1},
                      .alpha = 1};
    a.y_offset = (height ? (H - 1) * W : 0) + (width ? W - 1 : 0);
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    flip(layer, b, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    flip(layer, b, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_flip = {
    .type = "Flip",
    .own = DNI_OWN(flip_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
