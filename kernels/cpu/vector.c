/* SPDX-License-Identifier: BSD-2-Clause
 * vector.c: ops that pass once over memory: FILL, ELTWISE, BCAST, DROPOUT. A task is a
 * piece of fixed size; small ops have one. */
#include "cpu.h"

#include "deepnet/sys/random.h"

typedef struct vector_op {
    dn_op base;
    union {
        dn_args_fill fill;
        dn_args_eltwise eltwise;
        dn_args_bcast bcast;
        dn_args_dropout dropout;
    } args;
    void (*body)(void *arg, int64_t task, int32_t worker);
    int64_t n, tasks;
    int32_t inputs;
    bool add;
} vector_op;

typedef struct vector_call {
    const vector_op *op;
    const dn_op_io *io;
} vector_call;

static dn_status vector_run(dn_op *base, const dn_op_io *io)
{
    vector_op *op = (vector_op *)base;
    vector_call call = {op, io};
    cpu_for(base->backend, op->tasks, op->body, &call);
    return DN_OK;
}

static vector_op *new_vector(dn_backend *backend, const dn_op_desc *desc, dn_op_info *info,
                             const char *name, void (*body)(void *, int64_t, int32_t))
{
    vector_op *op = cpu_op_new(backend, sizeof *op, vector_run, info, name);
    if (!op)
        return NULL;
    op->body = body;
    op->n = cpu_count(&desc->outputs[0].shape);
    op->tasks = cpu_tasks_for(op->n);
    op->inputs = desc->num_inputs;
    op->add = ((const dn_args *)desc->args)->accumulate & 1;
    return op;
}

/* ---- FILL -------------------------------------------------------------------------------- */

static void fill_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    float *y = call->io->out[0], value = (float)op->args.fill.value;
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        y[i] = op->add ? y[i] + value : value;
}

dn_status cpu_fill_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    vector_op *op = new_vector(backend, desc, info, "cpu:fill", fill_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.fill = *(const dn_args_fill *)desc->args;
    *out = &op->base;
    return DN_OK;
}

/* ---- ELTWISE ----------------------------------------------------------------------------- */

enum { ELTWISE_BLOCK = 1024 };

/* A block at a time beside the operands: y may be any of the inputs. */
static void eltwise_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    const dn_args_eltwise *a = &op->args.eltwise;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *const *x = (const float *const *)call->io->in;
    bool sum = a->op == DN_ELTWISE_SUM;
    float *y = call->io->out[0], block[ELTWISE_BLOCK];
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    if (op->inputs == 2) {
        ker->eltwise(a->op, y + from, x[0] + from, x[1] + from, (float)a->coeff[0],
                     (float)a->coeff[1], op->add, to - from);
        return;
    }
    for (int64_t i = from; i < to; i += ELTWISE_BLOCK) {
        int64_t n = cpu_min(ELTWISE_BLOCK, to - i);
        ker->axpby(block, x[0] + i, sum ? (float)a->coeff[0] : 1.0f, false, n);
        for (int32_t k = 1; k < op->inputs; k++)
            ker->eltwise(a->op, block, block, x[k] + i, 1.0f, (float)(sum ? a->coeff[k] : 1),
                         false, n);
        ker->axpby(y + i, block, 1.0f, op->add, n);
    }
}

dn_status cpu_eltwise_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    const dn_args_eltwise *args = desc->args;
    int32_t n = desc->num_inputs;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->op != DN_ELTWISE_SUM && args->op != DN_ELTWISE_PROD && args->op != DN_ELTWISE_DIV)
        return cpu_decline(info, "maximum with its mask");
    if (n < 1 || (args->op == DN_ELTWISE_SUM && n > DN_MAX_COEFF) ||
        (args->op == DN_ELTWISE_DIV && n != 2) ||
        cpu_present(desc->outputs, desc->num_outputs, 1))
        return cpu_decline(info, "inputs do not fit the operation");
    for (int32_t i = 0; i < n; i++)
        if (cpu_count(&desc->inputs[i].shape) != cpu_count(&desc->outputs[0].shape))
            return cpu_decline(info, "inputs of different sizes");
    vector_op *op = new_vector(backend, desc, info, "cpu:eltwise", eltwise_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.eltwise = *args;
    *out = &op->base;
    return DN_OK;
}

/* ---- BCAST ------------------------------------------------------------------------------- */

static void bcast_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    const dn_args_bcast *a = &op->args.bcast;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *x = call->io->in[0], *s = call->io->in[1];
    const float *t = a->op == DN_BCAST_MULADD ? call->io->in[2] : NULL;
    float *y = call->io->out[0];
    int64_t from, to, dim = a->inner == 1 ? 1 : a->dim,
                      size = a->inner == 1 ? a->dim : a->inner;
    (void)worker;
    cpu_split(a->outer * dim, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        if (a->inner == 1)
            ker->bcast_row(a->op, y + i * size, x + i * size, s, t, op->add, size);
        else
            ker->bcast(a->op, y + i * size, x + i * size, s[i % dim], t ? t[i % dim] : 0,
                       op->add, size);
    }
}

dn_status cpu_bcast_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    const dn_args_bcast *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->op < DN_BCAST_ADD || args->op > DN_BCAST_MULADD ||
        (args->op == DN_BCAST_MULADD) != cpu_present(desc->inputs, desc->num_inputs, 2))
        return cpu_decline(info, "inputs do not fit the operation");
    vector_op *op = new_vector(backend, desc, info, "cpu:bcast", bcast_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.bcast = *args;
    int64_t rows = args->inner == 1 ? args->outer : args->outer * args->dim;
    op->tasks = cpu_max(1, cpu_min(rows, op->tasks));
    *out = &op->base;
    return DN_OK;
}

/* ---- DROPOUT ----------------------------------------------------------------------------- */

static void dropout_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    const dn_args_dropout *a = &op->args.dropout;
    const int64_t *state = call->io->in[1];
    uint8_t *mask = call->io->out[1];
    const float *x = call->io->in[0];
    float *y = call->io->out[0];
    int64_t from, to;
    (void)worker;
    cpu_split(cpu_ceil(op->n, 4), op->tasks, task, &from, &to);
    for (int64_t block = from; block < to; block++) {
        uint32_t words[4];
        dn_random_block(words, (uint64_t)state[0], a->stream, (uint64_t)state[1],
                        (uint64_t)block);
        for (int64_t i = block * 4; i < cpu_min(op->n, block * 4 + 4); i++)
            mask[i] = dn_random_unit(words[i & 3]) > a->ratio;
    }
    from *= 4;
    to = cpu_min(op->n, to * 4);
    op->base.backend->kernels->scale_mask(y + from, x + from, mask + from, (float)a->scale,
                                          op->add, to - from);
}

static void dropout_bwd_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    op->base.backend->kernels->scale_mask((float *)call->io->out[0] + from,
                                          (const float *)call->io->in[0] + from,
                                          (const uint8_t *)call->io->in[1] + from,
                                          (float)op->args.dropout.scale, op->add, to - from);
}

static dn_status new_dropout(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info, void (*body)(void *, int64_t, int32_t))
{
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    vector_op *op = new_vector(backend, desc, info, "cpu:dropout", body);
    if (!op)
        return DN_E_NOMEM;
    op->args.dropout = *(const dn_args_dropout *)desc->args;
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_dropout_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    return new_dropout(backend, desc, out, info, dropout_task);
}

dn_status cpu_dropout_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    return new_dropout(backend, desc, out, info, dropout_bwd_task);
}
