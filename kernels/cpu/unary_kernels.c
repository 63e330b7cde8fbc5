/* SPDX-License-Identifier: BSD-2-Clause
 * unary_kernels.c: functions of one element, their gradients, and softmax. One loop per
 * function: the function is a constant inside it. */
#include "unary_kernels.h"

INLINE vf apply(const int32_t fn, vf x, vf a, vf b, vf c)
{
    vf zero = v_zero(), one = v_set1(1.0f);
    switch (fn) {
    case DN_FN_RELU:
        return v_sel(v_gt(x, zero), x, v_mul(a, x));
    case DN_FN_SIGMOID:
        return v_sigmoid(x);
    case DN_FN_TANH:
        return v_tanh(x);
    case DN_FN_ABS:
        return v_abs(x);
    case DN_FN_EXP:
        return v_exp(v_add(v_mul(a, x), b));
    case DN_FN_LOG:
        return v_mul(c, v_log(v_add(v_mul(a, x), b)));
    case DN_FN_CLIP:
        return v_min(v_max(x, a), b);
    case DN_FN_THRESHOLD:
        return v_sel(v_gt(x, a), one, zero);
    case DN_FN_SWISH:
        return v_mul(x, v_sigmoid(v_mul(a, x)));
    case DN_FN_AFFINE:
        return v_add(v_mul(a, x), b);
    case DN_FN_SQRT:
        return v_sqrt(x);
    default:
        return x;
    }
}

/* z is x, or y with is_y. */
INLINE vf slope_of(const int32_t fn, vf z, vf a, const bool is_y)
{
    vf zero = v_zero(), one = v_set1(1.0f), y;
    switch (fn) {
    case DN_FN_RELU:
        return v_sel(v_gt(z, zero), one, a);
    case DN_FN_SIGMOID:
        y = is_y ? z : v_sigmoid(z);
        return v_mul(y, v_sub(one, y));
    case DN_FN_TANH:
        y = is_y ? z : v_tanh(z);
        return v_sub(one, v_mul(y, y));
    case DN_FN_ABS:
        return v_sel(v_eq(z, zero), zero, v_sign(one, z));
    case DN_FN_ELU:
        return v_sel(v_gt(z, zero), one, is_y ? v_add(z, a) : v_mul(a, v_exp(z)));
    case DN_FN_THRESHOLD:
        return zero;
    case DN_FN_AFFINE:
        return a;
    default:
        return one;
    }
}

INLINE void map(const int32_t fn, const cpu_unary *u, float *y, const float *x, int64_t n)
{
    vf a = v_set1(u->a), b = v_set1(u->b), c = v_set1(u->c);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(y + i, apply(fn, v_load(x + i), a, b, c));
    if (i < n)
        v_storen(y + i, apply(fn, v_loadn(x + i, n - i), a, b, c), n - i);
}

void ISA(cpu_unary)(const cpu_unary *u, float *y, const float *x, int64_t n)
{
    switch (u->fn) {
/* clang-format off */
#define MAP(fn) case fn: map(fn, u, y, x, n); break;
    MAP(DN_FN_RELU) MAP(DN_FN_SIGMOID) MAP(DN_FN_TANH) MAP(DN_FN_ABS) MAP(DN_FN_EXP)
    MAP(DN_FN_LOG) MAP(DN_FN_CLIP) MAP(DN_FN_THRESHOLD) MAP(DN_FN_SWISH) MAP(DN_FN_AFFINE)
    MAP(DN_FN_SQRT)
#undef MAP
    default: memmove(y, x, (size_t)n * sizeof(float));
    }
    /* clang-format on */
}

INLINE void map_bwd(const int32_t fn, const cpu_unary *u, float *dx, const float *dy,
                    const float *z, const bool is_y, bool add, int64_t n)
{
    vf a = v_set1(u->a);
    for (int64_t i = 0; i < n; i += VL) {
        int64_t left = n - i;
        vf d = v_mul(v_loadp(dy + i, left), slope_of(fn, v_loadp(z + i, left), a, is_y));
        if (add)
            d = v_add(d, v_loadp(dx + i, left));
        v_storep(dx + i, d, left);
    }
}

void ISA(cpu_unary_bwd)(const cpu_unary *u, float *dx, const float *dy, const float *z,
                        bool is_y, bool add, int64_t n)
{
    switch (u->fn) {
/* clang-format off */
#define MAP(fn)                                                                                \
    case fn:                                                                                   \
        if (is_y) map_bwd(fn, u, dx, dy, z, true, add, n);                                     \
        else map_bwd(fn, u, dx, dy, z, false, add, n);                                         \
        break;
    MAP(DN_FN_RELU) MAP(DN_FN_SIGMOID) MAP(DN_FN_TANH) MAP(DN_FN_ABS) MAP(DN_FN_ELU)
    MAP(DN_FN_THRESHOLD) MAP(DN_FN_AFFINE)
#undef MAP
    default: map_bwd(DN_FN_NONE, u, dx, dy, z, true, add, n);
    }
    /* clang-format on */
}

/* ---- softmax ----------------------------------------------------------------------------- */

static void softmax_row(float *y, const float *x, int64_t n)
{
    vf top = v_set1(-INFINITY), sum = v_zero();
    float most = -INFINITY, total;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        top = v_max(v_load(x + i), top);
    if (n >= VL)
        most = v_top(top);
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (i = 0; i + VL <= n; i += VL) {
        vf e = v_exp(v_sub(v_load(x + i), v_set1(most)));
        sum = v_add(sum, e);
        v_store(y + i, e);
    }
    total = v_sum(sum);
    if (i < n) {
        v_storen(y + i, v_exp(v_sub(v_loadn(x + i, n - i), v_set1(most))), n - i);
        for (; i < n; i++)
            total += y[i];
    }
    vf scale = v_set1(total);
    for (i = 0; i < n; i += VL)
        v_storep(y + i, v_div(v_loadp(y + i, n - i), scale), n - i);
}

void ISA(cpu_softmax)(float *y, const float *x, int64_t dim, int64_t inner)
{
    if (inner == 1) {
        softmax_row(y, x, dim);
        return;
    }
    for (int64_t i = 0; i < inner; i += VL) {
        int64_t n = inner - i;
        vf top = v_set1(-INFINITY), sum = v_zero();
        for (int64_t d = 0; d < dim; d++)
            top = v_max(v_loadp(x + d * inner + i, n), top);
        for (int64_t d = 0; d < dim; d++) {
            vf e = v_exp(v_sub(v_loadp(x + d * inner + i, n), top));
            sum = v_add(sum, e);
            v_storep(y + d * inner + i, e, n);
        }
        for (int64_t d = 0; d < dim; d++)
            v_storep(y + d * inner + i, v_div(v_loadp(y + d * inner + i, n), sum), n);
    }
}

void ISA(cpu_softmax_bwd)(float *dx, const float *y, const float *dy, int64_t dim,
                          int64_t inner, bool add)
{
    if (inner == 1) {
        vf sum = v_zero();
        for (int64_t i = 0; i < dim; i += VL)
            sum = v_fma(v_loadp(y + i, dim - i), v_loadp(dy + i, dim - i), sum);
        vf dot = v_set1(v_sum(sum));
        for (int64_t i = 0; i < dim; i += VL) {
            int64_t n = dim - i;
            vf d = v_mul(v_sub(v_loadp(dy + i, n), dot), v_loadp(y + i, n));
            if (add)
                d = v_add(d, v_loadp(dx + i, n));
            v_storep(dx + i, d, n);
        }
        return;
    }
    for (int64_t i = 0; i < inner; i += VL) {
        int64_t n = inner - i;
        vf dot = v_zero();
        for (int64_t d = 0; d < dim; d++) {
            int64_t at = d * inner + i;
            dot = v_fma(v_loadp(y + at, n), v_loadp(dy + at, n), dot);
        }
        for (int64_t d = 0; d < dim; d++) {
            int64_t at = d * inner + i;
            vf g = v_mul(v_sub(v_loadp(dy + at, n), dot), v_loadp(y + at, n));
            if (add)
                g = v_add(g, v_loadp(dx + at, n));
            v_storep(dx + at, g, n);
        }
    }
}
