/* SPDX-License-Identifier: BSD-2-Clause
 * conv_kernels.c: depthwise convolution on prepared planes, where a tap is an offset and rows
 * are consecutive floats: the weights stay in registers' reach, each pixel is one sum. */
#include "isa.h"

void ISA(cpu_dw_row)(float *y, const float *x, const float *w, const int64_t *tap, int64_t taps,
                     int64_t n, float bias, const cpu_end *e)
{
    vf zero = v_zero(), slope = v_set1(e->slope);
    for (int64_t j = 0; j < n; j += VL) {
        vf acc = v_set1(bias), acc1 = zero;
        int64_t t = 0;
        for (; t + 2 <= taps; t += 2) {
            acc = v_fma(v_set1(w[t]), v_load(x + tap[t] + j), acc);
            acc1 = v_fma(v_set1(w[t + 1]), v_load(x + tap[t + 1] + j), acc1);
        }
        if (t < taps)
            acc = v_fma(v_set1(w[t]), v_load(x + tap[t] + j), acc);
        acc = v_add(acc, acc1);
        if (e->add)
            acc = v_add(acc, v_loadp(y + j, n - j));
        if (e->relu)
            acc = v_sel(v_gt(acc, zero), acc, v_mul(acc, slope));
        v_storep(y + j, acc, n - j);
    }
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
