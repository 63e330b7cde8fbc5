/* SPDX-License-Identifier: BSD-2-Clause
 * unary_kernels.c: functions of one element, their gradients, and softmax. One loop for all
 * functions: the choice costs less than the memory, and a loop each would be as much code
 * again. */
#include "unary_kernels.h"

COLD vf exp_of(vf x)
{
    return v_exp(x);
}

COLD vf log_of(vf x)
{
    return v_log(x);
}

#if VL < 16
vf ISA(cpu_any_power)(vf s, float beta)
{
    return exp_of(v_mul(v_set1(-beta), log_of(s)));
}
#endif

/* exp(x) - 1, or 0 where x is above 0: exact near 0 */
SHARED vf expm1_of(vf x)
{
    vf n, one = v_set1(1.0f);
    vf p = v_exp_parts(v_min(v_max(x, v_set1(-104.0f)), v_zero()), &n);
    p = v_add(v_ldexp(p, n), v_sub(v_ldexp(one, n), one));
    return v_sel(v_eq(x, x), p, x);
}

/* log(1 + e), e in [0, 1]: u = 1 + e loses what u - 1 shows */
SHARED vf log1p_of(vf e)
{
    vf one = v_set1(1.0f), u = v_add(one, e), lost = v_sub(u, one);
    return v_sel(v_eq(lost, v_zero()), e, v_mul(log_of(u), v_div(e, lost)));
}

COLD vf sigmoid_of(vf x)
{
    vf one = v_set1(1.0f), e = v_exp(v_sub(v_zero(), v_abs(x)));
    vf s = v_div(v_sel(v_gt(x, v_zero()), one, e), v_add(one, e));
    return v_sel(v_eq(x, x), s, x);
}

COLD vf tanh_of(vf x)
{
    vf a = v_abs(x), z = v_mul(x, x), p = v_set1(-5.70498872745e-3f), one = v_set1(1.0f);
    p = v_fma(p, z, v_set1(2.06390887954e-2f));
    p = v_fma(p, z, v_set1(-5.37397155531e-2f));
    p = v_fma(p, z, v_set1(1.33314422036e-1f));
    p = v_fma(p, z, v_set1(-3.33332819422e-1f));
    vf small = v_fma(v_mul(p, z), x, x);
    vf e = v_exp(v_add(a, a));
    vf big = v_sub(one, v_div(v_set1(2.0f), v_add(e, one)));
    return v_sel(v_gt(v_set1(0.625f), a), small, v_sign(big, x));
}

INLINE vf sign_of(vf x)
{
    return v_sel(v_gt(v_abs(x), v_zero()), v_sign(v_set1(1.0f), x), v_zero());
}

/* x^c = 2^(c e) exp(c log m) of x = m 2^e, with c e to twice the digits: within about 2 + |c|
 * units in the last place. */
COLD vf power_of(vf x, float c)
{
    vf zero = v_zero(), one = v_set1(1.0f), cv = v_set1(c), inf = v_set1(INFINITY);
    vf a = v_abs(x), e, m = v_frexp(a, &e);
    if (c == 0)
        return one;
    if (c == 1)
        return x;
    if (c == 2)
        return v_mul(x, x);
    vm low = v_gt(v_set1(0.707106781186547524f), m);
    e = v_sub(e, v_sel(low, one, zero));
    m = v_add(m, v_sel(low, m, zero));
    vf high = v_mul(cv, e), n = v_round(v_min(v_max(high, v_set1(-250)), v_set1(250)));
    vf r = v_add(v_sub(high, n), v_fma(cv, e, v_sub(zero, high)));
    vf y = v_ldexp(exp_of(v_fma(cv, log_of(m), v_mul(r, v_set1(0.693147180559945f)))), n);
    float whole = floorf(c);
    if (whole != c)
        y = v_sel(v_gt(zero, x), v_set1(NAN), y);
    y = v_sel(v_eq(a, zero), c > 0 ? zero : inf, v_sel(v_eq(a, inf), c > 0 ? inf : zero, y));
    if (whole == c && floorf(c / 2) * 2 != c)
        y = v_sign(y, x);
    return v_sel(v_eq(x, x), y, x);
}

INLINE vf hard_six(vf x)
{
    return v_min(v_max(v_add(x, v_set1(3)), v_zero()), v_set1(6));
}

INLINE vf hard_swish_of(vf x, vf a)
{
    return v_mul(v_mul(a, x), hard_six(x));
}

static vf apply(const cpu_unary *u, vf x)
{
    vf a = v_set1(u->a), b = v_set1(u->b), c = v_set1(u->c), zero = v_zero(), y;
    vf line = v_add(v_mul(a, x), b);
    switch (u->fn) {
    case DN_FN_RELU:
        return v_sel(v_gt(x, zero), x, v_mul(a, x));
    case DN_FN_SIGMOID:
        return sigmoid_of(x);
    case DN_FN_TANH:
        return tanh_of(x);
    case DN_FN_ABS:
        return v_abs(x);
    case DN_FN_EXP:
        return exp_of(line);
    case DN_FN_LOG:
        return v_mul(c, log_of(line));
    case DN_FN_POWER:
        return power_of(line, u->c);
    case DN_FN_BNLL:
        y = log1p_of(exp_of(v_sub(zero, v_abs(x))));
        return v_add(v_max(zero, x), y);
    case DN_FN_ELU:
        return v_sel(v_gt(x, zero), x, v_mul(a, expm1_of(x)));
    case DN_FN_SELU:
        return v_mul(b, v_sel(v_gt(x, zero), x, v_mul(a, expm1_of(x))));
    case DN_FN_RELU_TO:
        b = a, a = zero;
        /* fall through */
    case DN_FN_CLIP: /* a NaN stays */
        return v_min(b, v_max(a, x));
    case DN_FN_THRESHOLD:
        return v_sel(v_gt(x, a), v_set1(1.0f), zero);
    case DN_FN_SWISH:
        return v_mul(x, sigmoid_of(v_mul(a, x)));
    case DN_FN_AFFINE:
        return line;
    case DN_FN_SQRT:
        return v_sqrt(x);
    case DN_FN_SIGN:
        return sign_of(x);
    case DN_FN_SMOOTH_L1:
        y = v_mul(v_mul(a, a), v_abs(x));
        return v_sel(v_gt(v_set1(1.0f), y), v_mul(v_mul(v_abs(x), y), v_set1(0.5f)),
                     v_sub(v_abs(x), v_set1(0.5f / (u->a * u->a))));
    case DN_FN_HARD_SWISH:
        return hard_swish_of(x, a);
    default:
        return x;
    }
}

/* z is x, or y with is_y. */
static vf slope_of(const cpu_unary *u, vf z, bool is_y)
{
    vf a = v_set1(u->a), b = v_set1(u->b), zero = v_zero(), one = v_set1(1.0f), y;
    vf line = v_add(v_mul(a, z), b);
    switch (u->fn) {
    case DN_FN_RELU:
        return v_sel(v_gt(z, zero), one, a);
    case DN_FN_BNLL:
        return sigmoid_of(z);
    case DN_FN_SIGMOID:
        y = is_y ? z : sigmoid_of(z);
        return v_mul(y, v_sub(one, y));
    case DN_FN_TANH:
        y = is_y ? z : tanh_of(z);
        return v_sub(one, v_mul(y, y));
    case DN_FN_ABS:
        return sign_of(z);
    case DN_FN_EXP:
        return v_mul(a, is_y ? z : exp_of(line));
    case DN_FN_LOG:
        return v_div(v_set1(u->c * u->a), line);
    case DN_FN_POWER:
        return u->c == 0 ? zero : v_mul(v_set1(u->a * u->c), power_of(line, u->c - 1));
    case DN_FN_ELU:
        return v_sel(v_gt(z, zero), one, is_y ? v_add(z, a) : v_mul(a, exp_of(z)));
    case DN_FN_SELU:
        y = is_y ? v_add(z, v_mul(a, b)) : v_mul(v_mul(a, b), exp_of(z));
        return v_sel(v_gt(z, zero), b, y);
    case DN_FN_RELU_TO:
        b = a, a = zero;
        /* fall through */
    case DN_FN_CLIP: /* 0 at a NaN */
        return v_sel(v_eq(v_min(v_max(z, a), b), z), one, zero);
    case DN_FN_SWISH:
        y = sigmoid_of(v_mul(a, z));
        return v_mul(y, v_fma(v_mul(a, z), v_sub(one, y), one));
    case DN_FN_SQRT:
        return v_div(v_set1(0.5f), is_y ? z : v_sqrt(z));
    case DN_FN_SMOOTH_L1:
        y = v_mul(a, a);
        return v_sel(v_gt(one, v_mul(y, v_abs(z))), v_mul(y, z), sign_of(z));
    case DN_FN_HARD_SWISH:
        y = v_sel(v_gt(v_abs(z), v_set1(3)), zero, z);
        return v_mul(a, v_add(y, hard_six(z)));
    case DN_FN_THRESHOLD:
    case DN_FN_SIGN:
        return zero;
    case DN_FN_AFFINE:
        return a;
    default:
        return one;
    }
}

void ISA(cpu_unary)(const cpu_unary *u, float *y, const float *x, bool add, int64_t n)
{
    int64_t i = 0;
    if (!SMALL && u->fn == DN_FN_HARD_SWISH && !add) /* mostly over y in a cache */
        for (vf a = v_set1(u->a); i + VL <= n; i += VL)
            v_store(y + i, hard_swish_of(v_load(x + i), a));
    if (!SMALL && u->fn == DN_FN_RELU_TO && !add)
        for (vf a = v_set1(u->a); i + VL <= n; i += VL)
            v_store(y + i, v_min(a, v_max(v_zero(), v_load(x + i))));
    for (; i < n; i += VL) {
        vf v = apply(u, v_loadp(x + i, n - i));
        if (add)
            v = v_add(v, v_loadp(y + i, n - i));
        v_storep(y + i, v, n - i);
    }
}

void ISA(cpu_unary_bwd)(const cpu_unary *u, float *dx, const float *dy, const float *z,
                        bool is_y, bool add, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf d = v_mul(v_loadp(dy + i, n - i), slope_of(u, v_loadp(z + i, n - i), is_y));
        if (add)
            d = v_add(d, v_loadp(dx + i, n - i));
        v_storep(dx + i, d, n - i);
    }
}

/* ---- softmax ----------------------------------------------------------------------------- */

void ISA(cpu_softmax)(float *y, const float *x, int64_t n)
{
    vf top = v_set1(-INFINITY), sum[SUMS] = {v_zero()};
    float most = -INFINITY, total;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        top = v_max(v_load(x + i), top);
    if (n >= VL)
        most = v_top(top);
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    int64_t whole = n - n % SUM_LANES;
    for (i = 0; i < n; i += VL) {
        vf e = exp_of(v_sub(v_loadp(x + i, n - i), v_set1(most)));
        if (i < whole)
            sum[i / VL % SUMS] = v_add(sum[i / VL % SUMS], e);
        v_storep(y + i, e, n - i);
    }
    total = v_sum_lanes(sum);
    for (i = whole; i < n; i++)
        total += y[i];
    vf scale = v_set1(total);
    for (i = 0; i < n; i += VL)
        v_storep(y + i, v_div(v_loadp(y + i, n - i), scale), n - i);
}

void ISA(cpu_softmax_bwd)(float *dx, const float *y, const float *dy, int64_t n, bool add)
{
    vf sum[SUMS] = {v_zero()};
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        UNROLL
        for (int s = 0; s < SUMS; s++) {
            int64_t at = i + s * VL;
            if (s > 0 && at >= n)
                break;
            sum[s] = v_fma(v_loadp(y + at, n - at), v_loadp(dy + at, n - at), sum[s]);
        }
    }
    vf dot = v_set1(v_sum_lanes(sum));
    for (int64_t i = 0; i < n; i += VL) {
        vf d = v_mul(v_sub(v_loadp(dy + i, n - i), dot), v_loadp(y + i, n - i));
        if (add)
            d = v_add(d, v_loadp(dx + i, n - i));
        v_storep(dx + i, d, n - i);
    }
}

void ISA(cpu_softmax_cols)(float *y, const float *x, int64_t dim, int64_t ld, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL, x += VL, y += VL) {
        vf top = v_set1(-INFINITY), sum = v_zero();
        for (int64_t d = 0; d < dim; d++)
            top = v_max(v_loadp(x + d * ld, n - i), top);
        for (int64_t d = 0; d < dim; d++) {
            vf e = v_exp(v_sub(v_loadp(x + d * ld, n - i), top));
            sum = v_add(sum, e);
            v_storep(y + d * ld, e, n - i);
        }
        for (int64_t d = 0; d < dim; d++)
            v_storep(y + d * ld, v_div(v_loadp(y + d * ld, n - i), sum), n - i);
    }
}

void ISA(cpu_softmax_cols_bwd)(float *dx, const float *y, const float *dy, int64_t dim,
                               int64_t ld, int64_t n, bool add)
{
    for (int64_t i = 0; i < n; i += VL, dx += VL, y += VL, dy += VL) {
        vf dot = v_zero();
        for (int64_t d = 0; d < dim; d++)
            dot = v_fma(v_loadp(y + d * ld, n - i), v_loadp(dy + d * ld, n - i), dot);
        for (int64_t d = 0; d < dim; d++) {
            vf g = v_mul(v_sub(v_loadp(dy + d * ld, n - i), dot), v_loadp(y + d * ld, n - i));
            if (add)
                g = v_add(g, v_loadp(dx + d * ld, n - i));
            v_storep(dx + d * ld, g, n - i);
        }
    }
}
