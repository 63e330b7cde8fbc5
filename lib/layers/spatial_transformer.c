/* SPDX-License-Identifier: BSD-2-Clause
 * SpatialTransformer (Jaderberg et al., 2015; the fork with st_param): the top's pixel (i, j)
 * of P x Q is the bottom at row (r + 1) H / 2, column (c + 1) W / 2, (r, c) = theta (2 i / P -
 * 1, 2 j / Q - 1, 1), between four pixels linearly; outside the bottom lie zeros. st_param:
 * output_H, output_W (the bottom's), theta_1_1 ... theta_2_3 (numbers that bottom 1 then
 * lacks), to_compute_dU (true: there is a gradient to bottom 0); transform_type and
 * sampler_type are affine and bilinear. Without st_param forks differ: refused.
 * bottoms: (N, C, H, W), theta (N, 6 less those given); top: (N, C, P, Q).
 * Gradient: of the two linear functions, on a pixel that to the right and below. */
#include <string.h>

#include "layers/values.h"

typedef struct transformer_state {
    int64_t N, C, H, W, P, Q, K; /* K: theta's numbers in bottom 1 */
    void *grid;                  /* (P Q, 3), then (K, 3) and (3) for rows and for columns */
    /* for the gradient, while lowering: by axis, by corner */
    dni_tensor at[2], part[2][2], index[4], near[4], weight[4];
} transformer_state;

static dn_status given(const dni_layer *layer, bool has[6], double value[6])
{
    const Cnn__SpatialTransformerParameter *p = layer->param->st_param;
    DNI_REQUIRE(p, DN_E_UNSUPPORTED,
                "without st_param theta means another thing in each fork; give one");
    DNI_REQUIRE(!strcmp(p->transform_type, "affine") && !strcmp(p->sampler_type, "bilinear") &&
                    !p->de_transform,
                DN_E_UNSUPPORTED, "only affine and bilinear, without de_transform");
    memcpy(has,
           (bool[6]){p->has_theta_1_1, p->has_theta_1_2, p->has_theta_1_3, p->has_theta_2_1,
                     p->has_theta_2_2, p->has_theta_2_3},
           6 * sizeof *has);
    memcpy(value,
           (double[6]){p->theta_1_1, p->theta_1_2, p->theta_1_3, p->theta_2_1, p->theta_2_2,
                       p->theta_2_3},
           6 * sizeof *value);
    return DN_OK;
}

/* The top's coordinates; which number of bottom 1 is which of theta; the numbers given. */
static dn_status fill(dni_layer *layer, const bool has[6], const double value[6])
{
    transformer_state *s = layer->state;
    int64_t pixels = s->P * s->Q, k = 0;
    dni_free(layer->heap, s->grid);
    s->grid = dni_alloc(layer->heap, (size_t)(pixels * 3 + 6 * s->K + 6), sizeof(double));
    if (!s->grid)
        return DN_E_NOMEM;
    memset(s->grid, 0, (size_t)(pixels * 3 + 6 * s->K + 6) * sizeof(double));
    for (int64_t i = 0; i < pixels; i++) {
        dni_put(s->grid, layer->dtype, 3 * i, (double)(i / s->Q) / (double)s->P * 2 - 1);
        dni_put(s->grid, layer->dtype, 3 * i + 1, (double)(i % s->Q) / (double)s->Q * 2 - 1);
        dni_put(s->grid, layer->dtype, 3 * i + 2, 1);
    }
    for (int64_t j = 0; j < 6; j++) {
        int64_t part = pixels * 3 + j / 3 * (3 * s->K + 3);
        if (has[j])
            dni_put(s->grid, layer->dtype, part + 3 * s->K + j % 3, value[j]);
        else
            dni_put(s->grid, layer->dtype, part + 3 * k++ + j % 3, 1);
    }
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    transformer_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *theta = &layer->bottom[1];
    bool has[6];
    double value[6];
    dn_status st = given(layer, has, value);
    if (st)
        return st;
    const Cnn__SpatialTransformerParameter *p = layer->param->st_param;
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, not 4", x->axes);
    s->N = x->dim[0], s->C = x->dim[1], s->H = x->dim[2], s->W = x->dim[3], s->K = 6;
    for (int32_t j = 0; j < 6; j++)
        s->K -= has[j];
    DNI_REQUIRE(s->K > 0 && theta->axes > 0 && theta->dim[0] == s->N &&
                    dni_shape_range(theta, 1, theta->axes) == s->K,
                DN_E_SHAPE, "bottom 1 must have %lld numbers of theta for each item",
                (long long)s->K);
    s->P = p->output_h ? p->output_h : s->H;
    s->Q = p->output_w ? p->output_w : s->W;
    layer->top[0] = dni_shape_of(4, (int64_t[]){s->N, s->C, s->P, s->Q});
    DNI_REQUIRE(s->P > 0 && s->Q > 0 && (s->H + 3.0) * ((double)s->W + 3) <= 0x1p24 &&
                    (double)s->P * (double)s->Q <= 0x1p24,
                DN_E_SHAPE, "a plane of a bottom or top is empty or too large");
    st = dni_shape_check(&layer->top[0]);
    return st || layer->wire_only ? st : fill(layer, has, value);
}

static void teardown(dni_layer *layer)
{
    dni_free(layer->heap, ((transformer_state *)layer->state)->grid);
}

/* The grid; the numbers of bottom 1 (which = 0) or the given ones (1) for axis d. */
static dni_tensor constant(const transformer_state *s, dni_builder *b, int d, int which)
{
    int64_t at = s->P * s->Q * 3 + d * (3 * s->K + 3) + which * 3 * s->K;
    size_t size = b->dtype == DN_F64 ? sizeof(double) : sizeof(float);
    return dni_constant(b, b->dtype, which ? 3 : 3 * s->K, (char *)s->grid + (size_t)at * size);
}

/* Between images and tables of pixels, whose planes may have borders: 1 before, 2 after. */
static void turn(const transformer_state *s, dni_builder *b, bool bordered, bool back,
                 dni_tensor x, dni_tensor y)
{
    int64_t H = bordered ? s->H : s->P, W = bordered ? s->W : s->Q, wide = W + 3 * bordered;
    int64_t table[4] = {(H + 3 * bordered) * wide * s->C, 1, wide * s->C, s->C};
    dn_args_copy a = {.axes = 4,
                      .dim = {s->N, s->C, H, W},
                      .x_stride = {s->C * H * W, H * W, W, 1},
                      .x_offset = 0,
                      .y_offset = bordered ? (wide + 1) * s->C : 0,
                      .alpha = 1};
    memcpy(a.y_stride, table, sizeof table);
    if (back) {
        memcpy(a.y_stride, a.x_stride, sizeof table);
        memcpy(a.x_stride, table, sizeof table);
        a.x_offset = a.y_offset, a.y_offset = 0;
    }
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static dni_tensor table(const transformer_state *s, dni_builder *b, bool bordered)
{
    int64_t rows = bordered ? (s->H + 3) * (s->W + 3) : s->P * s->Q;
    return dni_temp(b, b->dtype, 3, (int64_t[]){s->N, rows, s->C});
}

/* Where each pixel of the top lies along axis d, counted with the border: whole and the rest.
 */
static dni_tensor locate(transformer_state *s, dni_builder *b, int d)
{
    const int64_t n = s->P * s->Q, each[2] = {s->N, n};
    double L = (double)(d ? s->W : s->H);
    dni_tensor theta = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, 3}), whole, cut;
    dni_tensor grid = dni_constant(b, b->dtype, n * 3, s->grid);
    dni_tensor number = dni_temp(b, DN_I32, 2, each);
    s->at[d] = dni_temp(b, b->dtype, 2, each);
    dni_emit_gemm(b, false, false, s->N, 3, s->K, 1, b->x[1], constant(s, b, d, 0), theta);
    dni_emit_bcast(b, DN_BCAST_ADD, s->N, 3, 1, theta, constant(s, b, d, 1), theta);
    dni_emit_gemm(b, false, true, s->N, n, 3, 1, theta, grid, s->at[d]);
    dni_emit_unary(b, DN_FN_AFFINE, L / 2, L / 2 + 1, 0, s->at[d], s->at[d]);
    whole = dni_temp_like(b, s->at[d]), cut = dni_temp_like(b, s->at[d]);
    s->part[d][0] = dni_temp_like(b, cut), s->part[d][1] = dni_temp_like(b, cut);
    dni_emit_unary(b, DN_FN_CLIP, 0, L + 1, 0, s->at[d], cut);
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(cut), DNI_TENSORS(number));
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(number), DNI_TENSORS(whole));
    dni_emit_sum2(b, 1, cut, -1, whole, s->part[d][1]);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 1, 0, s->part[d][1], s->part[d][0]);
    return whole;
}

static dn_args_gather rows(const transformer_state *s)
{
    return (dn_args_gather){
        .count = s->P * s->Q, .cols = s->C, .limit = (s->H + 3) * (s->W + 3), .batch = s->N};
}

static void forward(dni_layer *layer, dni_builder *b)
{
    transformer_state *s = layer->state;
    dni_tensor x = table(s, b, true), y = table(s, b, false), product = table(s, b, false);
    dni_tensor row = locate(s, b, 0), column = locate(s, b, 1);
    dn_args_gather a = rows(s);
    dni_emit_fill(b, x, 0);
    turn(s, b, true, false, b->x[0], x);
    dni_emit_sum2(b, (double)(s->W + 3), row, 1, column, row);
    for (int k = 0; k < 4; k++) {
        double corner = (double)(k / 2 * (s->W + 3) + k % 2);
        s->index[k] = dni_temp_like(b, row);
        s->near[k] = table(s, b, false);
        s->weight[k] = dni_temp_like(b, row);
        dni_emit_unary(b, DN_FN_AFFINE, 1, corner, 0, row, s->index[k]);
        dni_emit(b, DN_OP_GATHER, &a, DNI_TENSORS(x, s->index[k]), DNI_TENSORS(s->near[k]));
        dni_emit_product(b, s->part[0][k / 2], s->part[1][k % 2], s->weight[k]);
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N * s->P * s->Q, s->C, s->near[k], s->weight[k],
                       k ? product : y);
        if (k)
            dni_emit_sum2(b, 1, y, 1, product, y);
    }
    turn(s, b, false, true, y, b->y[0]);
}

static void backward_image(const transformer_state *s, dni_builder *b, dni_tensor dy)
{
    dni_tensor dx = table(s, b, true), part = table(s, b, false);
    dn_args_gather a = rows(s);
    for (int k = 0; k < 4; k++) {
        a.base.accumulate = k > 0;
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N * s->P * s->Q, s->C, dy, s->weight[k], part);
        dni_emit(b, DN_OP_SCATTER_ADD, &a, DNI_TENSORS(part, s->index[k]), DNI_TENSORS(dx));
    }
    turn(s, b, true, true, dx, b->dx[0]);
}

static void backward_theta(const transformer_state *s, dni_builder *b, dni_tensor dy)
{
    const int64_t n = s->P * s->Q;
    dni_tensor grid = dni_constant(b, b->dtype, n * 3, s->grid), sum[4], to[2];
    dni_tensor t = dni_temp_like(b, s->at[0]),
               theta = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, 3});
    for (int k = 0; k < 4; k++) {
        sum[k] = dni_temp_like(b, t);
        dni_emit_reduce_mid(b, 1, s->N * n, s->C, 1, dy, s->near[k], sum[k]);
    }
    for (int d = 0; d < 2; d++) {
        double L = (double)(d ? s->W : s->H);
        dni_tensor slope = dni_temp_like(b, t);
        to[d] = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, s->K});
        for (int other = 0; other < 2;
             other++) { /* the corners on one side of the other axis */
            int after = d ? 2 * other + 1 : 2 + other, before = d ? 2 * other : other;
            dni_emit_sum2(b, 1, sum[after], -1, sum[before], t);
            dni_emit_product(b, t, s->part[1 - d][other], other ? t : slope);
        }
        dni_emit_sum2(b, 1, slope, 1, t, slope);
        dni_emit_unary_bwd(b, DN_FN_CLIP, 0, L + 1, 0, s->at[d], DNI_NONE, slope, slope);
        dni_emit_gemm(b, false, false, s->N, 3, n, L / 2, slope, grid, theta);
        dni_emit_gemm(b, false, true, s->N, s->K, 3, 1, theta, constant(s, b, d, 0), to[d]);
    }
    dni_emit_sum2(b, 1, to[0], 1, to[1], b->dx[1]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const transformer_state *s = layer->state;
    dni_tensor dy = table(s, b, false);
    turn(s, b, false, false, b->dy[0], dy);
    if (b->dx[1] != DNI_NONE)
        backward_theta(s, b, dy);
    if (b->dx[0] != DNI_NONE && layer->param->st_param->to_compute_du)
        backward_image(s, b, dy);
    else if (b->dx[0] != DNI_NONE)
        dni_emit_fill(b, b->dx[0], 0);
}

const dni_layer_class dni_layer_spatial_transformer = {
    .type = "SpatialTransformer",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(transformer_state),
    .shape = shape,
    .teardown = teardown,
    .forward = forward,
    .backward = backward,
};
