/* SPDX-License-Identifier: BSD-2-Clause
 * norm_kernels.c: batch normalisation of a plane (one channel, its constants broadcast) or of
 * rows of channels (NHWC), and LRN across channels in both layouts. Sums over rows have their
 * accumulators in memory. Rows are read one after the other, as prefetchers like it; only short
 * ones are taken four at a time. */
#include "unary_kernels.h"

/* for (i over vectors of n) with `left` lanes still there */
#define EACH(i, n, left) (int64_t i = 0, left = (n); left > 0; i += VL, left -= VL)

INLINE void put(float *y, vf value, bool add, int64_t left)
{
    v_storep(y, add ? v_add(value, v_loadp(y, left)) : value, left);
}

/* ---- batch norm -------------------------------------------------------------------------- */

INLINE vf constant(const bool rows, const float *p, int64_t i, int64_t left)
{
    return rows ? v_loadp(p + i, left) : v_set1(*p);
}

/* dy f'(y) at channel i; y as it lies, or as `apply` makes it of x - mean. */
INLINE vf through(const bool rows, const cpu_norm *k, vf dy, const float *y, vf away, int64_t i,
                  int64_t left)
{
    vf v;
    if (!k->relu)
        return dy;
    if (k->beta)
        v = v_fma(away, constant(rows, k->a, i, left), constant(rows, k->beta, i, left));
    else
        v = v_loadp(y, left);
    return v_sel(v_gt(v, v_zero()), dy, v_mul(dy, v_set1(k->slope)));
}

SHARED void apply(const bool rows, const cpu_norm *k, float *y, const float *x, int64_t n)
{
    for
        EACH(i, n, left)
        {
            vf v = v_sub(v_loadp(x + i, left), constant(rows, k->mean, i, left));
            v = v_fma(v, constant(rows, k->a, i, left), constant(rows, k->b, i, left));
            if (k->add)
                v = v_add(v, v_loadp(y + i, left));
            if (k->relu)
                v = v_sel(v_gt(v, v_zero()), v, v_mul(v, v_set1(k->slope)));
            v_storep(y + i, v, left);
        }
}

void ISA(cpu_norm)(const cpu_norm *k, float *y, const float *x, int64_t rows, int64_t n)
{
    if (!k->rows) {
        apply(false, k, y, x, n);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        apply(true, k, y + r * n, x + r * n, n);
}

SHARED void apply_bwd(const bool rows, const cpu_norm *k, float *dx, const float *dy,
                      const float *x, const float *y, int64_t n)
{
    for
        EACH(i, n, left)
        {
            vf mean = constant(rows, k->mean, i, left);
            vf away = x ? v_sub(v_loadp(x + i, left), mean) : v_zero();
            vf d = through(rows, k, v_loadp(dy + i, left), y + i, away, i, left);
            d = v_fma(constant(rows, k->a, i, left), d, constant(rows, k->c, i, left));
            if (x)
                d = v_fma(constant(rows, k->b, i, left), away, d);
            put(dx + i, d, k->add, left);
        }
}

void ISA(cpu_norm_bwd)(const cpu_norm *k, float *dx, const float *dy, const float *x,
                       const float *y, int64_t rows, int64_t n)
{
    if (!k->rows) {
        apply_bwd(false, k, dx, dy, x, y, n);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        apply_bwd(true, k, dx + r * n, dy + r * n, x ? x + r * n : NULL, y ? y + r * n : NULL,
                  n);
}

/* What is summed, at i: dz and dz (x - mean); without dy x - mean and its square. */
INLINE void terms(const bool rows, const cpu_norm *k, const float *dy, const float *x,
                  const float *y, vf mean, int64_t i, int64_t left, vf *s, vf *q)
{
    vf away = v_sub(v_loadp(x, left), mean);
    vf d = dy ? through(rows, k, v_loadp(dy, left), y, away, i, left) : away;
    *s = v_add(*s, d);
    *q = v_fma(d, away, *q);
}

SHARED void sum_rows(const bool four, const cpu_norm *k, const float *dy, const float *x,
                     const float *y, int64_t n, float *sum, float *square)
{
    for
        EACH(i, n, left)
        {
            vf s = v_loadp(sum + i, left), q = v_loadp(square + i, left);
            vf mean = v_loadp(k->mean + i, left);
            for (int64_t at = i, r = 0; r < (four ? 4 : 1); r++, at += n)
                terms(true, k, dy ? dy + at : NULL, x + at, y + at, mean, i, left, &s, &q);
            v_storep(sum + i, s, left);
            v_storep(square + i, q, left);
        }
}

SHARED void sum_plane(const cpu_norm *k, const float *dy, const float *x, const float *y,
                      int64_t n, float *sum, float *square)
{
    vf s[2 * SUMS], q[2 * SUMS], mean = v_set1(*k->mean);
    int64_t i = 0;
    UNROLL
    for (int j = 0; j < 2 * SUMS; j++)
        s[j] = q[j] = v_zero();
    for (; i + 2 * SUM_LANES <= n; i += 2 * SUM_LANES) {
        UNROLL
        for (int j = 0; j < 2 * SUMS; j++) {
            int64_t at = i + j * VL;
            terms(false, k, dy ? dy + at : NULL, x + at, y + at, mean, 0, VL, &s[j], &q[j]);
        }
    }
    for (int j = 0; j < SUMS && i + VL <= n - n % SUM_LANES; j++, i += VL)
        terms(false, k, dy ? dy + i : NULL, x + i, y + i, mean, 0, VL, &s[j], &q[j]);
    UNROLL
    for (int j = 0; j < SUMS; j++) {
        s[j] = v_add(s[j], s[SUMS + j]);
        q[j] = v_add(q[j], q[SUMS + j]);
    }
    *sum = v_sum_lanes(s);
    *square = v_sum_lanes(q);
    for (; i < n; i++) {
        float away = x[i] - *k->mean, d = dy ? dy[i] : away;
        if (dy && k->relu && !((k->beta ? away * *k->a + *k->beta : y[i]) > 0))
            d *= k->slope;
        *sum += d;
        *square += d * away;
    }
}

SHARED void sums(const cpu_norm *k, const float *dy, const float *x, const float *y,
                 int64_t rows, int64_t n, float *sum, float *square)
{
    int64_t r = 0;
    if (!k->rows) {
        sum_plane(k, dy, x, y, n, sum, square);
        return;
    }
    int64_t fours = n < 4 * VL ? rows - rows % 4 : 0;
    for (; r < fours; r += 4)
        sum_rows(true, k, dy ? dy + r * n : NULL, x + r * n, y + r * n, n, sum, square);
    for (; r < rows; r++)
        sum_rows(false, k, dy ? dy + r * n : NULL, x + r * n, y + r * n, n, sum, square);
}

void ISA(cpu_tally)(const cpu_tally *t, const float *c, int64_t ld, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf s = v_load(t->sum + i), q = v_load(t->square + i), centre = v_load(t->centre + i);
        for (int64_t r = 0; r < rows; r++) {
            vf away = v_sub(v_load(c + r * ld + i), centre);
            s = v_add(s, away);
            q = v_fma(away, away, q);
        }
        v_store(t->sum + i, s);
        v_store(t->square + i, q);
    }
}

void ISA(cpu_moments)(float *moments, const float *parts, int64_t part_floats,
                      const cpu_share *share, int64_t count, int64_t dim)
{
    for (int64_t d = 0; d < dim; d += VL) {
        vf mean = v_zero(), square = v_zero();
        const float *part = parts + d;
        for (int64_t i = 0; i < count; i++, part += part_floats) {
            vf sum = v_load(part + dim), off = v_mul(sum, v_set1(share[i].one));
            vf away = v_add(v_sub(v_load(part), mean), off);
            vf own = v_sub(v_load(part + 2 * dim), v_mul(sum, off));
            square = v_add(square, v_fma(v_mul(away, away), v_set1(share[i].square), own));
            mean = v_fma(away, v_set1(share[i].mean), mean);
        }
        v_store(moments + d, mean);
        v_store(moments + dim + d, square);
    }
}

void ISA(cpu_norm_sums)(const cpu_norm *k, const float *dy, const float *x, const float *y,
                        int64_t rows, int64_t n, float *sum, float *square)
{
    y = y ? y : x; /* not read without an activation */
    if (dy)
        sums(k, dy, x, y, rows, n, sum, square);
    else
        sums(k, NULL, x, y, rows, n, sum, square);
}

/* ---- LRN across channels; AVX2's serves AVX-512, too ------------------------------------- */

#if VL < 16

SHARED vf power(vf s, float beta) /* s^-beta */
{
    if (beta == 0.75f) {
        vf root = v_sqrt(s);
        return v_div(v_set1(1.0f), v_mul(root, v_sqrt(root)));
    }
    return ISA(cpu_any_power)(s, beta);
}

/* Planes lie pages apart, so nothing but this asks for what comes next. */
#define PLANES_AHEAD 8

/* n <= 64 positions of all channels. */
void ISA(cpu_lrn)(float *y, float *scale, const float *x, int64_t C, int64_t inner, int64_t n,
                  int32_t size, float alpha, float beta, float k)
{
    int64_t half = (size - 1) / 2, ahead = (half + PLANES_AHEAD) * inner;
    vf factor = v_set1(alpha / (float)size), kv = v_set1(k);
    for (int64_t c = 0; c < C; c++, x += inner, y += inner, scale += inner) {
        int64_t from = c > half ? -half : -c, to = c + half < C ? half + 1 : C - c;
        for
            EACH(i, n, left)
            {
                vf sum = v_zero();
                fetch_ahead(x + i, ahead);
                for (int64_t d = from; d < to; d++) {
                    vf v = v_loadp(x + d * inner + i, left);
                    sum = v_fma(v, v, sum);
                }
                vf s = v_fma(factor, sum, kv);
                v_storep(scale + i, s, left);
                v_storep(y + i, v_mul(v_loadp(x + i, left), power(s, beta)), left);
            }
    }
}

/* dx = dy scale^-beta - 2 alpha beta / size x sum of dy y / scale over the window; the ring
 * keeps the window's last quotients. n <= 64, size <= 15. */
void ISA(cpu_lrn_bwd)(float *dx, const float *x, const float *y, const float *scale,
                      const float *dy, int64_t C, int64_t inner, int64_t n, int32_t size,
                      float alpha, float beta, bool add)
{
    int64_t half = (size - 1) / 2, ahead = PLANES_AHEAD * inner;
    vf factor = v_set1(-2.0f * alpha * beta / (float)size), ring[16][64 / VL];
    for (int64_t c = -half; c < C; c++) {
        int64_t next = c + half, from = c > half ? c - half : 0, to = next < C ? next + 1 : C;
        for
            EACH(i, n, left)
            {
                int64_t at = next * inner + i;
                if (next < C) {
                    fetch_ahead(dy + at, ahead);
                    fetch_ahead(y + at, ahead);
                    fetch_ahead(scale + at, ahead);
                    ring[next & 15][i / VL] =
                        v_div(v_mul(v_loadp(dy + at, left), v_loadp(y + at, left)),
                              v_loadp(scale + at, left));
                }
                if (c < 0)
                    continue;
                vf sum = v_zero();
                for (int64_t d = from; d < to; d++)
                    sum = v_add(sum, ring[d & 15][i / VL]);
                at = c * inner + i;
                fetch_ahead(x + at, ahead);
                vf d = v_mul(v_loadp(dy + at, left), power(v_loadp(scale + at, left), beta));
                d = v_fma(v_mul(factor, v_loadp(x + at, left)), sum, d);
                put(dx + at, d, add, left);
            }
    }
}

/* One pixel of NHWC, or a row of a plane whose window has rows [from, to) about it: sums over
 * those lie in `line` with `half` zeros before and after them. */
SHARED vf around(const float *line, int32_t size)
{
    vf sum = v_load(line);
    for (int32_t j = 1; j < size; j++)
        sum = v_add(sum, v_load(line + j));
    return sum;
}

void ISA(cpu_lrn_row)(float *y, float *scale, const float *x, int64_t C, int64_t from,
                      int64_t to, int32_t size, float alpha, float beta, float k, float *line)
{
    int32_t half = (size - 1) / 2;
    vf factor = v_set1(alpha / (float)size), kv = v_set1(k);
    for
        EACH(i, C, left)
        {
            vf v = v_loadp(x + from * C + i, left), sum = v_mul(v, v);
            for (int64_t d = from + 1; d < to; d++) {
                v = v_loadp(x + d * C + i, left);
                sum = v_fma(v, v, sum);
            }
            v_storep(line + half + i, sum, left);
        }
    for
        EACH(i, C, left)
        {
            vf s = v_fma(factor, around(line + i, size), kv);
            v_storep(scale + i, s, left);
            v_storep(y + i, v_mul(v_loadp(x + i, left), power(s, beta)), left);
        }
}

void ISA(cpu_lrn_row_bwd)(float *dx, const float *x, const float *y, const float *scale,
                          const float *dy, int64_t C, int64_t from, int64_t to, int32_t size,
                          float alpha, float beta, bool add, float *line)
{
    int32_t half = (size - 1) / 2;
    vf factor = v_set1(-2.0f * alpha * beta / (float)size);
    for
        EACH(i, C, left)
        {
            vf sum = v_zero();
            for (int64_t d = from * C + i; d < to * C; d += C) {
                vf v = v_mul(v_loadp(dy + d, left), v_loadp(y + d, left));
                sum = v_add(sum, v_div(v, v_loadp(scale + d, left)));
            }
            v_storep(line + half + i, sum, left);
        }
    for
        EACH(i, C, left)
        {
            vf d = v_mul(v_loadp(dy + i, left), power(v_loadp(scale + i, left), beta));
            d = v_fma(v_mul(factor, v_loadp(x + i, left)), around(line + i, size), d);
            put(dx + i, d, add, left);
        }
}
#endif
