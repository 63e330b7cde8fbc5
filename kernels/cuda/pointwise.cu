/* SPDX-License-Identifier: BSD-2-Clause
 * pointwise.cu: FILL, UNARY, UNARY_BWD, ELTWISE, SELECT, BCAST, PRELU: one element of every
 * output from the same element of the inputs, which is read before it is written; of the first
 * ones, of BCAST and PRELU a thread takes several neighbours. */
#include "some.cuh"

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

MAP_SOME(unary, unary_args)
{
    float v[MOST];
    get_some(a->x, i, some, v);
    apply_some(&a->f, some, v);
    put_some(a->out, i, some, a->add, v);
}

MAP_SOME(unary_bwd, unary_args)
{
    float v[MOST], at[MOST];
    get_some(a->dy, i, some, v);
    get_some(a->x.at ? a->x : a->y, i, some, at);
    if (a->x.at)
        slopes_from_x(&a->f, some, at, v);
    else
        slopes_from_y(&a->f, some, at, v);
    put_some(a->out, i, some, a->add, v);
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
    int64_t n = op->out[0].count;
    unary(op, &a, n, some_of(n, a.x.narrow || a.out.narrow));
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
    int64_t n = op->out[0].count;
    unary_bwd(op, &a, n, some_of(n, a.dy.narrow || a.out.narrow));
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

MAP_SOME(eltwise, eltwise_args)
{
    int32_t which[MOST];
    float y[MOST], x[MOST];
    get_some(a->x[0], i, some, y);
    UNROLL
    for (int j = 0; j < some; j++) {
        which[j] = 0;
        y[j] = a->op == DN_ELTWISE_SUM ? y[j] * a->coeff[0] : y[j];
    }
    for (int32_t k = 1; k < a->num; k++) {
        get_some(a->x[k], i, some, x);
        UNROLL
        for (int j = 0; j < some; j++) {
            if (a->op == DN_ELTWISE_SUM)
                y[j] += a->coeff[k] * x[j];
            else if (a->op == DN_ELTWISE_PROD)
                y[j] *= x[j];
            else if (a->op == DN_ELTWISE_DIV)
                y[j] /= x[j];
            else if (k == 1 ? !(y[j] > x[j])
                            : x[j] > y[j]) { /* Caffe's ties, as ref has them */
                y[j] = x[j];
                which[j] = k;
            }
        }
    }
    put_some(a->y, i, some, a->add, y);
    UNROLL
    for (int j = 0; a->mask && j < some; j++)
        a->mask[i + j] = which[j];
}

static dn_status run_eltwise(const dn_op *op, const dn_op_io *io)
{
    eltwise_args a;
    int64_t n = op->out[0].count;
    bool narrow = op->out[0].info.dtype == DN_BF16;
    for (int32_t k = 0; k < op->num_inputs; k++) {
        a.x[k] = values_in(op, io, k);
        narrow = narrow || a.x[k].narrow;
    }
    for (int32_t k = 0; k < DN_MAX_COEFF; k++)
        a.coeff[k] = (float)op->args.eltwise.coeff[k];
    a.y = values_out(op, io, 0);
    a.mask = (int32_t *)cuda_out(op, io, 1);
    a.op = op->args.eltwise.op;
    a.num = op->num_inputs;
    a.add = cuda_adds(op, 0);
    eltwise(op, &a, n, some_of(n, narrow));
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
    values x, s, t, y;
    int64_t dim, inner, set; /* elements with the same s */
    int32_t op, add;
    function f;
} bcast_args;

MAP_FLOATS(bcast, bcast_args)
{
    int64_t d = quotient(i, a->set) * a->dim + middle_of(i, a->dim, a->inner);
    float y[MOST], s[MOST];
    bool apart = a->inner == 1;
    get_some(a->x, i, some, y);
    get_channels(a->s, d, some, apart, s);
    UNROLL
    for (int k = 0; k < some; k++)
        y[k] = a->op == DN_BCAST_ADD   ? y[k] + s[k]
               : a->op == DN_BCAST_SUB ? y[k] - s[k]
               : a->op == DN_BCAST_DIV ? y[k] / s[k]
                                       : y[k] * s[k];
    if (a->op == DN_BCAST_MULADD) {
        get_channels(a->t, d, some, apart, s);
        UNROLL
        for (int k = 0; k < some; k++)
            y[k] += s[k];
    }
    put_some_through(a->y, i, some, a->add, y, &a->f);
}

static dn_status run_bcast(const dn_op *op, const dn_op_io *io)
{
    const dn_args_bcast *b = &op->args.bcast;
    int64_t count = op->out[0].count;
    bcast_args a = {values_in(op, io, 0),
                    values_in(op, io, 1),
                    values_in(op, io, 2),
                    values_out(op, io, 0),
                    b->dim,
                    b->inner,
                    count / (b->sets > 1 ? b->sets : 1),
                    b->op,
                    cuda_adds(op, 0),
                    function_of(b->activation, b->activation_a, 0, 0)};
    bcast(op, &a, count, some_of(row_of_view(b->dim, b->inner), false));
    return DN_OK;
}

const cuda_kind cuda_bcast = {"BCAST", sizeof(dn_args_bcast), NULL, run_bcast};

typedef struct prelu_args {
    values x, slope, y;
    int64_t dim, inner;
    int32_t shared, add;
} prelu_args;

MAP_FLOATS(prelu, prelu_args)
{
    float y[MOST], slope[MOST];
    int64_t d = a->shared ? 0 : middle_of(i, a->dim, a->inner);
    get_some(a->x, i, some, y);
    get_channels(a->slope, d, some, a->inner == 1 && !a->shared, slope);
    UNROLL
    for (int k = 0; k < some; k++)
        y[k] = y[k] > 0 ? y[k] : slope[k] * y[k];
    put_some(a->y, i, some, a->add, y);
}

static dn_status run_prelu(const dn_op *op, const dn_op_io *io)
{
    const dn_args_prelu *p = &op->args.prelu;
    prelu_args a = {values_in(op, io, 0),
                    values_in(op, io, 1),
                    values_out(op, io, 0),
                    p->dim,
                    p->inner,
                    p->shared,
                    cuda_adds(op, 0)};
    prelu(op, &a, op->out[0].count, some_of(row_of_view(p->dim, p->inner), false));
    return DN_OK;
}

const cuda_kind cuda_prelu = {"PRELU", sizeof(dn_args_prelu), NULL, run_prelu};
