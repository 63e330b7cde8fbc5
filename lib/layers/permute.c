/* SPDX-License-Identifier: BSD-2-Clause
 * Permute: y = x with its axes in another order: axis i of y is axis order[i] of x.
 * permute_param: order (axes not named follow in their own order). bottom: any shape; top: its
 * axes permuted. Gradient: dx = dy with the order undone. */
#include "layers/permute.h"

static dn_status read_order(const dni_layer *layer, int32_t *order)
{
    const Cnn__PermuteParameter *p = layer->param->permute_param;
    int32_t axes = layer->bottom[0].axes, n = 0;
    bool used[DN_MAX_AXES] = {false};
    for (size_t i = 0; p && i < p->n_order; i++) {
        DNI_REQUIRE(p->order[i] < (uint32_t)axes, DN_E_SHAPE,
                    "the order names axis %u, bottom has %d axes", p->order[i], axes);
        DNI_REQUIRE(!used[p->order[i]], DN_E_NET, "the order names axis %u twice", p->order[i]);
        used[p->order[i]] = true;
        order[n++] = (int32_t)p->order[i];
    }
    for (int32_t i = 0; i < axes; i++)
        if (!used[i])
            order[n++] = i;
    return DN_OK;
}

/* Axes of y that lie one in the other in x too are walked as one. */
static dn_status make_copy(dn_args_copy *a, const dni_shape *x, const int32_t *order)
{
    int64_t count = 1;
    int32_t last = -1; /* axis of x walked last */
    *a = (dn_args_copy){.alpha = 1};
    for (int32_t i = 0; i < x->axes; i++) {
        if (a->axes && order[i] == last + 1) {
            a->dim[a->axes - 1] *= x->dim[order[i]];
        } else {
            DNI_REQUIRE(a->axes < DN_MAX_STRIDED, DN_E_UNSUPPORTED,
                        "more than %d groups of axes change places", DN_MAX_STRIDED);
            a->dim[a->axes++] = x->dim[order[i]];
        }
        a->x_stride[a->axes - 1] = dni_shape_range(x, order[i] + 1, x->axes);
        last = order[i];
    }
    for (int32_t i = a->axes - 1; i >= 0; i--) {
        a->y_stride[i] = count;
        count *= a->dim[i];
    }
    return DN_OK;
}

dn_status dni_permute_shape(dni_layer *layer)
{
    dni_permute *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int32_t order[DN_MAX_AXES];
    dn_status st = read_order(layer, order);
    if (st)
        return st;
    layer->top[0] = *x;
    for (int32_t i = 0; i < x->axes; i++)
        layer->top[0].dim[i] = x->dim[order[i]];
    return make_copy(&s->copy, x, order);
}

void dni_permute_forward(dni_layer *layer, dni_builder *b)
{
    const dni_permute *s = layer->state;
    dni_emit(b, DN_OP_COPY, &s->copy, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0]));
}

void dni_permute_backward(dni_layer *layer, dni_builder *b)
{
    dn_args_copy back = ((const dni_permute *)layer->state)->copy;
    for (int32_t i = 0; i < back.axes; i++) {
        int64_t x_stride = back.x_stride[i];
        back.x_stride[i] = back.y_stride[i];
        back.y_stride[i] = x_stride;
    }
    dni_emit(b, DN_OP_COPY, &back, DNI_TENSORS(b->dy[0]), DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_permute = {.type = "Permute", DNI_PERMUTE_CLASS};
