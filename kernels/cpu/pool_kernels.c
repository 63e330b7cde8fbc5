/* SPDX-License-Identifier: BSD-2-Clause
 * pool_kernels.c: one row of pooled outputs whose windows are whole, for strides 1 and 2. The
 * mask is counted in floats (exact below 2^24) so that it is chosen with the same select. */
#include <float.h>

#include "isa.h"

/* p[0], p[step], ... for n outputs; nothing beyond the last is read. */
INLINE vf load_step(const float *p, const int step, int64_t n)
{
    if (step == 1) return v_loadp(p, n);
#if VL == 4
    vf a = v_zero();
    for (int i = 0; i < VL && i < n; i++) a[i] = p[2 * i];
    return a;
#else
    int64_t last = 2 * (n < VL ? n : VL) - 1; /* the even ones of [0, VL), the odd of the rest */
    vf a = v_loadp(p, last), b = last < VL ? a : v_loadp(p + VL - 1, last - (VL - 1));
#if VL == 16
    const __m512i pick = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27,
                                           29, 31);
    return _mm512_permutex2var_ps(a, pick, b);
#else
    __m256 mixed = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 2, 0));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xD8));
#endif
#endif
}

INLINE void store_int(int32_t *p, vf a, int64_t n)
{
#if VL == 16
    __mmask16 m = (__mmask16)(n >= 16 ? 0xFFFF : (1u << n) - 1);
    _mm512_mask_storeu_epi32(p, m, _mm512_cvtps_epi32(a));
#else
    for (int i = 0; i < VL && i < n; i++) p[i] = (int32_t)a[i];
#endif
}

INLINE void max_row(const int step, float *y, int32_t *mask, const float *x, int64_t w,
                    int64_t rows, int64_t cols, int64_t n, int64_t first)
{
    float lanes[VL];
    for (int i = 0; i < VL; i++) lanes[i] = (float)(i * step);
    vf lane = v_load(lanes);
    for (int64_t j = 0; j < n; j += VL) {
        vf top = v_set1(-FLT_MAX), at = v_set1(-1.0f);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < cols; s++) {
                vf v = load_step(x + r * w + s + j * step, step, n - j);
                vm more = v_gt(v, top);
                top = v_sel(more, v, top);
                if (mask) {
                    float index = (float)(first + r * w + s + j * step);
                    at = v_sel(more, v_add(lane, v_set1(index)), at);
                }
            }
        v_storep(y + j, top, n - j);
        if (mask) store_int(mask + j, at, n - j);
    }
}

void ISA(cpu_pool_max)(float *y, int32_t *mask, const float *x, int64_t w, int64_t rows,
                       int64_t cols, int64_t stride, int64_t n, int64_t first)
{
    if (stride == 1) max_row(1, y, mask, x, w, rows, cols, n, first);
    else max_row(2, y, mask, x, w, rows, cols, n, first);
}

INLINE void sum_row(const int step, float *y, const float *x, int64_t w, int64_t rows,
                    int64_t cols, int64_t n, float scale)
{
    for (int64_t j = 0; j < n; j += VL) {
        vf sum = v_zero();
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < cols; s++)
                sum = v_add(sum, load_step(x + r * w + s + j * step, step, n - j));
        v_storep(y + j, v_mul(sum, v_set1(scale)), n - j);
    }
}

void ISA(cpu_pool_sum)(float *y, const float *x, int64_t w, int64_t rows, int64_t cols,
                       int64_t stride, int64_t n, float scale)
{
    if (stride == 1) sum_row(1, y, x, w, rows, cols, n, scale);
    else sum_row(2, y, x, w, rows, cols, n, scale);
}
