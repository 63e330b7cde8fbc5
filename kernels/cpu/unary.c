/* SPDX-License-Identifier: BSD-2-Clause
 * unary.c: UNARY and SOFTMAX, forward and backward: pieces of fixed size for the kernels. */
#include "cpu.h"

#define BIT(fn) (1u << (fn))
/* Those with a vector kernel; ref does the rest. */
static const uint32_t forward_fns = BIT(DN_FN_RELU) | BIT(DN_FN_SIGMOID) | BIT(DN_FN_TANH) |
                                    BIT(DN_FN_ABS) | BIT(DN_FN_EXP) | BIT(DN_FN_LOG) |
                                    BIT(DN_FN_CLIP) | BIT(DN_FN_THRESHOLD) | BIT(DN_FN_SWISH) |
                                    BIT(DN_FN_AFFINE) | BIT(DN_FN_SQRT);
static const uint32_t backward_fns = BIT(DN_FN_RELU) | BIT(DN_FN_SIGMOID) | BIT(DN_FN_TANH) |
                                     BIT(DN_FN_ABS) | BIT(DN_FN_ELU) | BIT(DN_FN_THRESHOLD) |
                                     BIT(DN_FN_AFFINE);

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
        ker->unary(&op->u, call->y + from, call->x + from, to - from);
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
    return op;
}

dn_status cpu_unary_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->base.accumulate)
        return cpu_decline(info, "accumulates");
    if (args->fn < 0 || args->fn >= DN_FN_END || !(forward_fns >> args->fn & 1))
        return cpu_decline(info, "function without a kernel");
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
    if (args->fn < 0 || args->fn >= DN_FN_END || !(backward_fns >> args->fn & 1))
        return cpu_decline(info, "function without a kernel");
    if (!has_x && !(DN_FN_FROM_Y >> args->fn & 1))
        return cpu_decline(info, "gradient needs x");
    unary_op *op = new_unary(backend, desc, info, unary_bwd_run, "cpu:unary");
    if (!op)
        return DN_E_NOMEM;
    op->is_y = cpu_present(desc->inputs, desc->num_inputs, 1) &&
               (!has_x || args->fn == DN_FN_SIGMOID || args->fn == DN_FN_TANH);
    op->add = args->base.accumulate & 1;
    *out = &op->base;
    return DN_OK;
}

/* ---- softmax ----------------------------------------------------------------------------- */

typedef struct softmax_op {
    dn_op base;
    dn_args_axis args;
    int64_t tasks;
} softmax_op;

typedef struct softmax_call {
    const softmax_op *op;
    const float *x, *dy;
    float *y;
} softmax_call;

static void softmax_task(void *arg, int64_t task, int32_t worker)
{
    const softmax_call *call = arg;
    const dn_args_axis *a = &call->op->args;
    const cpu_kernels *ker = call->op->base.backend->kernels;
    int64_t from, to, size = a->dim * a->inner;
    (void)worker;
    cpu_split(a->outer, call->op->tasks, task, &from, &to);
    for (int64_t o = from; o < to; o++)
        if (call->dy)
            ker->softmax_bwd(call->y + o * size, call->x + o * size, call->dy + o * size,
                             a->dim, a->inner, a->base.accumulate & 1);
        else
            ker->softmax(call->y + o * size, call->x + o * size, a->dim, a->inner);
}

static dn_status softmax_run(dn_op *base, const dn_op_io *io)
{
    softmax_op *op = (softmax_op *)base;
    softmax_call call = {op, io->in[0], NULL, io->out[0]};
    cpu_for(base->backend, op->tasks, softmax_task, &call);
    return DN_OK;
}

static dn_status softmax_bwd_run(dn_op *base, const dn_op_io *io)
{
    softmax_op *op = (softmax_op *)base;
    softmax_call call = {op, io->in[0], io->in[1], io->out[0]};
    cpu_for(base->backend, op->tasks, softmax_task, &call);
    return DN_OK;
}

static dn_status new_softmax(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info, dn_status (*run)(dn_op *, const dn_op_io *))
{
    const dn_args_axis *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    softmax_op *op = cpu_op_new(backend, sizeof *op, run, info, "cpu:softmax");
    if (!op)
        return DN_E_NOMEM;
    op->args = *args;
    op->tasks = cpu_max(
        1, cpu_min(args->outer, cpu_tasks_for(args->outer * args->dim * args->inner * 4)));
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_softmax_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    const dn_args_axis *args = desc->args;
    if (args->base.accumulate)
        return cpu_decline(info, "accumulates");
    return new_softmax(backend, desc, out, info, softmax_run);
}

dn_status cpu_softmax_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    return new_softmax(backend, desc, out, info, softmax_bwd_run);
}
