/* SPDX-License-Identifier: BSD-2-Clause
 * Concat: the bottoms one after the other along one axis.
 * concat_param: axis (1), concat_dim (its old name). bottoms: one or more, equal but for the
 * axis; top: the axis is the sum of theirs. Gradient: each bottom gets its part of dy. */
#include "layers/layer.h"

typedef struct concat_state {
    int32_t axis;
    int64_t outer, inner; /* inner: elements of one step along the axis */
} concat_state;

static dn_status read_axis(const dni_layer *layer, int32_t *axis)
{
    const Cnn__ConcatParameter *p = layer->own;
    DNI_REQUIRE(!p->has_axis || !p->has_concat_dim, DN_E_NET,
                "give axis or concat_dim, not both");
    if (p->has_concat_dim)
        return dni_layer_axis(layer, 0, p->concat_dim, "concat_dim", axis);
    return dni_layer_axis(layer, 0, p->axis, "axis", axis);
}

static dn_status shape(dni_layer *layer)
{
    concat_state *s = layer->state;
    dni_shape top = layer->bottom[0];
    dn_status st = read_axis(layer, &s->axis);
    if (st)
        return st;
    for (int32_t i = 1; i < layer->num_bottoms; i++) {
        const dni_shape *x = &layer->bottom[i];
        DNI_REQUIRE(x->axes == top.axes, DN_E_SHAPE, "bottom %d has %d axes, bottom 0 has %d",
                    i, x->axes, top.axes);
        for (int32_t a = 0; a < x->axes; a++)
            DNI_REQUIRE(a == s->axis || x->dim[a] == top.dim[a], DN_E_SHAPE,
                        "axis %d of bottom %d is %lld, of bottom 0 %lld", a, i,
                        (long long)x->dim[a], (long long)top.dim[a]);
        top.dim[s->axis] += x->dim[s->axis];
    }
    s->outer = dni_shape_range(&top, 0, s->axis);
    s->inner = dni_shape_range(&top, s->axis + 1, top.axes);
    layer->top[0] = top;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const concat_state *s = layer->state;
    int64_t at = 0, row = layer->top[0].dim[s->axis] * s->inner;
    for (int32_t i = 0; i < b->num_x; i++) {
        int64_t here = layer->bottom[i].dim[s->axis] * s->inner;
        dni_emit_rows(b, s->outer, here, here, 0, row, at, b->x[i], b->y[0]);
        at += here;
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const concat_state *s = layer->state;
    int64_t at = 0, row = layer->top[0].dim[s->axis] * s->inner;
    for (int32_t i = 0; i < b->num_x; i++) {
        int64_t here = layer->bottom[i].dim[s->axis] * s->inner;
        dni_emit_rows(b, s->outer, here, row, at, here, 0, b->dy[0], b->dx[i]);
        at += here;
    }
}

const dni_layer_class dni_layer_concat = {
    .type = "Concat",
    .own = DNI_OWN(concat_param),
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(concat_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
