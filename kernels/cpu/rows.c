/* SPDX-License-Identifier: BSD-2-Clause
 * rows.c: MVN, GATHER, SCATTER_ADD, LSTM_UNIT and their gradients: no kernels of their own, but
 * blocks that pass through those of other ops while they are in the first cache. */
#include <math.h>
#include <string.h>

#include "../label.h"
#include "cpu.h"

enum { BLOCK = 512 };

typedef struct rows_op {
    dn_op base;
    union {
        dn_args base;
        dn_args_mvn mvn;
        dn_args_gather gather;
        dn_args_lstm lstm;
    } args;
    void (*body)(void *arg, int64_t task, int32_t worker);
    int64_t n, tasks; /* what is split among the tasks */
} rows_op;

typedef struct rows_call {
    const rows_op *op;
    const dn_op_io *io;
} rows_call;

static dn_status rows_run(dn_op *base, const dn_op_io *io)
{
    rows_op *op = (rows_op *)base;
    rows_call call = {op, io};
    cpu_for(base->backend, op->tasks, op->body, &call);
    return DN_OK;
}

static rows_op *new_rows(dn_backend *backend, dn_op_info *info, const char *name,
                         void (*body)(void *, int64_t, int32_t))
{
    rows_op *op = cpu_op_new(backend, sizeof *op, rows_run, info, name);
    if (op)
        op->body = body;
    return op;
}

/* ---- MVN --------------------------------------------------------------------------------- */

static void mvn_row(const rows_op *op, const float *x, float *y, float *inverse)
{
    const dn_args_mvn *a = &op->args.mvn;
    const cpu_kernels *ker = op->base.backend->kernels;
    float mean = ker->reduce(DN_REDUCE_SUM, x, NULL, a->cols) / (float)a->cols, sum, square;
    float zero = 0, inv = 1;
    cpu_norm k = {.mean = &mean, .a = &inv, .b = &zero, .add = a->base.accumulate & 1};
    if (a->normalize_variance) {
        ker->norm_sums(&k, NULL, x, NULL, 1, a->cols, &sum, &square);
        double off = sum / (double)a->cols, var = square / (double)a->cols - off * off;
        mean += (float)off;
        inv = (float)(1 / (sqrt(cpu_variance(var)) + a->eps));
    }
    *inverse = inv;
    ker->norm(&k, y, x, 1, a->cols);
}

static void mvn_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    int64_t from, to, cols = op->args.mvn.cols;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t r = from; r < to; r++)
        mvn_row(op, (const float *)call->io->in[0] + r * cols,
                (float *)call->io->out[0] + r * cols, (float *)call->io->out[1] + r);
}

/* dx = inv (dy - mean(dy) - y mean(dy y)) */
static void mvn_bwd_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_mvn *a = &op->args.mvn;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const float *y = (const float *)call->io->in[0] + r * a->cols;
        const float *dy = (const float *)call->io->in[2] + r * a->cols;
        float zero = 0, inv = a->normalize_variance ? ((const float *)call->io->in[1])[r] : 1;
        float n = (float)a->cols, b = 0;
        if (a->normalize_variance)
            b = -inv * ker->reduce(DN_REDUCE_DOT, dy, y, a->cols) / n;
        float c = -inv * ker->reduce(DN_REDUCE_SUM, dy, NULL, a->cols) / n;
        const cpu_norm k = {
            .mean = &zero, .a = &inv, .b = &b, .c = &c, .add = a->base.accumulate & 1};
        ker->norm_bwd(&k, (float *)call->io->out[0] + r * a->cols, dy, y, NULL, 1, a->cols);
    }
}

dn_status cpu_mvn_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_args_mvn *a = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->rows < 1 || a->cols < 1)
        return cpu_decline(info, "nothing to do");
    rows_op *op =
        new_rows(backend, info, "cpu:mvn", desc->kind == DN_OP_MVN ? mvn_task : mvn_bwd_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.mvn = *a;
    op->n = a->rows;
    op->tasks = cpu_min(a->rows, cpu_tasks_for(a->rows * a->cols));
    *out = &op->base;
    return DN_OK;
}

/* ---- GATHER, SCATTER_ADD ----------------------------------------------------------------- */

/* Of item i, counted through all tables: where its row of a table begins. */
static int64_t row_at(const dn_args_gather *a, const float *index, int64_t i)
{
    return ((a->batch > 1 ? i / a->count * a->limit : 0) + (int64_t)index[i]) * a->cols;
}

static void gather_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_gather *a = &op->args.gather;
    const float *x = call->io->in[0], *index = call->io->in[1];
    float *y = call->io->out[0];
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        if (a->cols == 1)
            y[i] = x[row_at(a, index, i)] + (a->base.accumulate & 1 ? y[i] : 0);
        else
            op->base.backend->kernels->axpby(y + i * a->cols, x + row_at(a, index, i), 1,
                                             a->base.accumulate & 1, a->cols);
}

/* Some columns of all rows: each sum is in order, and one worker's. */
static void scatter_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_gather *a = &op->args.gather;
    const float *x = call->io->in[0], *index = call->io->in[1];
    float *y = call->io->out[0];
    int64_t from, to;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t r = 0; !(a->base.accumulate & 1) && r < a->limit; r++)
        memset(y + r * a->cols + from, 0, (size_t)(to - from) * sizeof(float));
    for (int64_t i = 0; i < a->count; i++)
        op->base.backend->kernels->axpby(y + (int64_t)index[i] * a->cols + from,
                                         x + i * a->cols + from, 1, true, to - from);
}

/* y[*from .. to) = 0. */
static void clear_up_to(float *y, int64_t *from, int64_t to)
{
    if (to > *from)
        memset(y + *from, 0, (size_t)(to - *from) * sizeof(float));
    *from = to > *from ? to : *from;
}

/* The same of some tables, whole, or of some rows of the only one, each set by one worker. Of
 * long rows zeros are written on the way, since most indices rise. */
static void scatter_tables_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_gather *a = &op->args.gather;
    const float *x = call->io->in[0], *index = call->io->in[1];
    float *y = call->io->out[0];
    int64_t from, to, size = a->limit * a->cols, first = 0, end = a->count;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    if (a->batch > 1)
        first = from * a->count, end = to * a->count;
    from *= a->batch > 1 ? size : a->cols;
    to *= a->batch > 1 ? size : a->cols;
    int64_t known = a->base.accumulate & 1 ? to : from;
    if (a->cols == 1)
        clear_up_to(y, &known, to);
    for (int64_t i = first; i < end; i++) {
        int64_t at = row_at(a, index, i);
        if (at < from || at >= to)
            continue;
        if (a->cols == 1) {
            y[at] = x[i] + (a->set ? 0 : y[at]);
            continue;
        }
        clear_up_to(y, &known, a->set ? at : at + a->cols);
        known = known > at + a->cols ? known : at + a->cols;
        if (a->set)
            memcpy(y + at, x + i * a->cols, (size_t)a->cols * sizeof(float));
        else
            op->base.backend->kernels->axpby(y + at, x + i * a->cols, 1, true, a->cols);
    }
    clear_up_to(y, &known, to);
}

static dn_status gather_run(dn_op *base, const dn_op_io *io)
{
    const dn_args_gather *a = &((rows_op *)base)->args.gather;
    const float *index = io->in[1];
    for (int64_t i = 0; i < a->batch * a->count; i++)
        if (!(index[i] > -1 && index[i] < (float)a->limit))
            return row_number_fail(&base->backend->host, index[i], i, a->limit);
    return rows_run(base, io);
}

dn_status cpu_gather_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                            dn_op_info *info)
{
    const dn_args_gather *a = desc->args;
    bool gather = desc->kind == DN_OP_GATHER, tables = a->batch > 1 || a->set;
    int64_t batch = a->batch ? a->batch : 1, items = batch * a->count;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (items < 1 || a->cols < 1)
        return cpu_decline(info, "nothing to do");
    if (!gather && a->set && a->base.accumulate)
        return cpu_decline(info, "set and accumulate exclude each other");
    rows_op *op = new_rows(backend, info, gather ? "cpu:gather" : "cpu:scatter",
                           gather   ? gather_task
                           : tables ? scatter_tables_task
                                    : scatter_task);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = gather_run;
    op->args.gather = *a;
    op->args.gather.batch = batch;
    op->n = gather ? items : batch > 1 ? batch : a->set ? a->limit : a->cols;
    /* of one table every task looks at all indices */
    int64_t most = gather || batch > 1 ? op->n : cpu_min(op->n, cpu_ceil(a->cols, 64));
    op->tasks =
        cpu_min(most, cpu_tasks_for(a->cols * (items + (gather ? 0 : batch * a->limit))));
    *out = &op->base;
    return DN_OK;
}

/* ---- LSTM_UNIT --------------------------------------------------------------------------- */

static const cpu_unary sigmoid = {.fn = DN_FN_SIGMOID}, hyperbolic = {.fn = DN_FN_TANH};

typedef struct cells { /* n of one row, from d on: their parts of all operands */
    int64_t at, gate, n;
    float cont;
} cells;

/* Block `i` of the rows. */
static cells cells_at(const dn_args_lstm *a, int64_t i, const float *cont)
{
    int64_t blocks = cpu_ceil(a->D, BLOCK), row = i / blocks, d = i % blocks * BLOCK;
    return (cells){row * a->D + d, row * 4 * a->D + d, cpu_min(BLOCK, a->D - d), cont[row]};
}

static void product(const cpu_kernels *ker, float *y, const float *a, const float *b, bool add,
                    int64_t n)
{
    ker->eltwise(DN_ELTWISE_PROD, y, a, b, 1, 1, add, n);
}

static void lstm_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_lstm *a = &op->args.lstm;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *const *in = (const float *const *)call->io->in;
    float *const *out = (float *const *)call->io->out;
    int64_t from, to, D = a->D;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t t = from; t < to; t++) {
        cells k = cells_at(a, t, in[2]);
        float cell[BLOCK], *i = out[2] + k.gate, *f = i + D, *o = f + D, *g = o + D;
        for (int gate = 0; gate < 4; gate++)
            ker->unary(gate < 3 ? &sigmoid : &hyperbolic, i + gate * D,
                       in[1] + k.gate + gate * D, false, k.n);
        if (k.cont == 0)
            memset(f, 0, (size_t)k.n * sizeof(float));
        ker->axpby(f, f, k.cont, false, k.n);
        product(ker, cell, f, in[0] + k.at, false, k.n);
        product(ker, cell, i, g, true, k.n);
        ker->axpby(out[0] + k.at, cell, 1, a->base.accumulate & 1, k.n);
        ker->unary(&hyperbolic, cell, cell, false, k.n);
        product(ker, out[1] + k.at, o, cell, a->base.accumulate & 2, k.n);
    }
}

static void lstm_bwd_task(void *arg, int64_t task, int32_t worker)
{
    const rows_call *call = arg;
    const rows_op *op = call->op;
    const dn_args_lstm *a = &op->args.lstm;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *const *in = (const float *const *)call->io->in;
    bool add = a->base.accumulate & 2;
    int64_t from, to, D = a->D;
    (void)worker;
    cpu_split(op->n, op->tasks, task, &from, &to);
    for (int64_t block = from; block < to; block++) {
        cells k = cells_at(a, block, in[3]);
        float dcell[BLOCK], t[BLOCK], d[BLOCK];
        float *dx = (float *)call->io->out[1] + k.gate;
        const float *i = in[1] + k.gate, *f = i + D, *o = f + D, *g = o + D, *dh = in[5] + k.at;
        ker->unary(&hyperbolic, t, in[2] + k.at, false, k.n);
        product(ker, d, dh, o, false, k.n);
        ker->axpby(dcell, in[4] + k.at, 1, false, k.n);
        ker->unary_bwd(&hyperbolic, dcell, d, t, true, true, k.n);
        product(ker, (float *)call->io->out[0] + k.at, dcell, f, a->base.accumulate & 1, k.n);
        product(ker, d, dcell, g, false, k.n);
        ker->unary_bwd(&sigmoid, dx, d, i, true, add, k.n);
        product(ker, d, dcell, in[0] + k.at, false, k.n);
        ker->unary_bwd(&sigmoid, dx + D, d, f, true, add, k.n);
        product(ker, d, dh, t, false, k.n);
        ker->unary_bwd(&sigmoid, dx + 2 * D, d, o, true, add, k.n);
        product(ker, d, dcell, i, false, k.n);
        ker->unary_bwd(&hyperbolic, dx + 3 * D, d, g, true, add, k.n);
    }
}

dn_status cpu_lstm_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_lstm *a = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->N < 1 || a->D < 1)
        return cpu_decline(info, "nothing to do");
    rows_op *op = new_rows(backend, info, "cpu:lstm",
                           desc->kind == DN_OP_LSTM_UNIT ? lstm_task : lstm_bwd_task);
    if (!op)
        return DN_E_NOMEM;
    op->args.lstm = *a;
    op->n = a->N * cpu_ceil(a->D, BLOCK);
    op->tasks = cpu_min(op->n, cpu_tasks_for(a->N * a->D * 16));
    *out = &op->base;
    return DN_OK;
}
