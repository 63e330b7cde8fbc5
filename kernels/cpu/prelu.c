/* SPDX-License-Identifier: BSD-2-Clause
 * prelu.c: PRELU, forward and backward. Planes with a slope each (one slope for all: pieces of
 * fixed size), or rows of channels. Gradients of slopes are summed by plane, or by band of
 * rows, and then in order. */
#include "cpu.h"

#include <string.h>

enum { PIECE = 4096, MAX_BANDS = 64 };

typedef struct prelu_op {
    dn_op base;
    int64_t count, units, size, tasks; /* units: planes or rows of `size` elements */
    int64_t slopes;
    bool rows, add, add_slope;
} prelu_op;

typedef struct prelu_call {
    const prelu_op *op;
    const float *x, *slope, *dy;
    float *y, *sums; /* y: dx or NULL */
} prelu_call;

static void row(const prelu_call *call, int64_t at, float *sums)
{
    const prelu_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *x = call->x + at, *dy = call->dy ? call->dy + at : x;
    if (sums)
        ker->bcast_row(CPU_BCAST_PRELU_SLOPE, sums, dy, dy, x, true, op->size);
    if (call->y)
        ker->bcast_row(CPU_BCAST_PRELU, call->y + at, dy, call->slope, x, op->add, op->size);
}

static void plane(const prelu_call *call, int64_t i, float *sums)
{
    const prelu_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at = i * op->size, n = cpu_min(op->size, op->count - at);
    const cpu_unary relu = {.fn = DN_FN_RELU, .a = call->slope[i % op->slopes]};
    if (sums)
        sums[i] = ker->reduce(CPU_REDUCE_PRELU, call->x + at, call->dy + at, n);
    if (!call->y)
        return;
    if (call->dy)
        ker->unary_bwd(&relu, call->y + at, call->dy + at, call->x + at, false, op->add, n);
    else
        ker->unary(&relu, call->y + at, call->x + at, op->add, n);
}

static void prelu_task(void *arg, int64_t task, int32_t worker)
{
    const prelu_call *call = arg;
    const prelu_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->units, op->tasks, task, &from, &to);
    float *band = call->sums && op->rows ? call->sums + task * op->size : NULL;
    if (band)
        memset(band, 0, (size_t)op->size * sizeof(float));
    for (int64_t i = from; i < to; i++)
        if (op->rows)
            row(call, i * op->size, band);
        else
            plane(call, i, call->sums);
}

static dn_status prelu_run(dn_op *base, const dn_op_io *io)
{
    prelu_op *op = (prelu_op *)base;
    prelu_call call = {op, io->in[0], io->in[1], NULL, io->out[0], NULL};
    cpu_for(base->backend, op->tasks, prelu_task, &call);
    return DN_OK;
}

static dn_status prelu_bwd_run(dn_op *base, const dn_op_io *io)
{
    prelu_op *op = (prelu_op *)base;
    float *dslope = cpu_out(base, io, 1);
    prelu_call call = {
        op, io->in[0], io->in[1], io->in[2], cpu_out(base, io, 0), dslope ? io->scratch : NULL};
    cpu_for(base->backend, op->tasks, prelu_task, &call);
    int64_t sums = (op->rows ? op->tasks : op->units / op->slopes) * op->slopes;
    for (int64_t d = 0; dslope && d < op->slopes; d++) {
        double sum = 0;
        for (int64_t i = d; i < sums; i += op->slopes)
            sum += call.sums[i];
        dslope[d] = (float)(op->add_slope ? dslope[d] + sum : sum);
    }
    return DN_OK;
}

dn_status cpu_prelu_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    const dn_args_prelu *a = desc->args;
    bool forward = desc->kind == DN_OP_PRELU;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->outer < 1 || a->dim < 1 || a->inner < 1)
        return cpu_decline(info, "nothing to do");
    prelu_op *op =
        cpu_op_new(backend, sizeof *op, forward ? prelu_run : prelu_bwd_run, info, "cpu:prelu");
    if (!op)
        return DN_E_NOMEM;
    op->count = a->outer * a->dim * a->inner;
    op->rows = a->inner == 1 && !a->shared;
    op->size = a->shared ? PIECE : op->rows ? a->dim : a->inner;
    op->units = cpu_ceil(op->count, op->size);
    op->slopes = a->shared ? 1 : a->dim;
    op->add = a->base.accumulate & 1;
    op->add_slope = a->base.accumulate & 2;
    op->tasks = cpu_min(MAX_BANDS, cpu_min(op->units, cpu_tasks_for(op->count)));
    if (cpu_present(desc->outputs, desc->num_outputs, 1))
        info->scratch =
            cpu_round64((size_t)(op->rows ? op->tasks * op->size : op->units) * sizeof(float));
    *out = &op->base;
    return DN_OK;
}
