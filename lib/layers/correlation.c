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
 * A displacement is an op: the sum over channels of products of rows. Back, where kernels
 * overlap, y's gradient is first summed to what every element of a has of it, its box. */
#include "layers/correlation.h"

enum { MOST = 1 << 14, AXES = 6 };

static const int64_t ones[] = {1, 1};

dn_status dni_correlation_shape(dni_layer *layer)
{
    const Cnn__CorrelationParameter *p = layer->param->correlation_param;
    const dni_shape *x = &layer->bottom[0];
    dni_correlation *s = layer->state;
    bool flat = layer->cls != &dni_layer_correlation;
    int32_t side = flat && p ? p->single_direction : 0;
    DNI_REQUIRE(p && p->kernel_size % 2 && p->has_max_displacement && p->stride_1 &&
                    p->stride_2 && side >= -1 && side <= 1,
                DN_E_NET,
                "correlation_param needs an odd kernel_size, a max_displacement, strides "
                "above 0 and a single_direction from -1 to 1");
    DNI_REQUIRE(x->axes == 4 && dni_shape_equal(x, &layer->bottom[1]), DN_E_SHAPE,
                "the bottoms need one shape, of 4 axes");
    int64_t radius = p->max_displacement / p->stride_2, places = 1, size[2];
    s->padded = *x;
    for (int d = 0; d < 2; d++) {
        bool moves = d || !flat;
        s->pad[d] = moves ? p->pad : 0;
        s->reach[d] = moves ? p->max_displacement : 0;
        s->first[d] = !moves || side > 0 ? 0 : side < 0 ? -radius - 1 : -radius;
        s->count[d] = !moves ? 1 : side ? radius + 1 : 2 * radius + 1;
        int64_t *wide = &s->padded.dim[2 + d];
        int64_t room = (*wide += 2 * s->pad[d]) - 2 * s->reach[d] - p->kernel_size;
        DNI_REQUIRE(room >= 0, DN_E_SHAPE, "axis %d is too short for the displacements", 2 + d);
        s->step[d] = p->stride_1 <= room ? p->stride_1 : room + 1;
        size[d] = room / s->step[d] + 1;
        s->box[2 + d] = s->field[2 + d] = (size[d] - 1) * s->step[d] + p->kernel_size;
        int64_t beyond = -s->first[d] * p->stride_2 - s->reach[d];
        if (beyond > 0) /* where the fork reads the padding of the row above */
            *wide += beyond, s->pad[d] += beyond, s->reach[d] += beyond;
        places *= s->count[d] <= MOST ? s->count[d] : MOST + 1;
    }
    DNI_REQUIRE(places <= MOST, DN_E_LIMIT, "more than %d displacements", MOST);
    layer->top[0] = dni_shape_of(4, (int64_t[]){x->dim[0], places, size[0], size[1]});
    dni_shape terms = dni_shape_of(AXES, (int64_t[]){x->dim[0], x->dim[1], p->kernel_size,
                                                     p->kernel_size, size[0], size[1]});
    s->box[0] = s->field[0] = x->dim[0];
    s->box[1] = s->count[1], s->field[1] = x->dim[1];
    dn_status st = dni_shape_check(&s->padded);
    return st ? st : dni_shape_check(&terms);
}

/* Strides of N, C, for 6 axes of the kernel's rows and columns, and of P and Q. */
static void walk(int64_t *stride, int32_t axes, const int64_t *dim, const int64_t *step)
{
    stride[1] = dim[2] * dim[3];
    stride[0] = dim[1] * stride[1];
    stride[2] = dim[3];
    stride[3] = 1;
    stride[axes - 2] = step[0] * dim[3];
    stride[axes - 1] = step[1];
}

/* Where a bottom begins in its padded copy. */
static int64_t middle(const dni_correlation *s)
{
    return s->pad[0] * s->padded.dim[3] + s->pad[1];
}

/* As much as both have; add: 1 or -1 times. The steps are those of y. */
static void copy(dni_builder *b, dni_tensor x, const int64_t *of_x, int64_t x_offset,
                 dni_tensor y, const int64_t *of_y, int64_t y_offset, const int64_t *step,
                 int add)
{
    dn_args_copy a = {.base.accumulate = add != 0,
                      .axes = 4,
                      .x_offset = x_offset,
                      .y_offset = y_offset,
                      .alpha = add ? add : 1};
    for (int k = 0; k < 4; k++)
        a.dim[k] = of_x[k] < of_y[k] ? of_x[k] : of_y[k];
    walk(a.x_stride, 4, of_x, ones);
    walk(a.y_stride, 4, of_y, step);
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

/* y from the padded bottoms; grad, theirs, from y's gradient. */
static void correlate(const dni_layer *layer, dni_builder *b, dni_tensor y,
                      const dni_tensor *grad)
{
    const dni_correlation *s = layer->state;
    const Cnn__CorrelationParameter *p = layer->param->correlation_param;
    const int64_t *top = layer->top[0].dim, *box = s->box, *wide = s->padded.dim;
    int64_t field = box[2] * box[3], kernel = p->kernel_size, K = grad ? 1 : kernel;
    int64_t plane = top[2] * top[3], row = wide[3], at = s->reach[0] * row + s->reach[1];
    bool subtract = p->correlation_type, apart = grad && field != plane;
    const int64_t *step = grad ? ones : s->step, *of_y = apart ? box : top;
    const int64_t *of_x = subtract ? s->field : wide;
    int64_t summed = box[0] * box[1] * field, values = wide[0] * wide[1] * field;
    dni_tensor t = subtract ? dni_temp(b, b->dtype, 1, &values) : DNI_NONE;
    dni_tensor boxes = apart ? dni_temp(b, b->dtype, 1, &summed) : y;
    dn_args_reduce a = {.base.accumulate = grad != NULL,
                        .op = subtract && !grad ? DN_REDUCE_ASUM : DN_REDUCE_DOT,
                        .axes = AXES,
                        .dim = {wide[0], wide[1], K, K, of_y[2], of_y[3]},
                        .alpha = 1 / (double)(wide[1] * kernel * kernel)};
    int64_t *sums = grad ? a.x_stride : a.y_stride;
    walk(sums, AXES, of_y, ones);
    sums[1] = sums[2] = sums[3] = 0;
    walk(a.x2_stride, AXES, of_x, step);
    walk(grad ? a.y_stride : a.x_stride, AXES, grad ? wide : of_x, step);
    for (int64_t k = 0; k < top[1]; k++) {
        int64_t e = k % s->count[1], of_k = apart ? e * field : k * plane;
        int64_t to =
            at + ((s->first[0] + k / s->count[1]) * row + s->first[1] + e) * p->stride_2;
        if (apart && !e) {
            dni_emit_fill(b, boxes, 0);
            for (int64_t i = 0; i < kernel * kernel; i++)
                copy(b, y, top, k * plane, boxes, box, i / kernel * box[3] + i % kernel,
                     s->step, 1);
        }
        for (int i = 0; subtract && i < 2; i++)
            copy(b, s->wide[i], wide, i ? to : at, t, s->field, 0, ones, -i);
        if (subtract && grad)
            dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, t, t);
        for (int i = 0; i <= (grad != NULL); i++) {
            dni_tensor of[] = {s->wide[0], s->wide[!i]};
            a.x_offset = at, a.x2_offset = i ? at : to, a.y_offset = of_k;
            if (subtract)
                of[0] = of[1] = t, a.x_offset = a.x2_offset = 0;
            if (grad)
                of[0] = boxes, a.x_offset = of_k, a.y_offset = i ? to : at;
            dni_emit_arrays(b, DN_OP_REDUCE, &a, a.op == DN_REDUCE_DOT ? 2 : 1, of,
                            DNI_ARRAY(grad ? grad[i] : y));
            if (subtract && grad)
                a.alpha = -a.alpha;
        }
    }
}

/* x padded; without it zeros of that shape. */
static void pad(const dni_layer *layer, dni_builder *b, const dni_tensor *x, dni_tensor *wide)
{
    const dni_correlation *s = layer->state;
    int64_t count = dni_shape_count(&s->padded);
    /* copies of an image: a layout for the plan to choose, one by one */
    bool image = !layer->param->correlation_param->correlation_type;
    for (int i = 0; i < 2; i++) {
        wide[i] = dni_temp(b, b->dtype, image ? 4 : 1, image ? s->padded.dim : &count);
        dni_emit_fill(b, wide[i], 0);
        if (x)
            copy(b, x[i], layer->bottom[0].dim, 0, wide[i], s->padded.dim, middle(s), ones, 0);
    }
}

void dni_correlation_forward(dni_layer *layer, dni_builder *b)
{
    dni_correlation *s = layer->state;
    pad(layer, b, b->x, s->wide);
    correlate(layer, b, b->y[0], NULL);
}

void dni_correlation_backward(dni_layer *layer, dni_builder *b)
{
    const dni_correlation *s = layer->state;
    dni_tensor grad[2];
    pad(layer, b, NULL, grad);
    correlate(layer, b, b->dy[0], grad);
    for (int i = 0; i < 2; i++)
        copy(b, grad[i], s->padded.dim, middle(s), b->dx[i], layer->bottom[0].dim, 0, ones, 0);
}

const dni_layer_class dni_layer_correlation = {.type = "Correlation", DNI_CORRELATION_CLASS};
