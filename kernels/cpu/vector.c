/* SPDX-License-Identifier: BSD-2-Clause
 * vector.c: ops that pass once over memory: FILL, ELTWISE, SELECT, BCAST,
 * DROPOUT. A task is a
 * piece of fixed size; small ops have one. */
#include "cpu.h"

#include <math.h>
#include <string.h>

#include "deepnet/sys/random.h"

typedef struct vector_op {
    dn_op base;
    union {
        dn_args_fill fill;
        dn_args_eltwise eltwise;
        dn_args_select select;
        dn_args_bcast bcast;
        dn_args_dropout dropout;
    } args;
    void (*body)(void *arg, int64_t task, int32_t worker);
    int64_t n, tasks;
    int32_t inputs;
    bool add, masked, draws;
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

static CPU_COLD vector_op *new_vector(dn_backend *backend, const dn_op_desc *desc,
                                      dn_op_info *info, const char *name,
                                      void (*body)(void *, int64_t, int32_t))
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
    for (int64_t i = from; op->add && i < to; i++)
        y[i] += value;
    for (int64_t i = op->add ? to : from; i < to; i++)
        y[i] = value;
}

CPU_COLD dn_status cpu_fill_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
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
    if (op->inputs == 2 && a->op != DN_ELTWISE_MAX) {
        ker->eltwise(a->op, y + from, x[0] + from, x[1] + from, (float)a->coeff[0],
                     (float)a->coeff[1], op->add, to - from);
        return;
    }
    for (int64_t i = from; i < to; i += ELTWISE_BLOCK) {
        int64_t n = cpu_min(ELTWISE_BLOCK, to - i);
        int32_t *mask = op->masked ? (int32_t *)call->io->out[1] + i : NULL;
        if (mask)
            memset(mask, 0, (size_t)n * sizeof(int32_t));
        ker->axpby(block, x[0] + i, sum ? (float)a->coeff[0] : 1.0f, false, n);
        for (int32_t k = 1; k < op->inputs; k++)
            if (a->op == DN_ELTWISE_MAX) /* Caffe's ties: input 1 beats an equal input 0 */
                ker->pick(block, mask, x[k] + i, k, k == 1, n);
            else
                ker->eltwise(a->op, block, block, x[k] + i, 1.0f,
                             (float)(sum ? a->coeff[k] : 1), false, n);
        ker->axpby(y + i, block, 1.0f, op->add, n);
    }
}

CPU_COLD dn_status cpu_eltwise_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                      dn_op_info *info)
{
    const dn_args_eltwise *args = desc->args;
    int32_t n = desc->num_inputs;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    bool masked = cpu_present(desc->outputs, desc->num_outputs, 1);
    if (args->op < DN_ELTWISE_SUM || args->op > DN_ELTWISE_DIV || n < 1 ||
        (args->op == DN_ELTWISE_SUM && n > DN_MAX_COEFF) ||
        (args->op == DN_ELTWISE_DIV && n != 2) || (masked && args->op != DN_ELTWISE_MAX))
        return cpu_decline(info, "inputs do not fit the operation");
    for (int32_t i = 0; i < n; i++)
        if (cpu_count(&desc->inputs[i].shape) != cpu_count(&desc->outputs[0].shape))
            return cpu_decline(info, "inputs of different sizes");
    vector_op *op = new_vector(backend, desc, info, "cpu:eltwise", eltwise_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.eltwise = *args;
    op->masked = masked;
    *out = &op->base;
    return DN_OK;
}

/* ---- SELECT ------------------------------------------------------------------------------ */

static void select_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    const vector_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    op->base.backend->kernels->select(
        (float *)call->io->out[0] + from, (const float *)call->io->in[0] + from,
        (const int32_t *)call->io->in[1] + from, op->args.select.index, op->add, to - from);
}

CPU_COLD dn_status cpu_select_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                     dn_op_info *info)
{
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    vector_op *op = new_vector(backend, desc, info, "cpu:select", select_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.select = *(const dn_args_select *)desc->args;
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
    const cpu_unary f = {.fn = a->activation, .a = (float)a->activation_a};
    bool flat = a->inner == 1;
    int64_t from, to, size = flat ? a->dim : a->inner;
    int64_t rows = flat ? a->outer : a->outer * a->dim;
    int64_t set = a->sets > 1 ? rows / a->sets : rows;
    (void)worker;
    cpu_split(rows, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t at = i * size, j = i / set * a->dim + (flat ? 0 : i % a->dim);
        if (flat)
            ker->bcast_row(a->op, y + at, x + at, s + j, t ? t + j : NULL, op->add, size);
        else
            ker->bcast(a->op, y + at, x + at, s[j], t ? t[j] : 0, op->add, size);
        if (f.fn != DN_FN_NONE)
            ker->unary(&f, y + at, y + at, false, size);
    }
}

CPU_COLD dn_status cpu_bcast_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                    dn_op_info *info)
{
    const dn_args_bcast *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->op < DN_BCAST_ADD || args->op > DN_BCAST_MULADD ||
        (args->op == DN_BCAST_MULADD) != cpu_present(desc->inputs, desc->num_inputs, 2) ||
        args->activation < 0 || args->activation >= DN_FN_END ||
        (args->sets > 1 && args->outer % args->sets))
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

enum { RANDOM_BLOCKS = 256 };

/* y (+)= x mask scale from element i on; mask is drawn first if there is a state. */
static void dropout_block(const vector_call *call, int64_t i, int64_t n)
{
    const vector_op *op = call->op;
    const dn_args_dropout *a = &op->args.dropout;
    const cpu_kernels *ker = op->base.backend->kernels;
    const int64_t *state = op->draws ? call->io->in[1] : NULL;
    uint8_t *mask = (uint8_t *)(state ? call->io->out[1] : call->io->in[1]) + i;
    float factor[4 * RANDOM_BLOCKS], scale = (float)a->scale;
    if (state) {
        uint32_t words[4 * (RANDOM_BLOCKS + 8)];
        /* u > ratio where u = k / 2^24 */
        int32_t limit = (int32_t)fmax(-1, fmin(0x1p24, floor(a->ratio * 0x1p24)));
        ker->random(words, dn_random_key((uint64_t)state[0], (uint64_t)state[1]), a->stream,
                    (uint64_t)i / 4, cpu_ceil(n, 4));
        for (int64_t j = 0; j < n; j++)
            mask[j] = (int32_t)(words[j] >> 8) > limit;
    }
    for (int64_t j = 0; j < n; j++)
        factor[j] = (float)mask[j] * scale;
    ker->eltwise(DN_ELTWISE_PROD, (float *)call->io->out[0] + i,
                 (const float *)call->io->in[0] + i, factor, 1, 1, op->add, n);
}

static void dropout_task(void *arg, int64_t task, int32_t worker)
{
    const vector_call *call = arg;
    int64_t from, to, n = call->op->n;
    (void)worker;
    cpu_split(cpu_ceil(n, 4 * RANDOM_BLOCKS), call->op->tasks, task, &from, &to);
    for (int64_t i = from * 4 * RANDOM_BLOCKS; i < cpu_min(n, to * 4 * RANDOM_BLOCKS);
         i += 4 * RANDOM_BLOCKS)
        dropout_block(call, i, cpu_min(4 * RANDOM_BLOCKS, n - i));
}

CPU_COLD dn_status cpu_dropout_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                      dn_op_info *info)
{
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    vector_op *op = new_vector(backend, desc, info, "cpu:dropout", dropout_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.dropout = *(const dn_args_dropout *)desc->args;
    op->draws = desc->kind == DN_OP_DROPOUT;
    *out = &op->base;
    return DN_OK;
}
