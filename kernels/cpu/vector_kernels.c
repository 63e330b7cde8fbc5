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

void ISA(cpu_scale_mask)(float *y, const float *x, const uint8_t *mask, float scale, bool add,
                         int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] * (float)mask[i] * scale;
        y[i] = add ? y[i] + v : v;
    }
}

/* ---- normalisation ----------------------------------------------------------------------- */

void ISA(cpu_moments)(const float *x, float shift, int64_t n, float sum[2])
{
    vf s0 = v_zero(), s1 = v_zero(), q0 = v_zero(), q1 = v_zero(), c = v_set1(shift);
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf a = v_sub(v_load(x + i), c), b = v_sub(v_load(x + i + VL), c);
        s0 = v_add(s0, a);
        s1 = v_add(s1, b);
        q0 = v_fma(a, a, q0);
        q1 = v_fma(b, b, q1);
    }
    sum[0] = v_sum(v_add(s0, s1));
    sum[1] = v_sum(v_add(q0, q1));
    for (; i < n; i++) {
        float d = x[i] - shift;
        sum[0] += d;
        sum[1] += d * d;
    }
}

void ISA(cpu_affine)(float *y, const float *x, float scale, float shift, int64_t n)
{
    vf s = v_set1(scale), t = v_set1(shift);
    for
        EACH(i, n, left) v_storep(y + i, v_mul(v_sub(v_loadp(x + i, left), t), s), left);
}

void ISA(cpu_bn_bwd)(float *dx, const float *dy, const float *y, float a, float b, float c,
                     bool add, int64_t n)
{
    vf av = v_set1(a), bv = v_set1(b), cv = v_set1(c);
    for
        EACH(i, n, left)
        {
            vf d = v_fma(av, v_loadp(dy + i, left), cv);
            if (b != 0)
                d = v_fma(bv, v_loadp(y + i, left), d);
            put(dx + i, d, add, left);
        }
}

INLINE vf power(vf s, float beta) /* s^-beta */
{
    if (beta == 0.75f) {
        vf root = v_sqrt(s);
        return v_div(v_set1(1.0f), v_mul(root, v_sqrt(root)));
    }
    return v_exp(v_mul(v_set1(-beta), v_log(s)));
}

void ISA(cpu_lrn)(float *y, float *scale, const float *x, int64_t C, int64_t inner, int64_t n,
                  int32_t size, float alpha, float beta, float k)
{
    int64_t half = (size - 1) / 2;
    vf factor = v_set1(alpha / (float)size), kv = v_set1(k);
    for
        EACH(i, n, left)
    for (int64_t c = 0; c < C; c++) {
        int64_t from = c > half ? c - half : 0, to = c + half < C ? c + half + 1 : C;
        vf sum = v_zero();
        for (int64_t d = from; d < to; d++) {
            vf v = v_loadp(x + d * inner + i, left);
            sum = v_fma(v, v, sum);
        }
        vf s = v_fma(factor, sum, kv);
        v_storep(scale + c * inner + i, s, left);
        v_storep(y + c * inner + i, v_mul(v_loadp(x + c * inner + i, left), power(s, beta)),
                 left);
    }
}

/* dx = dy scale^-beta - 2 alpha beta / size x sum of dy y / scale over the window; the ring
 * keeps the window's last quotients. size <= 15. */
void ISA(cpu_lrn_bwd)(float *dx, const float *x, const float *y, const float *scale,
                      const float *dy, int64_t C, int64_t inner, int64_t n, int32_t size,
                      float alpha, float beta, bool add)
{
    int64_t half = (size - 1) / 2;
    vf factor = v_set1(-2.0f * alpha * beta / (float)size), ring[16];
    for
        EACH(i, n, left)
    for (int64_t c = -half; c < C; c++) {
        int64_t next = c + half, at = next * inner + i;
        if (next < C)
            ring[next & 15] = v_div(v_mul(v_loadp(dy + at, left), v_loadp(y + at, left)),
                                    v_loadp(scale + at, left));
        if (c < 0)
            continue;
        int64_t from = c > half ? c - half : 0, to = next < C ? next + 1 : C;
        vf sum = v_zero();
        for (int64_t d = from; d < to; d++)
            sum = v_add(sum, ring[d & 15]);
        at = c * inner + i;
        vf d = v_mul(v_loadp(dy + at, left), power(v_loadp(scale + at, left), beta));
        d = v_fma(v_mul(factor, v_loadp(x + at, left)), sum, d);
        put(dx + at, d, add, left);
    }
}
