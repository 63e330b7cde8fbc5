/* SPDX-License-Identifier: BSD-2-Clause
 * blas.c: cuBLAS, opened at run time: the module loads and multiplies without it. One workspace
 * a stream, the library's own size, so that captured steps may be replayed and results do not
 * change from run to run. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "device.h"

struct cuda_blas {
    void *library, *workspace;
    cublasHandle_t handle;
    int version;
    cublasStatus_t (*create)(cublasHandle_t *);
    cublasStatus_t (*destroy)(cublasHandle_t);
    cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    cublasStatus_t (*set_atomics)(cublasHandle_t, cublasAtomicsMode_t);
    cublasStatus_t (*get_version)(cublasHandle_t, int *);
    const char *(*status_text)(cublasStatus_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int,
                           const void *, const void *, cudaDataType, int, const void *,
                           cudaDataType, int, const void *, void *, cudaDataType, int,
                           cublasComputeType_t, cublasGemmAlgo_t);
    cublasStatus_t (*batch)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int,
                            const void *, const void *, cudaDataType, int, long long,
                            const void *, cudaDataType, int, long long, const void *, void *,
                            cudaDataType, int, long long, int, cublasComputeType_t,
                            cublasGemmAlgo_t);
};

#define SONAME CUDA_SONAME("libcublas", CUBLAS_VER_MAJOR)

static bool find_functions(cuda_blas *b)
{
    const cuda_function wanted[] = {
        {"cublasCreate_v2", &b->create},           {"cublasDestroy_v2", &b->destroy},
        {"cublasSetStream_v2", &b->set_stream},    {"cublasSetWorkspace_v2", &b->set_workspace},
        {"cublasGetVersion_v2", &b->get_version},  {"cublasGetStatusString", &b->status_text},
        {"cublasSetAtomicsMode", &b->set_atomics}, {"cublasGemmEx", &b->gemm},
        {"cublasGemmStridedBatchedEx", &b->batch}};
    return cuda_find(&b->library, SONAME, wanted, sizeof(wanted) / sizeof(wanted[0]));
}

dn_status cuda_blas_check(dn_backend *backend, cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return DN_OK;
    char lost[CUDA_WORDS];
    return backend->host.fail(
        status == CUBLAS_STATUS_ALLOC_FAILED ? DN_E_NOMEM : DN_E_DEVICE, "cuBLAS: %s: %s%s",
        what, backend->device->blas->status_text(status), cuda_lost_words(backend, lost));
}

/* Another stream takes the workspace away. */
dn_status cuda_blas_follow(dn_backend *backend)
{
    const cuda_blas *b = backend->device->blas;
    if (!b)
        return DN_OK;
    dn_status status =
        cuda_blas_check(backend, b->set_stream(b->handle, backend->stream), "its stream");
    return status ? status
                  : cuda_blas_check(backend,
                                    b->set_workspace(b->handle, cuda_blas_workspace(backend),
                                                     CUDA_BLAS_WORKSPACE),
                                    "its workspace");
}

static dn_status set_up(dn_backend *backend, cuda_blas *b)
{
    dn_status status = cuda_blas_check(backend, b->create(&b->handle), "opening");
    if (status == DN_OK)
        status = cuda_alloc(backend, &b->workspace, CUDA_BLAS_WORKSPACE, " for cuBLAS");
    if (status == DN_OK && backend->host.allow_nondeterministic)
        status = cuda_blas_check(backend, b->set_atomics(b->handle, CUBLAS_ATOMICS_ALLOWED),
                                 "its atomics");
    if (status == DN_OK)
        status = cuda_blas_follow(backend);
    if (status == DN_OK)
        status =
            cuda_blas_check(backend, b->get_version(b->handle, &b->version), "its version");
    return status;
}

dn_status cuda_blas_open(dn_backend *backend)
{
    const dn_backend_host *host = &backend->host;
    cuda_blas *b = host->alloc(host->user, sizeof(*b));
    if (!b)
        return host->fail(DN_E_NOMEM, "no memory for cuBLAS");
    memset(b, 0, sizeof(*b));
    backend->device->blas = b;
    if (find_functions(b))
        return set_up(backend, b);
    cuda_blas_close(backend);
    return DN_OK;
}

void cuda_blas_close(dn_backend *backend)
{
    cuda_blas *b = backend->device->blas;
    if (!b)
        return;
    if (!backend->device->gone) {
        if (b->handle)
            b->destroy(b->handle);
        cudaFree(b->workspace);
    }
    if (b->library)
        dlclose(b->library);
    backend->host.free(backend->host.user, b);
    backend->device->blas = NULL;
}

void cuda_blas_describe(const dn_backend *backend, char *buffer, size_t size)
{
    const cuda_blas *b = backend->device->blas;
    if (b)
        snprintf(buffer, size, "cuBLAS %d.%d", b->version / 10000, b->version / 100 % 100);
    else
        snprintf(buffer, size, "no cuBLAS");
}

void *cuda_blas_workspace(const dn_backend *backend)
{
    const cuda_device *d = backend->device;
    return d->side && backend->stream == d->side ? d->side_workspace : d->blas->workspace;
}

bool cuda_has_blas(const dn_backend *backend)
{
    return backend->device->blas != NULL;
}

static cublasComputeType_t compute_of(int32_t compute)
{
    return compute == DN_COMPUTE_BF16   ? CUBLAS_COMPUTE_32F_FAST_16BF
           : compute == DN_COMPUTE_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                        : CUBLAS_COMPUTE_32F;
}

/* Row-major C = A B is column-major C' = B' A'. One product is none of a batch, which may not
 * be cut along k: inner products of few rows, and gradients of 1 x 1 weights, have few tiles.
 */
dn_status cuda_blas_gemm(dn_backend *backend, const dn_args_gemm *a, int32_t compute,
                         const void *A, const void *B, bool narrow, float *C, bool add)
{
    const cuda_blas *b = backend->device->blas;
    float alpha = (float)a->alpha, beta = add ? 1 : 0;
    cudaDataType type = narrow ? CUDA_R_16BF : CUDA_R_32F;
    cublasComputeType_t sums = narrow ? CUBLAS_COMPUTE_32F : compute_of(compute);
    cublasOperation_t op_a = a->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_b = a->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    if (a->m == 0 || a->n == 0 || a->batch == 0)
        return DN_OK;
    int m = (int)a->m, n = (int)a->n, k = (int)a->k;
    int lda = (int)a->lda, ldb = (int)a->ldb, ldc = (int)a->ldc;
    cublasStatus_t done =
        a->batch == 1 ? b->gemm(b->handle, op_b, op_a, n, m, k, &alpha, B, type, ldb, A, type,
                                lda, &beta, C, CUDA_R_32F, ldc, sums, CUBLAS_GEMM_DEFAULT)
                      : b->batch(b->handle, op_b, op_a, n, m, k, &alpha, B, type, ldb,
                                 a->stride_b, A, type, lda, a->stride_a, &beta, C, CUDA_R_32F,
                                 ldc, a->stride_c, (int)a->batch, sums, CUBLAS_GEMM_DEFAULT);
    return cuda_blas_check(backend, done, "a matrix product");
}
