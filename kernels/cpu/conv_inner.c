/* SPDX-License-Identifier: BSD-2-Clause
 * conv_inner.c: convolutions as other ops that have kernels, of operands moved about. Over
 * three axes: in NHWC, whatever the layout. Of whole images: as a product of matrices. Of
 * groups of few channels in NHWC: groups side by side as one, with zeros between them: an
 * infinity or NaN in a group reaches those beside it. */
#include "cpu.h"

#include <stdio.h>
#include <string.h>

enum { STEPS = 4, ROLES = 3, OUTS = 2, LEAST = 16, IO = 16 };

typedef struct step {
    dn_op *op;
    int32_t in[ROLES], out[OUTS]; /* operand; IO + i: stand-in i, in scratch; -1: none */
} step;

typedef struct inner_op {
    dn_op base;
    int32_t count, skipped; /* those before that make constant weights, which are kept */
    int32_t weights;        /* as many do, before op_prepare of the convolution */
    size_t at[2], used;     /* bytes in scratch: of stand-ins, then the steps' own */
    size_t own;
    step steps[STEPS];
} inner_op;

static void *place(const inner_op *op, const dn_op_io *io, int32_t i, bool out)
{
    if (i < 0)
        return NULL;
    if (i >= IO)
        return (char *)io->scratch + op->at[i - IO];
    return out ? io->out[i] : io->in[i];
}

/* Steps [from, to); or with `prepare` what they want to keep. */
static dn_status run_steps(const inner_op *op, const dn_op_io *io, int32_t from, int32_t to,
                           bool prepare)
{
    dn_status status = DN_OK;
    for (int32_t i = from; i < to && !status; i++) {
        const step *s = &op->steps[i];
        void *in[ROLES], *out[OUTS];
        for (int32_t k = 0; k < ROLES; k++)
            in[k] = place(op, io, s->in[k], false);
        for (int32_t k = 0; k < OUTS; k++)
            out[k] = prepare ? NULL : place(op, io, s->out[k], true);
        const dn_op_io own = {.struct_size = sizeof own,
                              .in = in,
                              .out = out,
                              .scratch = io->scratch ? (char *)io->scratch + op->used : NULL,
                              .keep = io->keep};
        if (!prepare)
            status = s->op->run(s->op, &own);
        else if (s->op->prepare)
            status = s->op->prepare(s->op, &own);
    }
    return status;
}

static dn_status inner_run(dn_op *base, const dn_op_io *io)
{
    const inner_op *op = (const inner_op *)base;
    return run_steps(op, io, op->skipped, op->count, false);
}

static dn_status inner_prepare(dn_op *base, const dn_op_io *io)
{
    const inner_op *op = (const inner_op *)base;
    dn_status status = run_steps(op, io, 0, op->weights, false);
    return status ? status : run_steps(op, io, 0, op->count, true);
}

/* ---- steps ------------------------------------------------------------------------------- */

static inner_op *new_inner(dn_backend *backend, dn_op_info *info, const char *name)
{
    return cpu_op_new(backend, sizeof(inner_op), inner_run, info, name);
}

static dn_operand flat(int64_t count)
{
    return (dn_operand){.dtype = DN_F32, .shape = {.axes = 1, .dim = {count}}};
}

static int32_t stand_in(inner_op *op, int32_t i, int64_t count)
{
    op->at[i] = op->used;
    op->used += cpu_round64((size_t)count * sizeof(float));
    return IO + i;
}

static dn_status add_step(inner_op *op, const dn_op_desc *desc, const step *where,
                          dn_op_info *info)
{
    dn_op_info own = {.struct_size = sizeof own};
    step *s = &op->steps[op->count];
    *s = *where;
    dn_status status = cpu_op_create(op->base.backend, desc, &s->op, &own);
    if (status == DN_DECLINED)
        return cpu_decline(info, own.reason);
    if (status)
        return status;
    if (desc->kind >= DN_OP_GEMM && desc->kind <= DN_OP_CONV_BWD_WEIGHTS) {
        /* "cpu:rows/avx2 of groups" */
        char as[8];
        snprintf(as, sizeof as, "%.6s", info->implementation + 4);
        snprintf(info->implementation, sizeof info->implementation, "%.36s of %.7s",
                 own.implementation, as);
    }
    op->count++;
    dn_op **end = &op->base.next; /* it may have steps of its own */
    while (*end)
        end = &(*end)->next;
    *end = s->op;
    op->own = own.scratch > op->own ? own.scratch : op->own;
    if (own.keep) { /* the convolution's */
        info->keep = own.keep;
        info->unread = own.unread;
        op->skipped = own.unread & 2 ? op->weights : 0;
        op->base.prepare = inner_prepare;
    }
    info->cost += own.cost;
    return DN_OK;
}

static dn_status add_fill(inner_op *op, int32_t to, int64_t count, dn_op_info *info)
{
    dn_args_fill args = {.base = {.struct_size = sizeof args}};
    dn_operand y = flat(count);
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = DN_OP_FILL,
                       .num_outputs = 1,
                       .outputs = &y,
                       .args = &args};
    return add_step(op, &desc, &(step){.in = {-1, -1, -1}, .out = {to, -1}}, info);
}

static dn_status add_copy(inner_op *op, int32_t from, int32_t to, const dn_args_copy *args,
                          dn_op_info *info)
{
    dn_operand x = flat(1), y = flat(1);
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = DN_OP_COPY,
                       .num_inputs = 1,
                       .num_outputs = 1,
                       .inputs = &x,
                       .outputs = &y,
                       .args = args};
    return add_step(op, &desc, &(step){.in = {from, -1, -1}, .out = {to, -1}}, info);
}

/* The same convolution of other operands; of absent ones it has no more than these. */
static dn_status add_conv(inner_op *op, const dn_op_desc *as, const dn_args_conv *args,
                          const dn_operand *in, const dn_operand *out, const step *where,
                          dn_op_info *info)
{
    dn_op_desc desc = *as;
    step has = *where;
    desc.num_inputs = (int32_t)cpu_min(as->num_inputs, ROLES);
    desc.num_outputs = (int32_t)cpu_min(as->num_outputs, OUTS);
    desc.inputs = in, desc.outputs = out, desc.args = args;
    desc.constant = as->kind == DN_OP_CONV_BWD_WEIGHTS ? 0 : as->constant & 6;
    for (int32_t i = desc.num_inputs; i < ROLES; i++)
        has.in[i] = -1;
    for (int32_t i = desc.num_outputs; i < OUTS; i++)
        has.out[i] = -1;
    return add_step(op, &desc, &has, info);
}

static dn_status finish(inner_op *op, dn_status status, dn_op **out, dn_op_info *info)
{
    if (status) {
        cpu_op_free(&op->base);
        info->cost = 0; /* the next row's are others */
        info->keep = info->unread = 0;
        return status;
    }
    info->scratch = op->used + op->own;
    *out = &op->base;
    return DN_OK;
}

/* x, w and y of a convolution's kind: inputs, and outputs from IO on. */
static void roles_of(int32_t kind, int32_t *x, int32_t *w, int32_t *y)
{
    *x = kind == DN_OP_CONV_BWD_DATA ? IO : 0;
    *w = kind == DN_OP_CONV_BWD_WEIGHTS ? IO : 1;
    *y = kind == DN_OP_CONV ? IO : kind == DN_OP_CONV_BWD_DATA ? 0 : 1;
}

static void copies_of(const dn_op_desc *desc, dn_operand in[ROLES], dn_operand out[OUTS])
{
    for (int32_t i = 0; i < ROLES; i++)
        in[i] = i < desc->num_inputs ? desc->inputs[i] : (dn_operand){.dtype = -1};
    for (int32_t i = 0; i < OUTS; i++)
        out[i] = i < desc->num_outputs ? desc->outputs[i] : (dn_operand){.dtype = -1};
}

/* ---- three axes -------------------------------------------------------------------------- */

/* (N, C, I) to (N, I, C), or back. */
static dn_status add_turn(inner_op *op, const dn_shape *s, bool back, uint32_t accumulate,
                          int32_t from, int32_t to, dn_op_info *info)
{
    int64_t N = s->dim[0], C = s->dim[1], count = cpu_count(s);
    if (!count)
        return cpu_decline(info, "empty convolution");
    int64_t I = count / (N * C);
    dn_args_copy c = {.base = {.struct_size = sizeof c, .accumulate = accumulate},
                      .axes = 3,
                      .dim = {N, back ? C : I, back ? I : C},
                      .x_stride = {C * I, 1, back ? C : I},
                      .y_stride = {C * I, back ? I : C, 1},
                      .alpha = 1};
    return add_copy(op, from, to, &c, info);
}

dn_status cpu_conv_frames_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    dn_args_conv a = *(const dn_args_conv *)desc->args;
    int32_t role[3], last = desc->kind != DN_OP_CONV_BWD_WEIGHTS ? IO : -1;
    if (a.spatial != 3 || !cpu_all_f32(desc))
        return cpu_decline(info, "not three axes of plain f32");
    if (last == IO && a.base.accumulate && a.activation != DN_FN_NONE)
        return cpu_decline(info, "activation of a sum");
    dn_operand in[ROLES], outs[OUTS];
    copies_of(desc, in, outs);
    roles_of(desc->kind, &role[0], &role[1], &role[2]);
    inner_op *op = new_inner(backend, info, "cpu:frames");
    if (!op)
        return DN_E_NOMEM;
    step where = {.in = {0, 1, 2}, .out = {0, 1}};
    dn_status status = DN_OK;
    const dn_shape *y = &desc->outputs[0].shape;
    for (int32_t i = 0; i < 3 && !status; i += 2) { /* x and y */
        dn_operand *at = role[i] < IO ? &in[role[i]] : &outs[0];
        int32_t like = stand_in(op, i / 2, cpu_count(&at->shape));
        *(role[i] < IO ? &where.in[role[i]] : &where.out[0]) = like;
        at->layout = DN_LAYOUT_NHWC;
        if (role[i] < IO)
            status = add_turn(op, &at->shape, false, 0, role[i], like, info);
    }
    uint32_t accumulate = a.base.accumulate;
    if (last == IO)
        a.base.accumulate = 0;
    if (!status)
        status = add_conv(op, desc, &a, in, outs, &where, info);
    if (!status && last == IO)
        status = add_turn(op, y, true, accumulate, where.out[0], 0, info);
    return finish(op, status, out, info);
}

/* ---- whole images ------------------------------------------------------------------------ */

/* The kernel is as large as the image, which has one output. */
static bool is_whole(const dn_args_conv *a, const dn_shape *x, const dn_shape *y)
{
    bool whole = a->group == 1 && cpu_count(y) == y->dim[0] * y->dim[1];
    for (int32_t i = 0; i < a->spatial; i++)
        whole = whole && a->pad[i] == 0 && x->dim[2 + i] == a->kernel[i];
    return whole && cpu_count(x) > x->dim[0] * x->dim[1];
}

/* db: sums of dy, (N, K). */
static dn_status add_bias_sums(inner_op *op, int64_t N, int64_t K, uint32_t accumulate,
                               dn_op_info *info)
{
    dn_args_reduce r = {.base = {.struct_size = sizeof r, .accumulate = accumulate},
                        .axes = 2,
                        .dim = {N, K},
                        .x_stride = {K, 1},
                        .y_stride = {0, 1},
                        .alpha = 1};
    dn_operand x = flat(N * K), y = flat(K);
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = DN_OP_REDUCE,
                       .num_inputs = 1,
                       .num_outputs = 1,
                       .inputs = &x,
                       .outputs = &y,
                       .args = &r};
    return add_step(op, &desc, &(step){.in = {1, -1, -1}, .out = {1, -1}}, info);
}

/* y (N, K) = x w^T and its like: x (N, C I), w (K, C I). */
static dn_status add_product(inner_op *op, const dn_op_desc *as, int64_t N, int64_t K,
                             int64_t row, uint32_t accumulate, const step *where,
                             dn_op_info *info)
{
    const dn_args_conv *a = as->args;
    bool back = as->kind == DN_OP_CONV_BWD_DATA, weights = as->kind == DN_OP_CONV_BWD_WEIGHTS;
    dn_args_gemm g = {.base = {.struct_size = sizeof g, .accumulate = accumulate},
                      .trans_a = weights,
                      .trans_b = !back && !weights,
                      .m = weights ? K : N,
                      .n = back || weights ? row : K,
                      .k = weights ? N
                           : back  ? K
                                   : row,
                      .lda = back || weights ? K : row,
                      .ldb = row,
                      .ldc = back || weights ? row : K,
                      .batch = 1,
                      .alpha = 1,
                      .bias_mode = where->in[2] >= 0,
                      .activation = weights ? DN_FN_NONE : a->activation,
                      .activation_a = a->activation_a};
    dn_operand in[ROLES] = {flat(g.m * g.k), flat(g.n * g.k), flat(g.n)}, out = flat(g.m * g.n);
    dn_op_desc desc = *as;
    desc.kind = DN_OP_GEMM;
    desc.num_inputs = 2 + g.bias_mode, desc.num_outputs = 1;
    desc.inputs = in, desc.outputs = &out, desc.args = &g;
    desc.constant = weights ? 0 : as->constant & 2;
    return add_step(op, &desc, where, info);
}

dn_status cpu_conv_whole_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info)
{
    const dn_args_conv *a = desc->args;
    bool back = desc->kind == DN_OP_CONV_BWD_DATA,
         weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    uint32_t accumulate = a->base.accumulate & 1;
    dn_operand in[ROLES], outs[OUTS];
    int32_t role[3];
    copies_of(desc, in, outs);
    roles_of(desc->kind, &role[0], &role[1], &role[2]);
    dn_operand *x = back ? &outs[0] : &in[0], *y = role[2] < IO ? &in[role[2]] : &outs[0];
    bool turn = x->layout == DN_LAYOUT_NHWC, bias = cpu_present(in, ROLES, 2);
    dn_op_desc plain = *desc;
    plain.inputs = in, plain.num_inputs = (int32_t)cpu_min(desc->num_inputs, ROLES);
    plain.outputs = outs, plain.num_outputs = (int32_t)cpu_min(desc->num_outputs, OUTS);
    x->layout = y->layout = DN_LAYOUT_PLAIN;
    if (!cpu_all_f32(&plain) || !is_whole(a, &x->shape, &y->shape))
        return cpu_decline(info, "not one output of plain f32");
    if (back && turn && accumulate && a->activation != DN_FN_NONE)
        return cpu_decline(info, "activation of a sum");
    int64_t N = x->shape.dim[0], C = x->shape.dim[1], row = cpu_count(&x->shape) / N;
    inner_op *op = new_inner(backend, info, "cpu:images");
    if (!op)
        return DN_E_NOMEM;
    step where = {.in = {0, 1, bias ? 2 : -1}, .out = {0, -1}};
    if (weights)
        where.in[0] = 1, where.in[1] = 0;
    int32_t *at = back ? &where.out[0] : &where.in[weights];
    dn_status status = DN_OK;
    if (turn)
        *at = stand_in(op, 0, N * row);
    if (turn && !back)
        status = add_turn(op, &x->shape, true, 0, 0, *at, info);
    if (bias && back) { /* a bias for each of a channel's elements */
        dn_args_copy c = {.base = {.struct_size = sizeof c},
                          .axes = 2,
                          .dim = {C, row / C},
                          .x_stride = {1, 0},
                          .y_stride = {row / C, 1},
                          .alpha = 1};
        where.in[2] = stand_in(op, 1, row);
        status = add_copy(op, 2, where.in[2], &c, info);
    }
    if (!status)
        status = add_product(op, desc, N, y->shape.dim[1], row, back && turn ? 0 : accumulate,
                             &where, info);
    if (!status && back && turn)
        status = add_turn(op, &x->shape, false, accumulate, *at, 0, info);
    if (!status && weights && cpu_present(outs, OUTS, 1))
        status = add_bias_sums(op, N, y->shape.dim[1], a->base.accumulate >> 1 & 1, info);
    return finish(op, status, out, info);
}

/* ---- groups of few channels -------------------------------------------------------------- */

/* Weights (group, K, C taps) as (group / m, m K, m C taps), or back. */
static dn_status add_blocks(inner_op *op, const dn_shape *w, int64_t group, int64_t m,
                            bool back, uint32_t accumulate, int32_t from, int32_t to,
                            dn_op_info *info)
{
    int64_t K = w->dim[0] / group, row = cpu_count(w) / w->dim[0];
    dn_args_copy c = {.base = {.struct_size = sizeof c, .accumulate = accumulate},
                      .axes = 4,
                      .dim = {group / m, m, K, row},
                      .alpha = 1};
    int64_t narrow[] = {m * K * row, K * row, row, 1};
    int64_t wide[] = {m * K * m * row, (K * m + 1) * row, m * row, 1};
    memcpy(c.x_stride, back ? wide : narrow, sizeof narrow);
    memcpy(c.y_stride, back ? narrow : wide, sizeof narrow);
    return add_copy(op, from, to, &c, info);
}

dn_status cpu_conv_groups_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    dn_args_conv a = *(const dn_args_conv *)desc->args;
    bool weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    dn_operand in[ROLES], outs[OUTS];
    int32_t x, w, y;
    if (!cpu_all_nhwc(desc, weights ? 3 | 1u << 18 : 1 | 1u << 16))
        return cpu_decline(info, "not NHWC f32");
    copies_of(desc, in, outs);
    roles_of(desc->kind, &x, &w, &y);
    dn_operand *at_w = w < IO ? &in[w] : &outs[0];
    dn_shape ws = at_w->shape;
    int64_t group = a.group, m = 1, few = cpu_min(ws.dim[1], ws.dim[0] / group);
    int64_t least = a.stride[0] == 1 && a.stride[1] == 1 ? 2 * LEAST : LEAST;
    while (few * m < least && m < group)
        for (m++; group % m; m++)
            ;
    if (m == 1 || cpu_count(&ws) == ws.dim[0] * ws.dim[1] || few < 2)
        return cpu_decline(info, "no groups of few channels");
    inner_op *op = new_inner(backend, info, "cpu:groups");
    if (!op)
        return DN_E_NOMEM;
    a.group = (int32_t)(group / m);
    at_w->shape.dim[1] *= m;
    int32_t wide = stand_in(op, 0, cpu_count(&at_w->shape));
    step where = {.in = {0, weights ? 1 : wide, 2}, .out = {weights ? wide : 0, 1}};
    dn_status status = DN_OK;
    if (weights)
        a.base.accumulate &= ~1u;
    else
        status = add_fill(op, wide, cpu_count(&at_w->shape), info);
    if (!status && !weights)
        status = add_blocks(op, &ws, group, m, false, 0, 1, wide, info);
    op->weights = op->count * !weights;
    if (!status)
        status = add_conv(op, desc, &a, in, outs, &where, info);
    if (!status && weights)
        status =
            add_blocks(op, &ws, group, m, true,
                       ((const dn_args_conv *)desc->args)->base.accumulate & 1, wide, 0, info);
    return finish(op, status, out, info);
}
