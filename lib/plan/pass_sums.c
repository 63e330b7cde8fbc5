/* SPDX-License-Identifier: BSD-2-Clause
 * pass_sums.c: what a normalisation, or its gradient, sums up over all of what it reads is made
 * by the convolution that makes it, which has it at hand. */
#include "plan/passes.h"

enum { MOMENTS = 3, SUMS = 7 }; /* inputs of NORM_SCALE, of NORM_SCALE_BWD */

typedef struct maker { /* outputs of a convolution, and its inputs that normalise x */
    int32_t made, sums, norm;
} maker;

static const maker forward = {0, 1, 0}, both = {2, 3, 2};

static const maker *maker_of(const dni_op *op)
{
    const maker *m = op->kind == DN_OP_CONV               ? &forward
                     : op->kind == DN_OP_CONV_BWD_WEIGHTS ? &both
                                                          : NULL;
    bool makes = m && op->num_outputs == m->sums && op->outputs[m->made] != DNI_NONE;
    return makes && (m != &both || op->inputs[m->norm] != DNI_NONE) ? m : NULL;
}

/* Input k of op `at` is there, and is what it was after op i. */
static bool stays(const dni_program *p, size_t i, size_t at, int32_t k)
{
    dni_tensor t = k < p->ops[at].num_inputs ? p->ops[at].inputs[k] : DNI_NONE;
    return t != DNI_NONE && dni_unwritten(p, t, i + 1, at);
}

/* Of NORM_SCALE_BWD at `at`, for a convolution at i that normalises x by itself. */
static bool suits(const dni_program *p, size_t i, size_t at)
{
    static const int32_t its[] = {0, 2, 3, 4, 6}; /* x, mean, inv_std, gamma, beta */
    const dni_op *op = &p->ops[i], *norm = &p->ops[at];
    const dn_args_norm_scale *a = (const dn_args_norm_scale *)norm->args;
    if (norm->num_inputs > SUMS || norm->inputs[1] != DNI_NONE || a->activation_a != 0 ||
        a->activation != ((const dn_args_conv *)op->args)->x_activation)
        return false;
    int32_t count = a->activation ? 5 : 4; /* without one, beta may be missing */
    for (int32_t k = 0; k < count; k++)
        if (!stays(p, i, at, its[k]) || dni_root(p, op->inputs[k ? both.norm + k - 1 : 0]) !=
                                            dni_root(p, norm->inputs[its[k]]))
            return false;
    return true;
}

/* The normalisation, or gradient of one, that reads what op i makes; SIZE_MAX: none. */
static size_t find_norm(const dni_program *p, size_t i, const maker *m)
{
    const dni_op *op = &p->ops[i];
    dni_tensor made = op->outputs[m->made], root = dni_root(p, made);
    int32_t kind = m == &forward ? DN_OP_NORM_SCALE : DN_OP_NORM_SCALE_BWD;
    int32_t input = m == &forward ? 0 : 5;
    size_t at = dni_next_read(p, root, i + 1, p->num_ops);
    if (at == p->num_ops || p->ops[at].kind != kind || p->ops[at].section != op->section ||
        dni_root(p, p->ops[at].inputs[input]) != root || !stays(p, i, at, input))
        return SIZE_MAX;
    const dn_args_norm_scale *a = (const dn_args_norm_scale *)p->ops[at].args;
    const dni_shape *shape = &p->tensors[made].shape;
    bool all = shape->axes > 1 && a->dim == shape->dim[1] &&
               dni_shape_equal(shape, &p->tensors[p->ops[at].inputs[input]].shape);
    bool free = m == &forward ? p->ops[at].num_inputs == MOMENTS : suits(p, i, at);
    return all && free && !a->use_global ? at : SIZE_MAX;
}

static dn_status pass(dni_rewrite *r, size_t i, const maker *m)
{
    dni_program *p = r->program;
    size_t at = find_norm(p, i, m);
    dni_trial t[2];
    bool saves;
    if (at == SIZE_MAX)
        return DN_OK;
    /* as the mean; dgamma may be absent */
    dni_tensor sums =
        dni_program_like(p, m == &forward ? p->ops[at].outputs[1] : p->ops[at].inputs[2]);
    if (sums == DNI_NONE)
        return DN_E_NOMEM;
    p->tensors[sums].layout = DN_LAYOUT_PLAIN;
    p->tensors[sums].shape =
        (dni_shape){.axes = 2, .dim = {2, p->tensors[p->ops[i].outputs[m->made]].shape.dim[1]}};
    dni_trial_of(&t[0], &p->ops[i]);
    dni_trial_of(&t[1], &p->ops[at]);
    while (t[1].op.num_inputs < (m == &forward ? MOMENTS : SUMS))
        t[1].op.inputs[t[1].op.num_inputs++] = DNI_NONE;
    t[0].op.outputs[t[0].op.num_outputs++] = sums;
    t[1].op.inputs[t[1].op.num_inputs++] = sums;
    const dni_op *now[] = {&t[0].op, &t[1].op}, *were[] = {&p->ops[i], &p->ops[at]};
    dn_status st = dni_saves(r, now, were, 2, &saves);
    if (!st && saves)
        st = dni_trial_adopt(&t[0], p, i);
    if (!st && saves)
        st = dni_trial_adopt(&t[1], p, at);
    return st;
}

dn_status dni_pass_sums(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && p->compute != DN_COMPUTE_BF16 && i < p->num_ops; i++) {
        const maker *m = maker_of(&p->ops[i]);
        if (m)
            st = pass(r, i, m);
    }
    return st;
}
