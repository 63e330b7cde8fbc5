/* SPDX-License-Identifier: BSD-2-Clause
 * fuse_activations.c: y = f(x) becomes part of the op that makes x, if nobody else wants x; the
 * gradient through f becomes part of the op that takes it further, where that op can. */
#include "plan/passes.h"

/* Where the op on trial keeps its activation and the activation's parameter. */
static int32_t *activation_of(dni_trial *t, double **a)
{
    switch (t->op.kind) {
    case DN_OP_GEMM:
        *a = &t->args.gemm.activation_a;
        return &t->args.gemm.activation;
    case DN_OP_CONV:
    case DN_OP_CONV_BWD_DATA:
        *a = &t->args.conv.activation_a;
        return &t->args.conv.activation;
    case DN_OP_BCAST:
        *a = &t->args.bcast.activation_a;
        return &t->args.bcast.activation;
    case DN_OP_POOL:
        *a = NULL;
        return &t->args.pool.activation;
    case DN_OP_NORM_SCALE:
    case DN_OP_NORM_SCALE_BWD:
        *a = &t->args.norm_scale.activation_a;
        return &t->args.norm_scale.activation;
    default:
        *a = NULL;
        return NULL;
    }
}

static bool set_activation(dni_trial *t, const dni_op *function)
{
    const dn_args_unary *u = (const dn_args_unary *)function->args;
    double *a, to = u->a;
    int32_t *activation = activation_of(t, &a);
    bool six = u->fn == DN_FN_CLIP && u->a == 0 && u->b > 0; /* ReLU6, or to another */
    if (!activation || *activation != DN_FN_NONE || u->fn == DN_FN_NONE)
        return false;
    if ((!six && u->b != 0) || u->c != 0 || (!a && (six || u->a != 0)))
        return false; /* parameters that do not travel */
    *activation = six ? DN_FN_RELU_TO : u->fn;
    if (six)
        to = u->b;
    if (a)
        *a = to;
    return true;
}

/* Is y, which `op` takes the gradient with through f, still what f made of x? After a layer in
 * place x is y; and one may have come after f. */
static bool is_of_x(const dni_program *p, const dni_op *op)
{
    dni_tensor x = dni_root(p, op->inputs[0]), y = dni_root(p, op->inputs[1]);
    size_t maker = dni_last_write(p, y, (size_t)(op - p->ops));
    const dni_op *f = &p->ops[maker == SIZE_MAX ? 0 : maker];
    if (x == DNI_NONE || x == y)
        return true;
    return maker != SIZE_MAX && f->kind == DN_OP_UNARY && dni_root(p, f->inputs[0]) == x &&
           ((const dn_args_unary *)f->args)->fn == ((const dn_args_unary *)op->args)->fn;
}

/* Only with a slope that is not negative. */
#define KEEP_SIGN (1u << DN_FN_RELU | 1u << DN_FN_ELU | 1u << DN_FN_SELU)

/* Where x and y are both at hand, y is enough for most functions: x need not stay. */
static void prefer_y(dni_program *p)
{
    for (size_t i = 0; i < p->num_ops; i++) {
        dni_op *op = &p->ops[i];
        const dn_args_unary *u = (const dn_args_unary *)op->args;
        bool from_y = op->kind == DN_OP_UNARY_BWD && op->inputs[1] != DNI_NONE &&
                      DN_FN_FROM_Y >> u->fn & 1 && is_of_x(p, op);
        if (from_y && (u->a >= 0 || !(KEEP_SIGN >> u->fn & 1)))
            op->inputs[0] = DNI_NONE;
    }
}

/* May what op `maker` leaves in x be left in y, where op i puts f(x)? */
static bool can_move(const dni_program *p, size_t maker, size_t i, dni_tensor x, dni_tensor y)
{
    const dni_op *op = &p->ops[maker];
    if (dni_root(p, op->outputs[0]) != x || op->section != p->ops[i].section ||
        !dni_only_reader(p, x, maker, i) || !dni_overwrites(p, &p->ops[i], 0) ||
        !dni_shape_equal(&p->tensors[op->outputs[0]].shape,
                         &p->tensors[p->ops[i].outputs[0]].shape) ||
        p->tensors[op->outputs[0]].layout != p->tensors[p->ops[i].outputs[0]].layout)
        return false;
    if (dni_overwrites(p, op, 0))
        return dni_untouched(p, y, maker, i);
    /* Added to: the place stays the same, so it must be y's from the first value on. */
    return op->args->accumulate == 1 && dni_untouched(p, y, 0, i) &&
           dni_untouched(p, x, i + 1, p->num_ops);
}

static dn_status fuse_forward(dni_rewrite *r, size_t i)
{
    dni_program *p = r->program;
    dni_op *function = &p->ops[i];
    dni_tensor x = dni_root(p, function->inputs[0]), y = dni_root(p, function->outputs[0]);
    size_t maker = dni_last_write(p, x, i);
    dni_trial trial;
    if (x == y || maker == SIZE_MAX || p->ops[maker].kind == DN_OP_NORM_SCALE_BWD)
        return DN_OK;
    dni_trial_of(&trial, &p->ops[maker]);
    if (!set_activation(&trial, function) || !can_move(p, maker, i, x, y))
        return DN_OK;
    const dni_op *replaced[] = {&p->ops[maker], function};
    bool accepted;
    dn_status st = dni_accepts(r, &trial.op, replaced, 2, &accepted);
    if (st || !accepted)
        return st;
    if (dni_overwrites(p, &p->ops[maker], 0))
        trial.op.outputs[0] = function->outputs[0];
    else
        st = dni_merge_storage(p, x, y);
    dni_kill(function);
    return st ? st : dni_trial_adopt(&trial, p, maker);
}

/* If y is what ReLU made of the very normalisation whose gradient `reader` is, x and beta tell
 * where it was zero as well as y does, and x is read in any case: then y is not. */
static bool spare_y(const dni_program *p, size_t i, const dni_op *reader, dni_trial *t)
{
    dni_tensor x = dni_root(p, reader->inputs[0]);
    size_t maker = dni_last_write(p, dni_root(p, p->ops[i].inputs[1]), i);
    const dni_op *norm = &p->ops[maker == SIZE_MAX ? i : maker];
    const dn_args_norm_scale *a = (const dn_args_norm_scale *)norm->args;
    if (norm->kind != DN_OP_NORM_SCALE || a->activation != DN_FN_RELU || a->base.accumulate ||
        dni_root(p, norm->inputs[0]) != x || norm->inputs[1] != reader->inputs[4] ||
        dni_next_write(p, x, maker + 1, i) != i)
        return false;
    t->op.inputs[1] = DNI_NONE;
    t->op.inputs[6] = norm->inputs[2];
    t->op.num_inputs = 7;
    return true;
}

/* dz = dy f'(y), read by the gradient of a normalisation alone. */
static dn_status fuse_backward(dni_rewrite *r, size_t i)
{
    dni_program *p = r->program;
    dni_op *function = &p->ops[i];
    dni_tensor dz = dni_root(p, function->outputs[0]);
    size_t reader = dni_next_read(p, dz, i + 1, p->num_ops);
    dni_trial trial;
    if (function->inputs[0] != DNI_NONE || function->args->accumulate || reader == p->num_ops ||
        p->ops[reader].kind != DN_OP_NORM_SCALE_BWD || !dni_only_reader(p, dz, i, reader) ||
        dni_root(p, p->ops[reader].inputs[5]) != dz ||
        !dni_unwritten(p, function->inputs[1], i, reader) ||
        !dni_unwritten(p, function->inputs[2], i, reader))
        return DN_OK;
    dni_trial_of(&trial, &p->ops[reader]);
    if (!set_activation(&trial, function))
        return DN_OK;
    trial.op.inputs[1] = function->inputs[1];
    trial.op.inputs[5] = function->inputs[2];
    const dni_op *replaced[] = {&p->ops[reader], function};
    dni_trial spared = trial;
    bool accepted = false;
    dn_status st = DN_OK;
    spared.op.args = &spared.args.base;
    if (spare_y(p, i, &p->ops[reader], &spared))
        st = dni_accepts(r, &spared.op, replaced, 2, &accepted);
    if (accepted)
        trial = spared, trial.op.args = &trial.args.base;
    else if (!st)
        st = dni_accepts(r, &trial.op, replaced, 2, &accepted);
    if (st || !accepted)
        return st;
    dni_kill(function);
    return dni_trial_adopt(&trial, p, reader);
}

dn_status dni_fuse_activations(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    prefer_y(p);
    for (size_t i = 0; !st && i < p->num_ops; i++)
        if (p->ops[i].kind == DN_OP_UNARY)
            st = fuse_forward(r, i);
        else if (p->ops[i].kind == DN_OP_UNARY_BWD)
            st = fuse_backward(r, i);
    return st;
}
