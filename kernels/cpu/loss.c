/* SPDX-License-Identifier: BSD-2-Clause
 * loss.c: LOSS and LOSS_BWD of class labels (softmax), of sigmoids and of distances: pieces of
 * fixed size pass through vector kernels, and their sums are added in order. */
#include <float.h>
#include <string.h>

#include "../label.h"
#include "cpu.h"

enum { PIECE = 512, PIECE_BYTES = 131072 };

typedef struct loss_op {
    dn_op base;
    dn_args_loss a;
    int64_t positions, span, row_pieces, pieces, tasks; /* positions of a piece, pieces a row */
} loss_op;

typedef struct part { /* of a piece; bad: the first position whose label is wrong, or -1 */
    double sum;
    int64_t valid, bad;
} part;

typedef struct loss_call {
    const loss_op *op;
    const float *x, *t, *w;
    float *dx, *dt; /* both NULL: forward */
    float scale;
    part *parts;
} loss_call;

/* ---- labels ------------------------------------------------------------------------------ */

typedef struct labels { /* of n positions: where their elements are, what they count */
    int64_t at[PIECE];
    float factor[PIECE], keep[PIECE];
} labels;

/* x: the first element of the piece. Ignored positions, and wrong ones, have keep 0. */
static void read_labels(const loss_call *call, int64_t first, int64_t n, labels *l, part *p)
{
    const dn_args_loss *a = &call->op->a;
    for (int64_t j = 0; j < n; j++) {
        int64_t label;
        int answer =
            label_of(call->t[first + j], a->dim, a->has_ignore, a->ignore_label, &label);
        bool right = answer == LABEL_OK;
        if (answer == LABEL_BAD && p->bad < 0)
            p->bad = first + j;
        p->valid += answer != LABEL_IGNORED;
        l->at[j] = a->inner == 1 ? j * a->dim + (right ? label : 0)
                                 : (right ? label : 0) * a->inner + j;
        l->factor[j] = !right ? 0 : call->w ? call->w[label] : 1;
        l->keep[j] = right;
    }
}

/* -log p of each label, times its weight */
static void softmax_sum(const loss_call *call, const float *x, int64_t n, const labels *l,
                        part *p)
{
    const cpu_kernels *ker = call->op->base.backend->kernels;
    const cpu_unary log = {.fn = DN_FN_LOG, .a = 1, .c = -1};
    float value[PIECE];
    for (int64_t j = 0; j < n; j++) {
        float v = x[l->at[j]];
        value[j] = l->keep[j] == 0 ? 1 : v > FLT_MIN || v != v ? v : FLT_MIN;
    }
    ker->unary(&log, value, value, false, n);
    p->sum = ker->reduce(DN_REDUCE_DOT, value, l->factor, n);
}

/* (x - 1[label]) f: all of x f first, then the labels' elements as they should be */
static void softmax_gradient(const loss_call *call, float *dx, const float *x, int64_t n,
                             labels *l)
{
    const dn_args_loss *a = &call->op->a;
    const cpu_kernels *ker = call->op->base.backend->kernels;
    bool add = a->base.accumulate & 1;
    float right[PIECE];
    for (int64_t j = 0; j < n; j++) {
        l->factor[j] *= call->scale;
        right[j] = l->factor[j] * (x[l->at[j]] - 1) + (add ? dx[l->at[j]] : 0);
    }
    if (a->inner > 1)
        for (int64_t d = 0; d < a->dim; d++)
            ker->bcast_row(CPU_BCAST_KEEP, dx + d * a->inner, x + d * a->inner, l->factor,
                           l->keep, add, n);
    else
        for (int64_t j = 0; j < n; j++)
            ker->bcast(CPU_BCAST_KEEP, dx + j * a->dim, x + j * a->dim, l->factor[j],
                       l->keep[j], add, a->dim);
    for (int64_t j = 0; j < n; j++)
        if (l->keep[j] != 0)
            dx[l->at[j]] = right[j];
}

static void softmax_piece(const loss_call *call, int64_t piece, part *p)
{
    const loss_op *op = call->op;
    int64_t i = piece % op->row_pieces * op->span, row = piece / op->row_pieces;
    int64_t inner = op->a.inner, length = inner == 1 ? op->a.outer : inner;
    int64_t n = cpu_min(op->span, length - i);
    int64_t at = inner == 1 ? i * op->a.dim : row * op->a.dim * inner + i;
    labels l;
    read_labels(call, inner == 1 ? i : row * inner + i, n, &l, p);
    if (call->dx)
        softmax_gradient(call, call->dx + at, call->x + at, n, &l);
    else
        softmax_sum(call, call->x + at, n, &l, p);
}

/* ---- elements ---------------------------------------------------------------------------- */

/* log(1 + exp(x)) - t x, and sigmoid(x) - t; an ignored element is one that adds nothing. */
static void sigmoid_piece(const loss_call *call, int64_t from, int64_t n, part *p)
{
    const loss_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_unary bnll = {.fn = DN_FN_BNLL}, sigmoid = {.fn = DN_FN_SIGMOID};
    float x[PIECE], t[PIECE], y[PIECE];
    memcpy(x, call->x + from, (size_t)n * sizeof(float));
    memcpy(t, call->t + from, (size_t)n * sizeof(float));
    p->valid = n;
    for (int64_t j = 0; op->a.has_ignore && j < n; j++)
        if (label_whole(t[j]) == op->a.ignore_label) {
            p->valid -= t[j] == t[j];
            x[j] = -200;
            t[j] = 0;
        }
    if (call->dx) {
        ker->unary(&sigmoid, y, x, false, n);
        ker->eltwise(DN_ELTWISE_SUM, call->dx + from, y, t, call->scale, -call->scale,
                     op->a.base.accumulate & 1, n);
        return;
    }
    ker->unary(&bnll, y, x, false, n);
    ker->eltwise(DN_ELTWISE_PROD, x, x, t, 1, 1, false, n);
    ker->eltwise(DN_ELTWISE_SUM, y, y, x, 1, -1, false, n);
    p->sum = ker->reduce(DN_REDUCE_SUM, y, NULL, n);
}

static void distance_piece(const loss_call *call, int64_t from, int64_t n, part *p)
{
    const dn_args_loss *a = &call->op->a;
    const cpu_kernels *ker = call->op->base.backend->kernels;
    const float *x = call->x + from;
    float d[PIECE];
    if (call->t) {
        ker->eltwise(DN_ELTWISE_SUM, d, x, call->t + from, 1, -1, false, n);
        x = d;
    }
    if (!call->dx && !call->dt)
        p->sum = 0.5 * ker->reduce(DN_REDUCE_SUMSQ, x, NULL, n);
    if (call->dt)
        ker->axpby(call->dt + from, x, -call->scale, a->base.accumulate & 2, n);
    if (call->dx)
        ker->axpby(call->dx + from, x, call->scale, a->base.accumulate & 1, n);
}

/* ---- run --------------------------------------------------------------------------------- */

static void loss_task(void *arg, int64_t task, int32_t worker)
{
    const loss_call *call = arg;
    const loss_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->pieces, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        part p = {0, 0, -1};
        int64_t n = cpu_min(PIECE, op->positions - i * PIECE);
        if (op->a.loss == DN_LOSS_SOFTMAX)
            softmax_piece(call, i, &p);
        else if (op->a.loss == DN_LOSS_SIGMOID_CE)
            sigmoid_piece(call, i * PIECE, n, &p);
        else
            distance_piece(call, i * PIECE, n, &p);
        call->parts[i] = p;
    }
}

static dn_status run_pieces(loss_call *call, part *all)
{
    const loss_op *op = call->op;
    *all = (part){0, 0, -1};
    cpu_for(op->base.backend, op->tasks, loss_task, call);
    for (int64_t i = 0; i < op->pieces; i++) {
        const part *p = &call->parts[i];
        if (p->bad >= 0)
            return label_fail(&op->base.backend->host, call->t[p->bad], p->bad / op->a.inner,
                              op->a.dim);
        all->sum += p->sum;
        all->valid += p->valid;
    }
    return DN_OK;
}

static double normaliser(const loss_op *op, int64_t valid)
{
    bool distance = op->a.loss == DN_LOSS_EUCLIDEAN;
    int64_t by[4] = {op->positions, valid, op->a.outer, 1};
    return (double)cpu_max(1, by[distance ? 2 : op->a.normalization]);
}

static dn_status loss_run(dn_op *base, const dn_op_io *io)
{
    loss_op *op = (loss_op *)base;
    loss_call call = {.op = op,
                      .x = io->in[0],
                      .t = cpu_in(base, io, 1),
                      .w = cpu_in(base, io, 2),
                      .parts = io->scratch};
    float *loss = io->out[0], *norm = cpu_out(base, io, 1);
    part all;
    dn_status status = run_pieces(&call, &all);
    if (status != DN_OK)
        return status;
    double by = normaliser(op, all.valid), sum = op->a.base.accumulate & 1 ? *loss : 0;
    *loss = (float)(sum + all.sum / by);
    if (norm)
        *norm = (float)by;
    return DN_OK;
}

static dn_status loss_bwd_run(dn_op *base, const dn_op_io *io)
{
    loss_op *op = (loss_op *)base;
    const float *norm = cpu_in(base, io, 3), *dloss = io->in[5];
    loss_call call = {.op = op,
                      .x = io->in[0],
                      .t = cpu_in(base, io, 1),
                      .w = cpu_in(base, io, 2),
                      .dx = cpu_out(base, io, 0),
                      .dt = cpu_out(base, io, 1),
                      .scale = (float)(*dloss / (norm ? *norm : normaliser(op, 0))),
                      .parts = io->scratch};
    part all;
    return run_pieces(&call, &all);
}

dn_status cpu_loss_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_loss *a = desc->args;
    bool backward = desc->kind == DN_OP_LOSS_BWD, classes = a->loss == DN_LOSS_SOFTMAX;
    int64_t count = a->outer * a->dim * a->inner;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (!classes && a->loss != DN_LOSS_SIGMOID_CE && a->loss != DN_LOSS_EUCLIDEAN)
        return cpu_decline(info, "loss without a kernel");
    if (!backward && cpu_present(desc->outputs, desc->num_outputs, 2))
        return cpu_decline(info, "the loss of each position is asked for");
    if (count < 1 || a->normalization < 0 || a->normalization > 3)
        return cpu_decline(info, "nothing to do");
    if (backward && a->loss != DN_LOSS_EUCLIDEAN && a->normalization == 1 &&
        !cpu_present(desc->inputs, desc->num_inputs, 3))
        return cpu_decline(info, "labels are to be counted first");
    loss_op *op =
        cpu_op_new(backend, sizeof *op, backward ? loss_bwd_run : loss_run, info, "cpu:loss");
    if (!op)
        return DN_E_NOMEM;
    op->a = *a;
    op->positions = classes ? a->outer * a->inner : count;
    op->span = cpu_max(1, cpu_min(PIECE, PIECE_BYTES / (a->dim * 4)));
    int64_t length = a->inner == 1 ? a->outer : a->inner;
    op->row_pieces = classes ? cpu_ceil(length, op->span) : 0;
    op->pieces = !classes        ? cpu_ceil(count, PIECE)
                 : a->inner == 1 ? op->row_pieces
                                 : a->outer * op->row_pieces;
    op->tasks =
        cpu_min(op->pieces, cpu_tasks_for(classes && !backward ? 4 * op->positions : count));
    info->scratch = cpu_round64((size_t)op->pieces * sizeof(part));
    *out = &op->base;
    return DN_OK;
}
