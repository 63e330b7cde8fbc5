/* SPDX-License-Identifier: BSD-2-Clause
 * gemm_kernels.c: the register tiles that everything heavy stands on, compiled once per
 * instruction set. `tile` multiplies packed panels and serves gemm and convolution alike, as B
 * may be packed from an image; `dot` multiplies rows by rows without packing either. */
#define SUMS_IN_REGISTERS
#include "isa.h"

/* Steps of k a turn: a core that others share has little to issue beside products. */
#if VL == 8
#define UNROLL_BY_2 _Pragma("GCC unroll 2")
#else
#define UNROLL_BY_2
#endif

/* acc += a column of m floats, `row` apart, the last at `last`, times a row of nv vectors. */
INLINE void add_product(const int m, const int nv, vf (*acc)[2], const float *a, int64_t row,
                        int64_t last, const float *b)
{
    vf bv[2];
    UNROLL
    for (int v = 0; v < nv; v++)
        bv[v] = v_load(b + v * VL);
    UNROLL
    for (int i = 0; i < m; i++) {
        vf ai = v_set1(a[i < m - 1 ? i * row : last]);
        UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
    }
}

/* ---- tile -------------------------------------------------------------------------------- */

INLINE vf finish(vf acc, const float *c, const float *bias_n, const cpu_end *e)
{
    if (e->bias_n)
        acc = v_add(acc, v_load(bias_n));
    if (e->add)
        acc = v_add(acc, v_load(c));
    if (e->relu)
        acc = v_sel(v_gt(acc, v_zero()), acc, v_mul(acc, v_set1(e->slope)));
    return acc;
}

/* Not in the tiles themselves: it would be most of their code. */
static __attribute__((noinline)) void finish_tile(int mr, int nv, const float *sums, float *c,
                                                  int64_t ldc, const cpu_end *e)
{
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < nv; v++) {
            float *ci = c + i * ldc + v * VL;
            v_store(ci, finish(v_load(sums + i * NR + v * VL), ci,
                               e->bias_n ? e->bias_n + v * VL : NULL, e));
        }
}

/* Of `last` + 1 rows, mr or one fewer: then the last is there twice. Tiles of every second
 * height are half the code. */
INLINE void tile_body(const int mr, const int nv, int64_t last, int64_t k, const float *a,
                      const float *b, int64_t ldb, float *c, int64_t c_ld, const cpu_end *e)
{
    static const float none[MR] = {0};
    const float *bias = e->bias_m ? e->bias_m : none;
    vf acc[MR][2];
    int64_t ldc = c_ld, ahead = ldb == NR ? 0 : 2 * NR; /* rows far apart: nothing else asks */
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = v_set1(bias[i < mr - 1 ? i : last]);
    }
    if (VL == 8 && nv == 2 && mr > 4 && ldb == NR) {
        UNROLL_BY_2
        for (int64_t p = 0; p < k; p++, a += last + 1, b += NR)
            add_product(mr, nv, acc, a, 1, last, b);
    } else
        for (int64_t p = 0; p < k; p++, a += last + 1, b += ldb) {
            for (int v = 0; v < (VL == 8 ? nv - 1 : nv); v++)
                fetch_ahead(b, ahead + v * VL);
            add_product(mr, nv, acc, a, 1, last, b);
        }
    float sums[MR * NR], *to = c;
    bool plain = !e->bias_n && !e->relu && !(e->add && VL < 8);
    if (plain && e->add) { /* a further piece of k */
        UNROLL
        for (int i = 0; i < mr; i++) {
            UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] =
                    v_add(acc[i][v], v_load(c + (i < mr - 1 ? i : last) * ldc + v * VL));
        }
    }
    if (!plain)
        to = sums, ldc = NR;
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            v_store(to + (i < mr - 1 ? i : last) * ldc + v * VL, acc[i][v]);
    }
    if (!plain)
        finish_tile((int)last + 1, nv, sums, c, c_ld, e);
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Rows at a time: enough sums to hide what one takes, and loads that are few beside them. */
#if VL == 16
enum { ROWS = 8, TALL = 8 };
#else
enum { ROWS = 4, TALL = VL == 8 ? 6 : 4 };
#endif

/* `tally` of a whole tile in registers: read again, it would wait for its stores. */
INLINE void tally_tile(const cpu_tally *t, vf acc[TALL][2])
{
    UNROLL
    for (int v = 0; v < 2; v++) {
        vf s = v_load(t->sum + v * VL), q = v_load(t->square + v * VL);
        vf centre = v_load(t->centre + v * VL);
        UNROLL
        for (int i = 0; i < TALL; i++) {
            vf away = v_sub(acc[i][v], centre);
            s = v_add(s, away);
            q = v_fma(away, away, q);
        }
        v_store(t->sum + v * VL, s);
        v_store(t->square + v * VL, q);
    }
}

/* A compiler that does not optimise has not the registers that the assembler asks for. */
#if VL == 8 && defined(__OPTIMIZE__)
#define SIX 1
#include "tiles_avx2.h"
#else
#define SIX 0
#endif

/* `columns`: A's rows are neighbours, and what comes next is where `end` says, else the next
 * piece of k; of rows, it is the next ones. */
INLINE void rows_body(const int m, const int nv, const bool columns, int64_t k, const float *a,
                      int64_t a_row, int64_t col, const float *b, float *c, int64_t ldc,
                      const cpu_end *e)
{
    vf acc[TALL][2], bv[2];
    const int64_t row = columns ? 1 : a_row, step = e->ask ? e->ask_step : col;
    const int64_t ahead = e->ask ? 0 : col == 1 ? m * row : k * col;
    const float *ask = e->ask ? e->ask : a;
    /* asked for while it multiplies: what it will store to, after short products what others
     * will; added to, what is read next */
    const int64_t later = e->add ? m : k < 48 ? 2 * m : 0;
    for (int i = 0; !columns && m >= ROWS && i < m; i++)
        for (int v = 0; v < nv * VL; v += 16)
            fetch_ahead(c, (later + i) * ldc + v);
    UNROLL
    for (int v = 0; v < nv; v++)
        bv[v] = e->bias_n ? v_load(e->bias_n + v * VL) : v_zero();
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = e->add ? v_add(bv[v], v_load(c + i * ldc + v * VL)) : bv[v];
        for (int v = 0; columns && e->ask && v < nv; v++)
            fetch_ahead(c, (i + m) * ldc + v * VL);
    }
    for (int64_t left = columns ? 0 : e->lines;; a += e->line - k * col) {
        int64_t p = 0;
        for (; columns && p < k; p++, a += col, b += NR) {
            fetch_ahead(ask, ahead + p * step);
            add_product(m, nv, acc, a, row, (m - 1) * row, b);
        }
        /* beside eight rows no register is left to count: b's address does */
        const float *to = columns ? b : b + k * NR;
        for (; VL == 16 ? b < to : p < k; p++, a += col, b += NR) {
            int64_t turn = VL == 16 ? (int64_t)((uintptr_t)b / (NR * sizeof *b)) : p;
            if (m >= ROWS)
                fetch_ahead(a, ahead + (turn & (m > 4 ? 7 : 3)) * row);
            add_product(m, nv, acc, a, row, (m - 1) * row, b);
        }
        if (--left <= 0)
            break;
    }
    if (e->relu) {
        vf zero = v_zero(), slope = v_set1(e->slope);
        UNROLL
        for (int i = 0; i < m; i++) {
            UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] = v_sel(v_gt(acc[i][v], zero), acc[i][v], v_mul(acc[i][v], slope));
        }
    }
    if (!columns && !SMALL && m == TALL && nv == 2 && e->tally)
        tally_tile(e->tally, acc);
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            v_store(c + i * ldc + v * VL, acc[i][v]);
    }
    if (!columns && (SMALL || m < TALL) && nv == 2 && e->tally)
        ISA(cpu_tally)(e->tally, c, ldc, m, NR);
}

INLINE void rows_of(const int nv, int64_t m, int64_t k, const float *a, int64_t row,
                    int64_t col, const float *b, float *c, int64_t ldc, const cpu_end *end)
{
    cpu_end own = *end, *e = &own;
    /* 4 and 4 rather than 6, 1 and 1; lines 4 KB apart share the sets of the first cache */
    const bool tall = VL != 8 || row % 1024 != 0;
    for (; tall && m >= TALL && (VL != 8 || (m != 8 && m != 9));
         m -= TALL, a += TALL * row, c += TALL * ldc) {
#if SIX
        if (nv == 2 && col == 1) {
            six_rows_tile(k, a, row, b, c, ldc, e);
            continue;
        }
        if (nv == 2) { /* row is 1 */
            six_columns_tile(k, a, col, b, c, ldc, e);
            continue;
        }
#endif
        if (!SMALL && VL != 8 && nv == 2 && row == 1 && !e->tally && !e->lines) {
            rows_body(TALL, nv, true, k, a, row, col, b, c, ldc, e);
            own.ask += own.ask ? k * own.ask_step : 0;
        } else
            rows_body(TALL, nv, false, k, a, row, col, b, c, ldc, e);
    }
#if VL > 4
    for (; m >= 4; m -= 4, a += 4 * row, c += 4 * ldc)
        rows_body(4, nv, false, k, a, row, col, b, c, ldc, e);
#endif
    for (; m > 0; m--, a += row, c += ldc)
        rows_body(1, nv, false, k, a, row, col, b, c, ldc, e);
}

static __attribute__((noinline)) void rows_of_any(int32_t vectors, int64_t m, int64_t k,
                                                  const float *a, int64_t row, int64_t col,
                                                  const float *b, float *c, int64_t ldc,
                                                  const cpu_end *e)
{
    if (vectors == 2)
        rows_of(2, m, k, a, row, col, b, c, ldc, e);
    else
        rows_of(1, m, k, a, row, col, b, c, ldc, e);
}

/* Tiles in assembler have the ceiling; after them up to nine rows are left. Twice is the same.
 */
void ISA(cpu_rows)(int32_t vectors, int64_t m, int64_t k, const float *a, int64_t row,
                   int64_t col, const float *b, float *c, int64_t ldc, const cpu_end *e)
{
    rows_of_any(vectors, m, k, a, row, col, b, c, ldc, e);
    if (!e->ceiling)
        return;
    bool most = SIX && vectors == 2 && col == 1 && row % 1024 != 0;
    for (int64_t i = most && m > 9 ? m - 9 : 0; i < m; i++)
        for (int64_t v = 0; v < vectors * VL; v += VL) {
            float *at = c + i * ldc + v;
            v_store(at, v_min(v_set1(e->slope), v_max(v_zero(), v_load(at))));
        }
}

#if VL > 4
INLINE void strassen_add(const int m, vf acc[TALL][2], const cpu_dest *d, int64_t at)
{
    for (int32_t f = 0; f < d->count; f++) {
        const float *x = d->x[f] + at * d->x_ld[f];
        UNROLL
        for (int i = 0; i < m; i++, x += d->x_ld[f]) {
            UNROLL
            for (int v = 0; v < 2; v++)
                acc[i][v] = v_add(acc[i][v], v_load(x + v * VL));
        }
    }
}

/* Asks for what a tile is going to read and to write when it ends. */
static void strassen_ask(const cpu_dests *c, int64_t at, int64_t m)
{
    for (const cpu_dest *d = c->dest; d < c->dest + c->count; d++)
        for (int64_t i = at; i < at + m; i++)
            for (int32_t v = 0; v < NR; v += 16) {
                fetch_ahead(d->to, i * d->ld + v);
                for (int32_t f = 0; d > c->dest && f < d->count; f++)
                    fetch_ahead(d->x[f], i * d->x_ld[f] + v);
            }
}

/* m rows of `strassen_rows`, from `at` on. Each asks for every other line of B's next panel. It
 * is apart from rows_body, which has no register to spare. */
INLINE void strassen_body(const int m, int64_t k, const float *a, int64_t row, const float *b,
                          int64_t at, const cpu_dests *c)
{
    vf acc[TALL][2], bv[2];
    int64_t ahead = k * NR + (at / m & 1) * 16;
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            acc[i][v] = v_zero();
    }
    strassen_add(m, acc, &c->dest[0], at);
    if (m >= ROWS)
        strassen_ask(c, at, m);
#if SIX
    if (m == TALL) { /* k is a multiple of four */
        six_rows(acc, k, a, row, b, b + k * NR + (at / m & 1) * 2 * NR, NR, 4 * NR, 4 * NR);
        k = 0;
    }
#endif
    for (int64_t p = 0; p < k; p++, a++, b += NR) {
        fetch_ahead(b, ahead);
        UNROLL
        for (int v = 0; v < 2; v++)
            bv[v] = v_load(b + v * VL);
        UNROLL
        for (int i = 0; i < m; i++) {
            vf ai = v_set1(a[i * row]);
            UNROLL
            for (int v = 0; v < 2; v++)
                acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
        }
    }
    for (const cpu_dest *d = c->dest, *last = d + c->count - 1;;) {
        if (d == last && c->relu) {
            vf zero = v_zero(), slope = v_set1(c->slope);
            UNROLL
            for (int i = 0; i < m; i++) {
                UNROLL
                for (int v = 0; v < 2; v++)
                    acc[i][v] =
                        v_sel(v_gt(acc[i][v], zero), acc[i][v], v_mul(acc[i][v], slope));
            }
        }
        float *to = d->to + at * d->ld;
        UNROLL
        for (int i = 0; i < m; i++, to += d->ld) {
            UNROLL
            for (int v = 0; v < 2; v++)
                v_store(to + v * VL, acc[i][v]);
        }
        if (d == last)
            break;
        strassen_add(m, acc, ++d, at);
    }
}

void ISA(cpu_strassen_rows)(int64_t m, int64_t k, const float *a, int64_t row, const float *b,
                            const cpu_dests *c)
{
    int64_t i = 0;
    for (; i + TALL <= m && (VL != 8 || (m - i != 8 && m - i != 9)); i += TALL)
        strassen_body(TALL, k, a + i * row, row, b, i, c);
#if VL == 8
    for (; i + ROWS <= m; i += ROWS)
        strassen_body(ROWS, k, a + i * row, row, b, i, c);
#endif
    for (; i < m; i++)
        strassen_body(1, k, a + i * row, row, b, i, c);
}

void ISA(cpu_strassen_sums)(float *sums, int64_t sums_ld, int64_t m, int64_t n, const float *x,
                            int64_t ld)
{
    const float *below = x + m * ld;
    for (int64_t i = 0; i < m; i++, x += ld, below += ld, sums += sums_ld)
        for (int64_t j = 0; j < n; j += VL) {
            vf x11 = v_load(x + j), x21 = v_load(below + j);
            vf first = v_add(x21, v_load(below + n + j)), second = v_sub(first, x11);
            v_store(sums + j, first);
            v_store(sums + n + j, second);
            v_store(sums + 2 * n + j, v_sub(x11, x21));
            v_store(sums + 3 * n + j, v_sub(v_load(x + n + j), second));
        }
}
#endif

/* ---- tiles of every size ----------------------------------------------------------------- */

typedef void tile_fn(int64_t last, int64_t k, const float *a, const float *b, int64_t ldb,
                     float *c, int64_t ldc, const cpu_end *e);
/* clang-format off */
#define TILE(m, v)                                                                           \
    static void tile_##m##_##v(int64_t last, int64_t k, const float *a, const float *b,      \
                               int64_t ldb, float *c, int64_t ldc, const cpu_end *e)         \
    {                                                                                        \
        tile_body(m, v, last, k, a, b, ldb, c, ldc, e);                                      \
    }
#define TILES(m) TILE(m, 1) TILE(m, 2)
#define ROW(m) {tile_##m##_1, tile_##m##_2}
TILES(2) TILES(4) TILES(6)
#if MR == 14
TILES(8) TILES(10) TILES(12) TILES(14)
#endif
static tile_fn *const tiles[MR / 2][2] = {
    ROW(2), ROW(4), ROW(6),
#if MR == 14
    ROW(8), ROW(10), ROW(12), ROW(14),
#endif
};
/* clang-format on */

void ISA(cpu_tile)(int32_t mr, int32_t vectors, int64_t k, const float *a, const float *b,
                   int64_t ldb, float *c, int64_t ldc, const cpu_end *end)
{
    tiles[(mr - 1) / 2][vectors - 1](mr - 1, k, a, b, ldb, c, ldc, end);
}

#if VL == 16
/* y += tile and nothing else (col2im): lanes stay where they are, masks say which are meant. */
static void merge_add(int32_t mr, const float *tile, const cpu_run *runs, int32_t count,
                      float *c, const int64_t *c_row)
{
    for (int32_t r = 0; r < count; r++) {
        int32_t from = runs[r].lane, to = from + runs[r].len;
        for (int32_t v = from / VL; v * VL < to; v++) {
            int32_t a = from > v * VL ? from - v * VL : 0,
                    b = to < v * VL + VL ? to - v * VL : VL;
            __mmask16 m = (__mmask16)(((1u << b) - 1) & ~((1u << a) - 1));
            float *y = c + runs[r].dst - from + v * VL;
            const float *t = tile + v * VL;
            for (int32_t i = 0; i < mr; i++) {
                float *at = y + c_row[i];
                vf sum = v_add(_mm512_maskz_loadu_ps(m, at), v_load(t + i * NR));
                _mm512_mask_storeu_ps(at, m, sum);
            }
        }
    }
}
#endif

void ISA(cpu_merge)(int32_t mr, const float *tile, const cpu_run *runs, int32_t count, float *c,
                    const int64_t *c_row, int64_t ldc, const cpu_end *e)
{
#if VL == 16
    if (c_row && e->add && !e->relu && !e->bias_n) {
        merge_add(mr, tile, runs, count, c, c_row);
        return;
    }
#endif
    for (int32_t r = 0; r < count; r++) {
        const cpu_run *run = &runs[r];
        for (int32_t i = 0; i < mr; i++) {
            const float *t = tile + i * NR + run->lane;
            float *y = c + (c_row ? c_row[i] : i * ldc) + run->dst;
            for (int32_t j = 0; j < run->len; j += VL) {
                int64_t n = run->len - j;
                vf acc = v_loadp(t + j, n);
                if (e->bias_n)
                    acc = v_add(acc, v_loadp(e->bias_n + run->lane + j, n));
                if (e->add)
                    acc = v_add(acc, v_loadp(y + j, n));
                if (e->relu)
                    acc = v_sel(v_gt(acc, v_zero()), acc, v_mul(acc, v_set1(e->slope)));
                v_storep(y + j, acc, n);
            }
        }
    }
}

/* ---- dot --------------------------------------------------------------------------------- */

INLINE void dot_step(const int m, const int n, vf acc[DOT_M][DOT_N], const float *a,
                     int64_t lda, const float *b, int64_t ldb, const int64_t left)
{
    vf av[DOT_M];
    UNROLL
    for (int i = 0; i < m; i++)
        av[i] = left ? v_loadn(a + i * lda, left) : v_load(a + i * lda);
    UNROLL
    for (int j = 0; j < n; j++) {
        vf bv = left ? v_loadn(b + j * ldb, left) : v_load(b + j * ldb);
        UNROLL
        for (int i = 0; i < m; i++)
            acc[i][j] = v_fma(av[i], bv, acc[i][j]);
    }
}

/* One vector of every SUM_LANES; with several, sums go on from where they are. */
INLINE void dot_body(const int m, const int n, int64_t len, const float *a, int64_t lda,
                     const float *b, int64_t ldb, float *out)
{
    vf acc[DOT_M][DOT_N];
    int64_t p = 0;
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int j = 0; j < n; j++)
            acc[i][j] = SUMS > 1 ? v_load(out + (i * n + j) * SUM_LANES) : v_zero();
    }
    for (; p + VL <= len; p += SUM_LANES)
        dot_step(m, n, acc, a + p, lda, b + p, ldb, 0);
    if (p < len)
        dot_step(m, n, acc, a + p, lda, b + p, ldb, len - p);
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int j = 0; j < n; j++)
            v_store(out + (i * n + j) * SUM_LANES, acc[i][j]);
    }
}

typedef void dot_fn(int64_t len, const float *a, int64_t lda, const float *b, int64_t ldb,
                    float *out);
/* clang-format off */
#define DOT(m, n)                                                                            \
    static void dot_##m##_##n(int64_t len, const float *a, int64_t lda, const float *b,      \
                              int64_t ldb, float *out)                                       \
    {                                                                                        \
        dot_body(m, n, len, a, lda, b, ldb, out);                                            \
    }
#if DOT_N == 5
#define DOTS(m) DOT(m, 1) DOT(m, 2) DOT(m, 3) DOT(m, 4) DOT(m, 5)
#define DOT_ROW(m) {dot_##m##_1, dot_##m##_2, dot_##m##_3, dot_##m##_4, dot_##m##_5}
#elif DOT_N == 4
#define DOTS(m) DOT(m, 1) DOT(m, 2) DOT(m, 3) DOT(m, 4)
#define DOT_ROW(m) {dot_##m##_1, dot_##m##_2, dot_##m##_3, dot_##m##_4}
#else
#define DOTS(m) DOT(m, 1) DOT(m, 2)
#define DOT_ROW(m) {dot_##m##_1, dot_##m##_2}
#endif
DOTS(1) DOTS(2)
#if DOT_M > 2
DOTS(3)
#endif
#if DOT_M > 3
DOTS(4) DOTS(5)
#endif
static dot_fn *const dots[DOT_M][DOT_N] = {
    DOT_ROW(1), DOT_ROW(2),
#if DOT_M > 2
    DOT_ROW(3),
#endif
#if DOT_M > 3
    DOT_ROW(4), DOT_ROW(5),
#endif
};
/* clang-format on */

#if defined(__AVX512F__)
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
INLINE vf v_sums(vf t[4])
{
    return (vf){v_sum(t[0]), v_sum(t[1]), v_sum(t[2]), v_sum(t[3])};
}
#endif

/* VL sums of SUM_LANES each */
static __attribute__((noinline)) void sum_rows(float *out, const float *rows)
{
    vf t[VL], sum[SUMS];
    UNROLL
    for (int s = 0; s < SUMS; s++) {
        UNROLL
        for (int j = 0; j < VL; j++)
            t[j] = v_load(rows + (j * SUMS + s) * VL);
        sum[s] = v_sums(t);
    }
    v_store(out, SUMS == 2 ? v_add(sum[0], sum[SUMS - 1]) : sum[0]);
}

static void finish_dots(int32_t m, int32_t n, const float *sums, float *c, int64_t ldc,
                        const cpu_end *e)
{
    for (int32_t i = 0; i < m; i++) {
        for (int32_t j = 0; j < n; j++) {
            float y = e->alpha * sums[i * n + j];
            if (e->bias_m)
                y += e->bias_m[i];
            if (e->bias_n)
                y += e->bias_n[j];
            if (e->add)
                y += c[i * ldc + j];
            if (e->relu)
                y = y > 0 ? y : e->slope * y;
            c[i * ldc + j] = y;
        }
    }
}

void ISA(cpu_dot)(int32_t m, int32_t n, int64_t len, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float *c, int64_t ldc, const cpu_end *e)
{
    enum { PIECE = 1024 }; /* the vectors after the first find it in the first cache */
    float sums[(DOT_M * DOT_N + VL) * SUM_LANES], flat[DOT_M * DOT_N + VL];
    dot_fn *dot = dots[m - 1][n - 1];
    if (SUMS == 1)
        dot(len, a, lda, b, ldb, sums);
    else
        memset(sums, 0, (size_t)(m * n * SUM_LANES) * sizeof(float));
    for (int64_t k = 0; SUMS > 1 && k < len; k += PIECE) {
        int64_t piece = len - k < PIECE ? len - k : PIECE;
        for (int64_t v = 0; v < SUM_LANES; v += VL)
            dot(piece - v, a + k + v, lda, b + k + v, ldb, sums + v);
    }
    for (int32_t i = m * n * SUMS; i % (VL * SUMS); i++)
        v_store(sums + i * VL, v_zero());
    for (int32_t i = 0; i < m * n; i += VL) /* VL sums at a time: rows become columns */
        sum_rows(flat + i, sums + i * SUM_LANES);
    /* one float at a time: a vector of them would wait for two stores */
    if (e->bias_m || e->bias_n || e->relu)
        finish_dots(m, n, flat, c, ldc, e);
    else if (e->add)
        for (int32_t i = 0; i < m; i++)
            for (int32_t j = 0; j < n; j++)
                c[i * ldc + j] += e->alpha * flat[i * n + j];
    else
        for (int32_t i = 0; i < m; i++)
            for (int32_t j = 0; j < n; j++)
                c[i * ldc + j] = e->alpha * flat[i * n + j];
}
