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
#include <math.h>

#include "layers/inner_product.h"
#include "layers/values.h"

typedef struct margin_state {
    const dni_layer *layer;
    int64_t M, K, N, iteration;
    dni_tensor w, share; /* share: (M, 2): of dy, what goes to w and to x; while lowering */
} margin_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__MarginInnerProductParameter *p = layer->param->margin_inner_product_param;
    margin_state *s = layer->state;
    int32_t axis;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET,
                "margin_inner_product_param needs num_output");
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    *s = (margin_state){.layer = layer, .N = p->num_output, .iteration = p->iteration};
    s->K = dni_shape_range(&layer->bottom[0], axis, layer->bottom[0].axes);
    dni_shape w = dni_shape_of(2, (int64_t[]){s->N, s->K});
    return dni_declare_weight(layer, &w, p->weight_filler);
}

static dn_status shape(dni_layer *layer)
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

static double sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}

/* psi of c; *slope: psi'. */
static double psi(Cnn__MarginInnerProductParameter__MarginType type, double c, double *slope)
{
    double s = sign(c), r = sign(fabs(c) - 0.5), q = s * sign(2 * c * c - 1);
    switch (type) {
    case CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__DOUBLE:
        *slope = 4 * s * c;
        return 2 * s * c * c - 1;
    case CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__TRIPLE:
        *slope = r * (12 * c * c - 3);
        return r * (4 * c * c * c - 3 * c) + s * (1 + r) - 2;
    default:
        *slope = q * (32 * c * c * c - 16 * c);
        return q * (8 * c * c * c * c - 8 * c * c + 1) + 2 * s + q - 3;
    }
}

/* Where item i has the column of its label: the host may have changed it since the forward. */
static dn_status label_at(const margin_state *s, const void *labels, int64_t i, int64_t *at)
{
    double label = dni_get(labels, s->layer->dtype, i);
    if (!(label >= 0 && label < (double)s->N))
        return dni_fail(DN_E_DATA, "label %lld is not from 0 to %lld",
                        (long long)(fabs(label) < 1e15 ? label : -1), (long long)s->N - 1);
    *at = i * s->N + (int64_t)label;
    return DN_OK;
}

/* x W^T, |x|, labels -> y, share, [lambda] */
static dn_status run(void *user, void *const *in, void *const *out)
{
    margin_state *s = user;
    const Cnn__MarginInnerProductParameter *p = s->layer->param->margin_inner_product_param;
    int32_t type = s->layer->dtype;
    double lambda = p->base * pow(1 + p->gamma * (double)++s->iteration, -p->power);
    lambda = lambda > p->lambda_min ? lambda : p->lambda_min;
    memcpy(out[0], in[0], (size_t)(s->M * s->N) * dni_dtype_size(type));
    if (s->layer->num_tops > 1)
        dni_put(out[2], type, 0, lambda);
    int64_t at;
    for (int64_t i = 0; i < s->M; i++) {
        double norm = dni_get(in[1], type, i), slope;
        bool single = p->type == CNN__MARGIN_INNER_PRODUCT_PARAMETER__MARGIN_TYPE__SINGLE;
        dni_put(out[1], type, 2 * i, 1);
        dni_put(out[1], type, 2 * i + 1, 0);
        dn_status st = label_at(s, in[2], i, &at);
        if (st)
            return st;
        double product = dni_get(in[0], type, at), c = product / norm;
        if (single || !(norm > 0))
            continue;
        double value = psi(p->type, c, &slope), v = (value - c * slope) / norm;
        double length = sqrt(slope * slope + v * v);
        dni_put(out[0], type, at, (norm * value + lambda * product) / (1 + lambda));
        dni_put(out[1], type, 2 * i, (slope / length + lambda) / (1 + lambda));
        dni_put(out[1], type, 2 * i + 1, v / length / (1 + lambda));
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    margin_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    dn_args_reduce sums = {.op = DN_REDUCE_SUMSQ,
                           .axes = 2,
                           .dim = {s->M, s->K},
                           .x_stride = {s->K, 1},
                           .y_stride = {1, 0},
                           .alpha = 1};
    dni_tensor norm = dni_temp(b, b->dtype, 1, &s->M), product = dni_temp_like(b, b->y[0]);
    s->share = dni_temp(b, b->dtype, 2, (int64_t[]){s->M, 2});
    s->w = dni_unit_rows(layer, b, s->N, s->K, 0);
    dni_emit_gemm(b, false, true, s->M, s->N, s->K, 1, b->x[0], s->w, product);
    dni_emit(b, DN_OP_REDUCE, &sums, DNI_TENSORS(b->x[0], DNI_NONE), DNI_TENSORS(norm));
    dni_emit_unary(b, DN_FN_SQRT, 0, 0, 0, norm, norm);
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(product, norm, b->x[1]),
             DNI_TENSORS(b->y[0], s->share, b->num_y > 1 ? b->y[1] : DNI_NONE));
}

/* dy, labels, share -> dy with a label's column times its share, (M): what goes to x */
static dn_status divide(void *user, void *const *in, void *const *out)
{
    const margin_state *s = user;
    int32_t type = s->layer->dtype;
    memcpy(out[0], in[0], (size_t)(s->M * s->N) * dni_dtype_size(type));
    for (int64_t i = 0; i < s->M; i++) {
        int64_t at;
        dn_status st = label_at(s, in[1], i, &at);
        if (st)
            return st;
        double dy = dni_get(in[0], type, at);
        dni_put(out[0], type, at, dy * dni_get(in[2], type, 2 * i));
        dni_put(out[1], type, i, dy * dni_get(in[2], type, 2 * i + 1));
    }
    return DN_OK;
}

static void backward(dni_layer *layer, dni_builder *b)
{
    margin_state *s = layer->state;
    dn_args_host_call call = {.fn = divide, .user = s};
    dni_emit_gemm(b, true, false, s->N, s->K, s->M, 1, b->dy[0], b->x[0], b->dw[0]);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor dy = dni_temp_like(b, b->dy[0]), to_x = dni_temp(b, b->dtype, 1, &s->M);
    dni_tensor part = dni_temp_like(b, b->x[0]), rest = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->dy[0], b->x[1], s->share),
             DNI_TENSORS(dy, to_x));
    dni_emit_gemm(b, false, false, s->M, s->K, s->N, 1, dy, s->w, part);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->M, s->K, b->x[0], to_x, rest);
    dni_emit_sum2(b, 1, part, 1, rest, b->dx[0]);
}

/* A snapshot keeps the number of forwards. */
static int64_t tell(const dni_layer *layer)
{
    return ((const margin_state *)layer->state)->iteration;
}

static dn_status seek(dni_layer *layer, int64_t position)
{
    ((margin_state *)layer->state)->iteration = position;
    return DN_OK;
}

const dni_layer_class dni_layer_margin_inner_product = {
    .type = "MarginInnerProduct",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 2,
    .no_gradient = 1u << 1,
    .state_size = sizeof(margin_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .tell = tell,
    .seek = seek,
};
