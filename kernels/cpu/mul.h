/* SPDX-License-Identifier: BSD-2-Clause
 * mul.h: one packed multiplication C = A B, planned once. Columns of B and C are described by
 * runs, so B may be an image read under a kernel and C an image added to: gemm and every form
 * of convolution are this with other tables. */
#ifndef CPU_MUL_H
#define CPU_MUL_H

#include "cpu.h"

typedef struct cpu_mul {
    const cpu_kernels *ker;
    int64_t m, n, k;
    int64_t k_blocks;   /* pieces of k whose panel of B stays in the first cache */
    int64_t row_panels; /* of at most mr rows: row_size, and one more in the first row_rest */
    int64_t row_size, row_rest;
    int64_t col_panels; /* of nr columns */
    int64_t block;      /* column panels packed at a time */
    int64_t in_place; /* few rows: whole panels of B are read as they lie, in pieces of at most
                         so much of k; 0: packed (set before the plan) */
    bool row_outer;   /* walk rows of C outside columns: short k, C is the traffic */
    /* B: row p begins at b_row[p], or at p * ldb; b_trans: stored (n, k), ldb apart */
    const int64_t *b_row;
    int64_t ldb;
    bool b_trans, exact; /* exact: not even a few floats beyond B may be read */
    /* C: row i begins at c_row[i], or at i * ldc */
    const int64_t *c_row;
    int64_t ldc;
    /* Runs of panel j: [panel[j], panel[j + 1]); NULL: column j is at j in B and C. */
    const cpu_run *runs;
    const int32_t *panel;
} cpu_mul;

/* Fills in the blocks from m, n, k, ker and block (0: chosen). */
void cpu_mul_plan(cpu_mul *mul);
/* Floats of packed A, of one worker's space. */
int64_t cpu_mul_a_size(const cpu_mul *mul);
int64_t cpu_mul_work_size(const cpu_mul *mul);
/* Packs row panel i of A, where element (r, p) is a[r * row + p * col]. */
void cpu_mul_pack_a(const cpu_mul *mul, int64_t i, float *packed, const float *a, int64_t row,
                    int64_t col, float alpha);
/* The rows of panel i, and where piece kb of it lies in packed A. */
void cpu_mul_rows(const cpu_mul *mul, int64_t i, int64_t *from, int64_t *to);
float *cpu_mul_a_at(const cpu_mul *mul, float *packed, int64_t i, int64_t kb);
/* C's row panels [rows[0], rows[1]) by column panels [cols[0], cols[1]). */
void cpu_mul_run(const cpu_mul *mul, const float *packed_a, const float *b, float *c,
                 const cpu_end *end, const int64_t rows[2], const int64_t cols[2], float *work);

#endif
