/* SPDX-License-Identifier: BSD-2-Clause
 * gemm_kernels.h: transposes and sums of whole vectors in registers, for gemm_kernels.c, and
 * the declarations that isa.c makes its table from. */
#ifndef CPU_GEMM_KERNELS_H
#define CPU_GEMM_KERNELS_H

#include "cpu.h"
#include "isa.h"
#include "simd.h"

#if defined(__AVX512F__)
/* Rows become columns: pairs of 32 bits, of 64, then quarters. */
INLINE void v_transpose(vf t[16])
{
    __m512 r[16];
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        r[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
        r[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(r[i]), b = _mm512_castps_pd(r[i + 1]);
        __m512d c = _mm512_castps_pd(r[i + 2]), d = _mm512_castps_pd(r[i + 3]);
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD);
        r[i + 8] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xDD);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 8], 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(r[i], r[i + 8], 0xDD);
    }
}
/* Lane i: the sum of t[i]'s lanes; adds halve the work at each step of the transpose. */
INLINE vf v_sums(vf t[16])
{
    __m512 r[8], q[4], h[2];
    UNROLL
    for (int i = 0; i < 8; i++)
        r[i] = _mm512_add_ps(_mm512_unpacklo_ps(t[2 * i], t[2 * i + 1]),
                             _mm512_unpackhi_ps(t[2 * i], t[2 * i + 1]));
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(r[2 * i]), b = _mm512_castps_pd(r[2 * i + 1]);
        q[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    UNROLL
    for (int i = 0; i < 2; i++)
        h[i] = _mm512_add_ps(_mm512_shuffle_f32x4(q[2 * i], q[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(q[2 * i], q[2 * i + 1], 0xDD));
    return _mm512_add_ps(_mm512_shuffle_f32x4(h[0], h[1], 0x88),
                         _mm512_shuffle_f32x4(h[0], h[1], 0xDD));
}
#elif defined(__AVX2__)
INLINE void v_transpose(vf t[8])
{
    __m256 r[8];
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        r[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
        r[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) {
        t[i] = _mm256_shuffle_ps(r[i], r[i + 2], 0x44);
        t[i + 1] = _mm256_shuffle_ps(r[i], r[i + 2], 0xEE);
        t[i + 2] = _mm256_shuffle_ps(r[i + 1], r[i + 3], 0x44);
        t[i + 3] = _mm256_shuffle_ps(r[i + 1], r[i + 3], 0xEE);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        t[i] = r[i];
}
INLINE vf v_sums(vf t[8]) /* in the order of AVX-512, of which it is the half */
{
    __m256 r[4], q[2];
    UNROLL
    for (int i = 0; i < 4; i++)
        r[i] = _mm256_add_ps(_mm256_unpacklo_ps(t[2 * i], t[2 * i + 1]),
                             _mm256_unpackhi_ps(t[2 * i], t[2 * i + 1]));
    UNROLL
    for (int i = 0; i < 2; i++)
        q[i] = _mm256_add_ps(_mm256_shuffle_ps(r[2 * i], r[2 * i + 1], 0x44),
                             _mm256_shuffle_ps(r[2 * i], r[2 * i + 1], 0xEE));
    return _mm256_add_ps(_mm256_permute2f128_ps(q[0], q[1], 0x20),
                         _mm256_permute2f128_ps(q[0], q[1], 0x31));
}
#else
INLINE void v_transpose(vf t[4])
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) {
            float x = t[i][j];
            t[i][j] = t[j][i];
            t[j][i] = x;
        }
}
INLINE vf v_sums(vf t[4])
{
    return (vf){v_sum(t[0]), v_sum(t[1]), v_sum(t[2]), v_sum(t[3])};
}
#endif

#endif
