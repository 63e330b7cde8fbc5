/* SPDX-License-Identifier: BSD-2-Clause
 * Slice: the bottom cut along one axis.
 * slice_param: axis (1), slice_dim (its old name), slice_point (where to cut, one fewer than
 * the tops; none: equal parts). bottom: any shape; tops: its parts. Gradient: the dy one
 * after the other. */
#include "layers/layer.h"

typedef struct slice_state {
    int32_t axis;
    int64_t outer, inner; /* inner: elements of one step along the axis */
} slice_state;

static dn_status read_axis(const dni_layer *layer, const Cnn__SliceParameter *p, int32_t *axis)
{
    DNI_REQUIRE(!p || !p->has_axis || !p->has_slice_dim, DN_E_NET,
                "give axis or slice_dim, not both");
    if (p && p->has_slice_dim)
        return dni_layer_axis(layer, 0, p->slice_dim, "slice_dim", axis);
    return dni_layer_axis(layer, 0, p ? p->axis : 1, "axis", axis);
}

static dn_status cut_evenly(dni_layer *layer, int32_t axis)
{
    int64_t length = layer->bottom[0].dim[axis];
    DNI_REQUIRE(
        length % layer->num_tops == 0, DN_E_SHAPE,
        "axis %d of length %lld does not part into %d equal tops; slice_point says where "
        "to cut",
        axis, (long long)length, layer->num_tops);
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i].dim[axis] = length / layer->num_tops;
    return DN_OK;
}

static dn_status cut_at(dni_layer *layer, int32_t axis, size_t n, const uint32_t *point)
{
    int64_t length = layer->bottom[0].dim[axis], from = 0;
    DNI_REQUIRE(n == (size_t)layer->num_tops - 1, DN_E_NET,
                "%zu slice_point for %d tops; one fewer than the tops is needed", n,
                layer->num_tops);
    for (int32_t i = 0; i < layer->num_tops; i++) {
        int64_t to = i + 1 < layer->num_tops ? point[i] : length;
        DNI_REQUIRE(to > from && to <= length, DN_E_SHAPE,
                    "top %d would be [%lld, %lld) of axis %d, which has length %lld", i,
                    (long long)from, (long long)to, axis, (long long)length);
        layer->top[i].dim[axis] = to - from;
        from = to;
    }
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__SliceParameter *p = layer->param->slice_param;
    const dni_shape *x = &layer->bottom[0];
    slice_state *s = layer->state;
    dn_status st = read_axis(layer, p, &s->axis);
    if (st)
        return st;
    s->outer = dni_shape_range(x, 0, s->axis);
    s->inner = dni_shape_range(x, s->axis + 1, x->axes);
    dni_shape_like_bottom(layer);
    if (p && p->n_slice_point)
        return cut_at(layer, s->axis, p->n_slice_point, p->slice_point);
    return cut_evenly(layer, s->axis);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const slice_state *s = layer->state;
    int64_t at = 0, row = layer->bottom[0].dim[s->axis] * s->inner;
    for (int32_t i = 0; i < b->num_y; i++) {
        int64_t here = layer->top[i].dim[s->axis] * s->inner;
        dni_emit_rows(b, s->outer, here, row, at, here, 0, b->x[0], b->y[i]);
        at += here;
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const slice_state *s = layer->state;
    int64_t at = 0, row = layer->bottom[0].dim[s->axis] * s->inner;
    bool all = true;
    for (int32_t i = 0; i < b->num_y; i++)
        all &= b->dy[i] != DNI_NONE;
    if (!all)
        dni_emit_fill(b, b->dx[0], 0);
    for (int32_t i = 0; i < b->num_y; i++) {
        int64_t here = layer->top[i].dim[s->axis] * s->inner;
        dn_args_copy a = {.base.accumulate = !all,
                          .axes = 2,
                          .dim = {s->outer, here},
                          .x_stride = {here, 1},
                          .y_stride = {row, 1},
                          .y_offset = at,
                          .alpha = 1};
        if (b->dy[i] != DNI_NONE)
            dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(b->dy[i]), DNI_TENSORS(b->dx[0]));
        at += here;
    }
}

const dni_layer_class dni_layer_slice = {
    .type = "Slice",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = -1,
    .state_size = sizeof(slice_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
