/* SPDX-License-Identifier: BSD-2-Clause
 * join_gradients.c: both gradients of a convolution by one op, which reads dy once. */
#include "plan/passes.h"

enum { W = 6, DX = 2 }; /* operands of CONV_BWD_WEIGHTS */

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
        bool free = dni_unwritten(p, op->inputs[0], weights, i) &&
                    dni_unwritten(p, op->inputs[1], weights, i) &&
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

static dn_status join(dni_rewrite *r, size_t weights)
{
    dni_program *p = r->program;
    size_t data = find_data(p, weights);
    dni_trial t;
    bool joined;
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
    dn_status st = dni_saves(r, now, were, 2, &joined);
    if (!st && joined) {
        dni_kill(&p->ops[data]);
        st = dni_trial_adopt(&t, p, weights);
    }
    return st;
}

dn_status dni_join_gradients(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && p->compute != DN_COMPUTE_BF16 && i < p->num_ops; i++)
        if (p->ops[i].kind == DN_OP_CONV_BWD_WEIGHTS)
            st = join(r, i);
    return st;
}
