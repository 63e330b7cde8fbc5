/* SPDX-License-Identifier: BSD-2-Clause
 * pool_kernels.c: rows of pooled outputs whose windows are whole, for strides 1 and 2, and
 * pixels of NHWC. The mask is counted in floats (exact below 2^24) so that it is chosen with
 * the same select. */
#include <float.h>

#include "isa.h"

/* p[0], p[step], ... for n outputs. `whole`: two vectors from p on may be read; else nothing
 * beyond the last is. */
INLINE vf load_step(const float *p, const int step, int64_t n, const bool whole)
{
    if (step == 1)
        return whole ? v_load(p) : v_loadp(p, n);
#if VL == 4
    vf a = v_zero();
    for (int i = 0; i < VL && i < n; i++)
        a[i] = p[2 * i];
    return a;
#else
    vf a, b; /* the even ones of [0, VL), the odd ones of [VL - 1, 2 VL - 1) */
    if (whole) {
        a = v_load(p);
        b = v_load(p + VL - 1);
    } else {
        int64_t last = 2 * (n < VL ? n : VL) - 1;
        a = v_loadp(p, last);
        b = last < VL ? a : v_loadp(p + VL - 1, last - (VL - 1));
    }
#if VL == 16
    const __m512i pick =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, pick, b);
#else
    __m256 mixed = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 2, 0));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xD8));
#endif
#endif
}

/* v_storep for short rows, where the masked store takes a dozen cycles on AMD. */
#if VL == 8
static __attribute__((noinline)) void store_part(float *p, vf a, int64_t n)
{
    __m128 four = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, four);
        four = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, four);
        four = _mm_movehl_ps(four, four);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, four);
}

INLINE void store_first(float *p, vf a, int64_t n)
{
    if (n >= VL)
        v_store(p, a);
    else
        store_part(p, a, n);
}
#else
#define store_first v_storep
#endif

INLINE void store_int(int32_t *p, vf a, int64_t n)
{
#if VL == 16
    __mmask16 m = (__mmask16)(n >= 16 ? 0xFFFF : (1u << n) - 1);
    _mm512_mask_storeu_epi32(p, m, _mm512_cvtps_epi32(a));
#elif VL == 8
    store_first((float *)p, _mm256_castsi256_ps(_mm256_cvtps_epi32(a)), n);
#else
    for (int i = 0; i < VL && i < n; i++)
        p[i] = (int32_t)a[i];
#endif
}

SHARED void max_vector(const int step, const bool whole, float *y, int32_t *mask,
                       const float *x, int64_t w, int64_t rows, int64_t cols, int64_t n,
                       int64_t first)
{
    static const float lanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf top = v_set1(-FLT_MAX), at = v_set1(-1.0f), one = v_set1(1.0f);
    vf lane = v_fma(v_load(lanes), v_set1((float)step), v_set1((float)first));
    for (int64_t r = 0; r < rows; r++) {
        vf index = v_add(lane, v_set1((float)(r * w)));
        for (int64_t s = 0; s < cols; s++) {
            vf v = load_step(x + r * w + s, step, n, whole);
            vm more = v_gt(v, top);
            top = v_sel(more, v, top);
            at = v_sel(more, index, at);
            index = v_add(index, one);
        }
    }
    store_first(y, top, n);
    if (mask)
        store_int(mask, at, n);
}

SHARED void sum_vector(const int step, const bool whole, float *y, const float *x, int64_t w,
                       int64_t rows, int64_t cols, int64_t n, float scale)
{
    vf sum = v_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < cols; s++)
            sum = v_add(sum, load_step(x + r * w + s, step, n, whole));
    v_storep(y, v_mul(sum, v_set1(scale)), n);
}

/* Floats a vector of outputs may touch in the last row, read carelessly. */
#define REACH(w, rows, cols) (((rows)-1) * (w) + (cols)-1 + 2 * VL)

#define POOL_LINES(step)                                                                       \
    for (int64_t l = 0; l < at->lines; l++, x += at->next, y += at->ldy, first += at->next)    \
        for (int64_t j = 0; j < at->n; j += VL) {                                              \
            const float *from = x + j * step;                                                  \
            bool whole = end - from >= REACH(at->w, rows, cols);                               \
            if (whole)                                                                         \
                VECTOR(step, true);                                                            \
            else                                                                               \
                VECTOR(step, false);                                                           \
        }

void ISA(cpu_pool_max)(const cpu_pool_lines *at, float *y, int32_t *mask, const float *x,
                       const float *end)
{
    int64_t rows = at->rows, cols = at->cols, first = at->first;
#define VECTOR(step, whole)                                                                    \
    max_vector(step, whole, y + j, mask ? mask + l * at->ldy + j : NULL, from, at->w, rows,    \
               cols, at->n - j, first + j * step)
    if (at->stride == 1)
        POOL_LINES(1)
    else if (rows == 2 && cols == 2) {
        rows = cols = 2;
        POOL_LINES(2)
    } else
        POOL_LINES(2)
#undef VECTOR
}

void ISA(cpu_pool_sum)(const cpu_pool_lines *at, float *y, const float *x, const float *end,
                       float scale)
{
    int64_t rows = at->rows, cols = at->cols, first = 0;
#define VECTOR(step, whole)                                                                    \
    sum_vector(step, whole, y + j, from, at->w, rows, cols, at->n - j, scale)
    if (at->stride == 1)
        POOL_LINES(1)
    else
        POOL_LINES(2)
#undef VECTOR
}

/* ---- NHWC -------------------------------------------------------------------------------- */

SHARED void cols_max(const bool masked, const cpu_window *win, float *y, int32_t *mask,
                     const float *x, float shift, int64_t n)
{
    vf top = v_set1(-FLT_MAX), at = v_set1(-1.0f);
    for (int64_t t = 0; t < win->taps; t++) {
        vf v = v_loadp(x + win->at[t], n);
        vm more = v_gt(v, top);
        top = v_sel(more, v, top);
        if (masked)
            at = v_sel(more, v_set1(win->weight[t] + shift), at);
    }
    store_first(y, win->relu ? v_max(top, v_zero()) : top, n);
    if (masked)
        store_int(mask, at, n);
}

void ISA(cpu_pool_cols_max)(const cpu_window *win, float *y, int32_t *mask, const float *x)
{
    for (int64_t q = 0; q < win->count; q++, y += win->step, x += win->move) {
        float shift = (float)(q * win->index_step);
        if (mask)
            for (int64_t c = 0; c < win->C; c += VL)
                cols_max(true, win, y + c, mask + q * win->step + c, x + c, shift, win->C - c);
        else
            for (int64_t c = 0; c < win->C; c += VL)
                cols_max(false, win, y + c, NULL, x + c, shift, win->C - c);
    }
}

void ISA(cpu_pool_cols_sum)(const cpu_window *win, float *y, const float *x)
{
    vf share = v_set1(win->taps ? win->weight[0] : 0);
    for (int64_t q = 0; q < win->count; q++, y += win->step, x += win->move)
        for (int64_t c = 0; c < win->C; c += VL) {
            vf sum = v_zero();
            for (int64_t t = 0; t < win->taps; t++)
                sum = v_add(sum, v_loadp(x + win->at[t] + c, win->C - c));
            sum = v_mul(sum, share);
            if (win->relu)
                sum = v_max(v_zero(), sum); /* a NaN stays */
            store_first(y + c, sum, win->C - c);
        }
}

SHARED void cols_bwd(const bool max, const cpu_window *win, float *dx, const float *dy,
                     const int32_t *mask, int32_t index, int64_t n)
{
    vf sum = win->add ? v_loadp(dx, n) : v_zero();
    for (int64_t t = 0; t < win->taps; t++) {
        vf d = v_loadp(dy + win->at[t], n);
        if (max)
            sum = v_add(sum, v_sel(v_match(mask + win->at[t], index, n), d, v_zero()));
        else
            sum = v_fma(v_set1(win->weight[t]), d, sum);
    }
    store_first(dx, sum, n);
}

void ISA(cpu_pool_cols_bwd)(const cpu_window *win, float *dx, const float *dy,
                            const int32_t *mask)
{
    for (int64_t q = 0; q < win->count; q++, dx += win->step, dy += win->move) {
        int32_t index = win->index + (int32_t)q * win->index_step;
        for (int64_t c = 0; c < win->C; c += VL)
            if (mask)
                cols_bwd(true, win, dx + c, dy + c, mask + q * win->move + c, index,
                         win->C - c);
            else
                cols_bwd(false, win, dx + c, dy + c, NULL, 0, win->C - c);
    }
}
