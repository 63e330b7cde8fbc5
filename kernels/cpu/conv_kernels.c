/* SPDX-License-Identifier: BSD-2-Clause
 * conv_kernels.c: depthwise convolution. On prepared planes a tap is an offset and rows are
 * consecutive floats; in NHWC the channels are, and some columns share each tap's weights. */
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

/* ---- NHWC -------------------------------------------------------------------------------- */

#if VL == 16
#define COLS 7
#else
#define COLS 4
#endif

INLINE vf at(const float *p, const bool whole, int64_t left)
{
    return whole ? v_load(p) : v_loadn(p, left);
}

/* n columns of one vector of channels; `left` channels if not a whole vector. */
INLINE void dwc_block(const int n, const bool whole, int64_t left, const cpu_dw *dw, float *y,
                      const float *x, const float *w, const float *bias, const cpu_end *e)
{
    vf acc[COLS], zero = v_zero(), first = bias ? at(bias, whole, left) : zero;
    int64_t ldx = dw->ldx;
    UNROLL
    for (int i = 0; i < n; i++)
        acc[i] = first;
    for (int64_t t = 0; t < dw->taps; t++) {
        const float *from = x + dw->x_at[t];
        vf wt = at(w + dw->w_at[t], whole, left);
        UNROLL
        for (int i = 0; i < n; i++)
            acc[i] = v_fma(wt, at(from + i * ldx, whole, left), acc[i]);
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        float *to = y + i * dw->ldy;
        vf r = acc[i];
        if (e->add)
            r = v_add(r, at(to, whole, left));
        if (e->relu)
            r = v_sel(v_gt(r, zero), r, v_mul(r, v_set1(e->slope)));
        if (whole)
            v_store(to, r);
        else
            v_storen(to, r, left);
    }
}

/* The channels beyond whole vectors: rare, so one column at a time. */
static void dwc_rest(int n, int64_t c, const cpu_dw *dw, float *y, const float *x,
                     const float *w, const float *bias, const cpu_end *e)
{
    for (int i = 0; i < n && c < dw->C; i++)
        dwc_block(1, false, dw->C - c, dw, y + i * dw->ldy + c, x + i * dw->ldx + c, w + c,
                  bias ? bias + c : NULL, e);
}

INLINE void dwc_columns(const int n, const cpu_dw *dw, float *y, const float *x, const float *w,
                        const float *bias, const cpu_end *e)
{
    int64_t c = 0;
    for (; c + VL <= dw->C; c += VL)
        dwc_block(n, true, 0, dw, y + c, x + c, w + c, bias ? bias + c : NULL, e);
    dwc_rest(n, c, dw, y, x, w, bias, e);
}

void ISA(cpu_dw_cols)(const cpu_dw *dw, float *y, const float *x, const float *w,
                      const float *bias, const cpu_end *e)
{
    for (int64_t q = 0, n; q < dw->count; q += n, y += n * dw->ldy, x += n * dw->ldx) {
        int64_t left = dw->count - q, blocks = (left + COLS - 1) / COLS;
        n = (left + blocks - 1) / blocks;
        switch (n) {
/* clang-format off */
#define CASE(n) case n: dwc_columns(n, dw, y, x, w, bias, e); break;
        CASE(1) CASE(2) CASE(3) CASE(4)
#if COLS == 7
        CASE(5) CASE(6) CASE(7)
#endif
/* clang-format on */
#undef CASE
        }
    }
}

INLINE void dwc_grad(const int n, const bool whole, int64_t left, const cpu_dw *dw, float *grad,
                     float *db, const float *x, const float *dy)
{
    vf d[COLS], sum;
    int64_t ldx = dw->ldx;
    UNROLL
    for (int i = 0; i < n; i++)
        d[i] = at(dy + i * dw->ldy, whole, left);
    if (db) {
        sum = at(db, whole, left);
        UNROLL
        for (int i = 0; i < n; i++)
            sum = v_add(sum, d[i]);
        if (whole)
            v_store(db, sum);
        else
            v_storen(db, sum, left);
    }
    for (int64_t t = 0; t < dw->taps; t++) {
        const float *from = x + dw->x_at[t];
        float *to = grad + dw->w_at[t];
        vf even = at(to, whole, left), odd = v_zero();
        UNROLL
        for (int i = 0; i < n; i++) {
            if (i & 1)
                odd = v_fma(d[i], at(from + i * ldx, whole, left), odd);
            else
                even = v_fma(d[i], at(from + i * ldx, whole, left), even);
        }
        even = n > 1 ? v_add(even, odd) : even;
        if (whole)
            v_store(to, even);
        else
            v_storen(to, even, left);
    }
}

static void dwc_grad_rest(int n, int64_t c, const cpu_dw *dw, float *grad, float *db,
                          const float *x, const float *dy)
{
    for (int i = 0; i < n && c < dw->C; i++)
        dwc_grad(1, false, dw->C - c, dw, grad + c, db ? db + c : NULL, x + i * dw->ldx + c,
                 dy + i * dw->ldy + c);
}

INLINE void dwc_grad_columns(const int n, const cpu_dw *dw, float *grad, float *db,
                             const float *x, const float *dy)
{
    int64_t c = 0;
    for (; c + VL <= dw->C; c += VL)
        dwc_grad(n, true, 0, dw, grad + c, db ? db + c : NULL, x + c, dy + c);
    dwc_grad_rest(n, c, dw, grad, db, x, dy);
}

void ISA(cpu_dw_cols_grad)(const cpu_dw *dw, float *grad, float *db, const float *x,
                           const float *dy)
{
    for (int64_t q = 0, n; q < dw->count; q += n, dy += n * dw->ldy, x += n * dw->ldx) {
        int64_t left = dw->count - q, blocks = (left + COLS - 1) / COLS;
        n = (left + blocks - 1) / blocks;
        switch (n) {
/* clang-format off */
#define CASE(n) case n: dwc_grad_columns(n, dw, grad, db, x, dy); break;
        CASE(1) CASE(2) CASE(3) CASE(4)
#if COLS == 7
        CASE(5) CASE(6) CASE(7)
#endif
/* clang-format on */
#undef CASE
        }
    }
}
