/* SPDX-License-Identifier: BSD-2-Clause
 * Accuracy: the share of positions whose label is among the top_k scores.
 * accuracy_param: top_k (1), axis (1: of the classes), ignore_label (none).
 * bottoms: scores (any shape), labels (one for each position outside the axis); tops: one
 * number; the accuracy of each class (length of the axis). No gradient. */
#include "layers/accuracy.h"

dn_status dni_accuracy_shape(dni_layer *layer)
{
    const Cnn__AccuracyParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    dn_args_accuracy *a = layer->state;
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    *a = (dn_args_accuracy){.top_k = (int32_t)p->top_k,
                            .has_ignore = p->has_ignore_label,
                            .ignore_label = p->ignore_label,
                            .outer = dni_shape_range(x, 0, axis),
                            .dim = x->dim[axis],
                            .inner = dni_shape_range(x, axis + 1, x->axes)};
    DNI_REQUIRE(p->top_k >= 1 && p->top_k <= a->dim, DN_E_NET,
                "top_k is %u, the classes are %lld", p->top_k, (long long)a->dim);
    int64_t labels = dni_shape_count(&layer->bottom[1]);
    DNI_REQUIRE(
        labels == a->outer * a->inner, DN_E_SHAPE,
        "bottom 1 has %lld labels, %lld are needed: one for each position outside axis %d",
        (long long)labels, (long long)(a->outer * a->inner), axis);
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, &a->dim);
    return DN_OK;
}

void dni_accuracy_forward(dni_layer *layer, dni_builder *b)
{
    dni_emit(b, DN_OP_ACCURACY, layer->state, DNI_TENSORS(b->x[0], b->x[1]),
             DNI_TENSORS(b->y[0], b->num_y > 1 ? b->y[1] : DNI_NONE));
}

const dni_layer_class dni_layer_accuracy = {
    .type = "Accuracy",
    .own = DNI_OWN(accuracy_param),
    .tops_max = 2,
    DNI_ACCURACY_CLASS,
};
