/* SPDX-License-Identifier: BSD-2-Clause
 * update.c: UPDATE, and SUMSQ_ALL for the norm of all gradients. Both move much more memory an
 * element than other ops, so their tasks are smaller; sums are of fixed pieces, in order. */
#include "cpu.h"

#define PIECE       16384 /* elements: half a megabyte is moved for them */
#define LINE        16    /* floats of a cache line: no two tasks write one */
#define MOST_PIECES 256

/* ---- UPDATE ------------------------------------------------------------------------------ */

typedef struct update_part {
    int64_t first, n; /* among the elements of all weights, each in whole lines; how many */
} update_part;

typedef struct update_op {
    dn_op base;
    dn_args_update args;
    int32_t num, own;     /* weights, and outputs of each */
    int64_t piece, total; /* elements of a task, and of all */
    update_part parts[];
} update_op;

typedef struct update_call {
    const update_op *op;
    const dn_op_io *io;
} update_call;

/* Elements [at, at + n) of weight p. */
static void update_some(const update_call *call, int32_t p, int64_t at, int64_t n)
{
    const update_op *op = call->op;
    const dn_args_update *a = &op->args;
    const cpu_kernels *k = op->base.backend->kernels;
    const float *hyper = call->io->in[0], *each = cpu_in(&op->base, call->io, 1);
    float *const *out = (float *const *)call->io->out + p * op->own;
    float rate = hyper[0] * (each ? each[2 * p] : (float)a->lr_mult);
    float decay = each ? each[2 * p + 1] : (float)a->decay, scale = hyper[2] * hyper[3];
    if (a->rule == DN_UPDATE_SGD) {
        const cpu_sgd sgd = {rate, decay, scale, (float)a->momentum, a->l1 != 0};
        k->sgd(&sgd, out[0] + at, out[1] + at, out[2] + at, n);
        return;
    }
    const cpu_rule rule = {.rule = a->rule,
                           .rate = rate,
                           .correction = hyper[1],
                           .scale = scale,
                           .l1 = a->l1 ? decay : 0,
                           .l2 = a->l1 ? 0 : decay,
                           .momentum = (float)a->momentum,
                           .momentum2 = (float)a->momentum2,
                           .delta = (float)a->delta,
                           .rms_decay = (float)a->rms_decay};
    k->rule(&rule, out[0] + at, out[1] + at, out[2] + at, op->own > 3 ? out[3] + at : NULL, n);
}

static void update_task(void *arg, int64_t task, int32_t worker)
{
    const update_call *call = arg;
    const update_op *op = call->op;
    int64_t from = task * op->piece, to = cpu_min(op->total, from + op->piece);
    int32_t p = 0;
    (void)worker;
    while (from >= op->parts[p].first + op->parts[p].n)
        p++;
    for (; p < op->num && op->parts[p].first < to; p++) {
        const update_part *part = &op->parts[p];
        int64_t at = cpu_max(from - part->first, 0);
        update_some(call, p, at, cpu_min(part->n, to - part->first) - at);
    }
}

static dn_status update_run(dn_op *base, const dn_op_io *io)
{
    update_op *op = (update_op *)base;
    update_call call = {op, io};
    cpu_for(base->backend, cpu_ceil(op->total, op->piece), update_task, &call);
    return DN_OK;
}

dn_status cpu_update_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                            dn_op_info *info)
{
    const dn_args_update *args = desc->args;
    int32_t own = args->rule == DN_UPDATE_ADADELTA || args->rule == DN_UPDATE_ADAM ? 4 : 3;
    bool many = cpu_present(desc->inputs, desc->num_inputs, 1);
    int32_t num = many ? desc->num_outputs / own : 1;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->rule < DN_UPDATE_SGD || args->rule > DN_UPDATE_ADAM)
        return cpu_decline(info, "no such rule");
    if (many ? num * own != desc->num_outputs : desc->num_outputs > 4)
        return cpu_decline(info, "more operands than are known");
    for (int32_t i = 0; i < num * own; i++)
        if (!cpu_present(desc->outputs, desc->num_outputs, i))
            return cpu_decline(info, "no history");
    update_op *op =
        cpu_op_new(backend, sizeof *op + (size_t)num * sizeof op->parts[0], update_run, info,
                   args->rule == DN_UPDATE_SGD ? "cpu:sgd" : "cpu:update");
    if (!op)
        return DN_E_NOMEM;
    op->args = *args;
    op->own = own;
    op->num = num;
    for (int32_t p = 0; p < num; p++) {
        op->parts[p] = (update_part){op->total, cpu_count(&desc->outputs[p * own].shape)};
        op->total += cpu_ceil(op->parts[p].n, LINE) * LINE;
    }
    int64_t tasks = cpu_max(1, cpu_min(MOST_PIECES, op->total / PIECE));
    op->piece = cpu_max(1, cpu_ceil(op->total, tasks * LINE)) * LINE;
    *out = &op->base;
    return DN_OK;
}

/* ---- SUMSQ_ALL --------------------------------------------------------------------------- */

typedef struct sumsq_op {
    dn_op base;
    int64_t n[DN_MAX_OPERANDS], first[DN_MAX_OPERANDS + 1]; /* pieces of input i: first[i] on */
    bool add;
} sumsq_op;

typedef struct sumsq_call {
    const sumsq_op *op;
    const dn_op_io *io;
} sumsq_call;

static void sumsq_task(void *arg, int64_t task, int32_t worker)
{
    const sumsq_call *call = arg;
    const sumsq_op *op = call->op;
    int32_t i = 0;
    (void)worker;
    while (task >= op->first[i + 1])
        i++;
    int64_t from = (task - op->first[i]) * PIECE;
    const float *x = (const float *)call->io->in[i] + from;
    ((float *)call->io->scratch)[task] = op->base.backend->kernels->reduce(
        DN_REDUCE_SUMSQ, x, NULL, cpu_min(PIECE, op->n[i] - from));
}

static dn_status sumsq_run(dn_op *base, const dn_op_io *io)
{
    sumsq_op *op = (sumsq_op *)base;
    sumsq_call call = {op, io};
    const float *part = io->scratch;
    float *y = io->out[0];
    double sum = 0;
    int64_t pieces = op->first[base->num_inputs];
    cpu_for(base->backend, pieces, sumsq_task, &call);
    for (int64_t i = 0; i < pieces; i++)
        sum += part[i];
    *y = op->add ? *y + (float)sum : (float)sum;
    return DN_OK;
}

dn_status cpu_sumsq_all_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    sumsq_op *op = cpu_op_new(backend, sizeof *op, sumsq_run, info, "cpu:sumsq");
    if (!op)
        return DN_E_NOMEM;
    op->add = ((const dn_args *)desc->args)->accumulate & 1;
    for (int32_t i = 0; i < desc->num_inputs; i++) {
        op->n[i] = cpu_count(&desc->inputs[i].shape);
        op->first[i + 1] = op->first[i] + cpu_ceil(op->n[i], PIECE);
    }
    info->scratch = cpu_round64((size_t)op->first[desc->num_inputs] * sizeof(float));
    *out = &op->base;
    return DN_OK;
}
