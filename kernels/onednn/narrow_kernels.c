/* SPDX-License-Identifier: BSD-2-Clause
 * narrow_kernels.c: see narrow.h. Sixteen lanes at a time; what is left over is masked, and
 * whole vectors are not, as masked stores are slow. */
#include <float.h>
#include <immintrin.h>

#include "narrow.h"

#define INLINE static inline __attribute__((always_inline))
/* for (i over vectors of n) with `left` lanes still there */
#define EACH(i, n, left)                                                                       \
    int64_t i = 0, left = (n);                                                                 \
    left > 0;                                                                                  \
    i += 16, left -= 16

INLINE __mmask16 lanes(int64_t left)
{
    return (__mmask16)((1u << left) - 1);
}

INLINE __m512 widened(__m256i half)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

INLINE __m512 load(const one_bf16 *p, int64_t left)
{
    if (left >= 16)
        return widened(_mm256_loadu_si256((const __m256i *)p));
    return widened(_mm256_maskz_loadu_epi16(lanes(left), p));
}

INLINE void store(one_bf16 *p, __m512 v, int64_t left)
{
    __m256i half = (__m256i)_mm512_cvtneps_pbh(v);
    if (left >= 16)
        _mm256_storeu_si256((__m256i *)p, half);
    else
        _mm256_mask_storeu_epi16(p, lanes(left), half);
}

INLINE __m512 load_f(const float *p, int64_t left)
{
    return left >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(lanes(left), p);
}

INLINE void store_f(float *p, __m512 v, int64_t left)
{
    if (left >= 16)
        _mm512_storeu_ps(p, v);
    else
        _mm512_mask_storeu_ps(p, lanes(left), v);
}

INLINE __m512bh pair_of(const one_bf16 *p)
{
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE void put(one_bf16 *p, __m512 v, bool add, int64_t left)
{
    store(p, add ? _mm512_add_ps(load(p, left), v) : v, left);
}

/* ---- one by one -------------------------------------------------------------------------- */

void nk_widen(float *y, const one_bf16 *x, int64_t n)
{
    for (EACH(i, n, left))
        store_f(y + i, load(x + i, left), left);
}

void nk_narrow(one_bf16 *y, const float *x, int64_t n)
{
    for (EACH(i, n, left))
        store(y + i, load_f(x + i, left), left);
}

INLINE __m512 relu(__m512 x, __m512 by, __m512 slope)
{
    __mmask16 dead = _mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_NGT_UQ);
    return _mm512_mask_mul_ps(x, dead, x, slope);
}

void nk_relu(one_bf16 *y, const one_bf16 *x, float slope, bool add, int64_t n)
{
    __m512 a = _mm512_set1_ps(slope);
    for (EACH(i, n, left)) {
        __m512 v = load(x + i, left);
        put(y + i, relu(v, v, a), add, left);
    }
}

void nk_clip(one_bf16 *y, const one_bf16 *x, float low, float high, bool add, int64_t n)
{
    __m512 a = _mm512_set1_ps(low), b = _mm512_set1_ps(high);
    for (EACH(i, n, left))
        put(y + i, _mm512_min_ps(b, _mm512_max_ps(a, load(x + i, left))), add, left);
}

void nk_clip_bwd(one_bf16 *dx, const one_bf16 *dy, const one_bf16 *x, float low, float high,
                 bool add, int64_t n)
{
    __m512 a = _mm512_set1_ps(low), b = _mm512_set1_ps(high);
    for (EACH(i, n, left)) {
        __m512 v = load(x + i, left);
        __mmask16 in =
            _mm512_cmp_ps_mask(v, a, _CMP_GE_OQ) & _mm512_cmp_ps_mask(v, b, _CMP_LE_OQ);
        __m512 share = _mm512_maskz_mov_ps(in, _mm512_set1_ps(1)); /* a NaN of dy stays */
        put(dx + i, _mm512_mul_ps(load(dy + i, left), share), add, left);
    }
}

void nk_affine(one_bf16 *y, const one_bf16 *x, float a, float b, bool add, int64_t n)
{
    for (EACH(i, n, left))
        put(y + i, _mm512_fmadd_ps(load(x + i, left), _mm512_set1_ps(a), _mm512_set1_ps(b)),
            add, left);
}

void nk_relu_bwd(one_bf16 *dx, const one_bf16 *dy, const one_bf16 *y, float slope, bool add,
                 int64_t n)
{
    __m512 a = _mm512_set1_ps(slope);
    for (EACH(i, n, left))
        put(dx + i, relu(load(dy + i, left), load(y + i, left), a), add, left);
}

void nk_sum(one_bf16 *y, const one_bf16 *const *x, const float *coeff, int32_t inputs, bool add,
            int64_t n)
{
    for (EACH(i, n, left)) {
        __m512 v = _mm512_mul_ps(load(x[0] + i, left), _mm512_set1_ps(coeff[0]));
        for (int32_t k = 1; k < inputs; k++)
            v = _mm512_fmadd_ps(load(x[k] + i, left), _mm512_set1_ps(coeff[k]), v);
        put(y + i, v, add, left);
    }
}

/* ---- products of few rows ---------------------------------------------------------------- */

enum { AHEAD = 2048 }; /* bytes; what a page's prefetcher does not see */

/* `chains` sums of each row, as one product waits for the one before. */
INLINE void few(float *sums, const one_bf16 *x, const one_bf16 *panel, int64_t pairs,
                const int rows, const int chains)
{
    __m512 acc[16];
    for (int i = 0; i < rows * chains; i++)
        acc[i] = _mm512_setzero_ps();
    int64_t p = 0;
    for (; p + chains <= pairs; p += chains)
        for (int c = 0; c < chains; c++, panel += 32, x += 2 * rows) {
            _mm_prefetch((const char *)panel + AHEAD, _MM_HINT_T0);
            __m512bh b = (__m512bh)_mm512_loadu_si512(panel);
            for (int i = 0; i < rows; i++)
                acc[c * rows + i] = _mm512_dpbf16_ps(acc[c * rows + i], pair_of(x + 2 * i), b);
        }
    for (; p < pairs; p++, panel += 32, x += 2 * rows)
        for (int i = 0; i < rows; i++)
            acc[i] = _mm512_dpbf16_ps(acc[i], pair_of(x + 2 * i),
                                      (__m512bh)_mm512_loadu_si512(panel));
    for (int i = 0; i < rows; i++) {
        for (int c = 1; c < chains; c++)
            acc[i] = _mm512_add_ps(acc[i], acc[c * rows + i]);
        _mm512_storeu_ps(sums + 16 * i, acc[i]);
    }
}

void nk_few(float *sums, const one_bf16 *x, const one_bf16 *panel, int64_t pairs, int32_t rows)
{
    if (rows == 1)
        few(sums, x, panel, pairs, 1, 4);
    else if (rows == 2)
        few(sums, x, panel, pairs, 2, 4);
    else if (rows == 4)
        few(sums, x, panel, pairs, 4, 2);
    else if (rows == 8)
        few(sums, x, panel, pairs, 8, 1);
    else
        few(sums, x, panel, pairs, 16, 1);
}

/* ---- rows to columns --------------------------------------------------------------------- */

/* Up to 16 floats, `step` apart. */
INLINE __m512 load_apart(const float *x, int64_t step, int64_t n)
{
    if (n <= 0)
        return _mm512_setzero_ps();
    if (step == 1)
        return load_f(x, n);
    const __m512i each =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), n >= 16 ? 0xFFFF : lanes(n),
                                    _mm512_mullo_epi32(each, _mm512_set1_epi32((int32_t)step)),
                                    x, 4);
}

/* Rows become columns. */
INLINE void turn16(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            r[i + 2 * k] = _mm512_unpacklo_epi64(t[i + k], t[i + k + 2]);
            r[i + 2 * k + 1] = _mm512_unpackhi_epi64(t[i + k], t[i + k + 2]);
        }
    for (int c = 0; c < 4; c++) { /* r[4 i + c]: rows 4 i to 4 i + 3 of columns c, 4 + c, ... */
        __m512i even = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        __m512i odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD);
        __m512i even2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        __m512i odd2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
        t[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(even, even2, 0xDD);
        t[12 + c] = _mm512_shuffle_i32x4(odd, odd2, 0xDD);
    }
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

INLINE void turn(void *y, const bool to, int64_t y_next, const void *x, const bool from,
                 int64_t x_next, int64_t n, int64_t m)
{
    __m512i r[16];
    for (int64_t j = 0; j < 16; j++) {
        r[j] = _mm512_setzero_si512();
        if (j < m)
            r[j] = (__m512i)(from ? load((const one_bf16 *)x + j * x_next, n)
                                  : load_f((const float *)x + j * x_next, n));
    }
    turn16(r);
    for (int64_t i = 0; i < 16 && i < n; i++)
        if (to)
            store((one_bf16 *)y + i * y_next, (__m512)r[i], m);
        else
            store_f((float *)y + i * y_next, (__m512)r[i], m);
}

void nk_turn(void *y, bool to, int64_t y_next, const void *x, bool from, int64_t x_next,
             int64_t n, int64_t m)
{
    if (from && to)
        turn(y, true, y_next, x, true, x_next, n, m);
    else if (from)
        turn(y, false, y_next, x, true, x_next, n, m);
    else
        turn(y, true, y_next, x, false, x_next, n, m);
}

INLINE void turn_rows(one_bf16 *y, int64_t next, const float *x, int64_t row, int64_t step,
                      int64_t rows, int64_t cols)
{
    __m512i r[16];
    for (int i = 0; i < 16; i++, x += i < rows ? row : 0)
        r[i] = i < rows ? (__m512i)_mm512_cvtne2ps_pbh(
                              load_apart(cols > 16 ? x + 16 * step : x, step, cols - 16),
                              load_apart(x, step, cols))
                        : _mm512_setzero_si512();
    turn16(r);
    for (int64_t j = 0; 2 * j < cols; j++)
        _mm512_storeu_si512(y + j * next, r[j]);
}

void nk_turn_rows(one_bf16 *y, int64_t next, const float *x, int64_t row, int64_t step,
                  int64_t rows, int64_t cols)
{
    if (step == 1 && rows == 16 && cols == 32)
        turn_rows(y, next, x, row, 1, 16, 32);
    else
        turn_rows(y, next, x, row, step, rows, cols);
}

/* (16, 2) of two vectors. */
INLINE __m512i side_by_side(__m512 a, __m512 b)
{
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(a));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(b));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

void nk_turn_pairs(one_bf16 *y, const float *x, int64_t row, int64_t step, int64_t rows,
                   int64_t cols)
{
    __m512 a = load_apart(x, step, rows > 0 ? cols : 0);
    __m512 b = load_apart(rows > 1 ? x + row : x, step, rows > 1 ? cols : 0);
    _mm512_storeu_si512(y, side_by_side(a, b));
}

/* ---- pooling ----------------------------------------------------------------------------- */

INLINE void pool_max(const nk_window *w, one_bf16 *y, int32_t *mask, const one_bf16 *x,
                     bool through)
{
    for (EACH(c, w->C, left)) {
        __m512 best = _mm512_set1_ps(-FLT_MAX);
        __m512i index = _mm512_set1_epi32(-1);
        for (int64_t t = 0; t < w->taps; t++) {
            __m512 v = load(x + w->at[t] + c, left);
            __mmask16 more = _mm512_cmp_ps_mask(v, best, _CMP_GT_OQ);
            best = _mm512_mask_mov_ps(best, more, v);
            if (mask)
                index = _mm512_mask_mov_epi32(index, more, _mm512_set1_epi32(w->index[t]));
        }
        if (through)
            best = _mm512_max_ps(best, _mm512_setzero_ps());
        store(y + c, best, left);
        if (mask)
            store_f((float *)mask + c, _mm512_castsi512_ps(index), left);
    }
}

void nk_pool_max(const nk_window *w, one_bf16 *y, int32_t *mask, const one_bf16 *x,
                 bool through)
{
    if (mask)
        pool_max(w, y, mask, x, through);
    else
        pool_max(w, y, NULL, x, through);
}

void nk_pool_sum(const nk_window *w, one_bf16 *y, const one_bf16 *x, bool through, bool add)
{
    for (EACH(c, w->C, left)) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t t = 0; t < w->taps; t++)
            sum =
                _mm512_fmadd_ps(load(x + w->at[t] + c, left), _mm512_set1_ps(w->share[t]), sum);
        if (through)
            sum = _mm512_max_ps(_mm512_setzero_ps(), sum); /* a NaN stays */
        put(y + c, sum, add, left);
    }
}

void nk_pool_max_bwd(const nk_window *w, one_bf16 *dx, const one_bf16 *dy, const int32_t *mask,
                     int32_t pixel, bool add)
{
    __m512i wanted = _mm512_set1_epi32(pixel);
    for (EACH(c, w->C, left)) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t t = 0; t < w->taps; t++) {
            __m512 names = load_f((const float *)mask + w->at[t] + c, left);
            __mmask16 here = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(names), wanted);
            sum = _mm512_mask_add_ps(sum, here, sum, load(dy + w->at[t] + c, left));
        }
        put(dx + c, sum, add, left);
    }
}

/* ---- batch norm -------------------------------------------------------------------------- */

void nk_norm_apply(const nk_norm *k, one_bf16 *y, const one_bf16 *x, int64_t rows, int64_t n)
{
    __m512 slope = _mm512_set1_ps(k->slope);
    for (int64_t r = 0; r < rows; r++, x += n, y += n)
        for (EACH(i, n, left)) {
            __m512 v = _mm512_sub_ps(load(x + i, left), load_f(k->mean + i, left));
            v = _mm512_fmadd_ps(v, load_f(k->a + i, left), load_f(k->b + i, left));
            if (k->add)
                v = _mm512_add_ps(v, load(y + i, left));
            store(y + i, k->relu ? relu(v, v, slope) : v, left);
        }
}

/* Of channel i, `away` from its mean. */
INLINE __m512 dz_at(const nk_norm *k, const one_bf16 *dy, const one_bf16 *y, __m512 away,
                    int64_t i, int64_t left)
{
    __m512 d = load(dy, left);
    if (!k->relu)
        return d;
    __m512 v = k->beta
                   ? _mm512_fmadd_ps(away, load_f(k->a + i, left), load_f(k->beta + i, left))
                   : load(y, left);
    return relu(d, v, _mm512_set1_ps(k->slope));
}

void nk_norm_bwd(const nk_norm *k, one_bf16 *dx, const one_bf16 *dy, const one_bf16 *x,
                 const one_bf16 *y, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        for (EACH(i, n, left)) {
            int64_t at = r * n + i;
            __m512 v = _mm512_setzero_ps();
            if (x)
                v = _mm512_sub_ps(load(x + at, left), load_f(k->mean + i, left));
            __m512 d = dz_at(k, dy + at, y ? y + at : NULL, v, i, left);
            d = _mm512_fmadd_ps(load_f(k->a + i, left), d, load_f(k->c + i, left));
            if (x)
                d = _mm512_fmadd_ps(load_f(k->b + i, left), v, d);
            put(dx + at, d, k->add, left);
        }
}

/* `count` rows at a time: the sums live in memory. Short rows alone: several streams in one
 * page are followed by no prefetcher. */
INLINE void sum_rows(int64_t count, const nk_norm *k, float *sum, float *square,
                     const one_bf16 *dy, const one_bf16 *x, const one_bf16 *y, int64_t n)
{
    for (EACH(i, n, left)) {
        __m512 s = load_f(sum + i, left), q = load_f(square + i, left);
        __m512 mean = load_f(k->mean + i, left);
        for (int64_t r = 0; r < count; r++) {
            int64_t at = r * n + i;
            __m512 v = _mm512_sub_ps(load(x + at, left), mean);
            __m512 d = dy ? dz_at(k, dy + at, y ? y + at : NULL, v, i, left) : v;
            s = _mm512_add_ps(s, d);
            q = _mm512_fmadd_ps(d, v, q);
        }
        store_f(sum + i, s, left);
        store_f(square + i, q, left);
    }
}

void nk_norm_sums(const nk_norm *k, float *sum, float *square, const one_bf16 *dy,
                  const one_bf16 *x, const one_bf16 *y, int64_t rows, int64_t n)
{
    for (int64_t r = 0, count; r < rows; r += count) {
        int64_t at = r * n;
        const one_bf16 *d = dy ? dy + at : NULL, *s = y ? y + at : NULL;
        count = n < 64 && rows - r >= 4 ? 4 : 1;
        if (count == 4)
            sum_rows(4, k, sum, square, d, x + at, s, n);
        else
            sum_rows(1, k, sum, square, d, x + at, s, n);
    }
}

/* ---- LRN --------------------------------------------------------------------------------- */

/* x^-1/2 and x^-3/4, to the 14 bits that bf16 has use for. */
INLINE __m512 power(__m512 x)
{
    __m512 half = _mm512_rsqrt14_ps(x);
    return _mm512_mul_ps(_mm512_mul_ps(half, half), _mm512_rsqrt14_ps(half));
}

INLINE __m512 around(const float *middle, int64_t size, int64_t left)
{
    __m512 sum = load_f(middle - size / 2, left);
    for (int64_t d = 1; d < size; d++)
        sum = _mm512_add_ps(sum, load_f(middle - size / 2 + d, left));
    return sum;
}

void nk_lrn(one_bf16 *y, one_bf16 *scale, const one_bf16 *x, int64_t C, int64_t size,
            float alpha, float k, float *line)
{
    __m512 share = _mm512_set1_ps(alpha / (float)size), least = _mm512_set1_ps(k);
    float *middle = line + 16;
    for (EACH(c, C, left)) {
        __m512 v = load(x + c, left);
        store_f(middle + c, _mm512_mul_ps(v, v), left);
    }
    for (EACH(c, C, left)) {
        __m512 s = _mm512_fmadd_ps(around(middle + c, size, left), share, least);
        store(scale + c, s, left);
        store(y + c, _mm512_mul_ps(load(x + c, left), power(s)), left);
    }
}

void nk_lrn_bwd(one_bf16 *dx, const one_bf16 *x, const one_bf16 *y, const one_bf16 *scale,
                const one_bf16 *dy, int64_t C, int64_t size, float alpha, bool add, float *line)
{
    __m512 share = _mm512_set1_ps(-2 * alpha * 0.75f / (float)size);
    float *middle = line + 16;
    for (EACH(c, C, left)) {
        __m512 v = _mm512_mul_ps(load(dy + c, left), load(y + c, left));
        store_f(middle + c, _mm512_div_ps(v, load(scale + c, left)), left);
    }
    for (EACH(c, C, left)) {
        __m512 v = _mm512_mul_ps(_mm512_mul_ps(load(x + c, left), share),
                                 around(middle + c, size, left));
        v = _mm512_fmadd_ps(load(dy + c, left), power(load(scale + c, left)), v);
        put(dx + c, v, add, left);
    }
}
