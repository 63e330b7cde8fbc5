/* SPDX-License-Identifier: BSD-2-Clause
 * liar.c: a backend that runs ref and then spoils the result in one way. A check that believes
 * it checks nothing. */
#include <math.h>
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
    size_t scratch, keep;
    int32_t num_inputs, prepared;
    uint32_t constant;
    dn_operand in[MOST_OPERANDS], out[MOST_OPERANDS];
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

/* A copy of every constant input. */
static size_t keep_bytes(const dn_op *op)
{
    size_t bytes = 64;
    for (int32_t k = 0; k < op->num_inputs; k++)
        bytes += op->constant >> k & 1 ? operand_bytes(&op->in[k]) : 0;
    return bytes;
}

static dn_status liar_prepare(dn_op *op, const dn_op_io *io)
{
    unsigned char *copy = io->keep;
    for (int32_t k = 0; k < op->num_inputs && !op->prepared; k++)
        if (op->constant >> k & 1) {
            memcpy(copy, io->in[k], operand_bytes(&op->in[k]));
            copy += operand_bytes(&op->in[k]);
        }
    op->prepared = 1;
    if (current == LIE_KEEP)
        ((unsigned char *)io->keep)[op->keep] = 0;
    return DN_OK;
}

/* Runs with the constant inputs of the first op_prepare. */
static dn_status run_stale(dn_op *op, const dn_op_io *io)
{
    void *in[MOST_OPERANDS];
    unsigned char *copy = io->keep;
    for (int32_t k = 0; k < op->num_inputs; k++) {
        in[k] = io->in[k];
        if (!(op->constant >> k & 1))
            continue;
        in[k] = copy;
        copy += operand_bytes(&op->in[k]);
    }
    dn_op_io stale = *io;
    stale.in = in;
    return honest->op_run(op->inner, &stale);
}

static dn_status liar_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    dn_op *op = calloc(1, sizeof(*op));
    op->num_threads = backend->num_threads;
    op->num_outputs = desc->num_outputs;
    op->num_inputs = desc->num_inputs;
    op->constant = desc->constant;
    memcpy(op->in, desc->inputs, (size_t)desc->num_inputs * sizeof(*desc->inputs));
    memcpy(op->out, desc->outputs, (size_t)desc->num_outputs * sizeof(*desc->outputs));
    dn_status status = honest->op_create(backend->inner, desc, &op->inner, info);
    op->scratch = info->scratch;
    info->keep = op->keep = keep_bytes(op);
    if (status != DN_OK)
        free(op);
    else
        *out = op;
    return status;
}

/* A number further from zero; for what is not a number, a number. */
static double other(double value)
{
    return isnan(value) ? 0 : value + (value < 0 ? -1 : 1) + value / 4;
}

static void add_one(int32_t dtype, void *y, int64_t i)
{
    switch (dtype) {
    case DN_F64:
        ((double *)y)[i] = other(((double *)y)[i]);
        break;
    case DN_F32:
        ((float *)y)[i] = (float)other(((float *)y)[i]);
        break;
    case DN_I32:
        ((int32_t *)y)[i] += 1;
        break;
    case DN_I64:
        ((int64_t *)y)[i] += 1;
        break;
    case DN_BF16: {
        uint32_t word = (uint32_t)((uint16_t *)y)[i] << 16;
        float value;
        memcpy(&value, &word, sizeof(value));
        value =
            isnan(value) ? 0 : value + (value < 0 ? -64 : 64); /* bounds are of the largest */
        memcpy(&word, &value, sizeof(word));
        ((uint16_t *)y)[i] = (uint16_t)(word >> 16);
        break;
    }
    default:
        ((uint8_t *)y)[i] ^= 1;
    }
}

static void negate(const dn_operand *operand, void *y)
{
    for (int64_t i = 0; i < operand_count(operand); i++)
        if (operand->dtype == DN_F32)
            ((float *)y)[i] = -((float *)y)[i];
        else if (operand->dtype == DN_BF16)
            ((uint16_t *)y)[i] ^= 0x8000;
        else
            add_one(operand->dtype, y, i);
}

static dn_status liar_run(dn_op *op, const dn_op_io *io)
{
    if (current == LIE_STALE)
        return run_stale(op, io);
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
    case LIE_THREADS: /* the last bit, with two threads only */
        if (op->num_threads == 2)
            y[0] ^= 1;
        break;
    default:
        break;
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
                                       .op_destroy = liar_destroy,
                                       .op_prepare = liar_prepare};
    honest = ref;
    current = lie;
    return &ops;
}
