/* SPDX-License-Identifier: BSD-2-Clause
 * fuse_sums.c: y = a + b, where an op makes b for this sum alone and a is wanted no more,
 * becomes a += ... by that op. A residual block then writes each of its values once. */
#include "plan/passes.h"

static bool is_plain_sum(const dni_op *op)
{
    const dn_args_eltwise *e = (const dn_args_eltwise *)op->args;
    return op->kind == DN_OP_ELTWISE && e->op == DN_ELTWISE_SUM && op->num_inputs == 2 &&
           op->num_outputs == 1 && !op->args->accumulate && e->coeff[0] == 1 &&
           e->coeff[1] == 1;
}

static bool can_add(const dni_op *op)
{
    switch (op->kind) {
    case DN_OP_CONV:
    case DN_OP_CONV_BWD_DATA:
        return ((const dn_args_conv *)op->args)->activation == DN_FN_NONE;
    case DN_OP_GEMM:
        return ((const dn_args_gemm *)op->args)->activation == DN_FN_NONE;
    case DN_OP_BCAST:
        return ((const dn_args_bcast *)op->args)->activation == DN_FN_NONE;
    case DN_OP_NORM_SCALE:
        return ((const dn_args_norm_scale *)op->args)->activation == DN_FN_NONE;
    default:
        return false;
    }
}

/* Input `kept` of sum i stays where it is and the maker of the other adds to it. */
static bool can_fuse(const dni_program *p, size_t i, int32_t kept, size_t *maker)
{
    const dni_op *sum = &p->ops[i];
    dni_tensor a = dni_root(p, sum->inputs[kept]), b = dni_root(p, sum->inputs[!kept]);
    dni_tensor y = dni_root(p, sum->outputs[0]);
    *maker = dni_last_write(p, b, i);
    if (a == b || y == a || y == b || *maker == SIZE_MAX || !can_add(&p->ops[*maker]))
        return false;
    const dni_op *op = &p->ops[*maker];
    size_t a_maker = dni_last_write(p, a, i);
    return op->section == sum->section && dni_root(p, op->outputs[0]) == b &&
           dni_overwrites(p, op, 0) && dni_only_reader(p, b, *maker, i) &&
           dni_is_placed(&p->tensors[a]) && !p->tensors[a].keep && a_maker != SIZE_MAX &&
           a_maker < *maker && dni_untouched(p, a, *maker, i) &&
           dni_untouched(p, a, i + 1, p->num_ops) && dni_untouched(p, y, 0, i) &&
           dni_shape_equal(&p->tensors[op->outputs[0]].shape,
                           &p->tensors[sum->outputs[0]].shape);
}

static dn_status fuse(dni_rewrite *r, size_t i, int32_t kept, size_t maker)
{
    dni_program *p = r->program;
    dni_op *sum = &p->ops[i];
    const dni_op *replaced[] = {&p->ops[maker], sum};
    bool accepted;
    dni_trial trial;
    dni_trial_of(&trial, &p->ops[maker]);
    trial.args.base.accumulate |= 1;
    dn_status st = dni_accepts(r, &trial.op, replaced, 2, &accepted);
    if (st || !accepted)
        return st;
    trial.op.outputs[0] = sum->outputs[0];
    st = dni_merge_storage(p, dni_root(p, sum->inputs[kept]), dni_root(p, sum->outputs[0]));
    dni_kill(sum);
    return st ? st : dni_trial_adopt(&trial, p, maker);
}

dn_status dni_fuse_sums(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < p->num_ops; i++)
        for (int32_t kept = 0; !st && kept < 2 && is_plain_sum(&p->ops[i]); kept++) {
            size_t maker;
            if (can_fuse(p, i, kept, &maker))
                st = fuse(r, i, kept, maker);
        }
    return st;
}
