/* SPDX-License-Identifier: BSD-2-Clause
 * dft_kernels.c: the discrete Fourier transform of 12x12 real tiles, vectors of which are side
 * by side, and back. Of a line of 12, as 3 by 4 without factors between: the real frequencies 0
 * and 6, then real and imaginary parts of 9, 4, 10, 1 and 7; the others are conjugates of
 * these.
 */
#include "isa.h"

#if VL > 4

enum { N = 12, FIRST = 4 /* output that all taps reach */ };
#define HALF_ROOT_3 0.8660254037844386f

/* Of x[i * step]. Not inlined: the code of rows and of columns. */
#define LINE static __attribute__((noinline)) void
#define X(i) x[(i)*step]

/* The frequencies 0 and 1 of three: a sum, and a complex one. */
INLINE void three(vf *sum, vf *re, vf *im, vf x0, vf x1, vf x2)
{
    vf s = v_add(x1, x2);
    *sum = v_add(x0, s);
    *re = v_fma(v_set1(-0.5f), s, x0);
    *im = v_mul(v_set1(HALF_ROOT_3), v_sub(x2, x1));
}

LINE forth(vf *x, int64_t step)
{
    vf s[4], r[4], i[4];
    three(s, r, i, X(0), X(4), X(8));
    three(s + 1, r + 1, i + 1, X(3), X(7), X(11));
    three(s + 2, r + 2, i + 2, X(6), X(10), X(2));
    three(s + 3, r + 3, i + 3, X(9), X(1), X(5));
    vf s02 = v_add(s[0], s[2]), s13 = v_add(s[1], s[3]);
    vf r02 = v_add(r[0], r[2]), r13 = v_add(r[1], r[3]);
    vf i02 = v_add(i[0], i[2]), i13 = v_add(i[1], i[3]);
    vf dr02 = v_sub(r[0], r[2]), dr13 = v_sub(r[1], r[3]);
    vf di02 = v_sub(i[0], i[2]), di13 = v_sub(i[1], i[3]);
    X(0) = v_add(s02, s13);
    X(1) = v_sub(s02, s13);
    X(2) = v_sub(s[0], s[2]);
    X(3) = v_sub(s[3], s[1]);
    X(4) = v_add(r02, r13);
    X(5) = v_add(i02, i13);
    X(6) = v_sub(r02, r13);
    X(7) = v_sub(i02, i13);
    X(8) = v_add(dr02, di13);
    X(9) = v_sub(di02, dr13);
    X(10) = v_sub(dr02, di13);
    X(11) = v_add(di02, dr13);
}

INLINE void three_back(vf *x0, vf *x1, vf *x2, vf sum, vf re, vf im)
{
    vf mid = v_fma(v_set1(-0.5f), re, sum);
    *x0 = v_add(sum, re);
    *x1 = v_fma(v_set1(-HALF_ROOT_3), im, mid);
    *x2 = v_fma(v_set1(HALF_ROOT_3), im, mid);
}

/* The inverse, in which real frequencies count twice. */
LINE back(vf *x, int64_t step)
{
    vf even = v_add(X(0), X(1)), odd = v_sub(X(0), X(1)), re = X(2), im = X(3);
    vf r02 = v_add(X(4), X(6)), r13 = v_add(X(8), X(10));
    vf i02 = v_add(X(5), X(7)), i13 = v_add(X(9), X(11));
    vf dr02 = v_sub(X(4), X(6)), dr13 = v_sub(X(8), X(10));
    vf di02 = v_sub(X(5), X(7)), di13 = v_sub(X(9), X(11));
    three_back(&X(0), &X(4), &X(8), v_add(even, re), v_add(r02, r13), v_add(i02, i13));
    three_back(&X(6), &X(10), &X(2), v_sub(even, re), v_sub(r02, r13), v_sub(i02, i13));
    three_back(&X(3), &X(7), &X(11), v_sub(odd, im), v_sub(dr02, di13), v_add(di02, dr13));
    three_back(&X(9), &X(1), &X(5), v_add(odd, im), v_add(dr02, di13), v_sub(di02, dr13));
}
#undef X

/* The two parts of a frequency to v; if `turned`, i times it that far on, side by side. */
INLINE void put(float *v, int64_t second, int64_t turned, vf re, vf im)
{
    v_store(v, re);
    v_store(v + second, im);
    if (turned) {
        v_store(v + turned, v_sub(v_zero(), im));
        v_store(v + turned + VL, re);
    }
}

void ISA(cpu_dft_in)(int32_t n, float *v, int64_t step, int64_t second, int64_t turned,
                     const float *x, const int64_t *at)
{
    vf t[N][N];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            t[i][j] = i < n && j < n ? v_load(x + *at++) : v_zero();
        if (i < n)
            forth(t[i], 1);
    }
    for (int j = 0; j < N; j++)
        forth(&t[0][j], N);
    for (int i = 0; i < N; i += 2)
        for (int j = 0; j < N; j += 2) {
            vf a = t[i][j], b = t[i][j + 1], c = t[i + 1][j], d = t[i + 1][j + 1];
            vf re = a, im = i ? c : b, re2 = i ? b : c, im2 = d;
            if (i && j) {
                re = v_sub(a, d), im = v_add(b, c);
                re2 = v_add(a, d), im2 = v_sub(c, b);
            }
            put(v, second, turned, re, im);
            put(v + step, second, turned, re2, im2);
            v += 2 * step;
        }
}

void ISA(cpu_dft_out)(float *y, const int64_t *at, const float *m, int64_t step, float bias,
                      const cpu_end *e)
{
    vf t[N][N], add = v_set1(bias), slope = v_set1(e->relu ? e->slope : 1);
    for (int i = 0; i < N; i += 2)
        for (int j = 0; j < N; j += 2, m += 2 * step) {
            vf re = v_load(m), im = v_load(m + VL);
            vf re2 = v_load(m + step), im2 = v_load(m + step + VL), half = v_set1(0.5f);
            if (i && j) {
                vf a = v_add(re, re2), d = v_sub(re2, re);
                vf b = v_sub(im, im2), c = v_add(im, im2);
                re = a, im = b, re2 = c, im2 = d;
            } else if (i) {
                vf b = re2;
                re2 = im, im = b;
            } else if (!j) {
                re = v_mul(half, re), im = v_mul(half, im);
                re2 = v_mul(half, re2), im2 = v_mul(half, im2);
            }
            t[i][j] = re, t[i][j + 1] = im, t[i + 1][j] = re2, t[i + 1][j + 1] = im2;
        }
    for (int i = 0; i < N; i++)
        back(t[i], 1);
    for (int j = FIRST; j < N; j++)
        back(&t[0][j], N);
    for (int i = FIRST; i < N; i++)
        for (int j = FIRST; j < N; j++, at++) {
            vf sum = v_add(v_mul(t[i][j], v_set1(2.0f / (N * N))), add);
            v_store(y + *at, v_sel(v_gt(sum, v_zero()), sum, v_mul(sum, slope)));
        }
}
#endif
