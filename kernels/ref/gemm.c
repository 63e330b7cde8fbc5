/* SPDX-License-Identifier: BSD-2-Clause
 * gemm.c: GEMM: C = alpha op(A) op(B) + bias, then activation, for a batch of matrices.
 * Transposes are nothing but strides here. */
#include "ref.h"

/* Rows of `ld` elements, `stride` apart from matrix to matrix, within the operand. */
static dn_status need_matrices(const dn_op *op, const char *what, int64_t rows, int64_t cols,
                               int64_t ld, int64_t stride, int64_t offset, int64_t count)
{
    int64_t batch = op->args.gemm.batch;
    if (ld < 0 || stride < 0)
        return ref_fail(op, DN_E_INVALID, "%s has a negative stride", what);
    return ref_need_strided(op, what, 3, (const int64_t[]){batch, rows, cols},
                            (const int64_t[]){stride, ld, 1}, offset, count);
}

static dn_status check_gemm(dn_op *op)
{
    const dn_args_gemm *a = &op->args.gemm;
    if (a->m < 0 || a->n < 0 || a->k < 0 || a->batch < 0)
        return ref_fail(op, DN_E_SHAPE, "negative sizes: m %lld", (long long)a->m);
    if (a->bias_mode < 0 || a->bias_mode > 2 || ref_has_in(op, 2) != (a->bias_mode != 0))
        return ref_fail(op, DN_E_INVALID, "bias_mode %d does not go with the operands",
                        (int)a->bias_mode);
    REF_TRY(ref_need_activation(op, a->activation));
    REF_TRY(need_matrices(op, "A", a->trans_a ? a->k : a->m, a->trans_a ? a->m : a->k, a->lda,
                          a->stride_a, a->offset_a, op->in[0].count));
    REF_TRY(need_matrices(op, "B", a->trans_b ? a->n : a->k, a->trans_b ? a->k : a->n, a->ldb,
                          a->stride_b, a->offset_b, op->in[1].count));
    REF_TRY(
        need_matrices(op, "C", a->m, a->n, a->ldc, a->stride_c, a->offset_c, op->out[0].count));
    if (!a->bias_mode)
        return DN_OK;
    return need_matrices(op, "bias", 1, a->bias_mode == 1 ? a->n : a->m, 0, a->stride_bias, 0,
                         op->in[2].count);
}

dn_status ref_run_gemm_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gemm *a = &op->args.gemm;
    int64_t a_row = a->trans_a ? 1 : a->lda, a_col = a->trans_a ? a->lda : 1;
    int64_t b_row = a->trans_b ? 1 : a->ldb, b_col = a->trans_b ? a->ldb : 1;
    for (int64_t batch = 0; batch < a->batch; batch++) {
        const double *A = (const double *)io->in[0] + a->offset_a + batch * a->stride_a;
        const double *B = (const double *)io->in[1] + a->offset_b + batch * a->stride_b;
        double *C = (double *)io->out[0] + a->offset_c + batch * a->stride_c;
        const double *bias =
            a->bias_mode ? (const double *)io->in[2] + batch * a->stride_bias : NULL;
        for (int64_t i = 0; i < a->m; i++)
            for (int64_t j = 0; j < a->n; j += REF_SUMS) {
                int64_t m = a->n - j < REF_SUMS ? a->n - j : REF_SUMS;
                double sum[REF_SUMS] = {0};
                for (int64_t p = 0; p < a->k; p++)
                    add_products(sum, m, A[i * a_row + p * a_col], &B[p * b_row + j * b_col],
                                 b_col);
                for (int64_t l = 0; l < m; l++) {
                    sum[l] *= a->alpha;
                    if (bias)
                        sum[l] += bias[a->bias_mode == 1 ? j + l : i];
                    put_through(&C[i * a->ldc + j + l], ref_adds(op, 0), sum[l], a->activation,
                                a->activation_a);
                }
            }
    }
    return DN_OK;
}

const ref_kind ref_gemm = {"GEMM", "TTt:T",    sizeof(dn_args_gemm),
                           1,      check_gemm, REF_WIDE(gemm)};
