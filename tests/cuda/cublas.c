/* SPDX-License-Identifier: BSD-2-Clause
 * cublas.c: what the CUDA module calls of cuBLAS, as loops: column-major as the real one. */
#include <stdint.h>
#include <stdlib.h>

#include <cublas_v2.h>

struct cublasContext {
    cudaStream_t stream;
    void *workspace;
};

cublasStatus_t cublasCreate_v2(cublasHandle_t *out)
{
    *out = calloc(1, sizeof **out);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    handle->workspace = NULL; /* as the real one does */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    handle->workspace = bytes ? workspace : NULL;
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

static double at(const void *m, cudaDataType type, cublasOperation_t op, int ld, int64_t row,
                 int64_t col)
{
    int64_t i = op == CUBLAS_OP_N ? row + col * ld : col + row * ld;
    return type == CUDA_R_16BF ? of_bf16(((const uint16_t *)m)[i]) : ((const float *)m)[i];
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const void *alpha, const void *A, cudaDataType type_a, int lda, long long stride_a,
    const void *B, cudaDataType type_b, int ldb, long long stride_b, const void *beta, void *C,
    cudaDataType type_c, int ldc, long long stride_c, int batch, cublasComputeType_t compute,
    cublasGemmAlgo_t algorithm)
{
    size_t a_size = type_a == CUDA_R_16BF ? 2 : 4, b_size = type_b == CUDA_R_16BF ? 2 : 4;
    (void)compute, (void)algorithm;
    if (!handle->stream || !handle->workspace || type_c != CUDA_R_32F || type_a != type_b)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < m; i++) {
                const char *a_at = (const char *)A + (size_t)(b * stride_a) * a_size;
                const char *b_at = (const char *)B + (size_t)(b * stride_b) * b_size;
                float *c = (float *)C + b * stride_c + i + j * ldc;
                double sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum +=
                        at(a_at, type_a, op_a, lda, i, l) * at(b_at, type_b, op_b, ldb, l, j);
                *c = (float)(*(const float *)alpha * sum +
                             (*(const float *)beta ? *(const float *)beta * *c : 0));
            }
    return CUBLAS_STATUS_SUCCESS;
}
