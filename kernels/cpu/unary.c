/* SPDX-License-Identifier: BSD-2-Clause
 * unary.c: UNARY, forward and backward: pieces of fixed size for the kernels. */
#include "cpu.h"

/* Gradients that are cheaper from y than from x, where both are there. */
#define FROM_Y (1u << DN_FN_SIGMOID | 1u << DN_FN_TANH | 1u << DN_FN_EXP | 1u << DN_FN_SQRT)

typedef struct unary_op {
    dn_op base;
    cpu_unary u;
    int64_t n, tasks;
    bool is_y, add;
} unary_op;

typedef struct unary_call {
    const unary_op *op;
    const float *x, *dy;
    float *y;
} unary_call;

static void unary_task(void *arg, int64_t task, int32_t worker)
{
    const unary_call *call = arg;
    const unary_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    if (call->dy)
        ker->unary_bwd(&op->u, call->y + from, call->dy + from, call->x + from, op->is_y,
                       op->add, to - from);
    else
        ker->unary(&op->u, call->y + from, call->x + from, op->add, to - from);
}

static dn_status unary_run(dn_op *base, const dn_op_io *io)
{
    unary_op *op = (unary_op *)base;
    unary_call call = {op, io->in[0], NULL, io->out[0]};
    cpu_for(base->backend, op->tasks, unary_task, &call);
    return DN_OK;
}

static dn_status unary_bwd_run(dn_op *base, const dn_op_io *io)
{
    unary_op *op = (unary_op *)base;
    unary_call call = {op, io->in[op->is_y ? 1 : 0], io->in[2], io->out[0]};
    cpu_for(base->backend, op->tasks, unary_task, &call);
    return DN_OK;
}

static unary_op *new_unary(dn_backend *backend, const dn_op_desc *desc, dn_op_info *info,
                           dn_status (*run)(dn_op *, const dn_op_io *), const char *name)
{
    const dn_args_unary *args = desc->args;
    unary_op *op = cpu_op_new(backend, sizeof *op, run, info, name);
    if (!op)
        return NULL;
    op->u = (cpu_unary){args->fn, (float)args->a, (float)args->b, (float)args->c};
    op->n = cpu_count(&desc->outputs[0].shape);
    op->tasks = cpu_tasks_for(op->n);
    op->add = args->base.accumulate & 1;
    return op;
}

dn_status cpu_unary_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->fn < 0 || args->fn >= DN_FN_END)
        return cpu_decline(info, "no such function");
    unary_op *op = new_unary(backend, desc, info, unary_run, "cpu:unary");
    if (!op)
        return DN_E_NOMEM;
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_unary_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    bool has_x = cpu_present(desc->inputs, desc->num_inputs, 0);
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->fn < 0 || args->fn >= DN_FN_END)
        return cpu_decline(info, "no such function");
    if (!has_x && !(DN_FN_FROM_Y >> args->fn & 1))
        return cpu_decline(info, "gradient needs x");
    unary_op *op = new_unary(backend, desc, info, unary_bwd_run, "cpu:unary");
    if (!op)
        return DN_E_NOMEM;
    op->is_y =
        cpu_present(desc->inputs, desc->num_inputs, 1) && (!has_x || FROM_Y >> args->fn & 1);
    *out = &op->base;
    return DN_OK;
}
