/* SPDX-License-Identifier: BSD-2-Clause
 * Reverse (nets with CTC): y = x backwards along axis 0, which is time. No parameters are known
 * here. bottom: (T, ...); top: the same. Gradient: dx = dy backwards. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    DNI_REQUIRE(layer->bottom[0].axes >= 1, DN_E_SHAPE, "bottom has no axis");
    return dni_shape_like_bottom(layer);
}

static void reverse(const dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor y)
{
    const dni_shape *s = &layer->bottom[0];
    int64_t T = s->dim[0], row = dni_shape_range(s, 1, s->axes);
    dn_args_copy a = {.axes = 2,
                      .dim = {T, row},
                      .x_stride = {row, 1},
                      .y_stride = {-row, 1},
                      .y_offset = (T - 1) * row,
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    reverse(layer, b, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    reverse(layer, b, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_reverse = {
    .type = "Reverse",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
