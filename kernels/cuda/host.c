/* SPDX-License-Identifier: BSD-2-Clause
 * host.c: the table of the kernels compiled as plain C: for the checker, which so sees the
 * arithmetic of every kernel where there is no GPU; with two threads, small ops as a chain, as
 * recordings have them. It is not built into the library. */
#include <stdio.h>
#include <string.h>

#include "dnn.h"
#include "grid.cuh"

extern const dn_backend_ops dn_ref_backend, dn_cuda_host_backend;

void cuda_launch(const dn_op *op, cuda_loop loop, const void *args, size_t bytes, int64_t n)
{
    loop(op, args, n);
}

bool cuda_has_blas(const dn_backend *backend)
{
    return false;
}

dn_status cuda_blas_gemm(dn_backend *backend, const dn_args_gemm *a, int32_t compute,
                         const void *A, const void *B, bool narrow, float *C, bool add)
{
    return backend->host.fail(DN_E_INTERNAL, "there is no cuBLAS on the host");
}

dn_status cuda_lt_take(dn_op *op)
{
    return DN_OK;
}

void cuda_lt_drop(dn_op *op)
{
}

bool cuda_lt_refused(const dn_op *op)
{
    return false;
}

dn_status cuda_lt_run(const dn_op *op, const float *A, const float *B, const float *bias,
                      float *C)
{
    return DN_DECLINED;
}

dn_status cuda_dnn_take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y)
{
    return DN_OK;
}

void cuda_dnn_drop(dn_op *op)
{
}

const cuda_dnn_wants *cuda_dnn_wants_of(const dn_op *op)
{
    return NULL;
}

double cuda_dnn_measured(const dn_op *op)
{
    return 0;
}

bool cuda_dnn_refused(const dn_op *op)
{
    return true;
}

dn_status cuda_dnn_run(const dn_op *op, const void *a, const void *b, void *out, bool add,
                       const void *bias, void *space, bool *finished)
{
    return op->backend->host.fail(DN_E_INTERNAL, "there is no cuDNN on the host");
}

static void host_close(dn_backend *backend)
{
    if (!backend)
        return;
    dn_backend_host host = backend->host;
    if (backend->ref)
        dn_ref_backend.close(backend->ref);
    host.free(host.user, backend->fault);
    host.free(host.user, backend->chain);
    host.free(host.user, backend);
}

static dn_status host_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *backend = host->alloc(host->user, sizeof(*backend));
    if (!backend)
        return host->fail(DN_E_NOMEM, "no memory for the backend");
    memset(backend, 0, sizeof(*backend));
    backend->host = *host;
    backend->fault = host->alloc(host->user, sizeof(*backend->fault));
    backend->chain = cuda_chain_make(backend);
    dn_status status = backend->fault && backend->chain
                           ? dn_ref_backend.open(&backend->ref, host)
                           : DN_E_NOMEM;
    if (status != DN_OK) {
        host_close(backend);
        return host->fail(status, "no memory for the backend");
    }
    memset(backend->fault, 0, sizeof(*backend->fault));
    *out = backend;
    return DN_OK;
}

static dn_status host_run(dn_op *op, const dn_op_io *io)
{
    dn_backend *backend = op->backend;
    bool chained = backend->host.num_threads == 2 && cuda_chain_take(backend->chain, op, io);
    dn_status status = chained ? DN_OK : op->kind->run(op, io);
    cuda_chain_run(backend->chain);
    return status ? status : cuda_take_fault(backend);
}

const dn_backend_ops dn_cuda_host_backend = {
    .struct_size = sizeof(dn_backend_ops),
    .name = "cuda-host",
    .space = DN_SPACE_HOST,
    .open = host_open,
    .close = host_close,
    .op_create = cuda_op_create,
    .op_run = host_run,
    .op_destroy = cuda_op_destroy,
};
