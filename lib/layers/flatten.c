/* SPDX-License-Identifier: BSD-2-Clause
 * Flatten: axes [axis, end_axis] become one; with an end_axis just before axis, none of them,
 * which puts an axis of length 1 there, as in Caffe.
 * flatten_param: axis (1), end_axis (-1). bottom: any shape; top: the same values.
 * Gradient: dx = dy under the bottom's shape. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__FlattenParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    int32_t from, to;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &from);
    if (!st)
        st = dni_layer_axis(layer, 0, p->end_axis, "end_axis", &to);
    if (st)
        return st;
    DNI_REQUIRE(from <= to + (x->axes < DN_MAX_AXES), DN_E_NET,
                "axis %d comes after end_axis %d", from, to);
    dni_shape top = dni_shape_of(from, x->dim);
    top.dim[top.axes++] = dni_shape_range(x, from, to + 1);
    for (int32_t i = to + 1; i < x->axes; i++)
        top.dim[top.axes++] = x->dim[i];
    layer->top[0] = top;
    return DN_OK;
}

const dni_layer_class dni_layer_flatten = {
    .type = "Flatten",
    .own = DNI_OWN(flatten_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_SHARED_DIFF,
    .shape = shape,
    .forward = dni_copy_forward,
    .backward = dni_copy_backward,
};
