/* SPDX-License-Identifier: BSD-2-Clause
 * Reduction: y[n] = coeff * op over all of x from `axis` on; op is SUM, ASUM (of |x|), SUMSQ
 * (of x^2) or MEAN.
 * reduction_param: operation (SUM), axis (0), coeff (1). bottom: (N..., D...); top: (N...).
 * Gradient: dx = coeff dy times 1, sign(x), 2 x or 1 / D. */
#include "layers/layer.h"

typedef struct reduction_state {
    int32_t op; /* of Cnn__ReductionParameter */
    int64_t num, dim;
    double coeff; /* of the sum */
} reduction_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__ReductionParameter *p = layer->own;
    reduction_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int32_t axis = 0;
    dn_status st = DN_OK;
    if (p->axis != 0)
        st = dni_layer_axis(layer, 0, p->axis, "reduction_param.axis", &axis);
    if (st)
        return st;
    s->op = (int32_t)p->operation;
    s->num = dni_shape_range(x, 0, axis);
    s->dim = dni_shape_range(x, axis, x->axes);
    s->coeff = p->coeff;
    if (s->op == CNN__REDUCTION_PARAMETER__REDUCTION_OP__MEAN && s->dim > 0)
        s->coeff /= (double)s->dim;
    layer->top[0] = dni_shape_of(axis, x->dim);
    return DN_OK;
}

static int32_t reduce_op(int32_t op)
{
    switch (op) {
    case CNN__REDUCTION_PARAMETER__REDUCTION_OP__ASUM:
        return DN_REDUCE_ASUM;
    case CNN__REDUCTION_PARAMETER__REDUCTION_OP__SUMSQ:
        return DN_REDUCE_SUMSQ;
    default:
        return DN_REDUCE_SUM;
    }
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const reduction_state *s = layer->state;
    dni_emit_reduce(b, reduce_op(s->op), s->num, s->dim, 1, s->coeff, b->x[0], DNI_NONE,
                    b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const reduction_state *s = layer->state;
    int32_t op = reduce_op(s->op);
    if (op == DN_REDUCE_SUM) {
        dni_emit_spread(b, s->num, s->dim, 1, s->coeff, b->dy[0], b->dx[0]);
        return;
    }
    dni_tensor factor = b->x[0], scale = dni_temp_like(b, b->dy[0]);
    if (op == DN_REDUCE_ASUM) {
        factor = dni_temp_like(b, b->x[0]);
        dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, b->x[0], factor);
    }
    dni_emit_unary(b, DN_FN_AFFINE, (op == DN_REDUCE_SUMSQ ? 2 : 1) * s->coeff, 0, 0, b->dy[0],
                   scale);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->num, s->dim, factor, scale, b->dx[0]);
}

const dni_layer_class dni_layer_reduction = {
    .type = "Reduction",
    .own = DNI_OWN(reduction_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(reduction_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
