/* SPDX-License-Identifier: BSD-2-Clause
 * no_dnn.c: dnn.c's part where there are no headers of cuDNN to build it with: no convolution
 * is taken. */
#include <stdio.h>

#include "device.h"
#include "dnn.h"

dn_status cuda_dnn_open(dn_backend *backend)
{
    (void)backend;
    return DN_OK;
}

void cuda_dnn_close(dn_backend *backend)
{
    (void)backend;
}

dn_status cuda_dnn_follow(dn_backend *backend)
{
    (void)backend;
    return DN_OK;
}

void cuda_dnn_describe(const dn_backend *backend, char *buffer, size_t size)
{
    (void)backend;
    snprintf(buffer, size, "built without cuDNN");
}

dn_status cuda_dnn_take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y)
{
    (void)op, (void)which, (void)x, (void)y;
    return DN_OK;
}

void cuda_dnn_drop(dn_op *op)
{
    (void)op;
}

double cuda_dnn_measured(const dn_op *op)
{
    (void)op;
    return 0;
}

const cuda_dnn_wants *cuda_dnn_wants_of(const dn_op *op)
{
    (void)op;
    return NULL;
}

bool cuda_dnn_refused(const dn_op *op)
{
    (void)op;
    return true;
}

dn_status cuda_dnn_run(const dn_op *op, const void *a, const void *b, void *out, bool add,
                       const void *bias, void *space, bool *finished)
{
    (void)a, (void)b, (void)out, (void)add, (void)bias, (void)space, (void)finished;
    return op->backend->host.fail(DN_E_INTERNAL, "there is no cuDNN");
}
