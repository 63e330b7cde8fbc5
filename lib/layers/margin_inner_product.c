/* SPDX-License-Identifier: BSD-2-Clause
 * MarginInnerProduct (SphereFace, Liu et al., 2017): y = x W^T with rows of W of length 1 (made
 * so as by InnerProduct's normalize, without the 1e-6), but where a column is the item's label:
 * (|x| psi(cos) + lambda x w) / (1 + lambda), cos = x w / |x|; psi continues cos(m angle)
 * downwards: with s = sign(cos), 2 s cos^2 - 1 (m = 2); r (4 cos^3 - 3 cos) + s (1 + r) - 2, r
 * = sign(|cos| - 1/2) (m = 3); q (8 cos^4 - 8 cos^2 + 1) + 2 s + q - 3, q = s sign(2 cos^2 - 1)
 * (m = 4). lambda = max(base (1 + gamma i)^-power, lambda_min) in forward i after `iteration`.
 * margin_inner_product_param: num_output (required), type (SINGLE: m = 1, without a margin;
 * DOUBLE, TRIPLE, QUADRUPLE), weight_filler, axis (1), base (1), gamma (0), power (1),
 * lambda_min (0), iteration (0). bottoms: x (M..., K...), labels (M); tops: (M..., num_output),
 * [lambda (1)]. weights: W.
 * Gradient, SphereFace's own and no derivative: dW = dy^T x; dx = dy W, but of a label's column
 * (u w + v x + lambda w) / (1 + lambda), u = psi' and v = (psi - cos psi') / |x| divided by
 * sqrt(u^2 + v^2). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "layers/inner_product.h"
#include "layers/margin.h"

typedef dni_margin margin_state;

/* L-Softmax: rows of W keep their lengths. */
static bool is_large(const margin_state *s)
{
    return !strcmp(s->layer->cls->type, "LargeMarginInnerProduct");
}

static double lambda_of(const dni_layer *layer, int64_t forwards)
{
    const Cnn__MarginInnerProductParameter *p = layer->param->margin_inner_product_param;
    double lambda = p->base * pow(1 + p->gamma * (double)(forwards + 1), -p->power);
    return lambda > p->lambda_min ? lambda : p->lambda_min;
}

dn_status dni_margin_setup(dni_layer *layer)
{
    const Cnn__MarginInnerProductParameter *p = layer->param->margin_inner_product_param;
    margin_state *s = layer->state;
    int32_t axis;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET,
                "margin_inner_product_param needs num_output");
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    *s = (margin_state){.layer = layer, .N = p->num_output};
    dni_count_forwards(layer, p->iteration, lambda_of);
    s->K = dni_shape_range(&layer->bottom[0], axis, layer->bottom[0].axes);
    dni_shape w = dni_shape_of(2, (int64_t[]){s->N, s->K});
    return dni_declare_weight(layer, &w, p->weight_filler);
}

dn_status dni_margin_shape(dni_layer *layer)
{
    margin_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int32_t axis;
    dn_status st =
        dni_layer_axis(layer, 0, layer->param->margin_inner_product_param->axis, "axis", &axis);
    if (st)
        return st;
    int64_t K = dni_shape_range(x, axis, x->axes);
    DNI_REQUIRE(K == s->K, DN_E_SHAPE,
                "bottom 0 has %lld values per item, the weights were made for %lld",
                (long long)K, (long long)s->K);
    s->M = dni_shape_range(x, 0, axis);
    DNI_REQUIRE(dni_shape_count(&layer->bottom[1]) == s->M, DN_E_SHAPE,
                "bottom 1 has %lld labels for %lld items",
                (long long)dni_shape_count(&layer->bottom[1]), (long long)s->M);
    layer->top[0] = dni_shape_of(axis, x->dim);
    layer->top[0].dim[layer->top[0].axes++] = s->N;
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, (int64_t[]){1});
    return DN_OK;
}

static bool is_single(const margin_state *s)
{
    return s->layer->param->margin_inner_product_param->type ==
           CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__SINGLE;
}

/* ---- numbers of items -------------------------------------------------------------------- */

static dni_tensor apply(dni_builder *b, int32_t fn, dni_tensor x)
{
    dni_tensor y = dni_temp_like(b, x);
    dni_emit_unary(b, fn, 0, 0, 0, x, y);
    return y;
}

/* k x + c */
static dni_tensor line(dni_builder *b, double k, dni_tensor x, double c)
{
    dni_tensor y = dni_temp_like(b, x);
    dni_emit_unary(b, DN_FN_AFFINE, k, c, 0, x, y);
    return y;
}

static dni_tensor combine(dni_builder *b, int32_t op, dni_tensor x0, dni_tensor x1)
{
    dni_tensor y = dni_temp_like(b, x0);
    dni_emit_pair(b, op, x0, x1, y);
    return y;
}

static dni_tensor times(dni_builder *b, dni_tensor x0, dni_tensor x1)
{
    return combine(b, DN_ELTWISE_PROD, x0, x1);
}

static dni_tensor minus(dni_builder *b, dni_tensor x0, dni_tensor x1)
{
    dni_tensor y = dni_temp_like(b, x0);
    dni_emit_sum2(b, 1, x0, -1, x1, y);
    return y;
}

static dni_tensor over(dni_builder *b, dni_tensor x0, dni_tensor x1)
{
    return combine(b, DN_ELTWISE_DIV, x0, x1);
}

static dni_tensor at_label(const margin_state *s, dni_builder *b, dni_tensor x)
{
    dni_tensor y = dni_temp(b, b->dtype, 1, &s->M);
    dni_emit_at(b, false, s->M, s->N, x, b->x[1], y);
    return y;
}

static void add_at_label(const margin_state *s, dni_builder *b, dni_tensor d, dni_tensor y)
{
    dni_emit_at(b, true, s->M, s->N, d, b->x[1], y);
}

/* psi of c, which is sign(c) f(|c|) - (m - 1); *slope: psi'. By a = |c|: f = 2 a^2 (m = 2);
 * 1 + (a + 1) e |e|, e = 2 a - 1 (m = 3); 2 + 2 e |e|, e = 2 a^2 - 1 (m = 4). */
static dni_tensor psi(const margin_state *s, dni_builder *b, dni_tensor c, dni_tensor *slope)
{
    int32_t type = s->layer->param->margin_inner_product_param->type;
    bool triple = type == CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__TRIPLE;
    dni_tensor a = apply(b, DN_FN_ABS, c), f;
    if (type == CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__DOUBLE) {
        *slope = line(b, 4, a, 0);
        f = line(b, 2, times(b, a, a), 0);
    } else {
        dni_tensor e = line(b, 2, triple ? a : times(b, a, a), -1),
                   size = apply(b, DN_FN_ABS, e);
        dni_tensor square = times(b, e, size);
        f = triple ? line(b, 1, times(b, line(b, 1, a, 1), square), 1) : line(b, 2, square, 2);
        *slope = times(b, size, triple ? line(b, 6, a, 3) : line(b, 16, a, 0));
    }
    return line(b, 1, times(b, apply(b, DN_FN_SIGN, c), f), -type);
}

/* Lengths of the rows of x: (rows, K). */
static dni_tensor lengths(const margin_state *s, dni_builder *b, int64_t rows, dni_tensor x)
{
    dni_tensor y = dni_temp(b, b->dtype, 1, &rows);
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, rows, s->K, 1, 1, x, DNI_NONE, y);
    dni_emit_unary(b, DN_FN_SQRT, 0, 0, 0, y, y);
    return y;
}

/* Those of W's rows at the labels. */
static dni_tensor label_lengths(const margin_state *s, dni_builder *b)
{
    dn_args_gather at = {.count = s->M, .cols = 1, .limit = s->N};
    dni_tensor y = dni_temp(b, b->dtype, 1, &s->M);
    dni_emit(b, DN_OP_GATHER, &at, DNI_TENSORS(lengths(s, b, s->N, s->w), b->x[1]),
             DNI_TENSORS(y));
    return y;
}

/* The top's label columns; what of dy there goes to w, and to x. */
static void bend(margin_state *s, dni_builder *b, dni_tensor lambda, dni_tensor y)
{
    dni_tensor norm = lengths(s, b, s->M, b->x[0]), slope;
    dni_tensor share = dni_temp(b, b->dtype, 0, NULL), product = at_label(s, b, y);
    /* 1 / (1 + lambda), and 0 of items that are 0 */
    dni_tensor on = apply(b, DN_FN_THRESHOLD, norm);
    dni_emit_unary(b, DN_FN_POWER, 1, 1, -1, lambda, share);
    dni_emit_times(b, on, share, on);
    dni_tensor of_w = is_large(s) ? label_lengths(s, b) : DNI_NONE, of_x = norm;
    if (is_large(s))
        norm = times(b, norm, of_w);
    dni_tensor c = over(b, product, line(b, 1, norm, is_large(s) ? 1e-9 : FLT_MIN));
    dni_tensor value = psi(s, b, c, &slope), u = times(b, slope, norm);
    dni_tensor v = minus(b, value, times(b, c, slope)), length = times(b, v, v);
    add_at_label(s, b, times(b, on, minus(b, times(b, norm, value), product)), y);
    if (is_large(s)) { /* the derivative of |x| |w| psi */
        dni_tensor ratio = over(b, of_x, line(b, 1, of_w, 1e-9)); /* finite for rows of 0 */
        s->to_w = times(b, on, line(b, 1, slope, -1));
        s->of_w = times(b, on, times(b, ratio, v));
        s->to_x = times(b, on, over(b, v, line(b, 1, ratio, FLT_MIN)));
        return;
    }
    dni_emit_sum2(b, 1, times(b, u, u), 1, length, length); /* of (u, v), times |x| */
    dni_emit_unary(b, DN_FN_SQRT, 0, 0, 0, length, length);
    s->to_w = times(b, on, line(b, 1, over(b, u, length), -1));
    s->to_x = times(b, on, over(b, v, length));
}

void dni_margin_forward(dni_layer *layer, dni_builder *b)
{
    margin_state *s = layer->state;
    dni_tensor lambda = dni_emit_counted(layer, b);
    s->w = is_large(s) ? b->w[0] : dni_unit_rows(layer, b, s->N, s->K, 0);
    dni_emit_gemm(b, false, true, s->M, s->N, s->K, 1, b->x[0], s->w, b->y[0]);
    if (!is_single(s))
        bend(s, b, lambda, b->y[0]);
}

/* dy^T x, and of L-Softmax what the lengths of its rows bring. */
static void backward_weights(const margin_state *s, dni_builder *b, dni_tensor dy,
                             dni_tensor of_label)
{
    if (b->dw[0] == DNI_NONE || of_label == DNI_NONE) {
        dni_emit_gemm(b, true, false, s->N, s->K, s->M, 1, dy, b->x[0], b->dw[0]);
        return;
    }
    dn_args_gather at = {.count = s->M, .cols = 1, .limit = s->N};
    dni_tensor rows = dni_temp(b, b->dtype, 1, &s->N), part = dni_temp_like(b, s->w);
    dni_tensor rest = dni_temp_like(b, s->w);
    dni_emit(b, DN_OP_SCATTER_ADD, &at, DNI_TENSORS(times(b, of_label, s->of_w), b->x[1]),
             DNI_TENSORS(rows));
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N, s->K, s->w, rows, rest);
    dni_emit_gemm(b, true, false, s->N, s->K, s->M, 1, dy, b->x[0], part);
    dni_emit_sum2(b, 1, part, 1, rest, b->dw[0]);
}

void dni_margin_backward(dni_layer *layer, dni_builder *b)
{
    margin_state *s = layer->state;
    bool large = is_large(s) && !is_single(s);
    if (!large)
        backward_weights(s, b, b->dy[0], DNI_NONE);
    if (is_single(s))
        dni_emit_gemm(b, false, false, s->M, s->K, s->N, 1, b->dy[0], s->w, b->dx[0]);
    if (is_single(s) || (b->dx[0] == DNI_NONE && !large))
        return;
    dni_tensor dy = dni_temp_like(b, b->dy[0]), of_label = at_label(s, b, b->dy[0]);
    dni_tensor part = dni_temp_like(b, b->x[0]), rest = dni_temp_like(b, b->x[0]);
    dni_emit_copy(b, b->dy[0], dy);
    add_at_label(s, b, times(b, of_label, s->to_w), dy);
    if (large)
        backward_weights(s, b, dy, of_label);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_emit_gemm(b, false, false, s->M, s->K, s->N, 1, dy, s->w, part);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->M, s->K, b->x[0], times(b, of_label, s->to_x), rest);
    dni_emit_sum2(b, 1, part, 1, rest, b->dx[0]);
}

const dni_layer_class dni_layer_margin_inner_product = {
    .type = "MarginInnerProduct",
    DNI_MARGIN_CLASS,
};
