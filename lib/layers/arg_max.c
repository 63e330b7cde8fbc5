/* SPDX-License-Identifier: BSD-2-Clause
 * ArgMax: the indices (or values) of the top_k largest, largest first.
 * argmax_param: top_k (1), out_max_val (false), axis (none: over all of an item).
 * bottom: (N, ...); top with axis: the bottom's shape with top_k along it, of indices, or of
 * values with out_max_val; without: (N, 1, top_k, 1...) of indices, or (N, 2, top_k, 1...) of
 * indices and then values. At least 3 axes. No gradient. */
#include "layers/layer.h"

static dn_status shape_along(dni_layer *layer, const Cnn__ArgMaxParameter *p, dn_args_argmax *a)
{
    const dni_shape *x = &layer->bottom[0];
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    a->outer = dni_shape_range(x, 0, axis);
    a->dim = x->dim[axis];
    a->inner = dni_shape_range(x, axis + 1, x->axes);
    layer->top[0] = *x;
    layer->top[0].dim[axis] = p->top_k;
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__ArgMaxParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    dn_args_argmax *a = layer->state;
    dn_status st = DN_OK;
    DNI_REQUIRE(x->axes >= 1, DN_E_SHAPE, "bottom has no axes");
    *a = (dn_args_argmax){.top_k = (int32_t)p->top_k, .out_max_val = p->out_max_val};
    if (p->has_axis) {
        st = shape_along(layer, p, a);
    } else {
        a->outer = x->dim[0];
        a->dim = dni_shape_range(x, 1, x->axes);
        a->inner = 1;
        a->pairs = p->out_max_val;
        dni_shape top = {.axes = x->axes > 3 ? x->axes : 3};
        for (int32_t i = 0; i < top.axes; i++)
            top.dim[i] = 1;
        top.dim[0] = x->dim[0];
        top.dim[1] = p->out_max_val ? 2 : 1;
        top.dim[2] = p->top_k;
        layer->top[0] = top;
    }
    DNI_REQUIRE(st || (p->top_k >= 1 && p->top_k <= a->dim), DN_E_NET,
                "top_k is %u, there are %lld values", p->top_k, (long long)a->dim);
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_emit(b, DN_OP_ARGMAX, layer->state, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0]));
}

const dni_layer_class dni_layer_arg_max = {
    .type = "ArgMax",
    .own = DNI_OWN(argmax_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1,
    .state_size = sizeof(dn_args_argmax),
    .shape = shape,
    .forward = forward,
};
