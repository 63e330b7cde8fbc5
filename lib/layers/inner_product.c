/* SPDX-License-Identifier: BSD-2-Clause
 * InnerProduct: y = x W^T + b, x flattened from `axis` on.
 * inner_product_param: num_output (required), bias_term (true), weight_filler, bias_filler,
 * axis (1), transpose (false: W is (num_output, K); true: (K, num_output)); of face nets
 * normalize (false): each row of W is divided by sqrt(1e-6 + sum w^2) first, in TRAIN for good.
 * bottom: (M..., K...); top: (M..., num_output); weights: W, b (num_output).
 * Gradient: dx = dy W; dW = dy^T x, of the W that is there; db = column sums of dy. */
#include "layers/inner_product.h"

#include "deepnet/net.h"

typedef struct ip_state {
    int64_t M, K, N;
    bool transpose, bias;
    dni_tensor w; /* W, or its rows of length 1: while lowering */
} ip_state;

dni_tensor dni_unit_rows(const dni_layer *layer, dni_builder *b, int64_t rows, int64_t cols,
                         double eps)
{
    dni_tensor norm = dni_temp(b, b->dtype, 1, &rows);
    bool stays = layer->phase == DN_PHASE_TRAIN;
    dni_tensor w = stays ? b->w[0] : dni_temp_like(b, b->w[0]);
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, rows, cols, 1, 1, b->w[0], DNI_NONE, norm);
    dni_emit_unary(b, DN_FN_POWER, 1, eps, 0.5, norm, norm);
    dni_emit_bcast(b, DN_BCAST_DIV, 1, rows, cols, b->w[0], norm, w);
    return w;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__InnerProductParameter *p = layer->param->inner_product_param;
    ip_state *s = layer->state;
    int32_t axis;
    DNI_REQUIRE(p && p->has_num_output && p->num_output > 0, DN_E_NET,
                "inner_product_param needs num_output");
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    s->N = p->num_output;
    s->K = dni_shape_range(&layer->bottom[0], axis, layer->bottom[0].axes);
    s->transpose = p->transpose;
    s->bias = p->bias_term;
    DNI_REQUIRE(!p->normalize || !s->transpose, DN_E_UNSUPPORTED,
                "normalize with transpose is not supported");
    dni_shape w = dni_shape_of(2, (int64_t[]){s->N, s->K});
    if (s->transpose)
        w = dni_shape_of(2, (int64_t[]){s->K, s->N});
    st = dni_declare_weight(layer, &w, p->weight_filler);
    if (!st && s->bias) {
        dni_shape b = dni_shape_of(1, &s->N);
        st = dni_declare_weight(layer, &b, p->bias_filler);
    }
    return st;
}

static dn_status shape(dni_layer *layer)
{
    ip_state *s = layer->state;
    const Cnn__InnerProductParameter *p = layer->param->inner_product_param;
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &axis);
    if (st)
        return st;
    int64_t K = dni_shape_range(&layer->bottom[0], axis, layer->bottom[0].axes);
    DNI_REQUIRE(K == s->K, DN_E_SHAPE,
                "bottom has %lld values per item, the weights were made for %lld", (long long)K,
                (long long)s->K);
    s->M = dni_shape_range(&layer->bottom[0], 0, axis);
    layer->top[0] = dni_shape_of(axis, layer->bottom[0].dim);
    layer->top[0].dim[layer->top[0].axes++] = s->N;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    ip_state *s = layer->state;
    bool unit = layer->param->inner_product_param->normalize;
    s->w = unit ? dni_unit_rows(layer, b, s->N, s->K, 1e-6) : b->w[0];
    dn_args_gemm g = {.trans_b = !s->transpose,
                      .m = s->M,
                      .n = s->N,
                      .k = s->K,
                      .lda = s->K,
                      .ldb = s->transpose ? s->N : s->K,
                      .ldc = s->N,
                      .batch = 1,
                      .alpha = 1,
                      .bias_mode = s->bias};
    dni_emit(b, DN_OP_GEMM, &g, DNI_TENSORS(b->x[0], s->w, s->bias ? b->w[1] : DNI_NONE),
             DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const ip_state *s = layer->state;
    if (s->transpose)
        dni_emit_gemm(b, true, false, s->K, s->N, s->M, 1, b->x[0], b->dy[0], b->dw[0]);
    else
        dni_emit_gemm(b, true, false, s->N, s->K, s->M, 1, b->dy[0], b->x[0], b->dw[0]);
    if (s->bias)
        dni_emit_reduce_mid(b, s->M, s->N, 1, 1, b->dy[0], DNI_NONE, b->dw[1]);
    dni_emit_gemm(b, false, s->transpose, s->M, s->K, s->N, 1, b->dy[0], s->w, b->dx[0]);
}

const dni_layer_class dni_layer_inner_product = {
    .type = "InnerProduct",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(ip_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
