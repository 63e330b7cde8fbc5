/* SPDX-License-Identifier: BSD-2-Clause
 * square.c: a backend outside deepnet's tree: a shared object with one entry point, loaded by
 * its path. It takes one op, (a x + b)^2 of floats, and declines all others, which go to the
 * next backend of the chain.
 *
 *     cc -shared -fPIC square.c $(pkg-config --cflags deepnet) -o square.so
 *     cc squares.c $(pkg-config --cflags --libs deepnet) -o squares && ./squares ./square.so */
#include <deepnet/sys/backend.h>
#include <string.h>

struct dn_backend {
    const dn_backend_host *host;
};

struct dn_op {
    const dn_backend_host *host;
    int64_t count;
    double a, b; /* y = (a x + b)^2 */
};

static dn_status square_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *backend = host->alloc(host->user, sizeof *backend);
    if (!backend)
        return host->fail(DN_E_NOMEM, "no memory for a backend");
    backend->host = host;
    *out = backend;
    return DN_OK;
}

static void square_close(dn_backend *backend)
{
    backend->host->free(backend->host->user, backend);
}

static dn_status decline(dn_op_info *info, const char *reason)
{
    strncpy(info->reason, reason, sizeof info->reason - 1);
    return DN_DECLINED;
}

static dn_status square_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    if (desc->kind != DN_OP_UNARY || args->fn != DN_FN_POWER || args->c != 2)
        return decline(info, "squares only");
    const dn_operand *x = &desc->inputs[0];
    if (x->dtype != DN_F32 || desc->outputs[0].dtype != DN_F32 ||
        x->layout != DN_LAYOUT_PLAIN || args->base.accumulate)
        return decline(info, "plain floats only");
    dn_op *op = backend->host->alloc(backend->host->user, sizeof *op);
    if (!op)
        return backend->host->fail(DN_E_NOMEM, "no memory for an op");
    *op = (dn_op){.host = backend->host, .count = 1, .a = args->a, .b = args->b};
    for (int32_t i = 0; i < x->shape.axes; i++)
        op->count *= x->shape.dim[i];
    strncpy(info->implementation, "square", sizeof info->implementation - 1);
    *out = op;
    return DN_OK;
}

static dn_status square_run(dn_op *op, const dn_op_io *io)
{
    const float *x = io->in[0];
    float *y = io->out[0];
    for (int64_t i = 0; i < op->count; i++) {
        float v = (float)op->a * x[i] + (float)op->b;
        y[i] = v * v;
    }
    return DN_OK;
}

static void square_destroy(dn_op *op)
{
    if (op)
        op->host->free(op->host->user, op);
}

static void square_describe(dn_backend *backend, char *buffer, size_t size)
{
    (void)backend;
    if (size)
        buffer[0] = 0, strncat(buffer, "an example that squares", size - 1);
}

static const dn_backend_ops square = {.struct_size = sizeof square,
                                      .name = "square",
                                      .space = DN_SPACE_HOST,
                                      .open = square_open,
                                      .close = square_close,
                                      .op_create = square_create,
                                      .op_run = square_run,
                                      .op_destroy = square_destroy,
                                      .describe = square_describe};

__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void);
const dn_backend_ops *dn_backend_entry(void)
{
    return &square;
}
