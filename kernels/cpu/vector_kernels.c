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

/* Few floats one by one: with AVX2 a store of a part of a vector takes as long as several. */
void ISA(cpu_add_rows)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows,
                       int64_t n)
{
    for (int64_t i = 0; i < rows; i++, y += ldy, x += ldx) {
        int64_t j = 0;
        for (; j + (VL < 16 ? VL : 1) <= n; j += VL)
            put(y + j, v_loadp(x + j, n - j), true, n - j);
        for (; j < n; j++)
            y[j] += x[j];
    }
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

void ISA(cpu_pick)(float *y, int32_t *mask, const float *x, int32_t index, bool later,
                   int64_t n)
{
    union {
        int32_t i;
        float f;
    } bits = {index};
    float *which = (float *)(void *)mask; /* moved as floats, never computed with */
    for
        EACH(i, n, left)
        {
            vf was = v_loadp(y + i, left), v = v_loadp(x + i, left);
            vm keep = later ? v_gt(was, v) : v_gt(v, was);
            vf a = later ? was : v, b = later ? v : was;
            v_storep(y + i, v_sel(keep, a, b), left);
            if (!mask)
                continue;
            was = v_loadp(which + i, left), v = v_set1(bits.f);
            a = later ? was : v, b = later ? v : was;
            v_storep(which + i, v_sel(keep, a, b), left);
        }
}

void ISA(cpu_select)(float *y, const float *x, const int32_t *mask, int32_t index, bool add,
                     int64_t n)
{
    for
        EACH(i, n, left)
        {
            vf v = v_sel(v_match(mask + i, index, left), v_loadp(x + i, left), v_zero());
            put(y + i, v, add, left);
        }
}

INLINE vf bcast_one(int32_t op, vf x, vf s, vf t)
{
    vf zero = v_zero();
    switch (op) {
    case CPU_BCAST_PRELU:
        return v_sel(v_gt(t, zero), x, v_mul(s, x));
    case CPU_BCAST_PRELU_SLOPE:
        return v_sel(v_gt(t, zero), zero, v_mul(x, t));
    case CPU_BCAST_REACHES:
        t = v_sel(v_eq(x, s), v_set1(1.0f), zero);
        return v_sel(v_gt(x, s), v_set1(1.0f), t);
    case CPU_BCAST_KEEP:
        return v_sel(v_eq(t, zero), zero, v_mul(x, s));
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

INLINE vf reduce_step(int32_t op, vf acc, const float *x, const float *x2, int64_t left)
{
    vf v = v_loadp(x, left);
    switch (op) {
    case DN_REDUCE_SUM:
        return v_add(acc, v);
    case DN_REDUCE_ASUM:
        return v_add(acc, v_abs(v));
    case CPU_REDUCE_PRELU:
        return v_add(acc, v_sel(v_gt(v, v_zero()), v_zero(), v_mul(v, v_loadp(x2, left))));
    default:
        return v_fma(v, v_loadp(x2, left), acc);
    }
}

float ISA(cpu_reduce)(int32_t op, const float *x, const float *x2, int64_t n)
{
    vf acc[4 * SUMS];
    int64_t i = 0;
    x2 = x2 ? x2 : x; /* SUMSQ */
    UNROLL
    for (int j = 0; j < 4 * SUMS; j++)
        acc[j] = v_zero();
    for (; i + 4 * SUM_LANES <= n; i += 4 * SUM_LANES) {
        UNROLL
        for (int j = 0; j < 4 * SUMS; j++) {
            if (j == 4) /* chosen anew: eight loads at once would leave no registers for sums */
                __asm__("" : "+r"(op));
            acc[j] = reduce_step(op, acc[j], x + i + j * VL, x2 + i + j * VL, VL);
        }
    }
    for (; i < n; i += SUM_LANES)
        for (int64_t j = 0, at = i; j < SUMS && at < n; j++, at += VL)
            acc[j] = reduce_step(op, acc[j], x + at, x2 + at, n - at);
    UNROLL
    for (int j = 0; j < SUMS; j++)
        acc[j] =
            v_add(v_add(acc[j], acc[j + SUMS]), v_add(acc[j + 2 * SUMS], acc[j + 3 * SUMS]));
    return v_sum_lanes(acc);
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

/* Philox4x32-10 of `blocks` counters from `block` on, VL / 2 at a time: one to 64 bits, the
 * lower half of which counts. */
void ISA(cpu_random)(uint32_t *out, uint64_t key, uint64_t stream, uint64_t block,
                     int64_t blocks)
{
    typedef uint64_t vu __attribute__((vector_size(VL * 4)));
    enum { LANES = VL / 2 };
#if VL == 16
#define MUL(a, b) (vu) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#elif VL == 8
#define MUL(a, b) (vu) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#else
#define MUL(a, b) (((a)&0xFFFFFFFFu) * (b))
#endif
    const vu zero = {0}, m0 = zero + 0xD2511F53u, m1 = zero + 0xCD9E8D57u;
    for (int64_t b = 0; b < blocks; b += LANES, out += 4 * LANES) {
        vu number = zero;
        for (int l = 0; l < LANES; l++)
            number[l] = block + (uint64_t)(b + l);
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        vu c[4] = {number, number >> 32, zero + stream, zero + (stream >> 32)};
        for (int round = 0; round < 10; round++) {
            vu p0 = MUL(c[0], m0), p1 = MUL(c[2], m1);
            c[0] = (p1 >> 32) ^ c[1] ^ k0;
            c[2] = (p0 >> 32) ^ c[3] ^ k1;
            c[1] = p1, c[3] = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        /* two words a store */
        vu pairs[2] = {(c[0] & 0xFFFFFFFFu) | c[1] << 32, (c[2] & 0xFFFFFFFFu) | c[3] << 32};
        uint64_t words[2][LANES];
        memcpy(words, pairs, sizeof words);
        for (int l = 0; l < LANES; l++)
            for (int w = 0; w < 2; w++) {
                out[4 * l + 2 * w] = (uint32_t)words[w][l];
                out[4 * l + 2 * w + 1] = (uint32_t)(words[w][l] >> 32);
            }
    }
#undef MUL
}

#if VL == 16
typedef __mmask8 part;
#define PART(n)             ((part)((n) >= 8 ? 0xFF : (1 << (n)) - 1))
#define PART_LOAD(p, m)     _mm256_maskz_loadu_ps(m, p)
#define PART_STORE(p, m, v) _mm256_mask_storeu_ps(p, m, v)
#elif VL == 8
typedef __m256i part;
#define PART(n)             v_first(n)
#define PART_LOAD(p, m)     _mm256_maskload_ps(p, m)
#define PART_STORE(p, m, v) _mm256_maskstore_ps(p, m, v)
#endif

#if VL >= 8
/* 8x8 at most: rows of x to columns of y. 256 bits in AVX-512, too: what waits is memory. */
SHARED void turn_block(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t m, int64_t n,
                       float a, bool add)
{
    part in = PART(m), out = PART(n);
    __m256 r[8], s[8];
    /* masked stores of AVX2 are slow: what is too much is of the next rows, which follow */
    int64_t whole = n >= 8 ? m : !add && ldy == n ? m - 7 / n : 0;
    UNROLL
    for (int j = 0; j < 8; j++)
        r[j] = PART_LOAD(x + (j < n ? j : 0) * ldx, in);
    UNROLL
    for (int j = 0; j < 8; j += 2) {
        s[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
        s[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
    }
    UNROLL
    for (int j = 0; j < 8; j += 4)
        for (int k = 0; k < 2; k++) {
            r[j + 2 * k] = _mm256_shuffle_ps(s[j + k], s[j + k + 2], 0x44);
            r[j + 2 * k + 1] = _mm256_shuffle_ps(s[j + k], s[j + k + 2], 0xEE);
        }
    UNROLL
    for (int j = 0; j < 4; j++) {
        s[j] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x20);
        s[j + 4] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x31);
    }
    UNROLL
    for (int i = 0; i < 8; i++, y += ldy) {
        if (i >= m)
            break;
        s[i] = _mm256_mul_ps(s[i], _mm256_set1_ps(a));
        if (add)
            s[i] = _mm256_add_ps(s[i], PART_LOAD(y, out));
        if (VL == 8 && i < whole)
            _mm256_storeu_ps(y, s[i]);
        else
            PART_STORE(y, out, s[i]);
    }
}
#else
SHARED void turn_block(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t m, int64_t n,
                       float a, bool add)
{
    for (int64_t i = 0; i < m && i < 8; i++)
        for (int64_t j = 0; j < n && j < 8; j++) {
            float v = a * x[j * ldx + i];
            y[i * ldy + j] = add ? y[i * ldy + j] + v : v;
        }
}
#endif

/* Two blocks of a line of x at a time. */
void ISA(cpu_turn)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t m, int64_t n,
                   float a, bool add)
{
    for (int64_t i0 = 0; i0 < m; i0 += 16)
        for (int64_t j = 0; j < n; j += 8)
            for (int64_t i = i0; i < m && i < i0 + 16; i += 8)
                turn_block(y + i * ldy + j, ldy, x + j * ldx + i, ldx, m - i, n - j, a, add);
}

/* ---- AVX2's serve AVX-512, too ----------------------------------------------------------- */

#if VL < 16

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

SHARED vf adadelta(const cpu_rule *u, vf g, float *h1, float *h2, int64_t left)
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
#endif
