/* SPDX-License-Identifier: BSD-2-Clause
 * module.c: the table of the CUDA module, and its one symbol. Everything runs in one stream in
 * the order it was asked for, but for what a recording does beside it (lanes.c); only copy_out
 * and synchronise wait. */
#include <stdio.h>
#include <string.h>

#include "device.h"

extern const dn_backend_ops dn_ref_backend;
const dn_backend_ops *dn_backend_entry(void);

static void module_close(dn_backend *backend)
{
    if (!backend)
        return;
    dn_backend_host host = backend->host;
    cuda_device_close(backend);
    if (backend->ref)
        dn_ref_backend.close(backend->ref);
    cuda_tape_free(backend);
    host.free(host.user, backend->chain);
    host.free(host.user, backend);
}

static dn_status module_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *backend = host->alloc(host->user, sizeof(*backend));
    if (!backend)
        return host->fail(DN_E_NOMEM, "no memory for the backend");
    memset(backend, 0, sizeof(*backend));
    memcpy(&backend->host, host,
           host->struct_size < sizeof(*host) ? host->struct_size : sizeof(*host));
    dn_status status = cuda_device_open(backend);
    if (status == DN_OK)
        status = dn_ref_backend.open(&backend->ref, &backend->host);
    backend->chain = status ? NULL : cuda_chain_make(backend);
    backend->tape = status ? NULL : cuda_tape_make(backend);
    if (status == DN_OK && (!backend->chain || !backend->tape))
        status = host->fail(DN_E_NOMEM, "no memory for the backend");
    if (status != DN_OK) {
        module_close(backend);
        return status;
    }
    *out = backend;
    return DN_OK;
}

/* A launch that was refused says so afterwards. Libraries may still be in a stream that was
 * recorded: they come to ours first. */
static dn_status launch(dn_op *op, const dn_op_io *io,
                        dn_status (*what)(const dn_op *, const dn_op_io *))
{
    dn_backend *backend = op->backend;
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_use_stream(backend, backend->stream);
    if (status == DN_OK)
        status = what(op, io);
    if (status == DN_OK)
        status = cuda_check(backend, cudaGetLastError(), op->kind->name);
    cuda_leave(&visit);
    return status;
}

static dn_status module_run(dn_op *op, const dn_op_io *io)
{
    return op->backend->recording ? cuda_tape_note(op, io) : launch(op, io, op->kind->run);
}

static dn_status module_prepare(dn_op *op, const dn_op_io *io)
{
    return op->keep ? launch(op, io, op->kind->pack) : DN_OK;
}

/* ---- memory ------------------------------------------------------------------------------ */

static dn_status module_alloc(dn_backend *backend, size_t bytes, void **out)
{
    cuda_visit visit;
    void *ptr = NULL;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_alloc(backend, &ptr, bytes, "");
    cuda_leave(&visit);
    if (status == DN_OK)
        *out = ptr;
    return status;
}

static void module_free(dn_backend *backend, void *ptr)
{
    cuda_visit visit;
    if (!ptr || cuda_enter(backend, &visit) != DN_OK)
        return;
    if (cudaFree(ptr) != cudaSuccess)
        cudaGetLastError(); /* no later launch's fault */
    atomic_store(&backend->device->no_slots, false);
    atomic_store(&backend->device->no_stages, false);
    cuda_leave(&visit);
}

dn_status cuda_wait(dn_backend *backend)
{
    dn_status status =
        cuda_check(backend, cudaStreamSynchronize(backend->stream), "waiting for the device");
    return status ? status : cuda_take_fault(backend);
}

static dn_status module_synchronise(dn_backend *backend)
{
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_wait(backend);
    cuda_leave(&visit);
    return status;
}

static dn_status module_zero(dn_backend *backend, void *device, size_t bytes)
{
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_check(backend, cudaMemsetAsync(device, 0, bytes, backend->stream),
                            "clearing device memory");
    cuda_leave(&visit);
    return status;
}

/* ---- recordings --------------------------------------------------------------------------
 * Made in a stream of our own, whatever the host's is (the legacy one cannot be recorded). */

/* Back to where ops run by themselves, after what ended so: of two failures the later one,
 * whose words are kept. */
static dn_status use_given_stream(dn_backend *backend, dn_status status)
{
    void *given = backend->host.stream ? backend->host.stream : backend->device->own;
    dn_status back = cuda_use_stream(backend, given);
    return back ? back : status;
}

static dn_status module_capture_begin(dn_backend *backend)
{
    cuda_tape_begin(backend);
    backend->recording = true;
    return DN_OK;
}

static dn_status module_capture_end(dn_backend *backend, void **recording)
{
    cuda_visit visit;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    dn_status status = cuda_enter(backend, &visit);
    backend->recording = false;
    if (status == DN_OK)
        status = use_given_stream(backend, cuda_tape_capture(backend, &graph));
    if (status == DN_OK)
        status =
            cuda_check(backend, cudaGraphInstantiate(&exec, graph, 0), "preparing a recording");
    if (graph)
        cudaGraphDestroy(graph);
    cuda_leave(&visit);
    if (status == DN_OK) {
        *recording = exec;
        backend->device->recordings++;
    }
    return status;
}

static dn_status module_replay(dn_backend *backend, void *recording)
{
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_check(backend, cudaGraphLaunch(recording, backend->stream),
                            "replaying a recording");
    cuda_leave(&visit);
    return status;
}

static void module_recording_free(dn_backend *backend, void *recording)
{
    cuda_visit visit;
    if (!recording || cuda_enter(backend, &visit) != DN_OK)
        return;
    cudaGraphExecDestroy(recording);
    backend->device->recordings--;
    cuda_leave(&visit);
}

static void module_describe(dn_backend *backend, char *buffer, size_t size)
{
    const struct cudaDeviceProp *p = &backend->device->properties;
    char blas[32], dnn[32];
    cuda_blas_describe(backend, blas, sizeof(blas));
    cuda_dnn_describe(backend, dnn, sizeof(dnn));
    snprintf(buffer, size, "%.48s, %zu MiB, compute capability %d.%d, CUDA %d.%d, %s, %s",
             p->name, p->totalGlobalMem >> 20, p->major, p->minor, CUDART_VERSION / 1000,
             CUDART_VERSION % 1000 / 10, blas, dnn);
}

static const dn_backend_ops table = {
    .struct_size = sizeof(dn_backend_ops),
    .name = "cuda",
    .space = DN_SPACE_DEVICE,
    .open = module_open,
    .close = module_close,
    .op_create = cuda_op_create,
    .op_run = module_run,
    .op_destroy = cuda_op_destroy,
    .mem_alloc = module_alloc,
    .mem_free = module_free,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .synchronise = module_synchronise,
    .capture_begin = module_capture_begin,
    .capture_end = module_capture_end,
    .replay = module_replay,
    .recording_free = module_recording_free,
    .describe = module_describe,
    .op_prepare = module_prepare,
    .mem_zero = module_zero,
    .comm_create = cuda_comm_create,
    .comm_mean = cuda_comm_mean,
    .comm_wait = cuda_comm_wait,
    .comm_free = cuda_comm_free,
    .op_describe = cuda_op_describe,
    .copy_out_soon = cuda_copy_out_soon,
};

__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void)
{
    return &table;
}
