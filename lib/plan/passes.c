/* SPDX-License-Identifier: BSD-2-Clause
 * passes.c: which passes there are, and their order: values first, since the others ask who
 * reads what; one axis made two; sums before activations, which apply to the sum, and once more
 * where a layout takes them; layouts, then types, of the ops that are left. */
#include "plan/passes.h"

#include <string.h>

static dn_status (*const passes[])(dni_rewrite *r) = {
    dni_split_values,   dni_drop_copies,       dni_widen_lines,      dni_fuse_norms,
    dni_fold_norms,     dni_fuse_sums,         dni_fuse_swish,       dni_fuse_activations,
    dni_pool_functions, dni_choose_layouts,    dni_fuse_activations, dni_settle_compute,
    dni_pass_norms,     dni_join_gradients,    dni_pool_weights,     dni_pass_sums,
    dni_choose_types,   dni_put_off_gradients,
};

dn_status dni_rewrite_program(dni_rewrite *r)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < DNI_COUNT(passes); i++) {
        st = dni_note_all(r->program);
        if (!st)
            st = passes[i](r);
        dni_forget_notes(r->program);
        dni_program_sweep(r->program);
    }
    return st;
}

bool dni_starts_written(const dni_program *p, dni_tensor root)
{
    size_t write = dni_next_write(p, root, 0, p->num_ops);
    if (write == p->num_ops || dni_next_read(p, root, 0, write) < write)
        return false;
    const dni_op *op = &p->ops[write]; /* parts of it may be written one by one */
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (dni_root(p, op->inputs[k]) == root)
            return false;
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (dni_root(p, op->outputs[k]) == root && op->args->accumulate >> k & 1)
            return false;
    return true;
}

void dni_trial_of(dni_trial *trial, const dni_op *op)
{
    trial->op = *op;
    memcpy(&trial->args, op->args, dni_op_kind_of(op->kind)->args_size);
    trial->op.args = &trial->args.base;
}

dn_status dni_trial_adopt(const dni_trial *trial, dni_program *p, size_t index)
{
    dni_op *op = &p->ops[index];
    dn_args *args = op->args;
    memcpy(args, &trial->args, dni_op_kind_of(op->kind)->args_size);
    *op = trial->op;
    op->args = args;
    return dni_note(p, index);
}

void dni_kill(dni_op *op)
{
    op->kind = 0;
    op->num_inputs = op->num_outputs = 0;
}
