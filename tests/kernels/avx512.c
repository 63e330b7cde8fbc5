/* SPDX-License-Identifier: BSD-2-Clause
 * avx512.c: the fast backend with its widest set of kernels, which avx512.h makes of AVX2: what
 * a machine with AVX-512 plans and computes, on one that lacks it. */
#include "../../kernels/cpu/cpu.h"

extern const dn_backend_ops dn_cpu_backend, dn_cpu_backend_emulated;
extern const cpu_kernels cpu_kernels_emulated;

static dn_status open_emulated(dn_backend **out, const dn_backend_host *host)
{
    dn_status status = dn_cpu_backend.open(out, host);
    if (status == DN_OK && (*out)->isa < CPU_AVX2) { /* nothing to make it of */
        dn_cpu_backend.close(*out);
        *out = NULL;
        return host->fail(DN_E_UNSUPPORTED, "AVX-512 is made of AVX2, which is not here");
    }
    if (status == DN_OK) {
        (*out)->isa = CPU_AVX512;
        (*out)->kernels = &cpu_kernels_emulated;
    }
    return status;
}

static void close_emulated(dn_backend *backend)
{
    dn_cpu_backend.close(backend);
}

static dn_status op_run(dn_op *op, const dn_op_io *io)
{
    return dn_cpu_backend.op_run(op, io);
}

static void describe(dn_backend *backend, char *buffer, size_t size)
{
    dn_cpu_backend.describe(backend, buffer, size);
}

static dn_status op_prepare(dn_op *op, const dn_op_io *io)
{
    return dn_cpu_backend.op_prepare(op, io);
}

const dn_backend_ops dn_cpu_backend_emulated = {.struct_size = sizeof(dn_backend_ops),
                                                .name = "cpu-emulated",
                                                .space = DN_SPACE_HOST,
                                                .open = open_emulated,
                                                .close = close_emulated,
                                                .op_create = cpu_op_create,
                                                .op_run = op_run,
                                                .op_destroy = cpu_op_free,
                                                .describe = describe,
                                                .op_prepare = op_prepare};
