/* SPDX-License-Identifier: BSD-2-Clause
 * pointwise.cu: FILL, UNARY, UNARY_BWD, ELTWISE, SELECT, BCAST, PRELU: one element of every
 * output from the same element of the inputs, which is read before it is written. */
#include "functions.cuh"

typedef struct fill_args {
    float *y, value;
    int32_t add;
} fill_args;

MAP(fill, fill_args)
{
    put(&a->y[i], a->add, a->value);
}

static dn_status run_fill(const dn_op *op, const dn_op_io *io)
{
    fill_args a = {cuda_out(op, io, 0), (float)op->args.fill.value, cuda_adds(op, 0)};
    fill(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_fill = {"FILL", sizeof(dn_args_fill), NULL, run_fill};

typedef struct unary_args {
    values x, y, dy, out;
    function f;
    int32_t add;
} unary_args;

MAP(unary, unary_args)
{
    put_value(a->out, i, a->add, apply(&a->f, get(a->x, i)));
}

MAP(unary_bwd, unary_args)
{
    float slope =
        a->x.at ? slope_from_x(&a->f, get(a->x, i)) : slope_from_y(&a->f, get(a->y, i));
    put_value(a->out, i, a->add, get(a->dy, i) * slope);
}

static dn_status run_unary(const dn_op *op, const dn_op_io *io)
{
    const dn_args_unary *u = &op->args.unary;
    unary_args a = {values_in(op, io, 0),
                    floats(NULL),
                    floats(NULL),
                    values_out(op, io, 0),
                    function_of(u->fn, u->a, u->b, u->c),
                    cuda_adds(op, 0)};
    unary(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_unary = {"UNARY", sizeof(dn_args_unary), NULL, run_unary,
                              CUDA_NARROW(1, 1)};

static dn_status run_unary_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_unary *u = &op->args.unary;
    unary_args a = {values_in(op, io, 0),
                    values_in(op, io, 1),
                    values_in(op, io, 2),
                    values_out(op, io, 0),
                    function_of(u->fn, u->a, u->b, u->c),
                    cuda_adds(op, 0)};
    unary_bwd(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_unary_bwd = {"UNARY_BWD", sizeof(dn_args_unary), NULL, run_unary_bwd,
                                  CUDA_NARROW(7, 1)};

typedef struct eltwise_args {
    values x[DN_MAX_OPERANDS], y;
    float coeff[DN_MAX_COEFF];
    int32_t *mask;
    int32_t op, num, add;
} eltwise_args;

MAP(eltwise, eltwise_args)
{
    int32_t which = 0;
    float y = get(a->x[0], i);
    if (a->op == DN_ELTWISE_SUM)
        y *= a->coeff[0];
    for (int32_t k = 1; k < a->num; k++) {
        float x = get(a->x[k], i);
        if (a->op == DN_ELTWISE_SUM)
            y += a->coeff[k] * x;
        else if (a->op == DN_ELTWISE_PROD)
            y *= x;
        else if (a->op == DN_ELTWISE_DIV)
            y /= x;
        else if (k == 1 ? !(y > x) : x > y) { /* Caffe's ties, as ref has them */
            y = x;
            which = k;
        }
    }
    put_value(a->y, i, a->add, y);
    if (a->mask)
        a->mask[i] = which;
}

static dn_status run_eltwise(const dn_op *op, const dn_op_io *io)
{
    eltwise_args a;
    for (int32_t k = 0; k < op->num_inputs; k++)
        a.x[k] = values_in(op, io, k);
    for (int32_t k = 0; k < DN_MAX_COEFF; k++)
        a.coeff[k] = (float)op->args.eltwise.coeff[k];
    a.y = values_out(op, io, 0);
    a.mask = (int32_t *)cuda_out(op, io, 1);
    a.op = op->args.eltwise.op;
    a.num = op->num_inputs;
    a.add = cuda_adds(op, 0);
    eltwise(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_eltwise = {"ELTWISE", sizeof(dn_args_eltwise), NULL, run_eltwise,
                                CUDA_NARROW(0xFFFF, 1)};

typedef struct select_args {
    const float *dy;
    const int32_t *mask;
    float *dx;
    int32_t index, add;
} select_args;

MAP(select_index, select_args)
{
    put(&a->dx[i], a->add, a->mask[i] == a->index ? a->dy[i] : 0);
}

static dn_status run_select(const dn_op *op, const dn_op_io *io)
{
    select_args a = {cuda_in(op, io, 0), (const int32_t *)cuda_in(op, io, 1),
                     cuda_out(op, io, 0), op->args.select.index, cuda_adds(op, 0)};
    select_index(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_select = {"SELECT", sizeof(dn_args_select), NULL, run_select};

typedef struct bcast_args {
    const float *x, *s, *t;
    float *y;
    int64_t dim, inner, set; /* elements with the same s */
    int32_t op, add;
    function f;
} bcast_args;

MAP(bcast, bcast_args)
{
    int64_t d = quotient(i, a->set) * a->dim + middle_of(i, a->dim, a->inner);
    float x = a->x[i], s = a->s[d], y;
    values out = {a->y, 0};
    switch (a->op) {
    case DN_BCAST_ADD:
        y = x + s;
        break;
    case DN_BCAST_SUB:
        y = x - s;
        break;
    case DN_BCAST_MUL:
        y = x * s;
        break;
    case DN_BCAST_DIV:
        y = x / s;
        break;
    default:
        y = x * s + a->t[d];
    }
    put_through(out, i, a->add, y, &a->f);
}

static dn_status run_bcast(const dn_op *op, const dn_op_io *io)
{
    const dn_args_bcast *b = &op->args.bcast;
    int64_t count = op->out[0].count;
    bcast_args a = {cuda_in(op, io, 0),
                    cuda_in(op, io, 1),
                    cuda_in(op, io, 2),
                    cuda_out(op, io, 0),
                    b->dim,
                    b->inner,
                    count / (b->sets > 1 ? b->sets : 1),
                    b->op,
                    cuda_adds(op, 0),
                    function_of(b->activation, b->activation_a, 0, 0)};
    bcast(op, &a, count);
    return DN_OK;
}

const cuda_kind cuda_bcast = {"BCAST", sizeof(dn_args_bcast), NULL, run_bcast};

typedef struct prelu_args {
    const float *x, *slope;
    float *y;
    int64_t dim, inner;
    int32_t shared, add;
} prelu_args;

MAP(prelu, prelu_args)
{
    float x = a->x[i];
    int64_t d = a->shared ? 0 : middle_of(i, a->dim, a->inner);
    put(&a->y[i], a->add, x > 0 ? x : a->slope[d] * x);
}

static dn_status run_prelu(const dn_op *op, const dn_op_io *io)
{
    const dn_args_prelu *p = &op->args.prelu;
    prelu_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0), p->dim,
                    p->inner,           p->shared,          cuda_adds(op, 0)};
    prelu(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_prelu = {"PRELU", sizeof(dn_args_prelu), NULL, run_prelu};
