/* SPDX-License-Identifier: BSD-2-Clause
 * gemm.cu: GEMM: cuBLAS where it is found, else tiles of our own; bias and activation are
 * applied by the tile as it is stored, by cuBLASLt, or by a pass of their own after cuBLAS. */
#include "some.cuh"
#include "tile_shape.cuh"

typedef struct gemm_args {
    tile_shape tile;
    const float *A, *B, *bias;
    float *C;
    int64_t a_row, a_col, b_row, b_col, ldc;
    int64_t stride_a, stride_b, stride_c, stride_bias;
    function f;
    float alpha;
    int32_t bias_mode, add;
} gemm_args;

DEVICE float gemm_a(const gemm_args *a, int64_t matrix, int m, int k)
{
    return a->A[matrix * a->stride_a + m * a->a_row + k * a->a_col];
}

DEVICE float gemm_b(const gemm_args *a, int64_t matrix, int k, int n)
{
    return a->B[matrix * a->stride_b + k * a->b_row + n * a->b_col];
}

DEVICE float gemm_bias(const gemm_args *a, int64_t matrix, int64_t m, int64_t n)
{
    if (!a->bias_mode)
        return 0;
    return a->bias[matrix * a->stride_bias + (a->bias_mode == 1 ? n : m)];
}

DEVICE void gemm_put(const gemm_args *a, int64_t matrix, int piece, int m, int n, float sum)
{
    values C = {a->C, 0, 0};
    float value = a->alpha * sum + gemm_bias(a, matrix, m, n);
    put_some_through(C, matrix * a->stride_c + m * a->ldc + n, 1, a->add, &value, &a->f);
}

#define TILE      gemm_tile
#define TILE_ARGS gemm_args
#define TILE_A    gemm_a
#define TILE_B    gemm_b
#define TILE_PUT  gemm_put
#include "tile.cuh"

/* Bias and activation over what cuBLAS left in C. */
MAP(gemm_epilogue, gemm_args)
{
    int64_t row = quotient(i, a->tile.n), n = i - row * a->tile.n;
    int64_t matrix = quotient(row, a->tile.m), m = row - matrix * a->tile.m;
    float *y = &a->C[matrix * a->stride_c + m * a->ldc + n];
    *y = apply(&a->f, *y + gemm_bias(a, matrix, m, n));
}

/* What cuBLAS asks of rows: each at least as long as the matrix is wide, and some terms. */
static bool fits_blas(const dn_args_gemm *g)
{
    return g->k > 0 && g->lda >= (g->trans_a ? g->m : g->k) &&
           g->ldb >= (g->trans_b ? g->k : g->n) && g->ldc >= g->n;
}

static dn_status prepare_gemm(dn_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->args.gemm;
    if (g->m > INT32_MAX - TILE_SIDE || g->n > INT32_MAX - TILE_SIDE ||
        g->k > INT32_MAX - TILE_DEPTH || g->lda > INT32_MAX || g->ldb > INT32_MAX ||
        g->ldc > INT32_MAX || g->batch > INT32_MAX)
        return cuda_decline(info, "a side of 2^31 elements");
    op->blas = cuda_has_blas(op->backend) && fits_blas(g);
    return op->blas && g->bias_mode ? cuda_lt_take(op) : DN_OK;
}

static dn_status run_gemm(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gemm *g = &op->args.gemm;
    gemm_args a;
    a.tile = tile_shape_of(g->m, g->n, g->k, !g->trans_a, g->trans_b);
    a.A = cuda_in(op, io, 0) + g->offset_a;
    a.B = cuda_in(op, io, 1) + g->offset_b;
    a.bias = cuda_in(op, io, 2);
    a.C = cuda_out(op, io, 0) + g->offset_c;
    a.a_row = g->trans_a ? 1 : g->lda;
    a.a_col = g->trans_a ? g->lda : 1;
    a.b_row = g->trans_b ? 1 : g->ldb;
    a.b_col = g->trans_b ? g->ldb : 1;
    a.ldc = g->ldc;
    a.stride_a = g->stride_a;
    a.stride_b = g->stride_b;
    a.stride_c = g->stride_c;
    a.stride_bias = g->stride_bias;
    a.f = function_of(g->activation, g->activation_a, 0, 0);
    a.alpha = (float)g->alpha;
    a.bias_mode = g->bias_mode;
    a.add = cuda_adds(op, 0);
    if (!op->blas) {
        gemm_tile(op, &a, tile_blocks(&a.tile, g->batch));
        return DN_OK;
    }
    dn_status status = op->lt ? cuda_lt_run(op, a.A, a.B, a.bias, a.C) : DN_DECLINED;
    if (status != DN_DECLINED)
        return status;
    status = cuda_blas_gemm(op->backend, g, op->compute, a.A, a.B, false, a.C, a.add != 0);
    if (status == DN_OK && (a.bias_mode || a.f.fn))
        gemm_epilogue(op, &a, g->batch * g->m * g->n);
    return status;
}

const cuda_kind cuda_gemm = {"GEMM", sizeof(dn_args_gemm), prepare_gemm, run_gemm};
