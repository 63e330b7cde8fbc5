/* SPDX-License-Identifier: BSD-2-Clause
 * join_gradients.c: both gradients of a convolution by one op, which reads dy once; and where x
 * is normalised on the way, so that the op has x and its dx at hand, it makes the sums that the
 * gradient of the normalisation begins with. */
#include "plan/passes.h"

enum { W = 6, DX = 2, SUMS = 3, GIVEN = 7 }; /* operands: of CONV_BWD_WEIGHTS, of the norm's */

static bool unwritten(const dni_program *p, dni_tensor t, size_t from, size_t end)
{
    return t == DNI_NONE || dni_next_write(p, dni_root(p, t), from, end) >= end;
}

/* CONV_BWD_DATA of the same dy, which could be at `weights` as well; SIZE_MAX: none. */
static size_t find_data(const dni_program *p, size_t weights)
{
    const dni_op *w = &p->ops[weights];
    for (size_t i = weights + 1; i < p->num_ops && p->ops[i].layer == w->layer; i++) {
        const dni_op *op = &p->ops[i];
        const dn_args_conv *a = (const dn_args_conv *)op->args;
        if (op->kind != DN_OP_CONV_BWD_DATA || op->section != w->section ||
            dni_root(p, op->inputs[0]) != dni_root(p, w->inputs[1]))
            continue;
        const dni_tensor_info *x = &p->tensors[w->inputs[0]], *dx = &p->tensors[op->outputs[0]];
        bool free = unwritten(p, op->inputs[0], weights, i) &&
                    unwritten(p, op->inputs[1], weights, i) &&
                    dni_untouched(p, dni_root(p, op->outputs[0]), weights, i);
        bool plain = !a->base.accumulate && !a->activation &&
                     (op->num_inputs < 3 || op->inputs[2] == DNI_NONE);
        return free && plain && x->layout == dx->layout &&
                       dni_shape_equal(&x->shape, &dx->shape)
                   ? i
                   : SIZE_MAX;
    }
    return SIZE_MAX;
}

static dn_status join(dni_rewrite *r, size_t weights, bool *joined)
{
    dni_program *p = r->program;
    size_t data = find_data(p, weights);
    dni_trial t;
    *joined = false;
    if (data == SIZE_MAX || p->ops[weights].num_outputs > DX)
        return DN_OK;
    dni_trial_of(&t, &p->ops[weights]);
    while (t.op.num_inputs < W)
        t.op.inputs[t.op.num_inputs++] = DNI_NONE;
    while (t.op.num_outputs < DX)
        t.op.outputs[t.op.num_outputs++] = DNI_NONE;
    t.op.inputs[t.op.num_inputs++] = p->ops[data].inputs[1];
    t.op.outputs[t.op.num_outputs++] = p->ops[data].outputs[0];
    const dni_op *now[] = {&t.op, NULL}, *were[] = {&p->ops[weights], &p->ops[data]};
    dn_status st = dni_saves(r, now, were, 2, joined);
    if (!st && *joined) {
        dni_trial_adopt(&t, &p->ops[weights]);
        dni_kill(&p->ops[data]);
    }
    return st;
}

/* The gradient of the normalisation that x comes through, where it reads what op `i` makes. */
static size_t find_norm(const dni_program *p, size_t i)
{
    const dni_op *op = &p->ops[i];
    dni_tensor dx = dni_root(p, op->outputs[DX]);
    size_t at = dni_next_read(p, dx, i + 1, p->num_ops);
    if (op->inputs[2] == DNI_NONE || at == p->num_ops ||
        p->ops[at].kind != DN_OP_NORM_SCALE_BWD || p->ops[at].num_inputs > GIVEN)
        return SIZE_MAX;
    const dni_op *norm = &p->ops[at];
    const dn_args_norm_scale *a = (const dn_args_norm_scale *)norm->args;
    bool made_again = norm->num_inputs > 6 && norm->inputs[1] == DNI_NONE;
    const dni_tensor ours[] = {op->outputs[DX], op->inputs[0], op->inputs[2],
                               op->inputs[3],   op->inputs[4], op->inputs[5]};
    const dni_tensor its[] = {norm->inputs[5], norm->inputs[0],
                              norm->inputs[2], norm->inputs[3],
                              norm->inputs[4], made_again ? norm->inputs[6] : op->inputs[5]};
    for (size_t k = 0; k < DNI_COUNT(ours); k++)
        if (dni_root(p, ours[k]) != dni_root(p, its[k]) || !unwritten(p, ours[k], i + 1, at))
            return SIZE_MAX;
    bool same = a->activation == ((const dn_args_conv *)op->args)->x_activation &&
                a->activation_a == 0 && (made_again || !a->activation);
    return same && !a->use_global ? at : SIZE_MAX;
}

static dn_status pass_sums(dni_rewrite *r, size_t i)
{
    dni_program *p = r->program;
    size_t norm = find_norm(p, i);
    dni_trial t[2];
    bool saves;
    if (norm == SIZE_MAX)
        return DN_OK;
    dni_tensor_info info = p->tensors[p->ops[i].inputs[2]];
    info.role = DNI_TEMP;
    info.storage = DNI_NONE;
    info.keep = false;
    info.shape =
        (dni_shape){.axes = 2, .dim = {2, p->tensors[p->ops[i].inputs[0]].shape.dim[1]}};
    dni_tensor sums = dni_program_tensor(p, &info);
    if (sums == DNI_NONE)
        return DN_E_NOMEM;
    dni_trial_of(&t[0], &p->ops[i]);
    dni_trial_of(&t[1], &p->ops[norm]);
    t[0].op.outputs[t[0].op.num_outputs++] = sums;
    while (t[1].op.num_inputs < GIVEN)
        t[1].op.inputs[t[1].op.num_inputs++] = DNI_NONE;
    t[1].op.inputs[t[1].op.num_inputs++] = sums;
    const dni_op *now[] = {&t[0].op, &t[1].op}, *were[] = {&p->ops[i], &p->ops[norm]};
    dn_status st = dni_saves(r, now, were, 2, &saves);
    if (!st && saves) {
        dni_trial_adopt(&t[0], &p->ops[i]);
        dni_trial_adopt(&t[1], &p->ops[norm]);
    }
    return st;
}

dn_status dni_join_gradients(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    bool joined;
    for (size_t i = 0; !st && p->compute != DN_COMPUTE_BF16 && i < p->num_ops; i++) {
        if (p->ops[i].kind != DN_OP_CONV_BWD_WEIGHTS)
            continue;
        st = join(r, i, &joined);
        if (!st && joined)
            st = pass_sums(r, i);
    }
    return st;
}
