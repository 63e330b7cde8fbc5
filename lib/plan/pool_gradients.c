/* SPDX-License-Identifier: BSD-2-Clause
 * pool_gradients.c: MAX pooling hands elements on as they are. So the gradient through f before
 * it is taken of what it made, which is smaller, and y = f(x) need not stay; and a gradient of
 * weights takes the pooled gradient and the mask, where nobody else wants what POOL_BWD would
 * make of them, mostly zeros. */
#include "plan/passes.h"

enum { MASK = 7 }; /* operand of CONV_BWD_WEIGHTS */

/* Op i hands gradients to single elements, and what it makes is read once, as input k of an op
 * of this kind, and not looked at; until then its operands are as they were. Else num_ops. */
static size_t reader_of(const dni_program *p, size_t i, int32_t kind, int32_t k)
{
    const dni_op *op = &p->ops[i];
    const dn_args_pool *a = (const dn_args_pool *)op->args;
    if (op->kind != DN_OP_POOL_BWD || a->method != DN_POOL_MAX || a->base.accumulate)
        return p->num_ops;
    dni_tensor dx = dni_root(p, op->outputs[0]);
    size_t at = dni_next_read(p, dx, i + 1, p->num_ops);
    const dni_op *reader = &p->ops[at];
    bool alone = at < p->num_ops && reader->kind == kind && reader->section == op->section &&
                 dni_root(p, reader->inputs[k]) == dx &&
                 dni_shape_equal(&p->tensors[reader->inputs[k]].shape,
                                 &p->tensors[op->outputs[0]].shape) &&
                 dni_only_reader(p, dx, i, at) && dni_unwritten(p, op->inputs[0], i + 1, at) &&
                 dni_unwritten(p, op->inputs[1], i + 1, at);
    return alone ? at : p->num_ops;
}

/* ---- functions --------------------------------------------------------------------------- */

/* The pooling whose mask op i reads, of values that op `reader` takes the gradient through, and
 * whose own are still there; NULL: none. */
static const dni_op *pooling_of(const dni_program *p, size_t i, const dni_op *reader)
{
    size_t maker = dni_last_write(p, dni_root(p, p->ops[i].inputs[1]), i);
    if (maker == SIZE_MAX)
        return NULL;
    const dni_op *pool = &p->ops[maker];
    if (pool->kind != DN_OP_POOL ||
        ((const dn_args_pool *)pool->args)->activation != DN_FN_NONE ||
        dni_root(p, pool->inputs[0]) != dni_root(p, reader->inputs[1]) ||
        !dni_unwritten(p, pool->inputs[0], maker + 1, i) ||
        !dni_unwritten(p, pool->outputs[0], maker + 1, i) ||
        !dni_shape_equal(&p->tensors[pool->outputs[0]].shape,
                         &p->tensors[p->ops[i].inputs[0]].shape))
        return NULL;
    return pool;
}

static dn_status move_function(dni_rewrite *r, size_t i)
{
    dni_program *p = r->program;
    size_t at = reader_of(p, i, DN_OP_UNARY_BWD, 2);
    dni_op *back = &p->ops[at];
    if (at == p->num_ops || back->args->accumulate || back->inputs[0] != DNI_NONE ||
        !dni_untouched(p, dni_root(p, back->outputs[0]), i + 1, at))
        return DN_OK;
    const dni_op *pool = pooling_of(p, i, back);
    if (!pool)
        return DN_OK;
    dni_tensor dz = dni_program_like(p, p->ops[i].inputs[0]);
    if (dz == DNI_NONE)
        return DN_E_NOMEM;
    dni_op function = *back;
    *back = p->ops[i];
    back->layer = function.layer, function.layer = p->ops[i].layer;
    function.inputs[1] = pool->outputs[0];
    function.inputs[2] = back->inputs[0];
    back->inputs[0] = dz;
    back->outputs[0] = function.outputs[0];
    function.outputs[0] = dz;
    p->ops[i] = function;
    dn_status st = dni_note(p, i);
    return st ? st : dni_note(p, at);
}

dn_status dni_pool_functions(dni_rewrite *r)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < r->program->num_ops; i++)
        st = move_function(r, i);
    return st;
}

/* ---- weights ----------------------------------------------------------------------------- */

static dn_status mask_weights(dni_rewrite *r, size_t i)
{
    dni_program *p = r->program;
    size_t at = reader_of(p, i, DN_OP_CONV_BWD_WEIGHTS, 1);
    if (at == p->num_ops || p->ops[at].num_inputs > 2 || p->ops[at].num_outputs > 2)
        return DN_OK;
    dni_trial t;
    dni_trial_of(&t, &p->ops[at]);
    t.op.inputs[1] = p->ops[i].inputs[0];
    while (t.op.num_inputs < MASK)
        t.op.inputs[t.op.num_inputs++] = DNI_NONE;
    t.op.inputs[t.op.num_inputs++] = p->ops[i].inputs[1];
    const dni_op *now[] = {&t.op, NULL}, *were[] = {&p->ops[i], &p->ops[at]};
    bool saves;
    dn_status st = dni_saves(r, now, were, 2, &saves);
    if (!st && saves) {
        dni_kill(&p->ops[i]);
        st = dni_trial_adopt(&t, p, at);
    }
    return st;
}

dn_status dni_pool_weights(dni_rewrite *r)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && r->program->compute != DN_COMPUTE_BF16 && i < r->program->num_ops;
         i++)
        st = mask_weights(r, i);
    return st;
}
