/* SPDX-License-Identifier: BSD-2-Clause
 * conv_kernels.c: depthwise convolution on prepared planes, where a tap is an offset and rows
 * are consecutive floats: the weights stay in registers' reach, each pixel is one sum. */
#include "isa.h"

/* `count` vectors of outputs share each tap's broadcast; the last may be cut to `left` lanes.
 */
INLINE void dw_vectors(const int count, float *y, const float *x, const float *w,
                       const int64_t *tap, int64_t taps, int64_t left, float bias,
                       const cpu_end *e)
{
    vf acc[4], zero = v_zero();
    UNROLL
    for (int v = 0; v < count; v++)
        acc[v] = v_set1(bias);
    for (int64_t t = 0; t < taps; t++) {
        vf wt = v_set1(w[t]);
        const float *from = x + tap[t];
        UNROLL
        for (int v = 0; v < count; v++)
            acc[v] = v_fma(wt, v_load(from + v * VL), acc[v]);
    }
    UNROLL
    for (int v = 0; v < count; v++) {
        int64_t n = left - v * VL;
        if (e->add)
            acc[v] = v_add(acc[v], v_loadp(y + v * VL, n));
        if (e->relu)
            acc[v] = v_sel(v_gt(acc[v], zero), acc[v], v_mul(acc[v], v_set1(e->slope)));
        v_storep(y + v * VL, acc[v], n);
    }
}

void ISA(cpu_dw_row)(float *y, const float *x, const float *w, const int64_t *tap, int64_t taps,
                     int64_t n, float bias, const cpu_end *e)
{
    int64_t j = 0;
    for (; n - j > 3 * VL; j += 4 * VL)
        dw_vectors(4, y + j, x + j, w, tap, taps, n - j, bias, e);
    if (n - j > 2 * VL)
        dw_vectors(3, y + j, x + j, w, tap, taps, n - j, bias, e);
    else if (n - j > VL)
        dw_vectors(2, y + j, x + j, w, tap, taps, n - j, bias, e);
    else if (n > j)
        dw_vectors(1, y + j, x + j, w, tap, taps, n - j, bias, e);
}

void ISA(cpu_dw_dot)(float *dw, const float *x, const float *dy, const int64_t *tap,
                     int64_t taps, int64_t rows, int64_t cols, int64_t x_ld, int64_t dy_ld)
{
    for (int64_t t = 0; t < taps; t += 3) {
        int64_t t1 = t + 1 < taps ? tap[t + 1] : tap[t],
                t2 = t + 2 < taps ? tap[t + 2] : tap[t];
        vf a0 = v_zero(), a1 = v_zero(), a2 = v_zero();
        for (int64_t i = 0; i < rows; i++) {
            const float *row = x + i * x_ld, *d = dy + i * dy_ld;
            for (int64_t j = 0; j < cols; j += VL) {
                vf v = v_loadp(d + j, cols - j);
                a0 = v_fma(v, v_loadp(row + tap[t] + j, cols - j), a0);
                a1 = v_fma(v, v_loadp(row + t1 + j, cols - j), a1);
                a2 = v_fma(v, v_loadp(row + t2 + j, cols - j), a2);
            }
        }
        dw[t] += v_sum(a0);
        if (t + 1 < taps)
            dw[t + 1] += v_sum(a1);
        if (t + 2 < taps)
            dw[t + 2] += v_sum(a2);
    }
}
