/* SPDX-License-Identifier: BSD-2-Clause
 * liar.c: a backend that runs ref and then spoils the result in one way. A check that believes
 * it checks nothing. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const dn_backend_ops *honest;
static int current;

struct dn_backend {
    dn_backend *inner;
    int32_t num_threads;
};

struct dn_op {
    dn_op *inner;
    int32_t num_threads, num_outputs;
    size_t scratch;
    dn_operand out[DN_MAX_OPERANDS];
};

static dn_status liar_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *backend = malloc(sizeof(*backend));
    backend->num_threads = host->num_threads;
    dn_status status = honest->open(&backend->inner, host);
    if (status != DN_OK)
        free(backend);
    else
        *out = backend;
    return status;
}

static void liar_close(dn_backend *backend)
{
    honest->close(backend->inner);
    free(backend);
}

static dn_status liar_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    dn_op *op = calloc(1, sizeof(*op));
    op->num_threads = backend->num_threads;
    op->num_outputs = desc->num_outputs;
    memcpy(op->out, desc->outputs, (size_t)desc->num_outputs * sizeof(*desc->outputs));
    dn_status status = honest->op_create(backend->inner, desc, &op->inner, info);
    op->scratch = info->scratch;
    if (status != DN_OK)
        free(op);
    else
        *out = op;
    return status;
}

static void add_one(int32_t dtype, void *y, int64_t i)
{
    switch (dtype) {
    case DN_F64:
        ((double *)y)[i] += 1 + ((double *)y)[i] / 4;
        break;
    case DN_F32:
        ((float *)y)[i] += 1 + ((float *)y)[i] / 4;
        break;
    case DN_I32:
        ((int32_t *)y)[i] += 1;
        break;
    case DN_I64:
        ((int64_t *)y)[i] += 1;
        break;
    case DN_BF16:
        ((uint16_t *)y)[i] ^= 1;
        break;
    default:
        ((uint8_t *)y)[i] ^= 1;
    }
}

static void negate(const dn_operand *operand, void *y)
{
    for (int64_t i = 0; i < operand_count(operand); i++)
        if (operand->dtype == DN_F32)
            ((float *)y)[i] = -((float *)y)[i];
        else
            add_one(operand->dtype, y, i);
}

static dn_status liar_run(dn_op *op, const dn_op_io *io)
{
    dn_status status = honest->op_run(op->inner, io);
    int32_t k = 0;
    while (k < op->num_outputs && (op->out[k].dtype < 0 || operand_count(&op->out[k]) == 0))
        k++;
    if (status != DN_OK || k == op->num_outputs)
        return status;
    unsigned char *y = io->out[k];
    int64_t last = operand_count(&op->out[k]) - 1;
    switch (current) {
    case LIE_NEGATED:
        negate(&op->out[k], y);
        break;
    case LIE_OFF_BY_ONE:
        add_one(op->out[k].dtype, y, last);
        break;
    case LIE_OVERRUN:
        y[operand_bytes(&op->out[k])] ^= 1;
        break;
    case LIE_SCRATCH:
        ((unsigned char *)io->scratch)[op->scratch] ^= 1;
        break;
    default: /* the last bit, with two threads only */
        if (op->num_threads == 2)
            y[0] ^= 1;
    }
    return status;
}

static void liar_destroy(dn_op *op)
{
    honest->op_destroy(op->inner);
    free(op);
}

const dn_backend_ops *liar(const dn_backend_ops *ref, int lie)
{
    static const dn_backend_ops ops = {.struct_size = sizeof(ops),
                                       .name = "liar",
                                       .open = liar_open,
                                       .close = liar_close,
                                       .op_create = liar_create,
                                       .op_run = liar_run,
                                       .op_destroy = liar_destroy};
    honest = ref;
    current = lie;
    return &ops;
}
