/* SPDX-License-Identifier: BSD-2-Clause
 * mul.c: blocking around the register tile. A panel of B (k piece x nr) is packed into the
 * first cache, packed A streams past it from the second; pieces of k add to C in order, so the
 * result does not depend on how rows and columns were shared out. */
#include "mul.h"

#include <string.h>

enum { K_PIECE = 320 }; /* 320 x 32 floats: most of a 48 KiB first cache */

void cpu_mul_plan(cpu_mul *mul)
{
    const cpu_kernels *ker = mul->ker;
    mul->k_blocks = cpu_max(1, cpu_ceil(mul->k, K_PIECE));
    mul->row_panels = cpu_ceil(mul->m, ker->mr);
    mul->col_panels = cpu_ceil(mul->n, ker->nr);
    mul->row_outer = !mul->panel && mul->k <= 96 && mul->row_panels > 1;
    if (!mul->block) {
        int64_t piece = cpu_ceil(cpu_max(1, mul->k), mul->k_blocks);
        mul->block = mul->panel ? 1 : mul->row_outer ? 65536 / (piece * ker->nr) : 8;
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

typedef struct place { /* one tile's piece of the work */
    int64_t i, j, k0, k1;
    const float *a, *b;
    float *c, *tile;
    const cpu_end *end;
} place;

static void run_tile(const cpu_mul *mul, const place *at)
{
    const cpu_kernels *ker = mul->ker;
    int64_t r0, r1;
    cpu_run plain;
    int32_t count;
    const cpu_run *runs = panel_runs(mul, at->j, &plain, &count);
    bool first = at->k0 == 0, last = at->k1 == mul->k;
    cpu_mul_rows(mul, at->i, &r0, &r1);
    cpu_end end = *at->end;
    end.bias_m = first && end.bias_m ? end.bias_m + r0 : NULL;
    end.bias_n = first && end.bias_n ? end.bias_n + at->j * ker->nr : NULL;
    end.add = end.add || !first;
    end.relu = end.relu && last;

    int32_t mr = (int32_t)(r1 - r0);
    int64_t width = runs[count - 1].lane + runs[count - 1].len, k = at->k1 - at->k0;
    int32_t vectors = width <= ker->vl ? 1 : 2;
    const float *a = at->a + mul->m * at->k0 + r0 * k;
    if (count == 1 && !mul->c_row && width == vectors * ker->vl) {
        float *c = at->c + r0 * mul->ldc + runs[0].dst;
        ker->tile(mr, vectors, k, a, at->b, ker->nr, c, mul->ldc, &end);
        return;
    }
    static const cpu_end nothing = {0};
    ker->tile(mr, vectors, k, a, at->b, ker->nr, at->tile, ker->nr, &nothing);
    ker->merge(mr, at->tile, runs, count, at->c + (mul->c_row ? 0 : r0 * mul->ldc),
               mul->c_row ? mul->c_row + r0 : NULL, mul->ldc, &end);
}

void cpu_mul_run(const cpu_mul *mul, const float *packed_a, const float *b, float *c,
                 const cpu_end *end, const int64_t rows[2], const int64_t cols[2], float *work)
{
    const cpu_kernels *ker = mul->ker;
    place at = {.a = packed_a, .c = c, .end = end, .tile = work};
    float *packed_b = work + ker->mr * ker->nr;
    for (int64_t kb = 0; kb < mul->k_blocks; kb++) {
        cpu_split(mul->k, mul->k_blocks, kb, &at.k0, &at.k1);
        int64_t panel = (at.k1 - at.k0) * ker->nr;
        for (int64_t j0 = cols[0]; j0 < cols[1]; j0 += mul->block) {
            int64_t j1 = cpu_min(cols[1], j0 + mul->block);
            pack_panels(mul, packed_b, b, at.k0, at.k1, j0, j1);
            int64_t outer = mul->row_outer ? rows[1] - rows[0] : j1 - j0;
            int64_t inner = mul->row_outer ? j1 - j0 : rows[1] - rows[0];
            for (int64_t o = 0; o < outer; o++)
                for (int64_t q = 0; q < inner; q++) {
                    at.i = rows[0] + (mul->row_outer ? o : q);
                    at.j = j0 + (mul->row_outer ? q : o);
                    at.b = packed_b + (at.j - j0) * panel;
                    run_tile(mul, &at);
                }
        }
    }
}
