/* SPDX-License-Identifier: BSD-2-Clause
 * pack_kernels.c: copies that lay rows, columns and runs of floats as products want them:
 * panels of A and B, transposed or not; compiled once per instruction set. Most store whole
 * vectors over what is written next. */
#include "isa.h"

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
#endif

/* Whole vectors, later ones over the tails of earlier ones: no masks in the loop. */
INLINE void pack_copies(const int n, float *out, int64_t k, const float *b, const int64_t *row,
                        int64_t ldb, const int32_t *lane, const int64_t *src)
{
    const float *from[4];
    float *to[4];
    UNROLL
    for (int j = 0; j < n; j++) {
        from[j] = b + src[j];
        to[j] = out + lane[j];
    }
    for (int64_t p = 0; p < k; p++) {
        int64_t at = row ? row[p] : p * ldb;
        UNROLL
        for (int j = 0; j < n; j++)
            v_store(to[j] + p * NR, v_load(from[j] + at));
    }
}

static void pack_exact(float *out, int64_t k, const float *b, const int64_t *row, int64_t ldb,
                       const cpu_run *runs, int32_t count)
{
    for (int64_t p = 0; p < k; p++, out += NR) {
        const float *from = b + (row ? row[p] : p * ldb);
        for (int32_t r = 0; r < count; r++) {
            const float *x = from + runs[r].src;
            float *to = out + runs[r].lane;
            for (int64_t j = 0, len = runs[r].len; j < len; j += VL)
                v_storep(to + j, v_loadp(x + j, len - j), len - j);
        }
    }
}

void ISA(cpu_pack)(float *out, int64_t k, const float *b, const int64_t *row, int64_t ldb,
                   const cpu_run *runs, int32_t count, bool exact)
{
    int32_t lane[NR], n = 0;
    int64_t src[NR];
    for (int32_t r = 0; r < count; r++) {
        if (exact && runs[r].len % VL) {
            pack_exact(out, k, b, row, ldb, runs, count);
            return;
        }
        for (int32_t j = 0; j < runs[r].len; j += VL, n++) {
            lane[n] = runs[r].lane + j;
            src[n] = runs[r].src + j;
        }
    }
    switch (n) {
    case 1:
        pack_copies(1, out, k, b, row, ldb, lane, src);
        return;
    case 2:
        pack_copies(2, out, k, b, row, ldb, lane, src);
        return;
    case 3:
        pack_copies(3, out, k, b, row, ldb, lane, src);
        return;
    case 4:
        pack_copies(4, out, k, b, row, ldb, lane, src);
        return;
    default:
        break;
    }
    for (int64_t p = 0; p < k; p++, out += NR) {
        const float *from = b + (row ? row[p] : p * ldb);
        for (int32_t j = 0; j < n; j++)
            v_store(out + lane[j], v_load(from + src[j]));
    }
}

void ISA(cpu_pack_trans)(float *out, int64_t k, const float *b, int64_t ldb, int64_t cols)
{
    for (int64_t j = 0; j < NR; j += VL) {
        int64_t n = cols - j < VL ? cols - j : VL, p = 0;
        if (n <= 0)
            return;
        for (; p + VL <= k && n == VL; p += VL) {
            vf t[VL];
            UNROLL
            for (int i = 0; i < VL; i++)
                t[i] = v_load(b + (j + i) * ldb + p);
            v_transpose(t);
            UNROLL
            for (int i = 0; i < VL; i++)
                v_store(out + (p + i) * NR + j, t[i]);
        }
        for (; p < k; p++)
            for (int64_t i = 0; i < n; i++)
                out[p * NR + j + i] = b[(j + i) * ldb + p];
    }
}

#if VL > 4
/* mr rows of contiguous floats, read forwards, or backwards from where they begin. Stores of
 * whole vectors run over the next row of the panel, which is written after; at the panel's end
 * they are cut. */
static void pack_rows(float *out, int32_t mr, int64_t k, const float *const *rows, bool forward,
                      float alpha)
{
    vf scale = v_set1(alpha);
    for (int64_t p = 0; p < k; p += VL) {
        int64_t n = k - p < VL ? k - p : VL, from = forward ? p : 1 - p - n;
        vf t[VL];
        UNROLL
        for (int i = 0; i < VL; i++)
            t[i] = v_mul(scale, v_loadm(rows[i < mr ? i : mr - 1] + from, n));
        v_transpose(t);
        if (forward && n == VL && (mr == VL || (k - p - VL) * mr >= VL)) {
            UNROLL
            for (int i = 0; i < VL; i++)
                v_store(out + (p + i) * mr, t[i]);
            continue;
        }
        for (int i = 0; i < n; i++) {
            int64_t at = p + i;
            vf column = t[forward ? i : n - 1 - i];
            if ((k - at) * mr >= VL)
                v_store(out + at * mr, column);
            else
                v_storen(out + at * mr, column, mr);
        }
    }
}
#endif

void ISA(cpu_pack_pointers)(float *out, int32_t mr, int64_t k, const float *const *rows)
{
#if VL > 4
    pack_rows(out, mr, k, rows, true, 1.0f);
#else
    for (int32_t i = 0; i < mr; i++)
        for (int64_t p = 0; p < k; p++)
            out[p * mr + i] = rows[i][p];
#endif
}

void ISA(cpu_pack_weights)(float *out, int64_t cols, int64_t n, const float *w, int64_t ld,
                           const int64_t *at, const int64_t *next, int64_t panel)
{
    for (int64_t j = 0; j < cols; j += VL)
        for (int64_t i = 0; i < n; i += VL) {
            vf t[VL];
            int64_t left = n - i;
            UNROLL
            for (int v = 0; v < VL; v++)
                t[v] = v_loadm(w + (j + v < cols ? j + v : cols - 1) * ld + i, left);
            v_transpose(t);
            for (int v = 0; v < VL && v < left; v++)
                v_store(out + at[i + v] + panel * next[i + v] + j, t[v]);
        }
}

void ISA(cpu_lay_rows)(float *out, int64_t ld, const float *src, int64_t src_ld, int64_t rows,
                       int64_t n)
{
    int64_t last = (n - 1) / VL * VL;
    for (int64_t i = 0; i < rows; i++, out += ld, src += src_ld) {
        for (int64_t j = 0; j < last; j += VL)
            v_store(out + j, v_load(src + j));
        if (n - last == 4) /* a chunk of twelve with AVX2: a mask takes longer */
            memcpy(out + last, src + last, 4 * sizeof *out);
        else
            v_store(out + last, v_loadp(src + last, n - last));
    }
}

void ISA(cpu_copy_rows)(float *out, int64_t k, const float *const *rows, int64_t col, int64_t n)
{
    for (int64_t p = 0; p < k; p++, out += NR) {
        const float *from = rows[p] + col;
        if (n == NR) {
            v_store(out, v_load(from));
            v_store(out + VL, v_load(from + VL));
        } else {
            v_store(out, v_loadp(from, n));
            if (n > VL)
                v_store(out + VL, v_loadp(from + VL, n - VL));
        }
    }
}

void ISA(cpu_turn_rows)(float *y, int64_t ld, const float *x, int64_t x_ld, int64_t n,
                        int64_t cols, bool add)
{
    for (int64_t i0 = 0; i0 < n; i0 += VL)
        for (int64_t c = 0; c < cols; c += VL) {
            int64_t len = n - i0, left = cols - c;
            vf t[VL];
            UNROLL
            for (int i = 0; i < VL; i++)
                t[i] = v_loadm(x + (i0 + (i < len ? i : len - 1)) * x_ld + c, left);
            v_transpose(t);
            for (int i = 0; i < VL && i < left; i++) {
                float *to = y + (c + i) * ld + i0;
                v_storep(to, add ? v_add(t[i], v_loadp(to, len)) : t[i], len);
            }
        }
}

void ISA(cpu_pack_a)(float *out, int32_t mr, int64_t k, const float *a, int64_t row,
                     int64_t col, float alpha)
{
    if (row == 1) { /* stored (k, m): rows of the panel are contiguous already */
        for (int64_t p = 0; p < k; p++, out += mr, a += col)
            for (int32_t i = 0; i < mr; i += VL) {
                int64_t n = mr - i; /* over the next row, which is written after */
                v_storep(out + i, v_mul(v_set1(alpha), v_loadp(a + i, n)), (k - p) * mr - i);
            }
        return;
    }
#if VL > 4
    if (col == 1 || col == -1) {
        const float *rows[MR];
        for (int32_t i = 0; i < mr; i++)
            rows[i] = a + i * row;
        pack_rows(out, mr, k, rows, col == 1, alpha);
        return;
    }
#endif
    for (int32_t i = 0; i < mr; i++, out++, a += row) {
        int64_t p = 0;
        for (; p + 4 <= k; p += 4) {
            float a0 = a[p * col], a1 = a[(p + 1) * col], a2 = a[(p + 2) * col];
            float a3 = a[(p + 3) * col];
            out[p * mr] = alpha * a0;
            out[(p + 1) * mr] = alpha * a1;
            out[(p + 2) * mr] = alpha * a2;
            out[(p + 3) * mr] = alpha * a3;
        }
        for (; p < k; p++)
            out[p * mr] = alpha * a[p * col];
    }
}

void ISA(cpu_gather_rows)(float *out, const float *src, int64_t rows, int64_t cols,
                          int64_t src_ld)
{
    if (cols <= VL) {
        for (int64_t i = 0; i < rows; i++)
            v_store(out + i * cols, v_load(src + i * src_ld));
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j += VL)
            v_store(out + i * cols + j, v_load(src + i * src_ld + j));
}
