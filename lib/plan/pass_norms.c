/* SPDX-License-Identifier: BSD-2-Clause
 * pass_norms.c: where convolutions alone read what a normalisation makes, they take what it is
 * made from and normalise that on the way: it is neither written nor kept for the backward. All
 * of a normalisation's readers or none. */
#include "plan/passes.h"

enum { MOST_READERS = 6 };

typedef struct reader {
    size_t op;
    int32_t first; /* of the four inputs that say how */
} reader;

static bool is_reader(const dni_program *p, const dni_op *op, dni_tensor y, int32_t *first)
{
    if ((op->kind != DN_OP_CONV && op->kind != DN_OP_CONV_BWD_WEIGHTS) ||
        dni_root(p, op->inputs[0]) != y)
        return false;
    *first = op->kind == DN_OP_CONV ? 3 : 2;
    for (int32_t k = 1; k < op->num_inputs; k++)
        if (dni_root(p, op->inputs[k]) == y || k >= *first)
            return false;
    return true;
}

/* The number of readers; 0: nobody, or somebody else as well. */
static int32_t find_readers(const dni_program *p, size_t norm, reader *readers)
{
    const dni_op *op = &p->ops[norm];
    dni_tensor y = dni_root(p, op->outputs[0]);
    int32_t count = 0, first;
    if (p->tensors[y].keep || !dni_is_placed(&p->tensors[y]) || !dni_untouched(p, y, 0, norm) ||
        dni_next_write(p, y, norm + 1, p->num_ops) < p->num_ops)
        return 0;
    for (size_t i = dni_next_read(p, y, norm + 1, p->num_ops); i < p->num_ops;
         i = dni_next_read(p, y, i + 1, p->num_ops)) {
        if (count == MOST_READERS || !is_reader(p, &p->ops[i], y, &first))
            return 0;
        readers[count++] = (reader){i, first};
    }
    return count;
}

/* x, its statistics and the factors are at the last reader what they are at the norm. */
static bool stays(const dni_program *p, size_t norm, size_t last)
{
    const dni_op *op = &p->ops[norm];
    const dni_tensor given[] = {op->inputs[0], op->outputs[1], op->outputs[2], op->inputs[1],
                                op->inputs[2]};
    for (size_t i = 0; i < DNI_COUNT(given); i++)
        if (!dni_unwritten(p, given[i], norm + 1, last))
            return false;
    const dni_tensor_info *x = &p->tensors[op->inputs[0]], *y = &p->tensors[op->outputs[0]];
    return dni_shape_equal(&x->shape, &y->shape) && x->layout == y->layout;
}

static void try_reader(const dni_program *p, const dni_op *norm, const reader *r, dni_trial *t)
{
    dni_trial_of(t, &p->ops[r->op]);
    for (int32_t k = t->op.num_inputs; k < r->first; k++)
        t->op.inputs[k] = DNI_NONE;
    t->op.inputs[0] = norm->inputs[0];
    t->op.inputs[r->first] = norm->outputs[1];
    t->op.inputs[r->first + 1] = norm->outputs[2];
    t->op.inputs[r->first + 2] = norm->inputs[1];
    t->op.inputs[r->first + 3] = norm->inputs[2];
    t->op.num_inputs = r->first + 4;
    t->args.conv.x_activation = ((const dn_args_norm_scale *)norm->args)->activation;
}

static dn_status pass(dni_rewrite *r, size_t norm)
{
    dni_program *p = r->program;
    const dn_args_norm_scale *a = (const dn_args_norm_scale *)p->ops[norm].args;
    reader readers[MOST_READERS + 1]; /* and the norm itself */
    dni_trial trial[MOST_READERS + 1];
    const dni_op *now[MOST_READERS + 1], *were[MOST_READERS + 1];
    bool saves;
    if (a->base.accumulate || a->activation_a != 0 ||
        (a->activation != DN_FN_NONE && a->activation != DN_FN_RELU))
        return DN_OK;
    int32_t count = find_readers(p, norm, readers);
    if (!count || !stays(p, norm, readers[count - 1].op))
        return DN_OK;
    for (int32_t i = 0; i < count; i++)
        try_reader(p, &p->ops[norm], &readers[i], &trial[i]);
    readers[count].op = norm;
    dni_trial_of(&trial[count], &p->ops[norm]);
    trial[count++].op.outputs[0] = DNI_NONE;
    for (int32_t i = 0; i < count; i++) {
        now[i] = &trial[i].op;
        were[i] = &p->ops[readers[i].op];
    }
    dn_status st = dni_saves(r, now, were, count, &saves);
    for (int32_t i = 0; !st && saves && i < count; i++)
        st = dni_trial_adopt(&trial[i], p, readers[i].op);
    return st;
}

dn_status dni_pass_norms(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    /* values in bf16 are worth more */
    for (size_t i = 0; !st && p->compute != DN_COMPUTE_BF16 && i < p->num_ops; i++)
        if (p->ops[i].kind == DN_OP_NORM_SCALE)
            st = pass(r, i);
    return st;
}
