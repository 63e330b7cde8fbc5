/* SPDX-License-Identifier: BSD-2-Clause
 * fuse_norms.c: BATCH_NORM and the scale and shift after it become NORM_SCALE, their gradients
 * NORM_SCALE_BWD, all of them or none: then neither the normalised values nor copies of what an
 * in-place layer overwrote are kept, since xhat is computed again from x. */
#include "plan/passes.h"

#define NO_OP SIZE_MAX

typedef struct norm { /* ops by index; NO_OP: not there */
    size_t norm, scale, dgamma, dbeta, dscale, bwd;
    dni_tensor n;  /* storage of the normalised values */
    dni_tensor dz; /* of what was scaled */
} norm;

static bool same_view(const dn_args_batch_norm *a, int64_t outer, int64_t dim, int64_t inner)
{
    return a->outer == outer && a->dim == dim && a->inner == inner;
}

static bool is_scale(const dni_op *op, int32_t kind, const dn_args_batch_norm *a)
{
    const dn_args_bcast *s = (const dn_args_bcast *)op->args;
    return op->kind == DN_OP_BCAST && s->op == kind &&
           same_view(a, s->outer, s->dim, s->inner) && !op->args->accumulate;
}

/* Sums over all but the channels, of x or of x * x2. */
static bool is_channel_sum(const dni_op *op, int32_t kind, const dn_args_batch_norm *a)
{
    const dn_args_reduce *s = (const dn_args_reduce *)op->args;
    if (op->kind != DN_OP_REDUCE || s->op != kind || s->axes != 3 || s->alpha != 1 ||
        s->x_offset || s->x2_offset || s->y_offset)
        return false;
    const int64_t stride[] = {a->dim * a->inner, a->inner, 1}, y_stride[] = {0, 1, 0};
    for (int32_t i = 0; i < 3; i++)
        if (s->x_stride[i] != stride[i] || s->y_stride[i] != y_stride[i] ||
            (kind == DN_REDUCE_DOT && s->x2_stride[i] != stride[i]))
            return false;
    return same_view(a, s->dim[0], s->dim[1], s->dim[2]);
}

/* Op i reads the normalised values: notes what it is in `m`; false: nothing that can be fused.
 */
static bool take_reader(const dni_program *p, size_t i, const dn_args_batch_norm *a, norm *m)
{
    const dni_op *op = &p->ops[i];
    bool first = dni_root(p, op->inputs[0]) == m->n;
    if (first && is_scale(op, DN_BCAST_MULADD, a) && m->scale == NO_OP)
        m->scale = i;
    else if (!first && is_channel_sum(op, DN_REDUCE_DOT, a) && m->dgamma == NO_OP &&
             dni_root(p, op->inputs[1]) == m->n)
        m->dgamma = i;
    else if (first && op->kind == DN_OP_BATCH_NORM_BWD && m->bwd == NO_OP)
        m->bwd = i;
    else
        return false;
    return true;
}

/* Everybody who reads the normalised values, each in a part of his own. */
static bool find_readers(const dni_program *p, norm *m)
{
    const dn_args_batch_norm *a = (const dn_args_batch_norm *)p->ops[m->norm].args;
    if (p->tensors[m->n].keep || dni_next_write(p, m->n, m->norm + 1, p->num_ops) < p->num_ops)
        return false;
    for (size_t i = dni_next_read(p, m->n, m->norm + 1, p->num_ops); i < p->num_ops;
         i = dni_next_read(p, m->n, i + 1, p->num_ops))
        if (!take_reader(p, i, a, m))
            return false;
    return m->scale != NO_OP;
}

/* From the gradient of the normalised values back to that of what was scaled. */
static bool find_gradients(const dni_program *p, norm *m)
{
    const dn_args_batch_norm *a = (const dn_args_batch_norm *)p->ops[m->norm].args;
    if (m->bwd == NO_OP)
        return m->dgamma == NO_OP; /* without dx there is no op to put the others in */
    dni_tensor dn = dni_root(p, p->ops[m->bwd].inputs[2]);
    m->dscale = dni_last_write(p, dn, m->bwd);
    if (m->dscale == NO_OP || !is_scale(&p->ops[m->dscale], DN_BCAST_MUL, a) ||
        p->ops[m->dscale].inputs[1] != p->ops[m->scale].inputs[1])
        return false;
    m->dz = p->ops[m->dscale].inputs[0];
    dni_tensor dz = dni_root(p, m->dz);
    for (size_t i = dni_next_read(p, dz, m->scale + 1, m->bwd); i < m->bwd;
         i = dni_next_read(p, dz, i + 1, m->bwd))
        if (is_channel_sum(&p->ops[i], DN_REDUCE_SUM, a) &&
            dni_root(p, p->ops[i].inputs[0]) == dz &&
            p->ops[i].layer == p->ops[m->dscale].layer)
            m->dbeta = i;
    size_t first = m->dscale;
    first = m->dgamma < first ? m->dgamma : first;
    first = m->dbeta < first ? m->dbeta : first;
    if (!dni_only_reader(p, dn, m->dscale, m->bwd))
        m->dscale = NO_OP; /* somebody else wants dn: it stays */
    return (m->dgamma == NO_OP || dni_root(p, p->ops[m->dgamma].inputs[0]) == dz) &&
           dni_next_write(p, dz, first, m->bwd) == m->bwd;
}

/* The scale's factors are read where the normalisation is, and their gradients are written
 * where its gradient is: only weights are there before, and looked at after, both. */
static bool scale_is_learnt(const dni_program *p, const norm *m)
{
    const dni_op *scale = &p->ops[m->scale];
    for (int32_t k = 1; k < 3; k++)
        if (scale->inputs[k] != DNI_NONE && p->tensors[scale->inputs[k]].role != DNI_WEIGHT)
            return false;
    return true;
}

/* What x holds must still be there when the new ops read it. */
static bool x_stays(const dni_program *p, const norm *m)
{
    dni_tensor x = dni_root(p, p->ops[m->norm].inputs[0]);
    dni_tensor y = dni_root(p, p->ops[m->scale].outputs[0]);
    size_t last = m->bwd == NO_OP ? m->scale : m->bwd;
    return x != m->n && x != y && dni_next_write(p, x, m->norm, last) == last &&
           dni_untouched(p, y, m->norm, m->scale) && dni_overwrites(p, &p->ops[m->scale], 0);
}

static void set_args(dni_trial *t, const dn_args_batch_norm *a)
{
    t->args.norm_scale =
        (dn_args_norm_scale){.base = {.struct_size = sizeof t->args.norm_scale},
                             .use_global = a->use_global,
                             .outer = a->outer,
                             .dim = a->dim,
                             .inner = a->inner,
                             .eps = a->eps,
                             .fraction = a->fraction};
    t->op.args = &t->args.base;
}

static void make_forward(const dni_program *p, const norm *m, dni_trial *t)
{
    const dni_op *bn = &p->ops[m->norm], *scale = &p->ops[m->scale];
    t->op = *bn;
    t->op.kind = DN_OP_NORM_SCALE;
    t->op.num_inputs = 3;
    t->op.inputs[1] = scale->inputs[1];
    t->op.inputs[2] = scale->inputs[2];
    t->op.outputs[0] = scale->outputs[0];
    set_args(t, (const dn_args_batch_norm *)bn->args);
}

static uint32_t adds(const dni_program *p, size_t op, int32_t bit)
{
    return op != NO_OP && p->ops[op].args->accumulate & 1 ? 1u << bit : 0;
}

static void make_backward(const dni_program *p, const norm *m, dni_trial *t)
{
    const dni_op *bn = &p->ops[m->norm], *bwd = &p->ops[m->bwd];
    t->op = *bwd;
    t->op.kind = DN_OP_NORM_SCALE_BWD;
    t->op.num_inputs = 6;
    t->op.inputs[0] = bn->inputs[0];
    t->op.inputs[1] = DNI_NONE;
    t->op.inputs[2] = bn->outputs[1];
    t->op.inputs[3] = bn->outputs[2];
    t->op.inputs[4] = p->ops[m->scale].inputs[1];
    t->op.inputs[5] = m->dz;
    t->op.num_outputs = 3;
    t->op.outputs[1] = m->dgamma == NO_OP ? DNI_NONE : p->ops[m->dgamma].outputs[0];
    t->op.outputs[2] = m->dbeta == NO_OP ? DNI_NONE : p->ops[m->dbeta].outputs[0];
    set_args(t, (const dn_args_batch_norm *)bn->args);
    t->args.base.accumulate = adds(p, m->bwd, 0) | adds(p, m->dgamma, 1) | adds(p, m->dbeta, 2);
}

/* The op gets another kind, so its arguments are allocated anew. */
static dn_status become(dni_program *p, size_t index, const dni_trial *t)
{
    dn_args *args = dni_alloc(p->heap, 1, sizeof(dn_args_norm_scale));
    if (!args)
        return DN_E_NOMEM;
    dni_free(p->ops[index].args);
    p->ops[index].kind = t->op.kind;
    p->ops[index].args = args;
    return dni_trial_adopt(t, p, index);
}

static dn_status accepted_by_chain(const dni_rewrite *r, const norm *m,
                                   const dni_trial *forward, const dni_trial *backward,
                                   bool *accepted)
{
    const dni_op *ops = r->program->ops, *was[4];
    int32_t num = 0;
    const dni_op *pair[] = {&ops[m->norm], &ops[m->scale]};
    dn_status st = dni_accepts(r, &forward->op, pair, 2, accepted);
    if (st || !*accepted || m->bwd == NO_OP)
        return st;
    const size_t parts[] = {m->bwd, m->dscale, m->dgamma, m->dbeta};
    for (size_t i = 0; i < DNI_COUNT(parts); i++)
        if (parts[i] != NO_OP)
            was[num++] = &ops[parts[i]];
    return dni_accepts(r, &backward->op, was, num, accepted);
}

static dn_status fuse(dni_rewrite *r, const norm *m)
{
    dni_program *p = r->program;
    dni_trial forward, backward;
    bool accepted;
    make_forward(p, m, &forward);
    if (m->bwd != NO_OP)
        make_backward(p, m, &backward);
    dn_status st = accepted_by_chain(r, m, &forward, &backward, &accepted);
    if (st || !accepted)
        return st;
    st = become(p, m->norm, &forward);
    if (!st && m->bwd != NO_OP)
        st = become(p, m->bwd, &backward);
    const size_t gone[] = {m->scale, m->dscale, m->dgamma, m->dbeta};
    for (size_t i = 0; !st && i < DNI_COUNT(gone); i++)
        if (gone[i] != NO_OP)
            dni_kill(&p->ops[gone[i]]);
    return st;
}

dn_status dni_fuse_norms(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < p->num_ops; i++) {
        if (p->ops[i].kind != DN_OP_BATCH_NORM)
            continue;
        norm m = {i, NO_OP, NO_OP, NO_OP, NO_OP, NO_OP, DNI_NONE, DNI_NONE};
        m.n = dni_root(p, p->ops[i].outputs[0]);
        if (find_readers(p, &m) && find_gradients(p, &m) && x_stays(p, &m) &&
            scale_is_learnt(p, &m))
            st = fuse(r, &m);
    }
    return st;
}
