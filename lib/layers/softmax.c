/* SPDX-License-Identifier: BSD-2-Clause
 * Softmax: y_k = exp(x_k) / sum_j exp(x_j) along one axis (the maximum is taken off first).
 * softmax_param: axis (1); engine changes nothing. bottom: any shape; top: the same; in place
 * allowed. Gradient: dx_k = y_k (dy_k - sum_j dy_j y_j). */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__SoftmaxParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    dn_args_axis *a = layer->state;
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    *a = (dn_args_axis){.outer = dni_shape_range(x, 0, axis),
                        .dim = x->dim[axis],
                        .inner = dni_shape_range(x, axis + 1, x->axes)};
    return dni_shape_like_bottom(layer);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_emit(b, DN_OP_SOFTMAX, layer->state, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dni_emit(b, DN_OP_SOFTMAX_BWD, layer->state, DNI_TENSORS(b->y[0], b->dy[0]),
             DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_softmax = {
    .type = "Softmax",
    .own = DNI_OWN(softmax_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_READS_TOP,
    .state_size = sizeof(dn_args_axis),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
