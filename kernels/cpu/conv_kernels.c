/* SPDX-License-Identifier: BSD-2-Clause
 * conv_kernels.c: depthwise convolution. On prepared planes a tap is an offset and rows are
 * consecutive floats; in NHWC the channels are, and some columns share each tap's weights. */
#define SUMS_IN_REGISTERS
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
    for (; !SMALL && n - j > 3 * VL; j += 4 * VL)
        dw_vectors(4, y + j, x + j, w, tap, taps, n - j, bias, e);
    for (; VL < 16 && n - j > VL; j += 2 * VL)
        dw_vectors(2, y + j, x + j, w, tap, taps, n - j, bias, e);
    if (VL == 16 && n - j > 2 * VL)
        dw_vectors(3, y + j, x + j, w, tap, taps, n - j, bias, e);
    else if (VL == 16 && n - j > VL)
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
        vf a0[SUMS] = {v_zero()}, a1[SUMS] = {v_zero()}, a2[SUMS] = {v_zero()};
        for (int64_t i = 0; i < rows; i++) {
            const float *row = x + i * x_ld, *d = dy + i * dy_ld;
            for (int64_t j = 0; j < cols; j += SUM_LANES) {
                UNROLL
                for (int s = 0; s < SUMS; s++) {
                    int64_t at = j + s * VL;
                    if (s > 0 && at >= cols)
                        break;
                    vf v = v_loadp(d + at, cols - at);
                    a0[s] = v_fma(v, v_loadp(row + tap[t] + at, cols - at), a0[s]);
                    a1[s] = v_fma(v, v_loadp(row + t1 + at, cols - at), a1[s]);
                    a2[s] = v_fma(v, v_loadp(row + t2 + at, cols - at), a2[s]);
                }
            }
        }
        dw[t] += v_sum_lanes(a0);
        if (t + 1 < taps)
            dw[t + 1] += v_sum_lanes(a1);
        if (t + 2 < taps)
            dw[t + 2] += v_sum_lanes(a2);
    }
}

#if VL == 8
/* Element i's window, if it has a place, and its own value to the bias. */
INLINE void masked_add(vf sum[CPU_MASKED_ROWS], vf *bias, const cpu_masked *at, const float *x,
                       const float *dy, const int32_t *mask, int64_t i)
{
    int64_t q = mask[i];
    if ((uint64_t)q >= (uint64_t)at->places)
        return;
    vf d = v_set1(dy[i]);
    *bias = v_add(*bias, d);
    UNROLL
    for (int r = 0; r < CPU_MASKED_ROWS; r++)
        sum[r] = v_fma(d, v_load(x + at->place[q] + r * at->ldx), sum[r]);
}

void ISA(cpu_masked)(const cpu_masked *at, float *dw, float *db, const float *x,
                     const float *dy, const int32_t *mask)
{
    vf even[CPU_MASKED_ROWS], odd[CPU_MASKED_ROWS], bias[2] = {v_zero(), v_zero()};
    UNROLL
    for (int r = 0; r < CPU_MASKED_ROWS; r++)
        even[r] = v_load(dw + r * CPU_MASKED_LANES), odd[r] = v_zero();
    for (int64_t i = 0; i < at->count; i += 2) {
        masked_add(even, &bias[0], at, x, dy, mask, i);
        if (i + 1 < at->count)
            masked_add(odd, &bias[1], at, x, dy, mask, i + 1);
    }
    UNROLL
    for (int r = 0; r < CPU_MASKED_ROWS; r++)
        v_store(dw + r * CPU_MASKED_LANES, v_add(even[r], odd[r]));
    if (db)
        v_storep(db, v_add(v_loadp(db, 1), v_add(bias[0], bias[1])), 1);
}
#endif

/* ---- NHWC -------------------------------------------------------------------------------- */

#if SMALL
#define COLS  2
#define CASES CASE(1) CASE(2)
#else
#define COLS  4
#define CASES CASE(1) CASE(2) CASE(3) CASE(4)
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
COLD void dwc_rest(int n, int64_t c, const cpu_dw *dw, float *y, const float *x, const float *w,
                   const float *bias, const cpu_end *e)
{
    for (int i = 0; i < n; i++)
        dwc_block(1, false, dw->C - c, dw, y + i * dw->ldy + c, x + i * dw->ldx + c, w + c,
                  bias ? bias + c : NULL, e);
}

INLINE void dwc_columns(const int n, const cpu_dw *dw, float *y, const float *x, const float *w,
                        const float *bias, const cpu_end *e)
{
    int64_t c = 0;
    for (; c + VL <= dw->C; c += VL)
        dwc_block(n, true, 0, dw, y + c, x + c, w + c, bias ? bias + c : NULL, e);
    if (c < dw->C)
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
        CASES
/* clang-format on */
#undef CASE
        }
    }
}

INLINE void dwc_grad(const int n, const bool whole, int64_t left, const cpu_dw *dw, float *grad,
                     const float *x, const float *dy)
{
    vf d[COLS];
    int64_t ldx = dw->ldx;
    UNROLL
    for (int i = 0; i < n; i++)
        d[i] = at(dy + i * dw->ldy, whole, left);
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

COLD void dwc_grad_rest(int n, int64_t c, const cpu_dw *dw, float *grad, const float *x,
                        const float *dy)
{
    int64_t left = dw->C - c < VL ? dw->C - c : VL;
    for (int i = 0; i < n; i++)
        dwc_grad(1, false, left, dw, grad + c, x + i * dw->ldx + c, dy + i * dw->ldy + c);
}

INLINE void dwc_grad_columns(const int n, const cpu_dw *dw, float *grad, const float *x,
                             const float *dy)
{
    int64_t c = 0;
    for (; c < dw->C - dw->C % SUM_LANES; c += VL)
        dwc_grad(n, true, 0, dw, grad + c, x + c, dy + c);
    for (; c < dw->C; c += VL)
        dwc_grad_rest(n, c, dw, grad, x, dy);
}

void ISA(cpu_dw_cols_grad)(const cpu_dw *dw, float *grad, const float *x, const float *dy)
{
    for (int64_t q = 0, n; q < dw->count; q += n, dy += n * dw->ldy, x += n * dw->ldx) {
        int64_t left = dw->count - q, blocks = (left + COLS - 1) / COLS;
        n = (left + blocks - 1) / blocks;
        switch (n) {
/* clang-format off */
#define CASE(n) case n: dwc_grad_columns(n, dw, grad, x, dy); break;
        CASES
/* clang-format on */
#undef CASE
        }
    }
}

/* ---- NHWC, groups ------------------------------------------------------------------------ */

#if VL > 4
#define GROUP_UNIT 16

#define GROUP_STEP(value)                                                                      \
    do {                                                                                       \
        vf weight = v_load(w);                                                                 \
        UNROLL                                                                                 \
        for (int j = 0; j < CPU_GROUP_COLS; j++)                                               \
            acc[j] = v_fma(weight, value, acc[j]);                                             \
        w += GROUP_UNIT;                                                                       \
    } while (0)
#if VL == 8 /* groups of 4, a tap at a time: a constant says which lanes */
#define GROUP_STEPS   4
#define GROUP_FOUR(i) GROUP_STEP(_mm256_permute_ps(v_load(from + j * GROUP_UNIT), (i)*0x55))
#define GROUP_LANES                                                                            \
    GROUP_FOUR(0);                                                                             \
    GROUP_FOUR(1);                                                                             \
    GROUP_FOUR(2);                                                                             \
    GROUP_FOUR(3)
#else
#define GROUP_STEPS 1
#define GROUP_LANES                                                                            \
    __m512i lane = _mm512_loadu_si512(lanes + (k & (g->few - 1)) * VL);                        \
    GROUP_STEP(_mm512_permutexvar_ps(lane, v_load(from + j * GROUP_UNIT)))
#endif

/* One vector of channels of CPU_GROUP_COLS outputs: a lane multiplies its group's channels in
 * turn. `narrow`: groups within a vector. */
INLINE void group_sums(const bool narrow, const cpu_groups *g, float *sums, const float *x,
                       const float *w, vf bias, const int32_t *lanes)
{
    vf acc[CPU_GROUP_COLS];
    UNROLL
    for (int j = 0; j < CPU_GROUP_COLS; j++)
        acc[j] = bias;
    for (int64_t k = 0; k < g->steps; k += narrow ? GROUP_STEPS : 1) {
        const float *from = x + g->at[k];
        if (narrow) {
            GROUP_LANES;
        } else
            GROUP_STEP(v_set1(from[j * GROUP_UNIT]));
    }
    UNROLL
    for (int j = 0; j < CPU_GROUP_COLS; j++)
        v_store(sums + j * VL, acc[j]);
}

void ISA(cpu_groups)(const cpu_groups *g, float *y, const float *x, const float *w,
                     const float *bias, const cpu_end *e)
{
    int32_t lanes[VL == 16 ? VL * VL : 1]; /* which lane of a vector a step's lane takes */
    float sums[CPU_GROUP_COLS * VL];
    bool narrow = g->few < VL;
    for (int32_t i = 0; VL == 16 && narrow && i < VL * (int32_t)g->few; i++)
        lanes[i] = (i % VL & -(int32_t)g->few) + i / VL;
    for (int64_t v = 0; v < GROUP_UNIT; v += VL, y += VL, w += VL) {
        vf first = bias ? v_load(bias + v) : v_zero();
        const float *own = x + (narrow ? v : v / g->few * g->few);
        for (int64_t i = 0, q = 0; i < g->rows; q = 0, i++)
            while (q < g->cols) {
                const float *from = own + i * g->row + q * GROUP_UNIT;
                float *to = y + i * g->out_row + q * g->C;
                if (narrow)
                    group_sums(true, g, sums, from, w, first, lanes);
                else
                    group_sums(false, g, sums, from, w, first, lanes);
                for (int64_t j = 0; j < CPU_GROUP_COLS && q < g->cols; j++, q++, to += g->C) {
                    vf r = v_load(sums + j * VL);
                    if (e->add)
                        r = v_add(r, v_load(to));
                    if (e->relu)
                        r = v_sel(v_gt(r, v_zero()), r, v_mul(r, v_set1(e->slope)));
                    v_store(to, r);
                }
            }
    }
}
#endif

/* ---- NHWC, 3x3 --------------------------------------------------------------------------- */

/* Along a row, one vector of channels: the weights, or their sums, stay in registers, and every
 * input is loaded once for all the outputs of the rows that see it. Pixels are far apart, which
 * no prefetcher follows: meanwhile what the next rows read and write is asked for as it lies.
 */
#if VL > 4
#define WALK  CPU_DW_ROWS
#define WALK2 (CPU_DW_ROWS / 2)
#define BACK  CPU_DW_BACK

typedef struct walk_at { /* where a vector of channels is */
    const float *row[CPU_DW_ROWS + 2], *w, *bias, *out;
    float *y, *part;
    int64_t next_in, next_out; /* from the walk's base, and from out */
    vf mean, a, b;
} walk_at;

/* The vector at c, and its share of the inputs and outputs that come next. */
INLINE walk_at walk_from(const cpu_walk *k, int64_t c, const float *out, int64_t walk)
{
    bool halves = k->back && k->stride == 2;
    int64_t ins = k->stride == 1 ? walk : halves ? 1 : 2 * WALK2;
    int64_t outs = k->stride == 1 ? walk : halves ? 2 : WALK2;
    walk_at at = {.out = out,
                  .next_in = k->next + c * ins * k->ins,
                  .next_out = k->rows * k->out_row + c * outs * k->outs};
    if (k->a)
        at.mean = v_load(k->mean + c), at.a = v_load(k->a + c), at.b = v_load(k->b + c);
    for (int64_t r = 0; r < CPU_DW_ROWS + 2; r++)
        at.row[r] = k->row[r] + c;
    return at;
}

INLINE void walk_ahead(walk_at *at, const cpu_walk *k, const int ins, const int outs)
{
    UNROLL
    for (int i = 0; i < ins; i++)
        fetch_ahead(k->base, at->next_in + i * VL);
    UNROLL
    for (int i = 0; i < outs; i++)
        fetch_ahead(at->out, at->next_out + i * VL);
    at->next_in += ins * VL;
    at->next_out += outs * VL;
}

INLINE vf walk_load(walk_at *at, const cpu_walk *k, int r)
{
    vf v = v_load(at->row[r]);
    at->row[r] += k->step[r];
    if (k->a && k->step[r]) { /* as norm_kernels.c does it */
        v = v_fma(v_sub(v, at->mean), at->a, at->b);
        v = v_sel(v_gt(v, v_zero()), v, v_mul(v, v_set1(k->slope)));
    }
    return v;
}

INLINE void walk_weights(vf *w, const walk_at *at, const cpu_walk *k, bool turned)
{
    UNROLL
    for (int t = 0; t < 9; t++)
        w[t] = v_load(at->w + (turned ? 8 - t : t) * k->C);
}

INLINE vf walk_store(float *to, vf sum, const cpu_end *e)
{
    if (e->add)
        sum = v_add(sum, v_load(to));
    if (e->relu)
        sum = v_sel(v_gt(sum, v_zero()), sum, v_mul(sum, v_set1(e->slope)));
    v_store(to, sum);
    return sum;
}

/* For y's moments: sums about a centre, which is one of the first y, as it is stored. */
typedef struct walk_moments {
    vf centre, s, q;
} walk_moments;

INLINE walk_moments moments_begin(const cpu_walk *k, const float *part)
{
    walk_moments m = {v_zero(), v_zero(), v_zero()};
    if (part && !k->first)
        m = (walk_moments){v_load(part), v_load(part + k->C), v_load(part + 2 * k->C)};
    return m;
}

INLINE void moments_add(walk_moments *m, vf y, bool first)
{
    m->centre = first ? y : m->centre;
    vf away = v_sub(y, m->centre);
    m->s = v_add(m->s, away);
    m->q = v_fma(away, away, m->q);
}

INLINE void moments_end(const cpu_walk *k, float *part, const walk_moments *m)
{
    if (!part)
        return;
    v_store(part, m->centre);
    v_store(part + k->C, m->s);
    v_store(part + 2 * k->C, m->q);
}

/* Input x is tap s of output x + pad - s: acc[i][0] has then seen all of its. */
INLINE void walk1(const cpu_walk *k, walk_at at, const cpu_end *e)
{
    vf w[9], acc[WALK][3], first = at.bias ? v_load(at.bias) : v_zero();
    int64_t o = k->pad - 2;
    walk_moments m = moments_begin(k, at.part);
    walk_weights(w, &at, k, k->back);
    UNROLL
    for (int i = 0; i < WALK; i++)
        acc[i][0] = acc[i][1] = first;
    for (int64_t x = 0; x < k->ins + k->pad; x++, o++) {
        walk_ahead(&at, k, WALK, WALK);
        UNROLL
        for (int i = 0; i < WALK; i++)
            acc[i][2] = first;
        UNROLL
        for (int r = 0; r < WALK + 2; r++) {
            vf v = x < k->ins ? walk_load(&at, k, r) : v_zero();
            UNROLL
            for (int i = 0; i < WALK; i++) {
                UNROLL
                for (int s = 0; s < 3; s++)
                    if (r >= i && r <= i + 2)
                        acc[i][2 - s] = v_fma(v, w[(r - i) * 3 + s], acc[i][2 - s]);
            }
        }
        UNROLL
        for (int i = 0; i < WALK; i++) {
            if (o >= 0 && i < k->rows) {
                vf y = walk_store(at.y + i * k->out_row + o * k->C, acc[i][0], e);
                if (at.part)
                    moments_add(&m, y, o == 0 && i == 0 && k->first);
            }
            acc[i][0] = acc[i][1];
            acc[i][1] = acc[i][2];
        }
    }
    moments_end(k, at.part, &m);
}

/* Stride 2: the last column of one output is the first of the next. */
INLINE void walk2(const cpu_walk *k, walk_at at, const cpu_end *e)
{
    vf w[9], prev[2 * WALK2 + 1], first = at.bias ? v_load(at.bias) : v_zero();
    walk_moments m = moments_begin(k, at.part);
    walk_weights(w, &at, k, false);
    UNROLL
    for (int r = 0; r < 2 * WALK2 + 1; r++)
        prev[r] = v_zero();
    for (int64_t o = 0; o < k->outs; o++, at.y += k->C) {
        walk_ahead(&at, k, 4 * WALK2, WALK2);
        bool last = 2 * o + 1 == k->ins;
        vf acc[WALK2];
        UNROLL
        for (int i = 0; i < WALK2; i++)
            acc[i] = first;
        UNROLL
        for (int r = 0; r < 2 * WALK2 + 1; r++) {
            vf mid = walk_load(&at, k, r), next = last ? v_zero() : walk_load(&at, k, r);
            UNROLL
            for (int i = 0; i < WALK2; i++)
                if (r >= 2 * i && r <= 2 * i + 2) {
                    const vf *wr = w + (r - 2 * i) * 3;
                    acc[i] = v_fma(prev[r], wr[0], acc[i]);
                    acc[i] = v_fma(mid, wr[1], acc[i]);
                    acc[i] = v_fma(next, wr[2], acc[i]);
                }
            prev[r] = next;
        }
        UNROLL
        for (int i = 0; i < WALK2; i++)
            if (i < k->rows) {
                vf y = walk_store(at.y + i * k->out_row, acc[i], e);
                if (at.part)
                    moments_add(&m, y, o == 0 && i == 0 && k->first);
            }
    }
    moments_end(k, at.part, &m);
}

/* Stride 2 to the data: rows 2p and 2p + 1 of dx from p and p + 1 of dy. */
INLINE void walk2_back(const cpu_walk *k, walk_at at, const cpu_end *e)
{
    vf w[9], zero = v_zero(), first = at.bias ? v_load(at.bias) : zero;
    walk_weights(w, &at, k, false);
    vf a = walk_load(&at, k, 0), b = walk_load(&at, k, 1);
    for (int64_t q = 0; q < k->ins; q++, at.y += 2 * k->C) {
        bool last = q + 1 == k->ins;
        vf a1 = last ? zero : walk_load(&at, k, 0), b1 = last ? zero : walk_load(&at, k, 1);
        walk_ahead(&at, k, 1, 4);
        bool odd = 2 * q + 1 < k->outs;
        vf lower = v_fma(b1, w[0], v_fma(b, w[2], first));
        walk_store(at.y, v_fma(a, w[4], first), e);
        if (odd)
            walk_store(at.y + k->C, v_fma(a1, w[3], v_fma(a, w[5], first)), e);
        if (k->rows > 1)
            walk_store(at.y + k->out_row, v_fma(b, w[1], v_fma(a, w[7], first)), e);
        if (k->rows > 1 && odd)
            walk_store(at.y + k->out_row + k->C, v_add(lower, v_fma(a1, w[6], v_mul(a, w[8]))),
                       e);
        a = a1;
        b = b1;
    }
}

#if VL == 8
/* Two rows and columns of outputs at a time, channel by channel: the weights and four sums are
 * in registers, where a walk along a row reads one or the other from memory. The order of each
 * sum, and what is left out of it, are those of walk1 and walk2. */

typedef struct walk_tile {
    const float *row[5], *w, *bias, *in, *out; /* in, out: what comes next */
    float *y, *y1; /* y1: the second row, or the first, which overwrites it */
    int64_t edge;  /* where the column is that may be outside */
    vf keep;       /* of it: all or nothing */
    vf slope;      /* of what is negative; not negative itself; or the ceiling */
    bool left, ceiling;
} walk_tile;

/* All of a tile's outputs, of the vector at c. */
INLINE void tile_at(const int stride, const cpu_walk *k, const walk_tile *t, int64_t c)
{
    const int n = stride == 1 ? 4 : 5, edge = stride == 1 ? 3 : 0;
    vf acc[4], w[9];
    acc[0] = acc[1] = acc[2] = acc[3] = v_load(t->bias + c);
    UNROLL
    for (int i = 0; i < 9; i++)
        w[i] = v_load(t->w + i * VL);
    UNROLL
    for (int a = 0; a < n; a++) {
        if (stride == 1 && a == 0 && t->left)
            continue;
        UNROLL
        for (int b = 0; b < n; b++) {
            int r = stride == 1 ? b : a, s = stride == 1 ? a : b;
            vf v = v_load(t->row[r] + c + (s == edge ? t->edge : s * k->C));
            if (s == edge)
                v = _mm256_and_ps(v, t->keep);
            UNROLL
            for (int i = 0; i < 4; i++) {
                int tr = r - i / 2 * stride, ts = s - i % 2 * stride;
                if (tr >= 0 && tr < 3 && ts >= 0 && ts < 3)
                    acc[i] = v_fma(v, w[tr * 3 + ts], acc[i]);
            }
        }
    }
    UNROLL
    for (int i = 3; i >= 0; i--)
        acc[i] = t->ceiling ? v_min(t->slope, v_max(v_zero(), acc[i]))
                            : v_sel(acc[i], v_mul(acc[i], t->slope), acc[i]);
    UNROLL
    for (int i = 3; i >= 0; i--)
        v_store((i < 2 ? t->y : t->y1) + c + i % 2 * k->C, acc[i]);
}

/* All of its vectors; meanwhile what the next rows read and write is asked for. */
INLINE void tile_along(const int stride, const cpu_walk *k, walk_tile *t)
{
    for (int64_t c = 0; c < k->count; c += VL, t->w += 9 * VL) {
        UNROLL
        for (int i = 0; i < 2 * stride * stride; i++)
            fetch_ahead(t->in, i * 16);
        fetch_ahead(t->out, 0);
        fetch_ahead(t->out, 16);
        t->in += 32 * stride * stride, t->out += 32;
        tile_at(stride, k, t, c < k->count - VL ? c : k->count - VL);
    }
}

static void tiles(const cpu_walk *k, float *y, const float *w, const float *bias,
                  const cpu_end *e)
{
    walk_tile t = {.bias = bias,
                   .in = k->base + k->next,
                   .out = y + k->rows * k->out_row,
                   .slope = v_set1(e->relu || e->ceiling ? e->slope : 1),
                   .ceiling = e->ceiling};
    for (int64_t j = 0; j < k->outs; j += 2) {
        int64_t q = j + 2 > k->outs ? k->outs - 2 : j, x = q * k->stride - 1;
        int64_t edge = k->stride == 1 ? x + 3 == k->ins : x < 0;
        t.w = w;
        t.y = y + q * k->C;
        t.y1 = t.y + (k->rows > 1 ? k->out_row : 0);
        t.edge = (k->stride == 1 ? 3 - edge : edge) * k->C;
        t.keep = _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)edge - 1));
        t.left = x < 0;
        for (int r = 0; r < 5; r++)
            t.row[r] = k->row[r] + x * k->step[r];
        if (k->stride == 1)
            tile_along(1, k, &t);
        else
            tile_along(2, k, &t);
    }
}
#endif

void ISA(cpu_dw_walk)(const cpu_walk *k, float *y, const float *w, const float *bias,
                      const cpu_end *e)
{
#if VL == 8
    if (k->tiles) {
        tiles(k, y, w, bias, e);
        return;
    }
#endif
    for (int64_t i = 0; i < k->count; i += VL) {
        int64_t c = i < k->count - VL ? i : k->count - VL;
        walk_at at = walk_from(k, c, y, WALK);
        at.w = w + c;
        at.bias = bias ? bias + c : NULL;
        at.y = y + c;
        at.part = k->part ? k->part + c : NULL;
        if (k->stride == 1)
            walk1(k, at, e);
        else if (k->back)
            walk2_back(k, at, e);
        else
            walk2(k, at, e);
    }
}

/* Backward in one walk along x: the elements of dy that saw one of x make its dx, and times
 * what was convolved they are the weights' sums. */

INLINE vf walk_dy(const walk_at *at, const cpu_walk *k, int r, int64_t q)
{
    return q >= 0 && q < k->ins ? v_load(at->row[r] + q * k->step[r]) : v_zero();
}

/* What x stands for at `at`, and what is summed of its dx, which is stored there. */
typedef struct walk_sums {
    vf g[9], s, q, mean, a, b, slope;
    const float *x;
    float *dx;
} walk_sums;

INLINE vf walk_x(const walk_sums *t, int64_t at, vf *away, vf *z)
{
    *away = v_sub(v_load(t->x + at), t->mean);
    *z = v_fma(*away, t->a, t->b);
    return v_sel(v_gt(*z, v_zero()), *z, v_mul(*z, t->slope));
}

INLINE void walk_dx(walk_sums *t, int64_t at, vf away, vf z, vf dx)
{
    vf dz = v_sel(v_gt(z, v_zero()), dx, v_mul(dx, t->slope));
    if (t->dx)
        v_store(t->dx + at, dx);
    t->s = v_add(t->s, dz);
    t->q = v_fma(dz, away, t->q);
}

INLINE void walk_ask(walk_at *at, const cpu_walk *k, const walk_sums *t, const int ins,
                     const int outs)
{
    if (t->dx) {
        UNROLL
        for (int i = 0; i < outs; i++)
            fetch_ahead(t->dx, at->next_out + i * VL);
    }
    walk_ahead(at, k, ins, outs);
}

INLINE void walk1_grad(const cpu_walk *k, walk_at at, const float *w, walk_sums *t)
{
    vf d[BACK + 2][3];
    UNROLL
    for (int r = 0; r < BACK + 2; r++) {
        d[r][0] = walk_dy(&at, k, r, -k->pad);
        d[r][1] = walk_dy(&at, k, r, 1 - k->pad);
    }
    for (int64_t o = 0; o < k->outs; o++) {
        walk_ask(&at, k, t, BACK, BACK);
        UNROLL
        for (int r = 0; r < BACK + 2; r++)
            d[r][2] = walk_dy(&at, k, r, o - k->pad + 2);
        UNROLL
        for (int i = 0; i < BACK; i++) {
            if (i >= k->rows)
                break;
            vf away, z, dx = v_zero(), v = walk_x(t, i * k->out_row + o * k->C, &away, &z);
            UNROLL
            for (int j = 0; j < 9; j++) {
                vf dy = d[i + 2 - j / 3][2 - j % 3];
                dx = v_fma(dy, v_load(w + j * VL), dx);
                t->g[j] = v_fma(v, dy, t->g[j]);
            }
            walk_dx(t, i * k->out_row + o * k->C, away, z, dx);
        }
        UNROLL
        for (int r = 0; r < BACK + 2; r++) {
            d[r][0] = d[r][1];
            d[r][1] = d[r][2];
        }
    }
}

/* Rows 2p and 2p + 1 of x from p and p + 1 of dy, as walk2_back. */
INLINE void walk2_grad(const cpu_walk *k, walk_at at, const float *w, walk_sums *t)
{
    vf d[2][2], zero = v_zero();
    d[0][0] = walk_dy(&at, k, 0, 0);
    d[1][0] = walk_dy(&at, k, 1, 0);
    for (int64_t q = 0; q < k->ins; q++) {
        walk_ask(&at, k, t, 1, 4);
        d[0][1] = walk_dy(&at, k, 0, q + 1);
        d[1][1] = walk_dy(&at, k, 1, q + 1);
        UNROLL
        for (int i = 0; i < 4; i++) { /* row i / 2, column i % 2 */
            int64_t o = i / 2 * k->out_row + (2 * q + i % 2) * k->C;
            if (i / 2 >= k->rows || 2 * q + i % 2 >= k->outs)
                continue;
            vf away, z, dx = zero, v = walk_x(t, o, &away, &z);
            UNROLL
            for (int j = 0; j < 9; j++) { /* tap 0 and 2 of odd rows and columns, 1 of even */
                int r = j / 3, s = j % 3;
                if ((r == 1) == (i / 2 == 1) || (s == 1) == (i % 2 == 1))
                    continue;
                vf dy = d[r == 0][s == 0];
                dx = v_fma(dy, v_load(w + j * VL), dx);
                t->g[j] = v_fma(v, dy, t->g[j]);
            }
            walk_dx(t, o, away, z, dx);
        }
        d[0][0] = d[0][1];
        d[1][0] = d[1][1];
    }
}

#if VL == 8
#include "dw_tile_avx2.h"
#endif

void ISA(cpu_dw_walk_grad)(const cpu_walk *k, float *grad, const float *w, const float *x,
                           float *dx)
{
#if VL == 8
    if (k->tiles) {
        tiles_grad(k, grad, x, dx);
        return;
    }
#endif
    for (int64_t c = 0; c + VL <= k->count; c += VL) {
        walk_at at = walk_from(k, c, x, BACK);
        float wc[9 * VL], *sum = grad + 9 * k->C + c;
        walk_sums t = {.s = v_load(sum),
                       .q = v_load(sum + k->C),
                       .mean = k->a ? at.mean : v_zero(),
                       .a = k->a ? at.a : v_set1(1),
                       .b = k->a ? at.b : v_zero(),
                       .slope = v_set1(k->slope),
                       .x = x + c,
                       .dx = dx ? dx + c : NULL};
        for (int j = 0; j < 9; j++) {
            v_store(wc + j * VL, dx ? v_load(w + j * k->C + c) : v_zero());
            t.g[j] = v_load(grad + j * k->C + c);
        }
        if (k->stride == 1)
            walk1_grad(k, at, wc, &t);
        else
            walk2_grad(k, at, wc, &t);
        for (int j = 0; j < 9; j++)
            v_store(grad + j * k->C + c, t.g[j]);
        v_store(sum, t.s);
        v_store(sum + k->C, t.q);
    }
}
#else
void ISA(cpu_dw_walk)(const cpu_walk *k, float *y, const float *w, const float *bias,
                      const cpu_end *e)
{
}

void ISA(cpu_dw_walk_grad)(const cpu_walk *k, float *grad, const float *w, const float *x,
                           float *dx)
{
}
#endif
