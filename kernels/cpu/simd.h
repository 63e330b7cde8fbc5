/* SPDX-License-Identifier: BSD-2-Clause
 * simd.h: one vocabulary of float vectors for every instruction set. A kernel file is compiled
 * once per set (AVX-512, AVX2, plain) and says VL for the lanes; names end in the set's name.
 * Plain means GCC vector extensions: SSE2 on x86, NEON on ARM. */
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#define COLD   static __attribute__((noinline)) /* clang inlines it in four places */
#if defined(__OPTIMIZE_SIZE__) && !defined(SUMS_IN_REGISTERS) /* the plain set on x86 */
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* One copy where size counts: loops of several variants, what is rare. */
#ifdef __OPTIMIZE_SIZE__
#define SMALL  1
#define SHARED static __attribute__((noinline, unused))
#else
#define SMALL  0
#define SHARED INLINE
#endif

#define CPU_JOIN2(a, b) a##_##b
#define CPU_JOIN(a, b)  CPU_JOIN2(a, b)
#define ISA(name)       CPU_JOIN(name, CPU_ISA) /* cpu_tile -> cpu_tile_avx2 */

/* Into the second cache: what lies `floats` from p, inside of an array or not. */
INLINE void fetch_ahead(const float *p, int64_t floats)
{
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)floats * sizeof(float)), 0, 2);
}

#if defined(__AVX512F__)
#include <immintrin.h>
#define VL 16
typedef __m512 vf;
typedef __mmask16 vm;
INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void v_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
INLINE vf v_set1(float a)
{
    return _mm512_set1_ps(a);
}
INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
INLINE vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
} /* b if either is NaN */
INLINE vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
INLINE vm v_gt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
INLINE vm v_eq(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
INLINE vf v_sel(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
} /* m ? a : b */
INLINE vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}
INLINE vf v_sign(vf mag, vf s) /* mag >= 0 with the sign of s */
{
    __m512i bit = _mm512_and_si512(_mm512_castps_si512(s), _mm512_set1_epi32(INT32_MIN));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(mag), bit));
}
INLINE vf v_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vf v_ldexp(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
INLINE vf v_frexp(vf a, vf *n) /* a = m 2^n, m in [0.5, 1) */
{
    *n = _mm512_add_ps(_mm512_getexp_ps(a), _mm512_set1_ps(1.0f));
    return _mm512_getmant_ps(a, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_src);
}
INLINE vf v_loadn(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
INLINE void v_storen(float *p, vf a, int64_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
INLINE vm v_match(const int32_t *p, int32_t value, int64_t n) /* lanes from n on: any */
{
    __m512i v = _mm512_maskz_loadu_epi32((__mmask16)(n >= VL ? 0xFFFF : (1u << n) - 1), p);
    return _mm512_cmpeq_epi32_mask(v, _mm512_set1_epi32(value));
}
INLINE float v_sum(vf a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
INLINE float v_top(vf a)
{
    return _mm512_reduce_max_ps(a);
}

#elif defined(__AVX2__)
#include <immintrin.h>
#define VL 8
typedef __m256 vf;
typedef __m256 vm;
INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
INLINE void v_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}
INLINE vf v_set1(float a)
{
    return _mm256_set1_ps(a);
}
INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
INLINE vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
INLINE vm v_gt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
INLINE vm v_eq(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
INLINE vf v_sel(vm m, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, m);
}
INLINE vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
INLINE vf v_sign(vf mag, vf s)
{
    return _mm256_or_ps(mag, _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}
INLINE vf v_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vf v_pow2(__m256i n)
{
    __m256i biased = _mm256_add_epi32(n, _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
INLINE vf v_ldexp(vf a, vf n) /* in two steps: n may reach beyond the exponent's range */
{
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, v_pow2(half)), v_pow2(_mm256_sub_epi32(i, half)));
}
INLINE vf v_frexp(vf a, vf *n) /* subnormal: 2^32 times as large first */
{
    vm tiny = v_gt(v_set1(1.17549435e-38f), v_abs(a));
    __m256i bits = _mm256_castps_si256(v_sel(tiny, v_mul(a, v_set1(4294967296.0f)), a));
    __m256i e = _mm256_and_si256(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(255));
    __m256i mant = _mm256_set1_epi32(~0x7F800000);
    *n = v_sub(_mm256_cvtepi32_ps(e), v_sel(tiny, v_set1(158.0f), v_set1(126.0f)));
    bits = _mm256_or_si256(_mm256_and_si256(bits, mant), _mm256_set1_epi32(0x3F000000));
    return _mm256_castsi256_ps(bits);
}
INLINE __m256i v_first(int64_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), lane);
}
INLINE vf v_loadn(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, v_first(n));
}
INLINE void v_storen(float *p, vf a, int64_t n)
{
    _mm256_maskstore_ps(p, v_first(n), a);
}
INLINE vm v_match(const int32_t *p, int32_t value, int64_t n)
{
    __m256i v =
        n >= VL ? _mm256_loadu_si256((const __m256i *)p) : _mm256_maskload_epi32(p, v_first(n));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(v, _mm256_set1_epi32(value)));
}
INLINE float v_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
INLINE float v_top(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#else
#define VL 4
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef vi vm;
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif
INLINE vf v_load(const float *p)
{
    vf a;
    memcpy(&a, p, sizeof a);
    return a;
}
INLINE void v_store(float *p, vf a)
{
    memcpy(p, &a, sizeof a);
}
INLINE vf v_set1(float a)
{
    return (vf){a, a, a, a};
}
INLINE vf v_add(vf a, vf b)
{
    return a + b;
}
INLINE vf v_sub(vf a, vf b)
{
    return a - b;
}
INLINE vf v_mul(vf a, vf b)
{
    return a * b;
}
INLINE vf v_div(vf a, vf b)
{
    return a / b;
}
INLINE vf v_fma(vf a, vf b, vf c)
{
#if defined(__ARM_NEON) && defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
INLINE vm v_gt(vf a, vf b)
{
    return a > b;
}
INLINE vm v_eq(vf a, vf b)
{
    return a == b;
}
INLINE vf v_sel(vm m, vf a, vf b)
{
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
INLINE vf v_max(vf a, vf b)
{
    return v_sel(a > b, a, b);
}
INLINE vf v_min(vf a, vf b)
{
    return v_sel(a < b, a, b);
}
INLINE vf v_abs(vf a)
{
    return (vf)((vi)a & 0x7FFFFFFF);
}
INLINE vf v_sign(vf mag, vf s)
{
    return (vf)((vi)mag | ((vi)s & INT32_MIN));
}
INLINE vf v_sqrt(vf a)
{
    UNROLL
    for (int i = 0; i < VL; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vf v_round(vf a) /* |a| < 2^22: all that exp asks for */
{
    vf magic = v_set1(12582912.0f);
    return (a + magic) - magic;
}
INLINE vi v_int(vf a)
{
    vi i;
    UNROLL
    for (int j = 0; j < VL; j++)
        i[j] = (int32_t)a[j];
    return i;
}
INLINE vf v_pow2(vi n)
{
    return (vf)((n + 127) << 23);
}
INLINE vf v_ldexp(vf a, vf n)
{
    vi i = v_int(n), half = i >> 1;
    return a * v_pow2(half) * v_pow2(i - half);
}
INLINE vf v_frexp(vf a, vf *n)
{
    vm tiny = v_gt(v_set1(1.17549435e-38f), v_abs(a));
    vi bits = (vi)v_sel(tiny, v_mul(a, v_set1(4294967296.0f)), a);
    vi e = ((bits >> 23) & 255) - 126 + (tiny & -32);
    UNROLL
    for (int j = 0; j < VL; j++)
        (*n)[j] = (float)e[j];
    return (vf)((bits & (vi){-0x7F800001, -0x7F800001, -0x7F800001, -0x7F800001}) | 0x3F000000);
}
SHARED vf v_loadn(const float *p, int64_t n)
{
    vf a = {0, 0, 0, 0};
    memcpy(&a, p, (size_t)n * sizeof(float));
    return a;
}
SHARED void v_storen(float *p, vf a, int64_t n)
{
    memcpy(p, &a, (size_t)n * sizeof(float));
}
INLINE vm v_match(const int32_t *p, int32_t value, int64_t n)
{
    vi v = {0, 0, 0, 0};
    memcpy(&v, p, (size_t)(n < VL ? n : VL) * sizeof(int32_t));
    return v == (vi){value, value, value, value};
}
INLINE float v_sum(vf a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}
INLINE float v_top(vf a)
{
    float x = a[0] > a[2] ? a[0] : a[2], y = a[1] > a[3] ? a[1] : a[3];
    return x > y ? x : y;
}
#endif

/* Sums across lanes are of 16 with AVX2, too, as two vectors: AVX-512's bits. */
#define SUMS      (VL == 8 ? 2 : 1)
#define SUM_LANES (SUMS * VL)
INLINE float v_sum_lanes(const vf a[SUMS])
{
    return v_sum(SUMS == 2 ? v_add(a[0], a[SUMS - 1]) : a[0]);
}

INLINE vf v_zero(void)
{
    return v_set1(0.0f);
}
/* n in [1, VL]: whole vectors take the short way. */
INLINE vf v_loadp(const float *p, int64_t n)
{
    return n >= VL ? v_load(p) : v_loadn(p, n);
}
/* The same without a branch: smaller where it is unrolled, slower where memory is the limit. */
INLINE vf v_loadm(const float *p, int64_t n)
{
#if VL == 16
    return v_loadn(p, n < VL ? n : VL);
#else
    return v_loadp(p, n);
#endif
}
INLINE void v_storep(float *p, vf a, int64_t n)
{
    if (n >= VL)
        v_store(p, a);
    else
        v_storen(p, a, n);
}

#endif
