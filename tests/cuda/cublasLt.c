/* SPDX-License-Identifier: BSD-2-Clause
 * cublasLt.c: what the CUDA module calls of cuBLASLt, as loops: column-major as the real one,
 * of f32 with a bias for each row. What it is asked for must be whole: attributes of their
 * size, layouts that fit the product, memory aligned as the preference said, the algorithm that
 * was chosen for this very product. FAKE_LT is "none" (it has no algorithm) or "refuses" (when
 * it is to run). */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "fake_blas.h"

enum { ALIGNED = 16, MAGIC = 0x17E };

/* The test's: products that ran, handles, descriptors that are there. */
__attribute__((visibility("default"))) long fake_lt_runs, fake_lt_live;

typedef struct product {
    cublasComputeType_t compute;
    cublasOperation_t op_a, op_b;
    cublasLtEpilogue_t epilogue;
    const float *bias;
} product;

typedef struct layout {
    int64_t rows, cols, ld;
} layout;

typedef struct preference {
    uint64_t most;
    uint32_t aligned[4];
} preference;

typedef struct call {
    product p;
    int64_t m, n, k, lda, ldb, ldc;
    const float *a, *b;
    float *c;
    void *space;
} call;

static void *make(size_t bytes)
{
    __atomic_add_fetch(&fake_lt_live, 1, __ATOMIC_RELAXED);
    return calloc(1, bytes);
}

static cublasStatus_t let_go(void *it)
{
    if (!it)
        return CUBLAS_STATUS_INVALID_VALUE;
    __atomic_sub_fetch(&fake_lt_live, 1, __ATOMIC_RELAXED);
    free(it);
    return CUBLAS_STATUS_SUCCESS;
}

static bool told(const char *what)
{
    const char *say = getenv("FAKE_LT");
    return say && strcmp(say, what) == 0;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = make(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t it)
{
    return let_go(it);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (scale != CUDA_R_32F ||
        (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32 &&
         compute != CUBLAS_COMPUTE_32F_FAST_16BF))
        return CUBLAS_STATUS_INVALID_VALUE;
    product *p = make(sizeof *p);
    *p = (product){compute, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    *out = (cublasLtMatmulDesc_t)p;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t it)
{
    return let_go(it);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t it,
                                              cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t bytes)
{
    product *p = (product *)it;
    void *to = which == CUBLASLT_MATMUL_DESC_TRANSA         ? (void *)&p->op_a
               : which == CUBLASLT_MATMUL_DESC_TRANSB       ? (void *)&p->op_b
               : which == CUBLASLT_MATMUL_DESC_EPILOGUE     ? (void *)&p->epilogue
               : which == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? (void *)&p->bias
                                                            : NULL;
    size_t size = which == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : 4;
    if (!to || !value || bytes != size)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    if (type != CUDA_R_32F || !rows || !cols || ld < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    layout *l = make(sizeof *l);
    *l = (layout){(int64_t)rows, (int64_t)cols, ld};
    *out = (cublasLtMatrixLayout_t)l;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t it)
{
    return let_go(it);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = make(sizeof(preference));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t it)
{
    return let_go(it);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t it,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void *value, size_t bytes)
{
    preference *p = (preference *)it;
    int operand = (int)which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    if (which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof p->most)
        memcpy(&p->most, value, bytes);
    else if (operand >= 0 && operand < 4 && bytes == sizeof p->aligned[0])
        memcpy(&p->aligned[operand], value, bytes);
    else
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

/* What the descriptors have in common, if they agree. */
static bool product_of(call *c, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t to)
{
    const layout *la = (const layout *)a, *lb = (const layout *)b, *lc = (const layout *)to;
    c->p = *(const product *)desc;
    bool ta = c->p.op_a == CUBLAS_OP_T, tb = c->p.op_b == CUBLAS_OP_T;
    c->m = lc->rows;
    c->n = lc->cols;
    c->k = ta ? la->rows : la->cols;
    c->lda = la->ld;
    c->ldb = lb->ld;
    c->ldc = lc->ld;
    return (ta ? la->cols : la->rows) == c->m && (tb ? lb->cols : lb->rows) == c->k &&
           (tb ? lb->rows : lb->cols) == c->n && c->p.epilogue == CUBLASLT_EPILOGUE_BIAS &&
           c->p.bias && (uintptr_t)c->p.bias % ALIGNED == 0;
}

static cublasLtMatmulAlgo_t algorithm_of(const call *c, uint64_t space)
{
    return (cublasLtMatmulAlgo_t){{MAGIC, (uint64_t)c->m, (uint64_t)c->n, (uint64_t)c->k,
                                   (uint64_t)c->p.op_a, (uint64_t)c->p.op_b,
                                   (uint64_t)c->p.epilogue, space}};
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                               cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                               cublasLtMatmulPreference_t preferred, int wanted,
                               cublasLtMatmulHeuristicResult_t *results, int *found)
{
    const preference *p = (const preference *)preferred;
    call one = {0};
    *found = 0;
    if (!handle || c != d || wanted < 1 || !product_of(&one, desc, a, b, c))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++) /* what it says by itself is 256 */
        if (p->aligned[i] != ALIGNED)
            return CUBLAS_STATUS_NOT_SUPPORTED;
    if (told("none"))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(results, 0, sizeof *results);
    results->algo = algorithm_of(&one, p->most);
    results->workspaceSize = p->most;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static void compute(void *args)
{
    const call *c = args;
    bool ta = c->p.op_a == CUBLAS_OP_T, tb = c->p.op_b == CUBLAS_OP_T;
    int missing = fake_missing(c->p.compute);
    memset(c->space, 0x7E, 4096);
    for (int64_t j = 0; j < c->n; j++)
        for (int64_t i = 0; i < c->m; i++) {
            double sum = 0;
            for (int64_t l = 0; l < c->k; l++)
                sum +=
                    (double)fake_rounded(c->a[ta ? l + i * c->lda : i + l * c->lda], missing) *
                    fake_rounded(c->b[tb ? j + l * c->ldb : l + j * c->ldb], missing);
            c->c[i + j * c->ldc] = (float)sum + c->p.bias[i];
        }
    __atomic_add_fetch(&fake_lt_runs, 1, __ATOMIC_RELAXED);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                              const void *alpha, const void *A, cublasLtMatrixLayout_t a,
                              const void *B, cublasLtMatrixLayout_t b, const void *beta,
                              const void *C, cublasLtMatrixLayout_t c, void *D,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algorithm,
                              void *space, size_t bytes, cudaStream_t stream)
{
    call one = {0};
    uintptr_t all = (uintptr_t)A | (uintptr_t)B | (uintptr_t)D;
    if (!handle || !stream || C != D || c != d || !algorithm || *(const float *)alpha != 1 ||
        *(const float *)beta != 0 || all % ALIGNED || !space || (uintptr_t)space % 256 ||
        !product_of(&one, desc, a, b, c))
        return CUBLAS_STATUS_INVALID_VALUE;
    cublasLtMatmulAlgo_t wanted = algorithm_of(&one, algorithm->data[7]);
    if (memcmp(&wanted, algorithm, sizeof wanted) != 0 || bytes < algorithm->data[7])
        return CUBLAS_STATUS_INVALID_VALUE;
    if (told("refuses"))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const int kind[] = {one.p.op_a,   one.p.op_b,   (int)one.m,   (int)one.n,   (int)one.k,
                        (int)one.lda, (int)one.ldb, (int)one.ldc, one.p.compute};
    if (stream->lost() || !fake_space_is_own(stream, space) ||
        !fake_is_loaded(stream, kind, sizeof kind / sizeof *kind))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    one.a = A;
    one.b = B;
    one.c = D;
    one.space = space;
    fake_do(stream, compute, &one, sizeof one);
    return CUBLAS_STATUS_SUCCESS;
}
