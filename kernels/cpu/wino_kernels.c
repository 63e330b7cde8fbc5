/* SPDX-License-Identifier: BSD-2-Clause
 * wino_kernels.c: the transforms of Winograd's convolution, on 6x6 tiles with channels as
 * vectors and on 8x8 tiles with images as vectors. Points of the first: 0, 3/4, -3/4, 3/2, -3/2
 * and infinity: all coefficients but two are exact, and the error is half of that of 0, 1, -1,
 * 2, -2. A pair of opposite points shares its even and odd parts. */
#include "isa.h"

#define A1 0.75f
#define B1 1.5f
#define A2 (A1 * A1)
#define B2 (B1 * B1)
/* 1 / product of a point's differences from the others */
#define AT_0 (1 / (A2 * B2))
#define AT_A (1 / (2 * A2 * (A2 - B2)))
#define AT_B (1 / (2 * B2 * (B2 - A2)))

INLINE vf times(float a, vf x, vf y)
{
    return v_fma(v_set1(a), x, y);
}

/* Of a flat tile a column stays as it is. */
INLINE void keep_line(vf *out, const vf d[6])
{
    UNROLL
    for (int i = 0; i < 6; i++)
        out[i * 6] = d[i];
}

/* ---- input: B^T d B ---------------------------------------------------------------------- */

SHARED void input_line(vf *out, const int step, const vf d[6])
{
    vf even_a = times(-B2, d[2], d[4]), odd_a = times(-B2, d[1], d[3]);
    vf even_b = times(-A2, d[2], d[4]), odd_b = times(-A2, d[1], d[3]);
    out[0] = times(A2 * B2, d[0], times(-A2 - B2, d[2], d[4]));
    out[step] = times(A1, odd_a, even_a);
    out[2 * step] = times(-A1, odd_a, even_a);
    out[3 * step] = times(B1, odd_b, even_b);
    out[4 * step] = times(-B1, odd_b, even_b);
    out[5 * step] = times(A2 * B2, d[1], times(-A2 - B2, d[3], d[5]));
}

void ISA(cpu_wino_in)(bool flat, float *v, int64_t step, const float *const *at, int64_t col,
                      int64_t n)
{
    for (int64_t c = 0; c < n; c += VL) {
        vf t[36], d[6];
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                d[i] = v_loadm(at[i * 6 + j] + col + c, n - c);
            if (flat)
                keep_line(t + j, d);
            else
                input_line(t + j, 6, d);
        }
        for (int i = 0; i < 6; i++) {
            vf out[6];
            input_line(out, 1, t + i * 6);
            UNROLL
            for (int j = 0; j < 6; j++)
                v_store(v + (i * 6 + j) * step + c, out[j]);
        }
    }
}

/* ---- coefficients: G g G^T --------------------------------------------------------------- */

#define KNOWN (VL == 16) /* bodies of their own for the commonest sizes */

/* One body for all other sizes: coefficients that are not there are zeros, outputs
 * that are not wanted are not stored. */
enum { MOST = 5 };

/* Values at the points of a polynomial with r coefficients, by rising power. */
INLINE void values_line(vf *out, const int step, const vf g[MOST], const int r)
{
    vf even_a = v_mul(v_set1(AT_A), g[0]), odd_a = v_mul(v_set1(AT_A * A1), g[1]);
    vf even_b = v_mul(v_set1(AT_B), g[0]), odd_b = v_mul(v_set1(AT_B * B1), g[1]);
    if (r > 2) {
        even_a = times(AT_A * A2, g[2], even_a);
        even_b = times(AT_B * B2, g[2], even_b);
    }
    if (r > 3) {
        odd_a = times(AT_A * A2 * A1, g[3], odd_a);
        odd_b = times(AT_B * B2 * B1, g[3], odd_b);
    }
    if (r > 4) {
        even_a = times(AT_A * A2 * A2, g[4], even_a);
        even_b = times(AT_B * B2 * B2, g[4], even_b);
    }
    out[0] = v_mul(v_set1(AT_0), g[0]);
    out[step] = v_add(even_a, odd_a);
    out[2 * step] = v_sub(even_a, odd_a);
    out[3 * step] = v_add(even_b, odd_b);
    out[4 * step] = v_sub(even_b, odd_b);
    out[5 * step] = g[r - 1];
}

SHARED void values_body(const bool known, const int r, const bool flat, float *v, int64_t step,
                        const float *const *at, int64_t col, int64_t n)
{
    vf t[6 * MOST], g[MOST], out[6];
    for (int64_t c = 0; c < n; c += VL) {
        if (known) {
            UNROLL
            for (int j = 0; j < r; j++) {
                UNROLL
                for (int i = 0; i < r; i++)
                    g[i] = v_loadm(at[i * r + j] + col + c, n - c);
                values_line(t + j, MOST, g, r);
            }
        } else
            for (int j = 0; j < r; j++) {
                for (int i = 0; i < (flat ? 1 : r); i++)
                    g[i] = v_loadm(at[i * r + j] + col + c, n - c);
                if (flat)
                    t[j] = g[0];
                else
                    values_line(t + j, MOST, g, r);
            }
        for (int i = 0; i < (flat ? 1 : 6); i++) {
            values_line(out, 1, t + i * MOST, r);
            UNROLL
            for (int j = 0; j < 6; j++)
                v_store(v + (i * 6 + j) * step + c, out[j]);
        }
    }
}

void ISA(cpu_wino_values)(int32_t r, bool flat, float *v, int64_t step, const float *const *at,
                          int64_t col, int64_t n)
{
    if (KNOWN && r == 3 && !flat) /* weights of 3x3 are many */
        values_body(true, 3, false, v, step, at, col, n);
    else
        values_body(false, r, flat, v, step, at, col, n);
}

/* ---- output: A^T m A --------------------------------------------------------------------- */

INLINE void output_line(vf *out, const int step, const vf m[6], int size)
{
    vf even_a = v_add(m[1], m[2]), odd_a = v_sub(m[1], m[2]);
    vf even_b = v_add(m[3], m[4]), odd_b = v_sub(m[3], m[4]);
    out[0] = v_add(v_add(m[0], even_a), even_b);
    out[step] = times(B1, odd_b, v_mul(v_set1(A1), odd_a));
    if (size == 2) {
        out[step] = v_add(out[step], m[5]);
        return;
    }
    out[2 * step] = times(B2, even_b, v_mul(v_set1(A2), even_a));
    out[3 * step] = times(B2 * B1, odd_b, v_mul(v_set1(A2 * A1), odd_a));
    out[4 * step] = times(B2 * B2, even_b, v_mul(v_set1(A2 * A2), even_a));
    out[(size - 1) * step] = v_add(out[(size - 1) * step], m[5]);
}

INLINE void finish(float *y, vf sum, vf slope, int64_t n, const cpu_end *e)
{
    if (e->add)
        sum = v_add(sum, v_loadm(y, n));
    if (e->relu)
        sum = v_sel(v_gt(sum, v_zero()), sum, v_mul(sum, slope));
    v_storep(y, sum, n);
}

SHARED void output_body(const bool known, const int size, const bool flat, float *const *y,
                        const float *m, int64_t step, int64_t n, const cpu_end *e)
{
    vf t[36], line[6], slope = v_set1(e->slope);
    for (int64_t c = 0; c < n; c += VL) {
        vf bias = e->bias_n ? v_loadm(e->bias_n + c, n - c) : v_zero();
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                line[i] = v_load(m + (i * 6 + j) * step + c);
            if (flat)
                keep_line(t + j, line);
            else
                output_line(t + j, 6, line, size);
        }
        for (int i = 0; i < (flat ? 6 : size); i++) {
            output_line(line, 1, t + i * 6, size);
            if (known) {
                UNROLL
                for (int j = 0; j < size; j++)
                    finish(y[i * size + j] + c, v_add(line[j], bias), slope, n - c, e);
            } else
                for (int j = 0; j < size; j++)
                    finish(y[i * size + j] + c, v_add(line[j], bias), slope, n - c, e);
        }
    }
}

void ISA(cpu_wino_out)(int32_t size, bool flat, float *const *y, const float *m, int64_t step,
                       int64_t n, const cpu_end *e)
{
    if (KNOWN && size == 4 && !flat)
        output_body(true, 4, false, y, m, step, n, e);
    else if (KNOWN && size == 2 && !flat)
        output_body(true, 2, false, y, m, step, n, e);
    else
        output_body(false, size, flat, y, m, step, n, e);
}

/* ---- 8x8 tiles: the product of 4x4 and 5x5 coefficients ---------------------------------- */

#if VL > 4

/* Points 0, P, -P, Q, -Q, R, -R, infinity: of all that are exact, about the least error. */
#define P1 0.5f
#define Q1 1.0f
#define R1 1.75f
#define P2 (P1 * P1)
#define Q2 (Q1 * Q1)
#define R2 (R1 * R1)
/* (x^2 - P^2)(x^2 - Q^2)(x^2 - R^2) = x^6 + E4 x^4 + E2 x^2 + E0 */
#define E0 (-P2 * Q2 * R2)
#define E2 (P2 * Q2 + P2 * R2 + Q2 * R2)
#define E4 (-P2 - Q2 - R2)
/* 1 / product of a point's differences from the others */
#define AT_P (1 / (2 * P2 * (P2 - Q2) * (P2 - R2)))
#define AT_Q (1 / (2 * Q2 * (Q2 - P2) * (Q2 - R2)))
#define AT_R (1 / (2 * R2 * (R2 - P2) * (R2 - Q2)))

/* A line of a tile: vector i of x is at[i * stride] floats on, that of y i * step. Not inlined:
 * the code of both directions. */
typedef void line_fn(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride);
#define LINE static __attribute__((noinline)) void
#define X(i) v_load(x + at[(i)*stride])
#define Y(i) y + (i)*step

/* Sums over the coefficients of the polynomial that is zero at all other points. */
LINE sums_line(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride)
{
    vf d0 = X(0), d1 = X(1), d2 = X(2), d3 = X(3), d4 = X(4), d5 = X(5), d6 = X(6), d7 = X(7);
#define PAIR(i, own, x2, y2)                                                                   \
    {                                                                                          \
        vf even = times(x2 * y2, d2, times(-x2 - y2, d4, d6));                                 \
        vf odd = times(x2 * y2, d1, times(-x2 - y2, d3, d5));                                  \
        v_store(Y(i), times(own, odd, even));                                                  \
        v_store(Y(i + 1), times(-own, odd, even));                                             \
    }
    v_store(Y(0), times(E0, d0, times(E2, d2, times(E4, d4, d6))));
    PAIR(1, P1, Q2, R2)
    PAIR(3, Q1, P2, R2)
    PAIR(5, R1, P2, Q2)
    v_store(Y(7), times(E0, d1, times(E2, d3, times(E4, d5, d7))));
#undef PAIR
}

/* Coefficients from values: the transpose of sums_line. */
LINE product_line(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride)
{
    vf a = X(0), b = X(7);
    vf sp = v_add(X(1), X(2)), sq = v_add(X(3), X(4)), sr = v_add(X(5), X(6));
    vf tp = v_sub(X(1), X(2)), tq = v_sub(X(3), X(4)), tr = v_sub(X(5), X(6));
#define SUM(p, q, r, P, Q, R, rest) times(P, p, times(Q, q, times(R, r, rest)))
    v_store(Y(0), v_mul(v_set1(E0), a));
    v_store(Y(1),
            SUM(tp, tq, tr, P1 * Q2 * R2, Q1 * P2 * R2, R1 * P2 * Q2, v_mul(v_set1(E0), b)));
    v_store(Y(2), SUM(sp, sq, sr, Q2 * R2, P2 * R2, P2 * Q2, v_mul(v_set1(E2), a)));
    v_store(Y(3), SUM(tp, tq, tr, P1 * (-Q2 - R2), Q1 * (-P2 - R2), R1 * (-P2 - Q2),
                      v_mul(v_set1(E2), b)));
    v_store(Y(4), SUM(sp, sq, sr, -Q2 - R2, -P2 - R2, -P2 - Q2, v_mul(v_set1(E4), a)));
    v_store(Y(5), SUM(tp, tq, tr, P1, Q1, R1, v_mul(v_set1(E4), b)));
    v_store(Y(6), v_add(v_add(sp, sq), v_add(sr, a)));
    v_store(Y(7), b);
#undef SUM
}

/* Values of 4 coefficients at the points. */
LINE values4_line(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride)
{
    vf g0 = X(0), g1 = X(1), g2 = X(2), g3 = X(3);
#define PAIR(i, x1, x2)                                                                        \
    {                                                                                          \
        vf even = times(x2, g2, g0), odd = times(x2, g3, g1);                                  \
        v_store(Y(i), times(x1, odd, even));                                                   \
        v_store(Y(i + 1), times(-x1, odd, even));                                              \
    }
    v_store(Y(0), g0);
    PAIR(1, P1, P2)
    PAIR(3, Q1, Q2)
    PAIR(5, R1, R2)
    v_store(Y(7), g3);
#undef PAIR
}

/* Of 5, scaled. */
LINE values5_line(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride)
{
    vf g0 = X(0), g1 = X(1), g2 = X(2), g3 = X(3), g4 = X(4);
#define PAIR(i, x1, x2, scale)                                                                 \
    {                                                                                          \
        vf even = v_mul(v_set1(scale), times(x2, times(x2, g4, g2), g0));                      \
        vf odd = v_mul(v_set1(scale * x1), times(x2, g3, g1));                                 \
        v_store(Y(i), v_add(even, odd));                                                       \
        v_store(Y(i + 1), v_sub(even, odd));                                                   \
    }
    v_store(Y(0), v_mul(v_set1(1 / E0), g0));
    PAIR(1, P1, P2, AT_P)
    PAIR(3, Q1, Q2, AT_Q)
    PAIR(5, R1, R2, AT_R)
    v_store(Y(7), g4);
#undef PAIR
}

/* The transpose of values5_line. */
LINE taps_line(float *y, int64_t step, const float *x, const int64_t *at, int64_t stride)
{
#define SUM(sign, i, scale) v_mul(v_set1(scale), sign(X(i), X(i + 1)))
    vf sp = SUM(v_add, 1, AT_P), sq = SUM(v_add, 3, AT_Q), sr = SUM(v_add, 5, AT_R);
    vf tp = SUM(v_sub, 1, AT_P * P1), tq = SUM(v_sub, 3, AT_Q * Q1),
       tr = SUM(v_sub, 5, AT_R * R1);
    v_store(Y(0), v_add(v_add(times(1 / E0, X(0), sp), sq), sr));
    v_store(Y(1), v_add(v_add(tp, tq), tr));
    v_store(Y(2), times(P2, sp, times(Q2, sq, v_mul(v_set1(R2), sr))));
    v_store(Y(3), times(P2, tp, times(Q2, tq, v_mul(v_set1(R2), tr))));
    v_store(Y(4), times(P2 * P2, sp, times(Q2 * Q2, sq, times(R2 * R2, sr, X(7)))));
#undef SUM
}
#undef X
#undef Y

/* Lines both ways: columns of x, `next` apart and each at `at`, then rows. */
static void tile(line_fn *line, int64_t n, int64_t m, float *y, int64_t step, const float *x,
                 int64_t next, const int64_t *at, int64_t stride)
{
    static const int64_t flat[8] = {0, VL, 2 * VL, 3 * VL, 4 * VL, 5 * VL, 6 * VL, 7 * VL};
    vf t[64];
    for (int64_t j = 0; j<n; j++, x += next, at += stride> 1)
        line((float *)(t + j), 8 * VL, x, at, stride);
    for (int64_t i = 0; i < m; i++, y += m * step)
        line(y, step, (const float *)(t + i * 8), flat, 1);
}

void ISA(cpu_wino8_in)(float *v, int64_t step, const float *x, const int64_t *at)
{
    tile(sums_line, 8, 8, v, step, x, 0, at, 8);
}

void ISA(cpu_wino8_values)(int32_t r, float *v, int64_t step, const float *x, const int64_t *at)
{
    tile(r == 4 ? values4_line : values5_line, r, 8, v, step, x, 0, at, r);
}

/* m's columns: rows of 8 frequencies, `step` apart. */
static void back(line_fn *line, int64_t n, float *y, const float *m, int64_t step)
{
    int64_t at[8];
    for (int64_t i = 0; i < 8; i++)
        at[i] = i * 8 * step;
    tile(line, 8, n, y, VL, m, step, at, 1);
}

void ISA(cpu_wino8_add)(float *y, const int64_t *at, const float *m, int64_t step)
{
    vf t[64];
    back(product_line, 8, (float *)t, m, step);
    for (int64_t i = 0; i < 64; i++)
        v_store(y + at[i], v_add(v_load(y + at[i]), t[i]));
}

void ISA(cpu_wino8_taps)(float *y, const float *m, int64_t step)
{
    back(taps_line, 5, y, m, step);
}
#endif
