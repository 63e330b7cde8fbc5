/* SPDX-License-Identifier: BSD-2-Clause
 * SpatialTransformer (Jaderberg et al., 2015; the fork with st_param): the top's pixel (i, j)
 * of P x Q is the bottom at row (r + 1) H / 2, column (c + 1) W / 2, (r, c) = theta (2 i / P -
 * 1, 2 j / Q - 1, 1), between four pixels linearly; outside the bottom lie zeros. st_param:
 * output_H, output_W (the bottom's), theta_1_1 ... theta_2_3 (numbers that bottom 1 then
 * lacks), to_compute_dU (true: there is a gradient to bottom 0); transform_type and
 * sampler_type are affine and bilinear. Without st_param forks differ: refused.
 * bottoms: (N, C, H, W), theta (N, 6 less those given); top: (N, C, P, Q).
 * Gradient: of the two linear functions, on a pixel that to the right and below. Places are
 * products of matrices: with `compute` bf16 they are a quarter of a pixel off in a bottom of 224.
 */
#include <string.h>

#include "layers/sampler.h"
#include "layers/values.h"

typedef struct transformer_state {
    dni_sampler sampler;
    int64_t K;  /* theta's numbers in bottom 1 */
    void *grid; /* (P Q, 3), then (K, 3) and (3) for rows and for columns */
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
    int64_t Q = s->sampler.Q, pixels = s->sampler.P * Q, k = 0;
    dni_free(s->grid);
    s->grid = dni_alloc(layer->heap, (size_t)(pixels * 3 + 6 * s->K + 6), sizeof(double));
    if (!s->grid)
        return DN_E_NOMEM;
    memset(s->grid, 0, (size_t)(pixels * 3 + 6 * s->K + 6) * sizeof(double));
    for (int64_t i = 0; i < pixels; i++) {
        dni_put(s->grid, layer->dtype, 3 * i, (double)(i / Q) / (double)s->sampler.P * 2 - 1);
        dni_put(s->grid, layer->dtype, 3 * i + 1, (double)(i % Q) / (double)Q * 2 - 1);
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
    transformer_state *state = layer->state;
    dni_sampler *s = &state->sampler;
    const dni_shape *x = &layer->bottom[0], *theta = &layer->bottom[1];
    bool has[6];
    double value[6];
    dn_status st = given(layer, has, value);
    if (st)
        return st;
    const Cnn__SpatialTransformerParameter *p = layer->param->st_param;
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, not 4", x->axes);
    s->N = x->dim[0], s->C = x->dim[1], s->H = x->dim[2], s->W = x->dim[3];
    state->K = 6;
    for (int32_t j = 0; j < 6; j++)
        state->K -= has[j];
    DNI_REQUIRE(state->K > 0 && theta->axes > 0 && theta->dim[0] == s->N &&
                    dni_shape_range(theta, 1, theta->axes) == state->K,
                DN_E_SHAPE, "bottom 1 must have %lld numbers of theta for each item",
                (long long)state->K);
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
    dni_free(((transformer_state *)layer->state)->grid);
}

/* The grid; the numbers of bottom 1 (which = 0) or the given ones (1) for axis d. */
static dni_tensor constant(const transformer_state *s, dni_builder *b, int d, int which)
{
    int64_t at = s->sampler.P * s->sampler.Q * 3 + d * (3 * s->K + 3) + which * 3 * s->K;
    size_t size = b->dtype == DN_F64 ? sizeof(double) : sizeof(float);
    return dni_constant(b, b->dtype, which ? 3 : 3 * s->K, (char *)s->grid + (size_t)at * size);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    transformer_state *s = layer->state;
    dni_sampler *to = &s->sampler;
    const int64_t n = to->P * to->Q;
    dni_tensor grid = dni_constant(b, b->dtype, n * 3, s->grid);
    dni_tensor theta = dni_temp(b, b->dtype, 2, (int64_t[]){to->N, 3});
    for (int d = 0; d < 2; d++) {
        double L = (double)(d ? to->W : to->H);
        to->at[d] = dni_temp(b, b->dtype, 2, (int64_t[]){to->N, n});
        dni_emit_gemm(b, false, false, to->N, 3, s->K, 1, b->x[1], constant(s, b, d, 0), theta);
        dni_emit_bcast(b, DN_BCAST_ADD, to->N, 3, 1, theta, constant(s, b, d, 1), theta);
        dni_emit_gemm(b, false, true, to->N, n, 3, 1, theta, grid, to->at[d]);
        dni_emit_unary(b, DN_FN_AFFINE, L / 2, L / 2 + 1, 0, to->at[d], to->at[d]);
    }
    dni_sampler_forward(to, b, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const transformer_state *s = layer->state;
    const dni_sampler *of = &s->sampler;
    const int64_t n = of->P * of->Q;
    bool image = b->dx[0] != DNI_NONE && layer->param->st_param->to_compute_du;
    dni_tensor dat[2], to[2], theta = dni_temp(b, b->dtype, 2, (int64_t[]){of->N, 3});
    dni_sampler_backward(of, b, b->dy[0], image ? b->dx[0] : DNI_NONE,
                         b->dx[1] != DNI_NONE ? dat : NULL);
    if (!image && b->dx[0] != DNI_NONE)
        dni_emit_fill(b, b->dx[0], 0);
    if (b->dx[1] == DNI_NONE)
        return;
    dni_tensor grid = dni_constant(b, b->dtype, n * 3, s->grid);
    for (int d = 0; d < 2; d++) {
        double L = (double)(d ? of->W : of->H);
        to[d] = dni_temp(b, b->dtype, 2, (int64_t[]){of->N, s->K});
        dni_emit_gemm(b, false, false, of->N, 3, n, L / 2, dat[d], grid, theta);
        dni_emit_gemm(b, false, true, of->N, s->K, 3, 1, theta, constant(s, b, d, 0), to[d]);
    }
    dni_emit_sum2(b, 1, to[0], 1, to[1], b->dx[1]);
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
