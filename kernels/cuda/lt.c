/* SPDX-License-Identifier: BSD-2-Clause
 * lt.c: inner products whose bias is added by the product itself, through cuBLASLt, opened at
 * run time: a launch less each. Those with ReLU, and what it has no algorithm for, stay
 * cuBLAS's: of cuBLASLt's own ReLU nothing says that it leaves a NaN one, as Caffe's does. The
 * algorithm is its heuristics' first within the workspace of cuBLAS, chosen when the op is
 * made: so results do not change from run to run, and nothing is looked up while a net runs. */
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include <cublasLt.h>

#include "device.h"

#define SONAME CUDA_SONAME("libcublasLt", CUBLAS_VER_MAJOR)

#define FUNCTIONS(X)                                                                           \
    X(cublasLtCreate)                                                                          \
    X(cublasLtDestroy)                                                                         \
    X(cublasLtMatmulDescCreate)                                                                \
    X(cublasLtMatmulDescDestroy)                                                               \
    X(cublasLtMatmulDescSetAttribute)                                                          \
    X(cublasLtMatrixLayoutCreate)                                                              \
    X(cublasLtMatrixLayoutDestroy)                                                             \
    X(cublasLtMatmulPreferenceCreate)                                                          \
    X(cublasLtMatmulPreferenceDestroy)                                                         \
    X(cublasLtMatmulPreferenceSetAttribute)                                                    \
    X(cublasLtMatmulAlgoGetHeuristic)                                                          \
    X(cublasLtMatmul)

struct cuda_lt {
    void *library;
    cublasLtHandle_t handle;
    FUNCTIONS(CUDA_FIELD)
};

struct cuda_lt_product {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
    bool refused; /* when it was to run */
};

static bool find_functions(cuda_lt *lib)
{
    const cuda_function wanted[] = {FUNCTIONS(CUDA_ROW)};
    return cuda_find(&lib->library, SONAME, wanted, sizeof(wanted) / sizeof(wanted[0]));
}

/* Without it, or where it does not start, all goes on as if it were not there. */
dn_status cuda_lt_open(dn_backend *backend)
{
    const dn_backend_host *host = &backend->host;
    if (!backend->device->blas)
        return DN_OK;
    cuda_lt *lt = host->alloc(host->user, sizeof(*lt));
    if (!lt)
        return host->fail(DN_E_NOMEM, "no memory for cuBLASLt");
    memset(lt, 0, sizeof(*lt));
    backend->device->lt = lt;
    if (!find_functions(lt) || lt->cublasLtCreate(&lt->handle) != CUBLAS_STATUS_SUCCESS) {
        lt->handle = NULL;
        cuda_lt_close(backend);
        cudaGetLastError();
    }
    return DN_OK;
}

void cuda_lt_close(dn_backend *backend)
{
    cuda_lt *lt = backend->device->lt;
    if (!lt)
        return;
    if (lt->handle && !backend->device->gone)
        lt->cublasLtDestroy(lt->handle);
    if (lt->library)
        dlclose(lt->library);
    backend->host.free(backend->host.user, lt);
    backend->device->lt = NULL;
}

/* ---- descriptors ------------------------------------------------------------------------- */

static bool set(const cuda_lt *lt, cublasLtMatmulDesc_t product,
                cublasLtMatmulDescAttributes_t which, const void *value, size_t bytes)
{
    return lt->cublasLtMatmulDescSetAttribute(product, which, value, bytes) ==
           CUBLAS_STATUS_SUCCESS;
}

/* Row-major C = A B is column-major C' = B' A': what runs along its columns is n, as the bias
 * does. */
static bool describe(const cuda_lt *lt, const dn_args_gemm *g, int32_t compute,
                     cuda_lt_product *p)
{
    cublasComputeType_t sums = compute == DN_COMPUTE_BF16   ? CUBLAS_COMPUTE_32F_FAST_16BF
                               : compute == DN_COMPUTE_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                            : CUBLAS_COMPUTE_32F;
    cublasOperation_t op_a = g->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_b = g->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    uint64_t m = (uint64_t)g->m, n = (uint64_t)g->n, k = (uint64_t)g->k;
    return lt->cublasLtMatmulDescCreate(&p->product, sums, CUDA_R_32F) ==
               CUBLAS_STATUS_SUCCESS &&
           set(lt, p->product, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof(op_a)) &&
           set(lt, p->product, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof(op_b)) &&
           set(lt, p->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)) &&
           lt->cublasLtMatrixLayoutCreate(&p->a, CUDA_R_32F, g->trans_b ? k : n,
                                          g->trans_b ? n : k,
                                          g->ldb) == CUBLAS_STATUS_SUCCESS &&
           lt->cublasLtMatrixLayoutCreate(&p->b, CUDA_R_32F, g->trans_a ? m : k,
                                          g->trans_a ? k : m,
                                          g->lda) == CUBLAS_STATUS_SUCCESS &&
           lt->cublasLtMatrixLayoutCreate(&p->c, CUDA_R_32F, n, m, g->ldc) ==
               CUBLAS_STATUS_SUCCESS;
}

/* Its first within the workspace, for memory that is aligned for 16 bytes, as is asked when it
 * runs. */
static bool choose(const dn_backend *backend, cuda_lt_product *p)
{
    const cuda_lt *lt = backend->device->lt;
    const void *some = cuda_blas_workspace(backend); /* a bias, which must be there */
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    const uint32_t bytes = CUDA_LT_ALIGNED;
    const uint64_t most = CUDA_BLAS_WORKSPACE;
    int found = 0;
    bool done = set(lt, p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &some, sizeof(some)) &&
                lt->cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS &&
                lt->cublasLtMatmulPreferenceSetAttribute(
                    preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                    sizeof(most)) == CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; done && i < sizeof(aligned) / sizeof(aligned[0]); i++)
        done = lt->cublasLtMatmulPreferenceSetAttribute(preference, aligned[i], &bytes,
                                                        sizeof(bytes)) == CUBLAS_STATUS_SUCCESS;
    done = done &&
           lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, p->product, p->a, p->b, p->c, p->c,
                                              preference, 1, &result,
                                              &found) == CUBLAS_STATUS_SUCCESS &&
           found == 1 && result.state == CUBLAS_STATUS_SUCCESS;
    if (done)
        p->algorithm = result.algo;
    if (preference)
        lt->cublasLtMatmulPreferenceDestroy(preference);
    return done;
}

/* ---- taking and running ------------------------------------------------------------------ */

static bool suits(const dn_op *op)
{
    const dn_args_gemm *g = &op->args.gemm;
    return g->batch == 1 && g->bias_mode == 1 && g->alpha == 1 && g->m > 0 && g->n > 0 &&
           !cuda_adds(op, 0) && g->activation == DN_FN_NONE;
}

dn_status cuda_lt_take(dn_op *op)
{
    dn_backend *backend = op->backend;
    const cuda_lt *lt = backend->device->lt;
    cuda_visit visit;
    if (!lt || !suits(op))
        return DN_OK;
    cuda_lt_product *p = backend->host.alloc(backend->host.user, sizeof(*p));
    if (!p)
        return backend->host.fail(DN_E_NOMEM, "cuda: no memory for a product");
    memset(p, 0, sizeof(*p));
    op->lt = p;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK &&
        (!describe(lt, &op->args.gemm, op->compute, p) || !choose(backend, p))) {
        cudaGetLastError();
        cuda_lt_drop(op);
    }
    cuda_leave(&visit);
    return status;
}

bool cuda_lt_refused(const dn_op *op)
{
    return op->lt && op->lt->refused;
}

void cuda_lt_drop(dn_op *op)
{
    cuda_lt_product *p = op->lt;
    if (!p)
        return;
    const cuda_lt *lt = op->backend->device->lt;
    if (p->product)
        lt->cublasLtMatmulDescDestroy(p->product);
    if (p->a)
        lt->cublasLtMatrixLayoutDestroy(p->a);
    if (p->b)
        lt->cublasLtMatrixLayoutDestroy(p->b);
    if (p->c)
        lt->cublasLtMatrixLayoutDestroy(p->c);
    op->backend->host.free(op->backend->host.user, p);
    op->lt = NULL;
}

dn_status cuda_lt_run(const dn_op *op, const float *A, const float *B, const float *bias,
                      float *C)
{
    dn_backend *backend = op->backend;
    const cuda_lt *lt = backend->device->lt;
    cuda_lt_product *p = op->lt;
    const float one = 1, none = 0;
    uintptr_t all = (uintptr_t)A | (uintptr_t)B | (uintptr_t)C | (uintptr_t)bias;
    if (p->refused || all % CUDA_LT_ALIGNED ||
        !set(lt, p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)))
        return DN_DECLINED;
    cublasStatus_t status = lt->cublasLtMatmul(
        lt->handle, p->product, &one, B, p->a, A, p->b, &none, C, p->c, C, p->c, &p->algorithm,
        cuda_blas_workspace(backend), CUDA_BLAS_WORKSPACE, backend->stream);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH ||
        status == CUBLAS_STATUS_INVALID_VALUE) {
        cudaGetLastError();
        p->refused = true; /* before anything ran */
        return DN_DECLINED;
    }
    return cuda_blas_check(backend, status, "a product with its bias");
}
