/* SPDX-License-Identifier: BSD-2-Clause
 * Correlation (FlowNet): how alike places of a and displaced places of b are,
 *   y[n, (d, e), p, q] = 1/(C K^2) sum over channels and the kernel's rows j and columns i of
 *     a[p stride_1 + max + j, q stride_1 + max + i] b[the same + (d, e)],
 * both padded with 0; SUBTRACT has |a - b| in place of a b. correlation_param: kernel_size (K,
 * odd) and max_displacement (max) are required, pad (0), stride_1 (1), stride_2 (1: of the
 * displacements, its multiples from -max to max), correlation_type (MULTIPLY); do_abs has no
 * effect. bottoms: a, b of one shape (N, C, H, W); top: (N, displacements, P, Q),
 * P = ceil((H + 2 pad - 2 max - K + 1) / stride_1).
 * Gradient: that of the sum, |0|'s being 0.
 * A displacement is an op: the sum over channels of products of rows. */
#include "layers/correlation.h"

#include <string.h>

enum { MOST = 1 << 14, AXES = 6 };

dn_status dni_correlation_shape(dni_layer *layer)
{
    const Cnn__CorrelationParameter *p = layer->param->correlation_param;
    const dni_shape *x = &layer->bottom[0];
    dni_correlation *s = layer->state;
    DNI_REQUIRE(p && p->kernel_size % 2 && p->has_max_displacement && p->stride_1 &&
                    p->stride_2,
                DN_E_NET,
                "correlation_param needs an odd kernel_size, a max_displacement and strides "
                "above 0");
    DNI_REQUIRE(x->axes == 4 && dni_shape_equal(x, &layer->bottom[1]), DN_E_SHAPE,
                "the bottoms need one shape, of 4 axes");
    int64_t radius = p->max_displacement / p->stride_2, places = 1, size[2];
    int32_t side = layer->cls == &dni_layer_correlation ? 0 : p->single_direction;
    s->padded = *x;
    for (int d = 0; d < 2; d++) {
        bool moves = d || layer->cls == &dni_layer_correlation;
        s->pad[d] = moves ? p->pad : 0;
        s->reach[d] = moves ? p->max_displacement : 0;
        s->first[d] = !moves || side > 0 ? 0 : side < 0 ? -radius - 1 : -radius;
        s->count[d] = !moves ? 1 : side ? radius + 1 : 2 * radius + 1;
        int64_t *wide = &s->padded.dim[2 + d];
        int64_t room = (*wide += 2 * s->pad[d]) - 2 * s->reach[d] - p->kernel_size;
        DNI_REQUIRE(room >= 0, DN_E_SHAPE, "axis %d is too short for the displacements", 2 + d);
        size[d] = room / p->stride_1 + 1;
        int64_t beyond = -s->first[d] * p->stride_2 - s->reach[d];
        if (beyond > 0) /* where the fork reads the padding of the row above */
            *wide += beyond, s->pad[d] += beyond, s->reach[d] += beyond;
        places *= s->count[d] <= MOST ? s->count[d] : MOST + 1;
    }
    DNI_REQUIRE(places <= MOST, DN_E_LIMIT, "more than %d displacements", MOST);
    layer->top[0] = dni_shape_of(4, (int64_t[]){x->dim[0], places, size[0], size[1]});
    s->terms = dni_shape_of(AXES, (int64_t[]){x->dim[0], size[0], x->dim[1], p->kernel_size,
                                              p->kernel_size, size[1]});
    dn_status st = dni_shape_check(&s->padded);
    return st ? st : dni_shape_check(&s->terms);
}

/* x into the middle of wide; back: out of it. */
static void place(const dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor wide,
                  bool back)
{
    const dni_correlation *s = layer->state;
    const int64_t *dim = layer->bottom[0].dim, *to = s->padded.dim;
    dn_args_copy a = {.axes = 3, .dim = {dim[0] * dim[1], dim[2], dim[3]}, .alpha = 1};
    int64_t *of_x = back ? a.y_stride : a.x_stride, *of_wide = back ? a.x_stride : a.y_stride;
    of_x[0] = dim[2] * dim[3], of_x[1] = dim[3], of_x[2] = 1;
    of_wide[0] = to[2] * to[3], of_wide[1] = to[3], of_wide[2] = 1;
    *(back ? &a.x_offset : &a.y_offset) = s->pad[0] * to[3] + s->pad[1];
    if (!back)
        dni_emit_fill(b, wide, 0);
    dni_emit(b, DN_OP_COPY, &a, 1, back ? &wide : &x, 1, back ? &x : &wide);
}

/* y from the padded bottoms; grad, theirs, from y's gradient. */
static void correlate(const dni_layer *layer, dni_builder *b, dni_tensor y,
                      const dni_tensor *grad)
{
    const dni_correlation *s = layer->state;
    const Cnn__CorrelationParameter *p = layer->param->correlation_param;
    const int64_t *dim = s->padded.dim, *top = layer->top[0].dim, *d = s->terms.dim;
    int64_t row = dim[3], plane = top[2] * top[3], size = sizeof(int64_t[AXES]);
    int64_t at = s->reach[0] * row + s->reach[1];
    int64_t of_x[AXES] = {
        dim[1] * dim[2] * row, p->stride_1 * row, dim[2] * row, row, 1, p->stride_1};
    int64_t of_y[AXES] = {top[1] * plane, top[3], 0, 0, 0, 1};
    int64_t packed[AXES] = {[AXES - 1] = 1};
    bool subtract = p->correlation_type;
    dni_tensor t = subtract ? dni_temp(b, b->dtype, AXES, d) : DNI_NONE, sign = t;
    if (subtract)
        sign = dni_temp(b, b->dtype, AXES, d);
    for (int k = AXES - 1; k > 0; k--)
        packed[k - 1] = packed[k] * d[k];
    dn_args_copy c = {.axes = AXES, .x_offset = at, .alpha = 1};
    dn_args_reduce a = {.base.accumulate = grad != NULL,
                        .op = DN_REDUCE_DOT,
                        .axes = AXES,
                        .alpha = 1 / (double)(d[2] * d[3] * d[4])};
    memcpy(a.dim, d, size);
    memcpy(c.dim, d, size);
    memcpy(c.x_stride, of_x, size);
    memcpy(c.y_stride, packed, size);
    memcpy(a.x_stride, grad ? of_y : subtract ? packed : of_x, size);
    memcpy(a.x2_stride, subtract ? packed : of_x, size);
    memcpy(a.y_stride, grad ? of_x : of_y, size);
    for (int64_t k = 0; k < top[1]; k++) {
        int64_t to =
            at + ((s->first[0] + k / s->count[1]) * row + s->first[1] + k % s->count[1]) *
                     p->stride_2;
        if (subtract) {
            dn_args_copy less = c;
            less.base.accumulate = 1, less.x_offset = to, less.alpha = -1;
            dni_emit(b, DN_OP_COPY, &c, DNI_TENSORS(s->wide[0]), DNI_TENSORS(t));
            dni_emit(b, DN_OP_COPY, &less, DNI_TENSORS(s->wide[1]), DNI_TENSORS(t));
            dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, t, sign);
        }
        for (int i = 0; i < (grad ? 2 : 1); i++) {
            a.x_offset = grad ? k * plane : subtract ? 0 : at;
            a.x2_offset = subtract ? 0 : i ? at : to;
            a.y_offset = !grad ? k * plane : i ? to : at;
            dni_emit(b, DN_OP_REDUCE, &a,
                     DNI_TENSORS(grad       ? y
                                 : subtract ? t
                                            : s->wide[0],
                                 subtract ? sign : s->wide[!i]),
                     DNI_TENSORS(grad ? grad[i] : y));
            if (subtract && grad)
                a.alpha = -a.alpha;
        }
    }
}

void dni_correlation_forward(dni_layer *layer, dni_builder *b)
{
    dni_correlation *s = layer->state;
    for (int i = 0; i < 2; i++) {
        s->wide[i] = dni_temp(b, b->dtype, 4, s->padded.dim);
        place(layer, b, b->x[i], s->wide[i], false);
    }
    correlate(layer, b, b->y[0], NULL);
}

void dni_correlation_backward(dni_layer *layer, dni_builder *b)
{
    const dni_correlation *s = layer->state;
    dni_tensor grad[2];
    for (int i = 0; i < 2; i++) {
        grad[i] = dni_temp(b, b->dtype, 4, s->padded.dim);
        dni_emit_fill(b, grad[i], 0);
    }
    correlate(layer, b, b->dy[0], grad);
    for (int i = 0; i < 2; i++)
        place(layer, b, b->dx[i], grad[i], true);
}

const dni_layer_class dni_layer_correlation = {.type = "Correlation", DNI_CORRELATION_CLASS};
