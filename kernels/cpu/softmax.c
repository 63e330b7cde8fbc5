/* SPDX-License-Identifier: BSD-2-Clause
 * softmax.c: SOFTMAX and its gradient: a task is some rows, or where the axis is not the last,
 * some strips of positions. */
#include "cpu.h"

enum { STRIP = 512 };

typedef struct softmax_op {
    dn_op base;
    dn_args_axis a;
    int64_t strip, strips, tasks; /* positions of a strip; strips of an outer index */
    bool add;
} softmax_op;

typedef struct softmax_call {
    const softmax_op *op;
    const float *x, *dy; /* backward: y and dy */
    float *y;
} softmax_call;

static void softmax_task(void *arg, int64_t task, int32_t worker)
{
    const softmax_call *call = arg;
    const softmax_op *op = call->op;
    const dn_args_axis *a = &op->a;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to;
    (void)worker;
    cpu_split(a->outer * op->strips, op->tasks, task, &from, &to);
    for (int64_t t = from; t < to; t++) {
        int64_t i = t % op->strips * op->strip, n = cpu_min(op->strip, a->inner - i);
        int64_t at = t / op->strips * a->dim * a->inner + i;
        if (a->inner == 1 && call->dy)
            ker->softmax_bwd(call->y + at, call->x + at, call->dy + at, a->dim, op->add);
        else if (a->inner == 1)
            ker->softmax(call->y + at, call->x + at, a->dim);
        else if (call->dy)
            ker->softmax_cols_bwd(call->y + at, call->x + at, call->dy + at, a->dim, a->inner,
                                  n, op->add);
        else
            ker->softmax_cols(call->y + at, call->x + at, a->dim, a->inner, n);
    }
}

static dn_status softmax_run(dn_op *base, const dn_op_io *io)
{
    softmax_op *op = (softmax_op *)base;
    softmax_call call = {op, io->in[0], cpu_in(base, io, 1), io->out[0]};
    cpu_for(base->backend, op->tasks, softmax_task, &call);
    return DN_OK;
}

dn_status cpu_softmax_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    const dn_args_axis *a = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->outer < 1 || a->dim < 1 || a->inner < 1)
        return cpu_decline(info, "nothing to do");
    if (a->base.accumulate && desc->kind == DN_OP_SOFTMAX)
        return cpu_decline(info, "accumulates");
    softmax_op *op = cpu_op_new(backend, sizeof *op, softmax_run, info, "cpu:softmax");
    if (!op)
        return DN_E_NOMEM;
    op->a = *a;
    op->add = a->base.accumulate & 1;
    op->strip = STRIP;
    op->strips = cpu_ceil(a->inner, op->strip);
    op->tasks = cpu_min(a->outer * op->strips, cpu_tasks_for(a->outer * a->dim * a->inner * 4));
    *out = &op->base;
    return DN_OK;
}
