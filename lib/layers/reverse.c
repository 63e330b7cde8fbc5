/* SPDX-License-Identifier: BSD-2-Clause
 * Reverse (nets with CTC, CTPN): y = x backwards along an axis. reverse_param: axis (0: time).
 * bottom: any shape; top: the same. Gradient: dx = dy backwards. */
#include "layers/layer.h"

static int64_t axis_of(const dni_layer *layer)
{
    const Cnn__ReverseParameter *p = layer->own;
    return p->axis;
}

static dn_status shape(dni_layer *layer)
{
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, axis_of(layer), "axis", &axis);
    return st ? st : dni_shape_like_bottom(layer);
}

static void reverse(const dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor y)
{
    const dni_shape *s = &layer->bottom[0];
    int32_t axis = (int32_t)(axis_of(layer) + (axis_of(layer) < 0 ? s->axes : 0));
    int64_t outer = dni_shape_range(s, 0, axis), T = s->dim[axis];
    int64_t row = dni_shape_range(s, axis + 1, s->axes);
    dn_args_copy a = {.axes = 3,
                      .dim = {outer, T, row},
                      .x_stride = {T * row, row, 1},
                      .y_stride = {T * row, -row, 1},
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
    .own = DNI_OWN(reverse_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
