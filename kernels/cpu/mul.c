/* SPDX-License-Identifier: BSD-2-Clause
 * mul.c: blocking around the register tile. A panel of B (k piece x nr) is packed into the
 * first cache, packed A streams past it from the second; pieces of k add to C in order, so the
 * result does not depend on how rows and columns were shared out. */
#include "mul.h"

#include <string.h>

enum { K_PIECE = 320 }; /* 320 x 32 floats: most of a 48 KiB first cache */

CPU_COLD void cpu_mul_plan(cpu_mul *mul)
{
    const cpu_kernels *ker = mul->ker;
    mul->k_blocks = cpu_max(1, cpu_ceil(mul->k, mul->in_place ? mul->in_place : K_PIECE));
    mul->row_panels = cpu_ceil(mul->m, ker->mr);
    mul->col_panels = cpu_ceil(mul->n, ker->nr);
    mul->row_size = mul->m / mul->row_panels;
    mul->row_rest = mul->m % mul->row_panels;
    mul->row_outer = !mul->panel && !mul->in_place && mul->k <= 96 && mul->row_panels > 1;
    if (!mul->block) {
        int64_t piece = cpu_ceil(cpu_max(1, mul->k), mul->k_blocks);
        mul->block = mul->panel || mul->in_place ? 1
                     : mul->row_outer            ? 65536 / (piece * ker->nr)
                                                 : 8;
    }
    mul->block = cpu_max(1, cpu_min(mul->block, mul->col_panels));
}

static int64_t longest_piece(const cpu_mul *mul)
{
    return cpu_ceil(cpu_max(1, mul->k), mul->k_blocks);
}

int64_t cpu_mul_a_size(const cpu_mul *mul)
{
    return mul->m * mul->k + 2 * mul->ker->vl;
}

int64_t cpu_mul_work_size(const cpu_mul *mul)
{
    const cpu_kernels *ker = mul->ker;
    int64_t panels = mul->block * longest_piece(mul) * ker->nr;
    return panels + ker->mr * ker->nr + ker->nr * 2 + 64;
}

void cpu_mul_rows(const cpu_mul *mul, int64_t i, int64_t *from, int64_t *to)
{
    cpu_split(mul->m, mul->row_panels, i, from, to);
}

float *cpu_mul_a_at(const cpu_mul *mul, float *packed, int64_t i, int64_t kb)
{
    int64_t k0, k1, r0, r1;
    cpu_split(mul->k, mul->k_blocks, kb, &k0, &k1);
    cpu_mul_rows(mul, i, &r0, &r1);
    return packed + mul->m * k0 + r0 * (k1 - k0);
}

void cpu_mul_pack_a(const cpu_mul *mul, int64_t i, float *packed, const float *a, int64_t row,
                    int64_t col, float alpha)
{
    int64_t r0, r1;
    cpu_mul_rows(mul, i, &r0, &r1);
    for (int64_t kb = 0; kb < mul->k_blocks; kb++) {
        int64_t k0, k1;
        cpu_split(mul->k, mul->k_blocks, kb, &k0, &k1);
        mul->ker->pack_a(cpu_mul_a_at(mul, packed, i, kb), (int32_t)(r1 - r0), k1 - k0,
                         a + r0 * row + k0 * col, row, col, alpha);
    }
}

/* The runs of panel j; a plain matrix has one, made here. */
static const cpu_run *panel_runs(const cpu_mul *mul, int64_t j, cpu_run *plain, int32_t *count)
{
    if (mul->panel) {
        *count = mul->panel[j + 1] - mul->panel[j];
        return mul->runs + mul->panel[j];
    }
    int64_t at = j * mul->ker->nr;
    *plain = (cpu_run){0, (int32_t)cpu_min(mul->ker->nr, mul->n - at), at, at};
    *count = 1;
    return plain;
}

/* Panels [j, end) of piece [k0, k1), one after the other; short rows of B are read together. */
static void pack_panels(const cpu_mul *mul, float *out, const float *b, int64_t k0, int64_t k1,
                        int64_t j, int64_t end)
{
    const cpu_kernels *ker = mul->ker;
    for (; j < end; j++, out += (k1 - k0) * ker->nr) {
        if (mul->b_trans) {
            int64_t at = j * ker->nr;
            ker->pack_trans(out, k1 - k0, b + at * mul->ldb + k0, mul->ldb,
                            cpu_min(ker->nr, mul->n - at));
            continue;
        }
        cpu_run plain;
        int32_t count;
        const cpu_run *runs = panel_runs(mul, j, &plain, &count);
        const int64_t *row = mul->b_row ? mul->b_row + k0 : NULL;
        ker->pack(out, k1 - k0, b + (row ? 0 : k0 * mul->ldb), row, mul->ldb, runs, count,
                  mul->exact);
    }
}

typedef struct column { /* one panel of columns, and where its runs leave it in C */
    cpu_run plain;
    const cpu_run *runs;
    int32_t count, vectors;
    int64_t first; /* column of C, if whole vectors lie side by side there */
    bool direct;
} column;

static void look_at(const cpu_mul *mul, int64_t j, column *col)
{
    const cpu_run *runs = col->runs = panel_runs(mul, j, &col->plain, &col->count);
    const cpu_run *last = &runs[col->count - 1];
    int32_t width = last->lane + last->len;
    col->vectors = width <= mul->ker->vl ? 1 : 2;
    col->first = runs[0].dst;
    col->direct = !mul->c_row && width == col->vectors * mul->ker->vl;
    for (int32_t r = 1; r < col->count; r++)
        col->direct = col->direct && runs[r].dst == col->first + runs[r].lane;
}

typedef struct place { /* one piece of k, and what it needs for every tile */
    int64_t k0, k1;
    const float *a;
    float *c, *tile;
    cpu_end end; /* for this piece: bias at first, activation at last */
} place;

static void run_tile(const cpu_mul *mul, const place *at, int64_t i, int64_t j,
                     const column *col, const float *b, int64_t ldb)
{
    const cpu_kernels *ker = mul->ker;
    int64_t r0 = mul->row_size * i + cpu_min(i, mul->row_rest), k = at->k1 - at->k0;
    int32_t mr = (int32_t)(mul->row_size + (i < mul->row_rest));
    const float *a = at->a + mul->m * at->k0 + r0 * k;
    cpu_end end = at->end;
    if (end.bias_m)
        end.bias_m += r0;
    if (end.bias_n)
        end.bias_n += j * ker->nr;
    if (col->direct) {
        float *c = at->c + r0 * mul->ldc + col->first;
        ker->tile(mr, col->vectors, k, a, b, ldb, c, mul->ldc, &end);
        return;
    }
    const cpu_end begin = {.bias_m = end.bias_m}; /* which sums begin with everywhere */
    end.bias_m = NULL;
    ker->tile(mr, col->vectors, k, a, b, ldb, at->tile, ker->nr, &begin);
    ker->merge(mr, at->tile, col->runs, col->count, at->c + (mul->c_row ? 0 : r0 * mul->ldc),
               mul->c_row ? mul->c_row + r0 : NULL, mul->ldc, &end);
}

/* Row panel i of a matrix that is no image, whose pieces of k are short: a tile is soon done.
 * Columns [j0, j1) are whole panels. */
static void run_row(const cpu_mul *mul, const place *at, int64_t i, int64_t j0, int64_t j1,
                    const float *packed_b)
{
    const cpu_kernels *ker = mul->ker;
    int64_t r0, r1, k = at->k1 - at->k0;
    cpu_mul_rows(mul, i, &r0, &r1);
    const float *a = at->a + mul->m * at->k0 + r0 * k;
    float *c = at->c + r0 * mul->ldc;
    cpu_end end = at->end;
    if (end.bias_m)
        end.bias_m += r0;
    for (int64_t j = j0; j < j1; j++, packed_b += k * ker->nr) {
        end.bias_n = at->end.bias_n ? at->end.bias_n + j * ker->nr : NULL;
        ker->tile((int32_t)(r1 - r0), 2, k, a, packed_b, ker->nr, c + j * ker->nr, mul->ldc,
                  &end);
    }
}

void cpu_mul_run(const cpu_mul *mul, const float *packed_a, const float *b, float *c,
                 const cpu_end *end, const int64_t rows[2], const int64_t cols[2], float *work)
{
    const cpu_kernels *ker = mul->ker;
    float *packed_b = work + ker->mr * ker->nr;
    column col;
    for (int64_t kb = 0; kb < mul->k_blocks; kb++) {
        place at = {.a = packed_a, .c = c, .tile = work, .end = *end};
        cpu_split(mul->k, mul->k_blocks, kb, &at.k0, &at.k1);
        int64_t panel = (at.k1 - at.k0) * ker->nr;
        if (kb > 0)
            at.end.bias_m = at.end.bias_n = NULL;
        at.end.add = end->add || kb > 0;
        at.end.relu = end->relu && kb + 1 == mul->k_blocks;
        for (int64_t j0 = cols[0]; j0 < cols[1]; j0 += mul->block) {
            int64_t j = j0, j1 = cpu_min(cols[1], j0 + mul->block), whole = mul->n / ker->nr;
            bool in_place = mul->in_place && j0 < whole; /* a panel by itself */
            const float *from = in_place ? b + at.k0 * mul->ldb + j0 * ker->nr : packed_b;
            if (!in_place)
                pack_panels(mul, packed_b, b, at.k0, at.k1, j0, j1);
            if (mul->row_outer) {
                j = cpu_max(j0, cpu_min(j1, whole));
                for (int64_t i = rows[0]; i < rows[1]; i++)
                    run_row(mul, &at, i, j0, j, packed_b);
            }
            for (; j < j1; j++) {
                look_at(mul, j, &col);
                for (int64_t i = rows[0]; i < rows[1]; i++)
                    run_tile(mul, &at, i, j, &col, from + (j - j0) * panel,
                             in_place ? mul->ldb : ker->nr);
            }
        }
    }
}
