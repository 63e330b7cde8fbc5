/* SPDX-License-Identifier: BSD-2-Clause
 * avx512.h: AVX-512 in AVX2 and C, so that the widest set of kernels/cpu, and the module's for
 * bf16, are checked on machines that lack it. Put before a kernel file (-include), which then
 * sees an AVX-512 compiler; what a kernel uses and is not here does not link. Each is as
 * Intel's manual has it, for the operands that the kernels give; speed is of no account. */
#ifndef DEEPNET_TESTS_AVX512_H
#define DEEPNET_TESTS_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __AVX512F__ 1 /* not before immintrin.h, which would believe it */

#define WIDE      static inline __attribute__((always_inline, unused))
#define WIDE_EACH for (int i = 0; i < 16; i++)

typedef int32_t wide_int __attribute__((vector_size(64)));
typedef struct {
    __m256 half[2];
} wide_halves;

WIDE __m256 wide_half(__m512 a, int h)
{
    wide_halves halves;
    memcpy(&halves, &a, sizeof a);
    return halves.half[h];
}

WIDE __m512 wide_of(__m256 low, __m256 high)
{
    __m512 a;
    wide_halves halves = {{low, high}};
    memcpy(&a, &halves, sizeof a);
    return a;
}

/* ---- arithmetic, two halves ------------------------------------------------------------- */

#define WIDE_TWO(name, half_name)                                                              \
    WIDE __m512 wide_##name(__m512 a, __m512 b)                                                \
    {                                                                                          \
        return wide_of(half_name(wide_half(a, 0), wide_half(b, 0)),                            \
                       half_name(wide_half(a, 1), wide_half(b, 1)));                           \
    }
WIDE_TWO(add, _mm256_add_ps)
WIDE_TWO(sub, _mm256_sub_ps)
WIDE_TWO(mul, _mm256_mul_ps)
WIDE_TWO(div, _mm256_div_ps)
WIDE_TWO(max, _mm256_max_ps)
WIDE_TWO(min, _mm256_min_ps)
/* within each 128 bits, which the halves keep */
WIDE_TWO(unpacklo, _mm256_unpacklo_ps)
WIDE_TWO(unpackhi, _mm256_unpackhi_ps)
#define WIDE_PAIR_LOW(a, b)                                                                    \
    _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define WIDE_PAIR_HIGH(a, b)                                                                   \
    _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
WIDE_TWO(pair_low, WIDE_PAIR_LOW)
WIDE_TWO(pair_high, WIDE_PAIR_HIGH)

WIDE __m512 wide_fma(__m512 a, __m512 b, __m512 c)
{
    return wide_of(_mm256_fmadd_ps(wide_half(a, 0), wide_half(b, 0), wide_half(c, 0)),
                   _mm256_fmadd_ps(wide_half(a, 1), wide_half(b, 1), wide_half(c, 1)));
}

WIDE __m512 wide_sqrt(__m512 a)
{
    return wide_of(_mm256_sqrt_ps(wide_half(a, 0)), _mm256_sqrt_ps(wide_half(a, 1)));
}

WIDE __m512 wide_set1(float a)
{
    return wide_of(_mm256_set1_ps(a), _mm256_set1_ps(a));
}

WIDE __m512 wide_abs(__m512 a)
{
    return (__m512)((wide_int)a & INT32_MAX);
}

WIDE __m512 wide_nearest(__m512 a) /* ties to even */
{
    enum { HOW = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return wide_of(_mm256_round_ps(wide_half(a, 0), HOW),
                   _mm256_round_ps(wide_half(a, 1), HOW));
}

WIDE __m512i wide_to_int(__m512 a)
{
    return (__m512i)wide_of(_mm256_castsi256_ps(_mm256_cvtps_epi32(wide_half(a, 0))),
                            _mm256_castsi256_ps(_mm256_cvtps_epi32(wide_half(a, 1))));
}

WIDE __m512 wide_scalef(__m512 a, __m512 n)
{
    WIDE_EACH a[i] =
        isnan(a[i]) ? a[i] : ldexpf(a[i], (int)fmaxf(-512, fminf(512, floorf(n[i]))));
    return a;
}

/* Of 0 and below, infinities and NaN, which v_log replaces: nothing in particular. */
WIDE __m512 wide_getexp(__m512 a)
{
    WIDE_EACH a[i] = (float)ilogbf(a[i]);
    return a;
}

WIDE __m512 wide_getmant(__m512 a) /* in [0.5, 1) */
{
    int n;
    WIDE_EACH a[i] = frexpf(a[i], &n);
    return a;
}

WIDE __m512i wide_mul_epu32(__m512i a, __m512i b) /* of the lower halves of 64 bits */
{
    typedef uint64_t words __attribute__((vector_size(64)));
    return (__m512i)(((words)a & 0xFFFFFFFFu) * ((words)b & 0xFFFFFFFFu));
}

WIDE float wide_top(__m512 a)
{
    float top = a[0];
    WIDE_EACH top = a[i] > top ? a[i] : top;
    return top;
}

/* ---- masks ------------------------------------------------------------------------------ */

WIDE __mmask16 wide_mask(__m512i set) /* whose lanes are 0 or -1 */
{
    __m512 bits = (__m512)set;
    return (__mmask16)(_mm256_movemask_ps(wide_half(bits, 0)) |
                       _mm256_movemask_ps(wide_half(bits, 1)) << 8);
}

#define wide_compare(a, b, how)                                                                \
    wide_mask((__m512i)wide_of(_mm256_cmp_ps(wide_half(a, 0), wide_half(b, 0), how),           \
                               _mm256_cmp_ps(wide_half(a, 1), wide_half(b, 1), how)))

WIDE __mmask16 wide_equal(__m512i a, __m512i b)
{
    return wide_mask((__m512i)((wide_int)a == (wide_int)b));
}

WIDE __m512i wide_lanes(__mmask16 m) /* -1 where m has a bit */
{
    const wide_int bit = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                          1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    return (__m512i)((bit & (int32_t)m) != 0);
}

WIDE __m512 wide_blend(__mmask16 m, __m512 a, __m512 b) /* m ? b : a */
{
    wide_int lanes = (wide_int)wide_lanes(m);
    return (__m512)((lanes & (wide_int)b) | (~lanes & (wide_int)a));
}

/* ---- memory: a lane without a bit is not touched ---------------------------------------- */

WIDE __m512 wide_load(const void *p)
{
    __m512 a;
    memcpy(&a, p, sizeof a);
    return a;
}

WIDE void wide_store(void *p, __m512 a)
{
    memcpy(p, &a, sizeof a);
}

WIDE __m512 wide_load_masked(__mmask16 m, const void *p)
{
    __m256i low = _mm256_castps_si256(wide_half((__m512)wide_lanes(m), 0));
    __m256i high = _mm256_castps_si256(wide_half((__m512)wide_lanes(m), 1));
    return wide_of(_mm256_maskload_ps((const float *)p, low),
                   _mm256_maskload_ps((const float *)p + 8, high));
}

WIDE void wide_store_masked(void *p, __mmask16 m, __m512 a)
{
    __m256i low = _mm256_castps_si256(wide_half((__m512)wide_lanes(m), 0));
    __m256i high = _mm256_castps_si256(wide_half((__m512)wide_lanes(m), 1));
    _mm256_maskstore_ps((float *)p, low, wide_half(a, 0));
    _mm256_maskstore_ps((float *)p + 8, high, wide_half(a, 1));
}

WIDE __m256i wide_first8(__mmask8 m)
{
    return _mm256_castps_si256(wide_half((__m512)wide_lanes(m), 0));
}

/* ---- lanes that move -------------------------------------------------------------------- */

WIDE __m512i wide_pick(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j,
                       int k, int l, int m, int n, int o, int p)
{
    return (__m512i)(wide_int){a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
}

WIDE __m512 wide_permute(__m512i lane, __m512 a)
{
    __m512 moved = a;
    WIDE_EACH moved[i] = a[((wide_int)lane)[i] & 15];
    return moved;
}

WIDE __m512 wide_permute2(__m512 a, __m512i lane, __m512 b)
{
    __m512 moved = a;
    WIDE_EACH
    {
        int from = ((wide_int)lane)[i];
        moved[i] = from & 16 ? b[from & 15] : a[from & 15];
    }
    return moved;
}

WIDE __m512 wide_shuffle(__m512 a, __m512 b, int quarters) /* of 128 bits: two of a, two of b */
{
    __m512 moved = a;
    WIDE_EACH
    {
        int quarter = quarters >> 2 * (i / 4) & 3;
        moved[i] = (i < 8 ? a : b)[4 * quarter + i % 4];
    }
    return moved;
}

/* ---- bf16 ------------------------------------------------------------------------------- */

typedef uint16_t wide_shorts __attribute__((vector_size(64)));
typedef uint16_t wide_half_shorts __attribute__((vector_size(32)));

WIDE float wide_of_bf16(uint16_t half) /* subnormal numbers are zeros to these instructions */
{
    uint32_t bits = (uint32_t)half << 16;
    float a;
    memcpy(&a, &bits, sizeof a);
    return fpclassify(a) == FP_SUBNORMAL ? copysignf(0, a) : a;
}

WIDE uint16_t wide_to_bf16(float a) /* ties to even */
{
    uint32_t bits;
    a = fpclassify(a) == FP_SUBNORMAL ? copysignf(0, a) : a;
    memcpy(&bits, &a, sizeof bits);
    return (uint16_t)(isnan(a) ? bits >> 16 | 0x40 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

WIDE __m256i wide_narrow(__m512 a)
{
    wide_half_shorts half;
    WIDE_EACH half[i] = wide_to_bf16(a[i]);
    return (__m256i)half;
}

WIDE __m512i wide_narrow2(__m512 high, __m512 low)
{
    wide_shorts half;
    WIDE_EACH half[i] = wide_to_bf16(low[i]), half[16 + i] = wide_to_bf16(high[i]);
    return (__m512i)half;
}

WIDE __m512 wide_dot_bf16(__m512 sum, __m512i a, __m512i b) /* of pairs */
{
    wide_shorts x = (wide_shorts)a, y = (wide_shorts)b;
    WIDE_EACH
    {
        sum[i] += wide_of_bf16(x[2 * i + 1]) * wide_of_bf16(y[2 * i + 1]);
        sum[i] += wide_of_bf16(x[2 * i]) * wide_of_bf16(y[2 * i]);
    }
    return sum;
}

WIDE __m512i wide_extend(__m256i half)
{
    wide_int a;
    WIDE_EACH a[i] = ((wide_half_shorts)half)[i];
    return (__m512i)a;
}

WIDE __m256i wide_load_shorts(__mmask16 m, const void *p)
{
    wide_half_shorts a = {0};
    WIDE_EACH if (m >> i & 1) memcpy((char *)&a + 2 * i, (const char *)p + 2 * i, 2);
    return (__m256i)a;
}

WIDE void wide_store_shorts(void *p, __mmask16 m, __m256i a)
{
    WIDE_EACH if (m >> i & 1) memcpy((char *)p + 2 * i, (const char *)&a + 2 * i, 2);
}

WIDE __m512 wide_gather(__m512 rest, __mmask16 m, __m512i at, const float *p)
{
    WIDE_EACH rest[i] = m >> i & 1 ? p[((wide_int)at)[i]] : rest[i];
    return rest;
}

WIDE __m512 wide_rsqrt(__m512 a) /* to more than 14 bits */
{
    WIDE_EACH a[i] = 1 / sqrtf(a[i]);
    return a;
}

/* ---- their names ------------------------------------------------------------------------ */

/* what is a macro in a compiler's header already */
#undef _mm512_cmp_ps_mask
#undef _mm512_cmpeq_epi32_mask
#undef _mm512_extractf32x8_ps
#undef _mm512_getexp_ps
#undef _mm512_getmant_ps
#undef _mm512_roundscale_ps
#undef _mm512_scalef_ps
#undef _mm512_mask_i32gather_ps
#undef _mm512_setr_epi32
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_i32x4

/* clang-format off */
#define _mm512_add_ps wide_add
#define _mm512_sub_ps wide_sub
#define _mm512_mul_ps wide_mul
#define _mm512_div_ps wide_div
#define _mm512_max_ps wide_max
#define _mm512_min_ps wide_min
#define _mm512_fmadd_ps wide_fma
#define _mm512_sqrt_ps wide_sqrt
#define _mm512_abs_ps wide_abs
#define _mm512_set1_ps wide_set1
#define _mm512_scalef_ps wide_scalef
#define _mm512_getexp_ps wide_getexp
#define _mm512_getmant_ps(a, range, sign) wide_getmant(a)
#define _mm512_roundscale_ps(a, how) wide_nearest(a)
#define _mm512_cvtps_epi32 wide_to_int
#define _mm512_mul_epu32 wide_mul_epu32
#define _mm512_reduce_max_ps wide_top
#define _mm512_castps_si512(a) ((__m512i)(a))
#define _mm512_castsi512_ps(a) ((__m512)(a))
#define _mm512_castps_pd(a) ((__m512d)(a))
#define _mm512_castpd_ps(a) ((__m512)(a))
#define _mm512_castps512_ps256(a) wide_half(a, 0)
#define _mm512_extractf32x8_ps wide_half
#define _mm512_set1_epi32(a) ((__m512i)((wide_int){0} + (a)))
#define _mm512_and_si512(a, b) ((__m512i)((wide_int)(a) & (wide_int)(b)))
#define _mm512_or_si512(a, b) ((__m512i)((wide_int)(a) | (wide_int)(b)))
#define _mm512_cmp_ps_mask wide_compare
#define _mm512_cmpeq_epi32_mask wide_equal
#define _mm512_mask_blend_ps wide_blend
#define _mm512_loadu_ps wide_load
#define _mm512_storeu_ps wide_store
#define _mm512_loadu_si512(p) ((__m512i)wide_load(p))
#define _mm512_maskz_loadu_ps wide_load_masked
#define _mm512_maskz_loadu_epi32(m, p) ((__m512i)wide_load_masked(m, p))
#define _mm512_mask_storeu_ps wide_store_masked
#define _mm512_mask_storeu_epi32(p, m, a) wide_store_masked(p, m, (__m512)(a))
#define _mm256_maskz_loadu_ps(m, p) _mm256_maskload_ps(p, wide_first8(m))
#define _mm256_mask_storeu_ps(p, m, a) _mm256_maskstore_ps(p, wide_first8(m), a)
#define _mm512_setr_epi32 wide_pick
#define _mm512_permutexvar_ps wide_permute
#define _mm512_permutex2var_ps wide_permute2
#define _mm512_shuffle_f32x4 wide_shuffle
#define _mm512_unpacklo_ps wide_unpacklo
#define _mm512_unpackhi_ps wide_unpackhi
#define _mm512_unpacklo_pd(a, b) ((__m512d)wide_pair_low((__m512)(a), (__m512)(b)))
#define _mm512_unpackhi_pd(a, b) ((__m512d)wide_pair_high((__m512)(a), (__m512)(b)))
#define _mm512_setzero_ps() wide_set1(0)
#define _mm512_setzero_si512() ((__m512i)(wide_int){0})
#define _mm512_slli_epi32(a, n) ((__m512i)((wide_int)(a) << (n)))
#define _mm512_mullo_epi32(a, b) ((__m512i)((wide_int)(a) * (wide_int)(b)))
#define _mm512_mask_mov_ps(a, m, b) wide_blend(m, a, b)
#define _mm512_maskz_mov_ps(m, b) wide_blend(m, wide_set1(0), b)
#define _mm512_mask_mov_epi32(a, m, b) ((__m512i)wide_blend(m, (__m512)(a), (__m512)(b)))
#define _mm512_mask_mul_ps(a, m, x, y) wide_blend(m, a, wide_mul(x, y))
#define _mm512_mask_add_ps(a, m, x, y) wide_blend(m, a, wide_add(x, y))
#define _mm512_mask_i32gather_ps(a, m, at, p, scale) wide_gather(a, m, at, p) /* of 4 bytes */
#define _mm512_storeu_si512(p, a) wide_store(p, (__m512)(a))
#define _mm512_shuffle_i32x4(a, b, q) ((__m512i)wide_shuffle((__m512)(a), (__m512)(b), q))
#define _mm512_unpacklo_epi32(a, b) ((__m512i)wide_unpacklo((__m512)(a), (__m512)(b)))
#define _mm512_unpackhi_epi32(a, b) ((__m512i)wide_unpackhi((__m512)(a), (__m512)(b)))
#define _mm512_unpacklo_epi64(a, b) ((__m512i)wide_pair_low((__m512)(a), (__m512)(b)))
#define _mm512_unpackhi_epi64(a, b) ((__m512i)wide_pair_high((__m512)(a), (__m512)(b)))
#define _mm512_cvtepu16_epi32 wide_extend
#define _mm512_cvtneps_pbh wide_narrow
#define _mm512_cvtne2ps_pbh wide_narrow2
#define _mm512_dpbf16_ps(sum, a, b) wide_dot_bf16(sum, (__m512i)(a), (__m512i)(b))
#define _mm512_rsqrt14_ps wide_rsqrt
#define _mm256_maskz_loadu_epi16 wide_load_shorts
#define _mm256_mask_storeu_epi16 wide_store_shorts
/* clang-format on */

#endif
