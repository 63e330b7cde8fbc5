/* SPDX-License-Identifier: BSD-2-Clause
 * wino_kernels.c: the transforms of Winograd's convolution on 6x6 tiles, channels as vectors.
 * Points 0, 3/4, -3/4, 3/2, -3/2 and infinity: all coefficients but two are exact, and the
 * error is half of that of 0, 1, -1, 2, -2. A pair of opposite points shares its even and odd
 * parts. */
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

/* ---- input: B^T d B ---------------------------------------------------------------------- */

INLINE void input_line(vf *out, const int step, const vf d[6])
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

void ISA(cpu_wino_in)(float *v, int64_t step, const float *const *at, int64_t col, int64_t n)
{
    for (int64_t c = 0; c < n; c += VL) {
        vf t[36], d[6];
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                d[i] = v_loadp(at[i * 6 + j] + col + c, n - c);
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
INLINE void values_line(vf *out, const int step, const vf g[MOST], int r)
{
    vf even_a = times(AT_A * A2, g[2], v_mul(v_set1(AT_A), g[0]));
    vf even_b = times(AT_B * B2, g[2], v_mul(v_set1(AT_B), g[0]));
    vf odd_a = times(AT_A * A2 * A1, g[3], v_mul(v_set1(AT_A * A1), g[1]));
    vf odd_b = times(AT_B * B2 * B1, g[3], v_mul(v_set1(AT_B * B1), g[1]));
    even_a = times(AT_A * A2 * A2, g[4], even_a);
    even_b = times(AT_B * B2 * B2, g[4], even_b);
    out[0] = v_mul(v_set1(AT_0), g[0]);
    out[step] = v_add(even_a, odd_a);
    out[2 * step] = v_sub(even_a, odd_a);
    out[3 * step] = v_add(even_b, odd_b);
    out[4 * step] = v_sub(even_b, odd_b);
    out[5 * step] = g[r - 1];
}

INLINE void values_body(const int r, float *v, int64_t step, const float *const *at,
                        int64_t col, int64_t n)
{
    vf t[6 * MOST], g[MOST];
    for (int i = 0; i < MOST; i++)
        g[i] = v_zero();
    for (int i = 0; i < 6 * MOST; i++)
        t[i] = v_zero();
    for (int64_t c = 0; c < n; c += VL) {
        for (int j = 0; j < r; j++) {
            UNROLL
            for (int i = 0; i < MOST; i++)
                if (i < r)
                    g[i] = v_loadp(at[i * r + j] + col + c, n - c);
            values_line(t + j, MOST, g, r);
        }
        for (int i = 0; i < 6; i++) {
            vf out[6];
            values_line(out, 1, t + i * MOST, r);
            UNROLL
            for (int j = 0; j < 6; j++)
                v_store(v + (i * 6 + j) * step + c, out[j]);
        }
    }
}

void ISA(cpu_wino_values)(int32_t r, float *v, int64_t step, const float *const *at,
                          int64_t col, int64_t n)
{
    if (KNOWN && r == 3) /* weights of 3x3 are many */
        values_body(3, v, step, at, col, n);
    else
        values_body(r, v, step, at, col, n);
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
        sum = v_add(sum, v_loadp(y, n));
    if (e->relu)
        sum = v_sel(v_gt(sum, v_zero()), sum, v_mul(sum, slope));
    v_storep(y, sum, n);
}

INLINE void output_body(const bool known, const int size, float *const *y, const float *m,
                        int64_t step, int64_t n, const cpu_end *e)
{
    vf t[6 * MOST], line[6], slope = v_set1(e->slope);
    for (int64_t c = 0; c < n; c += VL) {
        vf bias = e->bias_n ? v_loadp(e->bias_n + c, n - c) : v_zero();
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                line[i] = v_load(m + (i * 6 + j) * step + c);
            output_line(t + j, 6, line, size);
        }
        for (int i = 0; i < size; i++) {
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

void ISA(cpu_wino_out)(int32_t size, float *const *y, const float *m, int64_t step, int64_t n,
                       const cpu_end *e)
{
    if (KNOWN && size == 4)
        output_body(true, 4, y, m, step, n, e);
    else if (KNOWN && size == 2)
        output_body(true, 2, y, m, step, n, e);
    else
        output_body(false, size, y, m, step, n, e);
}
