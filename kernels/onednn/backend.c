/* SPDX-License-Identifier: BSD-2-Clause
 * backend.c: the module's table. What oneDNN has no fast primitive for, or another backend does
 * better, is declined and goes to the next of the chain. */
#include "narrow.h"

#include <stdio.h>
#include <string.h>

dn_status one_decline(dn_op_info *info, const char *reason)
{
    snprintf(info->reason, sizeof info->reason, "%s", reason);
    return DN_DECLINED;
}

void *one_alloc(const dn_backend *backend, size_t count, size_t size)
{
    const dn_backend_host *host = &backend->host;
    size_t bytes = count > SIZE_MAX / 2 / (size ? size : 1) ? 0 : count * size;
    void *memory = bytes || !count ? host->alloc(host->user, bytes ? bytes : 1) : NULL;
    if (!memory) {
        host->fail(DN_E_NOMEM, "out of memory for an operation");
        return NULL;
    }
    return memset(memory, 0, bytes ? bytes : 1);
}

void one_free(const dn_backend *backend, void *ptr)
{
    if (ptr)
        backend->host.free(backend->host.user, ptr);
}

void *one_op_new(dn_backend *backend, size_t size)
{
    dn_op *op = one_alloc(backend, 1, size);
    if (op)
        op->backend = backend;
    return op;
}

void one_op_free(dn_op *op)
{
    if (!op)
        return;
    const dn_backend *backend = op->backend;
    int before = one_enter();
    if (op->release)
        op->release(op);
    one_leave(before);
    one_free(backend, op);
}

dn_status one_result(const dn_backend *backend, dnnl_status_t status, dn_op_info *info)
{
    if (status == dnnl_success)
        return DN_OK;
    if (status == dnnl_out_of_memory)
        return backend->host.fail(DN_E_NOMEM, "out of memory in oneDNN");
    if (!info)
        return backend->host.fail(DN_E_INTERNAL, "oneDNN failed with status %d", (int)status);
    return one_decline(info, "oneDNN has no fast primitive for it");
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct row {
    int32_t kind;
    one_create_fn *create;
} rows[] = {
#ifdef ONE_HAVE_NARROW
    {DN_OP_GEMM, one_few_op},
#endif
    {DN_OP_GEMM, one_gemm_op},
    {DN_OP_CONV, one_conv_op},
    {DN_OP_CONV_BWD_DATA, one_conv_op},
    {DN_OP_CONV_BWD_WEIGHTS, one_points_op},
    {DN_OP_CONV_BWD_WEIGHTS, one_conv_weights_op},
#ifdef ONE_HAVE_NARROW
    {DN_OP_CAST, one_narrow_cast},
    {DN_OP_COPY, one_narrow_copy},
    {DN_OP_UNARY, one_narrow_unary},
    {DN_OP_UNARY_BWD, one_narrow_unary_bwd},
    {DN_OP_ELTWISE, one_narrow_sum},
    {DN_OP_POOL, one_narrow_pool},
    {DN_OP_POOL_BWD, one_narrow_pool},
    {DN_OP_LRN, one_narrow_lrn},
    {DN_OP_LRN_BWD, one_narrow_lrn},
    {DN_OP_NORM_SCALE, one_narrow_norm},
    {DN_OP_NORM_SCALE_BWD, one_narrow_norm_bwd},
#endif
};

static dn_status op_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    dn_status st = one_decline(info, "not an op for oneDNN");
    int before = one_enter();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && st == DN_DECLINED; i++)
        if (rows[i].kind == desc->kind)
            st = rows[i].create(backend, desc, out, info);
    one_leave(before);
    return st;
}

static dn_status op_run(dn_op *op, const dn_op_io *io)
{
    return op->run(op, io);
}

static dn_status op_prepare(dn_op *op, const dn_op_io *io)
{
    return op->prepare ? op->prepare(op, io) : DN_OK;
}

/* ---- open and close ---------------------------------------------------------------------- */

static void close_backend(dn_backend *backend)
{
    if (!backend)
        return;
    for (int32_t i = 0; backend->streams && i < backend->num_streams; i++)
        if (backend->streams[i])
            dnnl_stream_destroy(backend->streams[i]);
    if (backend->engine)
        dnnl_engine_destroy(backend->engine);
    one_free(backend, backend->streams);
    dn_backend_host host = backend->host;
    host.free(host.user, backend);
}

static bool has_isa(dnnl_cpu_isa_t wanted)
{
    return ((int)dnnl_get_effective_cpu_isa() & (int)wanted) == (int)wanted;
}

static dn_status start(dn_backend *backend)
{
    backend->avx512 = has_isa(dnnl_cpu_isa_avx512_core);
    backend->bf16 = has_isa(dnnl_cpu_isa_avx512_core_bf16);
    backend->amx = has_isa(dnnl_cpu_isa_avx512_core_amx);
    backend->num_streams = backend->host.num_threads > 0 ? backend->host.num_threads : 1;
    backend->streams =
        one_alloc(backend, (size_t)backend->num_streams, sizeof *backend->streams);
    if (!backend->streams)
        return DN_E_NOMEM;
    dnnl_status_t st = dnnl_engine_create(&backend->engine, dnnl_cpu, 0);
    for (int32_t i = 0; !st && i < backend->num_streams; i++)
        st = dnnl_stream_create(&backend->streams[i], backend->engine,
                                dnnl_stream_default_flags);
    return one_result(backend, st, NULL);
}

static dn_status open_backend(dn_backend **out, const dn_backend_host *host)
{
    if (dnnl_version()->major != DNNL_VERSION_MAJOR || !one_threads_fit())
        return host->fail(DN_E_UNSUPPORTED,
                          "this oneDNN (%d.%d, runtime %u) is neither "
                          "sequential nor built on OpenMP, or not version %d",
                          dnnl_version()->major, dnnl_version()->minor,
                          dnnl_version()->cpu_runtime, DNNL_VERSION_MAJOR);
    dn_backend *backend = host->alloc(host->user, sizeof *backend);
    if (!backend)
        return host->fail(DN_E_NOMEM, "out of memory for the onednn backend");
    *backend = (dn_backend){.host = *host};
    int before = one_enter();
    dn_status st = start(backend);
    if (st)
        close_backend(backend);
    else
        *out = backend;
    one_leave(before);
    return st;
}

static void describe(dn_backend *backend, char *buffer, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(buffer, size, "oneDNN %d.%d.%d, %s, %d threads", version->major, version->minor,
             version->patch,
             backend->amx      ? "AMX"
             : backend->bf16   ? "AVX-512 with bf16"
             : backend->avx512 ? "AVX-512"
                               : "no AVX-512",
             (int)backend->host.num_threads);
}

static const dn_backend_ops table = {.struct_size = sizeof table,
                                     .name = "onednn",
                                     .space = DN_SPACE_HOST,
                                     .open = open_backend,
                                     .close = close_backend,
                                     .op_create = op_create,
                                     .op_run = op_run,
                                     .op_destroy = one_op_free,
                                     .describe = describe,
                                     .op_prepare = op_prepare};

const dn_backend_ops *dn_backend_entry(void);

__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void)
{
    return &table;
}
