/* SPDX-License-Identifier: BSD-2-Clause
 * vector_kernels.c: plain work on vectors of floats: sums, products, updates, normalisation.
 * All of it waits for memory; one pass over the data is what matters. */
#include "unary_kernels.h"

/* for (i over vectors of n) with `left` lanes still there */
#define EACH(i, n, left) (int64_t i = 0, left = (n); left > 0; i += VL, left -= VL)

INLINE void put(float *y, vf value, bool add, int64_t left)
{
    v_storep(y, add ? v_add(value, v_loadp(y, left)) : value, left);
}

void ISA(cpu_axpby)(float *y, const float *x, float a, bool add, int64_t n)
{
    vf s = v_set1(a);
    for
        EACH(i, n, left) put(y + i, v_mul(s, v_loadp(x + i, left)), add, left);
}

void ISA(cpu_eltwise)(int32_t op, float *y, const float *x0, const float *x1, float c0,
                      float c1, bool add, int64_t n)
{
    vf a = v_set1(c0), b = v_set1(c1);
    for
        EACH(i, n, left)
        {
            vf u = v_loadp(x0 + i, left), v = v_loadp(x1 + i, left);
            if (op == DN_ELTWISE_SUM)
                u = v_add(v_mul(a, u), v_mul(b, v));
            else if (op == DN_ELTWISE_PROD)
                u = v_mul(u, v);
            else if (op == DN_ELTWISE_DIV)
                u = v_div(u, v);
            else
                u = v_sel(v_gt(u, v), u, v);
            put(y + i, u, add, left);
        }
}

INLINE vf bcast_one(int32_t op, vf x, vf s, vf t)
{
    switch (op) {
    case DN_BCAST_ADD:
        return v_add(x, s);
    case DN_BCAST_SUB:
        return v_sub(x, s);
    case DN_BCAST_MUL:
        return v_mul(x, s);
    case DN_BCAST_DIV:
        return v_div(x, s);
    default:
        return v_add(v_mul(x, s), t);
    }
}

void ISA(cpu_bcast)(int32_t op, float *y, const float *x, float s, float t, bool add, int64_t n)
{
    vf sv = v_set1(s), tv = v_set1(t);
    for
        EACH(i, n, left) put(y + i, bcast_one(op, v_loadp(x + i, left), sv, tv), add, left);
}

void ISA(cpu_bcast_row)(int32_t op, float *y, const float *x, const float *s, const float *t,
                        bool add, int64_t n)
{
    for
        EACH(i, n, left)
        {
            vf tv = t ? v_loadp(t + i, left) : v_zero();
            vf sv = v_loadp(s + i, left);
            put(y + i, bcast_one(op, v_loadp(x + i, left), sv, tv), add, left);
        }
}

INLINE vf reduce_step(const int32_t op, vf acc, const float *x, const float *x2, int64_t left)
{
    vf v = v_loadp(x, left);
    switch (op) {
    case DN_REDUCE_SUM:
        return v_add(acc, v);
    case DN_REDUCE_ASUM:
        return v_add(acc, v_abs(v));
    case DN_REDUCE_SUMSQ:
        return v_fma(v, v, acc);
    default:
        return v_fma(v, v_loadp(x2, left), acc);
    }
}

INLINE float reduce_all(const int32_t op, const float *x, const float *x2, int64_t n)
{
    vf acc[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        UNROLL
        for (int j = 0; j < 4; j++)
            acc[j] = reduce_step(op, acc[j], x + i + j * VL, x2 + (x2 ? i + j * VL : 0), VL);
    }
    for (; i < n; i += VL)
        acc[0] = reduce_step(op, acc[0], x + i, x2 + (x2 ? i : 0), n - i);
    return v_sum(v_add(v_add(acc[0], acc[1]), v_add(acc[2], acc[3])));
}

float ISA(cpu_reduce)(int32_t op, const float *x, const float *x2, int64_t n)
{
    switch (op) {
    case DN_REDUCE_SUM:
        return reduce_all(DN_REDUCE_SUM, x, NULL, n);
    case DN_REDUCE_ASUM:
        return reduce_all(DN_REDUCE_ASUM, x, NULL, n);
    case DN_REDUCE_SUMSQ:
        return reduce_all(DN_REDUCE_SUMSQ, x, NULL, n);
    default:
        return reduce_all(DN_REDUCE_DOT, x, x2, n);
    }
}

void ISA(cpu_sgd)(const cpu_sgd *u, float *w, float *grad, float *h, int64_t n)
{
    vf rate = v_set1(u->rate), decay = v_set1(u->decay), scale = v_set1(u->scale);
    vf momentum = v_set1(u->momentum), zero = v_zero(), one = v_set1(1.0f);
    for
        EACH(i, n, left)
        {
            vf wv = v_loadp(w + i, left), g = v_mul(scale, v_loadp(grad + i, left));
            vf pull = u->l1 ? v_sel(v_eq(wv, zero), zero, v_sign(one, wv)) : wv;
            g = v_fma(decay, pull, g);
            vf step = v_fma(momentum, v_loadp(h + i, left), v_mul(rate, g));
            v_storep(h + i, step, left);
            v_storep(grad + i, step, left);
            v_storep(w + i, v_sub(wv, step), left);
        }
}

/* h = keep h + add g^2 */
INLINE vf squares(float *h, float keep, float add, vf g, int64_t left)
{
    vf next = v_fma(v_set1(keep), v_loadp(h, left), v_mul(v_mul(v_set1(add), g), g));
    v_storep(h, next, left);
    return next;
}

INLINE vf momentum_of(float *h, float keep, float add, vf g, int64_t left)
{
    vf next = v_fma(v_set1(keep), v_loadp(h, left), v_mul(v_set1(add), g));
    v_storep(h, next, left);
    return next;
}

/* rate g / (sqrt(h) + delta) */
INLINE vf over_root(float rate, vf g, vf h, vf delta)
{
    return v_div(v_mul(v_set1(rate), g), v_add(v_sqrt(h), delta));
}

INLINE vf adadelta(const cpu_rule *u, vf g, float *h1, float *h2, int64_t left)
{
    vf delta = v_set1(u->delta), was = v_loadp(h2, left);
    vf h = squares(h1, u->momentum, 1 - u->momentum, g, left);
    vf step = v_mul(g, v_sqrt(v_div(v_add(was, delta), v_add(h, delta))));
    squares(h2, u->momentum, 1 - u->momentum, step, left);
    return v_mul(v_set1(u->rate), step);
}

/* The memory is slower than the choice among the rules: one loop for all. */
INLINE vf step_of(const cpu_rule *u, vf g, float *h1, float *h2, int64_t left)
{
    vf delta = v_set1(u->delta);
    float m = u->momentum;
    if (u->rule == DN_UPDATE_NESTEROV) {
        vf was = v_loadp(h1, left), h = momentum_of(h1, m, u->rate, g, left);
        return v_sub(v_mul(v_set1(1 + m), h), v_mul(v_set1(m), was));
    }
    if (u->rule == DN_UPDATE_ADADELTA)
        return adadelta(u, g, h1, h2, left);
    if (u->rule == DN_UPDATE_ADAM) {
        vf h = momentum_of(h1, m, 1 - m, g, left);
        vf square = squares(h2, u->momentum2, 1 - u->momentum2, g, left);
        return over_root(u->rate * u->correction, h, square, delta);
    }
    bool all = u->rule == DN_UPDATE_ADAGRAD; /* else RMSPROP */
    vf h = squares(h1, all ? 1 : u->rms_decay, all ? 1 : 1 - u->rms_decay, g, left);
    return over_root(u->rate, g, h, delta);
}

void ISA(cpu_rule)(const cpu_rule *u, float *w, float *grad, float *h1, float *h2, int64_t n)
{
    vf scale = v_set1(u->scale), l1 = v_set1(u->l1), l2 = v_set1(u->l2), zero = v_zero();
    for
        EACH(i, n, left)
        {
            vf wv = v_loadp(w + i, left), g = v_mul(scale, v_loadp(grad + i, left));
            vf sign = v_sel(v_eq(wv, zero), zero, v_sign(v_set1(1), wv));
            g = v_fma(l1, sign, v_fma(l2, wv, g));
            vf step = step_of(u, g, h1 + i, h2 ? h2 + i : NULL, left);
            v_storep(grad + i, step, left);
            v_storep(w + i, v_sub(wv, step), left);
        }
}

void ISA(cpu_scale_mask)(float *y, const float *x, const uint8_t *mask, float scale, bool add,
                         int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] * (float)mask[i] * scale;
        y[i] = add ? y[i] + v : v;
    }
}
