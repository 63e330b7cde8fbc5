/* SPDX-License-Identifier: BSD-2-Clause
 * fold_norms.c: a convolution followed by a normalisation with recorded statistics is a
 * convolution with other weights: w[k] g[k] and (b[k] - mean[k]) g[k] + beta[k], g = gamma /
 * sqrt(var + eps). They are computed when weights change, and constant between. */
#include <math.h>

#include "plan/passes.h"

typedef struct fold {      /* what the op that computes them knows */
    int64_t K, per_output; /* outputs; weights of each */
    double eps;
    bool wide; /* double */
} fold;

static double get(const fold *f, const void *values, int64_t i)
{
    return f->wide ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void put(const fold *f, void *values, int64_t i, double value)
{
    if (f->wide)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

/* in: w, b, gamma, beta, running mean, running variance, factor; out: w, b. b, gamma and beta
 * may be absent. */
static dn_status compute(void *user, void *const *in, void *const *out)
{
    const fold *f = user;
    double factor = get(f, in[6], 0), share = factor == 0 ? 0 : 1 / factor;
    for (int64_t k = 0; k < f->K; k++) {
        double g = 1 / sqrt(get(f, in[5], k) * share + f->eps);
        g *= in[2] ? get(f, in[2], k) : 1;
        for (int64_t i = k * f->per_output; i < (k + 1) * f->per_output; i++)
            put(f, out[0], i, g * get(f, in[0], i));
        double b = (in[1] ? get(f, in[1], k) : 0) - get(f, in[4], k) * share;
        put(f, out[1], k, b * g + (in[3] ? get(f, in[3], k) : 0));
    }
    return DN_OK;
}

static bool is_constant(const dni_program *p, dni_tensor t)
{
    return t == DNI_NONE || p->tensors[t].version;
}

/* Does the op normalise channels by statistics that only change when weights do? */
static bool is_recorded_norm(const dni_program *p, const dni_op *op)
{
    const dn_args_batch_norm *n = (const dn_args_batch_norm *)op->args;
    const dn_args_norm_scale *s = (const dn_args_norm_scale *)op->args;
    bool scaled = op->kind == DN_OP_NORM_SCALE;
    if (op->kind != DN_OP_BATCH_NORM && (!scaled || s->activation))
        return false;
    bool constant = n->use_global && !op->args->accumulate; /* alike in both structs */
    for (int32_t k = 1; k < op->num_inputs; k++)
        constant &= is_constant(p, op->inputs[k]);
    for (int32_t k = 3; k < 6; k++)
        constant &= is_constant(p, op->outputs[k]);
    return constant;
}

static bool unread(const dni_program *p, dni_tensor t)
{
    dni_tensor root = dni_root(p, t);
    return dni_next_read(p, root, 0, p->num_ops) == p->num_ops && !p->tensors[root].keep;
}

static bool can_fold(const dni_program *p, size_t conv, size_t norm)
{
    const dni_op *op = &p->ops[conv], *after = &p->ops[norm];
    const dn_args_batch_norm *n = (const dn_args_batch_norm *)after->args;
    dni_tensor x = dni_root(p, after->inputs[0]), y = dni_root(p, after->outputs[0]);
    const dni_shape *made = &p->tensors[op->outputs[0]].shape;
    return op->kind == DN_OP_CONV && !((const dn_args_conv *)op->args)->activation &&
           op->section == after->section && dni_root(p, op->outputs[0]) == x && x != y &&
           dni_overwrites(p, op, 0) && is_constant(p, op->inputs[1]) &&
           is_constant(p, op->inputs[2]) && dni_only_reader(p, x, conv, norm) &&
           dni_untouched(p, y, conv, norm) && unread(p, after->outputs[1]) &&
           unread(p, after->outputs[2]) && n->outer == made->dim[0] && n->dim == made->dim[1] &&
           dni_shape_equal(made, &p->tensors[after->outputs[0]].shape);
}

/* Room for folded values, constant like the weights they are made from. */
static dn_status make_tensor(dni_program *p, const dni_tensor_info *like,
                             const dni_shape *shape, dni_tensor *out)
{
    dni_tensor_info info = {.role = DNI_TEMP,
                            .dtype = like->dtype,
                            .shape = *shape,
                            .storage = DNI_NONE,
                            .blob = -1,
                            .keep = true,
                            .version = like->version};
    *out = dni_program_tensor(p, &info);
    return *out == DNI_NONE ? DN_E_NOMEM : DN_OK;
}

static dn_status add_computation(dni_program *p, const dni_op *conv, const dni_op *norm,
                                 dni_tensor w, dni_tensor b)
{
    const dni_tensor_info *weights = &p->tensors[conv->inputs[1]];
    bool scaled = norm->kind == DN_OP_NORM_SCALE;
    fold f = {.K = weights->shape.dim[0],
              .eps = ((const dn_args_batch_norm *)norm->args)->eps,
              .wide = weights->dtype == DN_F64};
    f.per_output = dni_shape_count(&weights->shape) / f.K;
    if (scaled)
        f.eps = ((const dn_args_norm_scale *)norm->args)->eps;
    dni_op op = {.num_inputs = 7,
                 .num_outputs = 2,
                 .outputs = {w, b},
                 .inputs = {conv->inputs[1], conv->inputs[2],
                            scaled ? norm->inputs[1] : DNI_NONE,
                            scaled ? norm->inputs[2] : DNI_NONE, norm->outputs[3],
                            norm->outputs[4], norm->outputs[5]}};
    fold *kept = dni_program_own(p, &f, sizeof f);
    dni_op *made = kept ? dni_program_op(p, DN_OP_HOST_CALL, DNI_PREPARE, conv->layer) : NULL;
    if (!made)
        return DN_E_NOMEM;
    dn_args_host_call *call = (dn_args_host_call *)made->args;
    call->fn = compute;
    call->user = kept;
    op.kind = made->kind;
    op.section = made->section;
    op.layer = made->layer;
    op.args = made->args;
    *made = op;
    return dni_note(p, p->num_ops - 1);
}

static dn_status fold_into(dni_rewrite *r, size_t conv, size_t norm)
{
    dni_program *p = r->program;
    const dni_op *replaced[] = {&p->ops[conv], &p->ops[norm]};
    dni_op was = p->ops[conv], after = p->ops[norm]; /* adding ops moves the others */
    dni_tensor w, b;
    dni_trial trial;
    bool accepted = false;
    dni_shape outputs = dni_shape_of(1, &p->tensors[was.inputs[1]].shape.dim[0]);
    dni_shape weights = p->tensors[was.inputs[1]].shape;
    dni_tensor_info like = p->tensors[was.inputs[1]];
    dn_status st = make_tensor(p, &like, &weights, &w);
    if (!st)
        st = make_tensor(p, &like, &outputs, &b);
    if (st)
        return st;
    dni_trial_of(&trial, &p->ops[conv]);
    trial.op.inputs[1] = w;
    trial.op.inputs[2] = b;
    trial.op.num_inputs = 3;
    st = dni_accepts(r, &trial.op, replaced, 2, &accepted);
    if (st || !accepted)
        return st;
    trial.op.outputs[0] = after.outputs[0];
    st = add_computation(p, &was, &after, w, b);
    if (st)
        return st;
    dni_kill(&p->ops[norm]);
    return dni_trial_adopt(&trial, p, conv);
}

dn_status dni_fold_norms(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0, n = p->num_ops; !st && i < n; i++) {
        if (!is_recorded_norm(p, &p->ops[i]))
            continue;
        size_t conv = dni_last_write(p, dni_root(p, p->ops[i].inputs[0]), i);
        if (conv != SIZE_MAX && can_fold(p, conv, i))
            st = fold_into(r, conv, i);
    }
    return st;
}
