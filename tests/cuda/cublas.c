/* SPDX-License-Identifier: BSD-2-Clause
 * cublas.c: what the CUDA module calls of cuBLAS, as loops: column-major as the real one. */
#include <stdint.h>
#include <stdlib.h>

#include <cublas_v2.h>

#include "fake_blas.h"

struct cublasContext {
    cudaStream_t stream;
    void *workspace;
};

/* The test's: handles that are open. */
__attribute__((visibility("default"))) long fake_blas_handles;

typedef struct product {
    cublasOperation_t op_a, op_b;
    int m, n, k, lda, ldb, ldc, batch;
    long long stride_a, stride_b, stride_c;
    cudaDataType type;
    int missing; /* lowest bits of floats that are not multiplied */
    const char *A, *B;
    float *C, alpha, beta;
} product;

/* FAKE_BLAS_FAILS is the status that opening, and products, fail with. */
static cublasStatus_t status_of(bool lost)
{
    const char *fails = getenv("FAKE_BLAS_FAILS");
    return fails  ? (cublasStatus_t)atoi(fails)
           : lost ? CUBLAS_STATUS_EXECUTION_FAILED
                  : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t *out)
{
    if (status_of(false))
        return status_of(false);
    *out = calloc(1, sizeof **out);
    __atomic_add_fetch(&fake_blas_handles, 1, __ATOMIC_RELAXED);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    free(handle);
    __atomic_sub_fetch(&fake_blas_handles, 1, __ATOMIC_RELAXED);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    if (stream->fails())
        return CUBLAS_STATUS_MAPPING_ERROR;
    handle->stream = stream;
    handle->workspace = NULL; /* as the real one does */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    handle->workspace = bytes ? workspace : NULL;
    return (uintptr_t)workspace % 256 ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

/* The test's: handles that may add in any order. */
__attribute__((visibility("default"))) long fake_blas_unordered;
/* Products in f32, TF32, bf16. */
__attribute__((visibility("default"))) long fake_blas_types[3];

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t mode)
{
    (void)handle;
    fake_blas_unordered += mode == CUBLAS_ATOMICS_ALLOWED;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int *version)
{
    (void)handle;
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "a fake failure";
}

static float of_bf16(uint16_t bits)
{
    union {
        uint32_t u;
        float f;
    } word = {(uint32_t)bits << 16};
    return word.f;
}

static double at(const product *p, const void *m, cublasOperation_t op, int ld, int64_t row,
                 int64_t col)
{
    int64_t i = op == CUBLAS_OP_N ? row + col * ld : col + row * ld;
    return p->type == CUDA_R_16BF ? of_bf16(((const uint16_t *)m)[i])
                                  : fake_rounded(((const float *)m)[i], p->missing);
}

static void multiply(void *args)
{
    const product *p = args;
    size_t size = p->type == CUDA_R_16BF ? 2 : 4;
    int64_t k = p->k;
    double *rows = malloc((size_t)(p->m * k + 1) * sizeof *rows); /* of A, then a column of B */
    double *column = malloc((size_t)(k + 1) * sizeof *column);
    for (int64_t b = 0; b < p->batch; b++) {
        const char *a_at = p->A + (size_t)(b * p->stride_a) * size;
        const char *b_at = p->B + (size_t)(b * p->stride_b) * size;
        for (int64_t i = 0; i < p->m * k; i++)
            rows[i] = at(p, a_at, p->op_a, p->lda, i / k, i % k);
        for (int64_t j = 0; j < p->n; j++) {
            for (int64_t l = 0; l < k; l++)
                column[l] = at(p, b_at, p->op_b, p->ldb, l, j);
            for (int64_t i = 0; i < p->m; i++) {
                float *c = p->C + b * p->stride_c + i + j * p->ldc;
                double sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum += rows[i * k + l] * column[l];
                *c = (float)(p->alpha * sum + (p->beta != 0 ? p->beta * *c : 0));
            }
        }
    }
    free(rows);
    free(column);
}

static int longest(int a, int b)
{
    return a > b ? a : b;
}

static cublasStatus_t multiply_all(cublasHandle_t handle, cublasOperation_t op_a,
                                   cublasOperation_t op_b, int m, int n, int k,
                                   const void *alpha, const void *A, cudaDataType type_a,
                                   int lda, long long stride_a, const void *B,
                                   cudaDataType type_b, int ldb, long long stride_b,
                                   const void *beta, void *C, cudaDataType type_c, int ldc,
                                   long long stride_c, int batch, cublasComputeType_t compute)
{
    if (!handle->stream || !handle->workspace || type_c != CUDA_R_32F || type_a != type_b ||
        (type_a == CUDA_R_16BF && compute != CUBLAS_COMPUTE_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const int kind[] = {op_a, op_b, m, n, k, lda, ldb, ldc, batch, type_a, compute};
    if (!fake_space_is_own(handle->stream, handle->workspace) ||
        !fake_is_loaded(handle->stream, kind, sizeof kind / sizeof *kind))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    if (m < 0 || n < 0 || k < 0 || lda < longest(1, op_a == CUBLAS_OP_N ? m : k) ||
        ldb < longest(1, op_b == CUBLAS_OP_N ? k : n) || ldc < longest(1, m))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (status_of(handle->stream->lost()))
        return status_of(handle->stream->lost());
    product p = {op_a,
                 op_b,
                 m,
                 n,
                 k,
                 lda,
                 ldb,
                 ldc,
                 batch,
                 stride_a,
                 stride_b,
                 stride_c,
                 type_a,
                 fake_missing(compute),
                 A,
                 B,
                 C,
                 *(const float *)alpha,
                 *(const float *)beta};
    int type = type_a == CUDA_R_16BF || compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 2
               : compute == CUBLAS_COMPUTE_32F_FAST_TF32                        ? 1
                                                                                : 0;
    __atomic_add_fetch(&fake_blas_types[type], 1, __ATOMIC_RELAXED);
    fake_do(handle->stream, multiply, &p, sizeof p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const void *alpha, const void *A, cudaDataType type_a, int lda, long long stride_a,
    const void *B, cudaDataType type_b, int ldb, long long stride_b, const void *beta, void *C,
    cudaDataType type_c, int ldc, long long stride_c, int batch, cublasComputeType_t compute,
    cublasGemmAlgo_t algorithm)
{
    (void)algorithm;
    if (batch < 2) /* which asks for another function */
        return CUBLAS_STATUS_INVALID_VALUE;
    return multiply_all(handle, op_a, op_b, m, n, k, alpha, A, type_a, lda, stride_a, B, type_b,
                        ldb, stride_b, beta, C, type_c, ldc, stride_c, batch, compute);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a,
                            cublasOperation_t op_b, int m, int n, int k, const void *alpha,
                            const void *A, cudaDataType type_a, int lda, const void *B,
                            cudaDataType type_b, int ldb, const void *beta, void *C,
                            cudaDataType type_c, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm)
{
    (void)algorithm;
    return multiply_all(handle, op_a, op_b, m, n, k, alpha, A, type_a, lda, 0, B, type_b, ldb,
                        0, beta, C, type_c, ldc, 0, 1, compute);
}
