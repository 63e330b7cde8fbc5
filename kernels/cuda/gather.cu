/* SPDX-License-Identifier: BSD-2-Clause
 * gather.cu: GATHER and SCATTER_ADD. A row number outside the table is noted and its row left
 * out; the host reads the note. Rows are added in their order: a block has a row of the table
 * and looks which items name it, or, of tables too large for that, a thread has a column; or as
 * they come, a thread has an element. Where the last is set it is found first. */
#include "grid.cuh"

#define FEW  8                  /* items which a thread adds as fast, one after the other */
#define MOST ((int64_t)1 << 30) /* looks at an item, in all */

typedef struct gather_args {
    const float *x, *index;
    float *y;
    int32_t *last; /* of those that name a row, -1: none; scratch */
    int64_t items, count, cols, limit; /* items of all tables, of one */
    int32_t add;
    cuda_fault *fault;
} gather_args;

/* Row of item i, counted through all tables; -1 if there is none. */
DEVICE int64_t row_of(const gather_args *a, int64_t i)
{
    float index = a->index[i];
    if (index > -1 && index < (float)a->limit)
        return quotient(i, a->count) * a->limit + (int64_t)index;
    note_fault(a->fault, CUDA_FAULT_INDEX, i, index, a->limit);
    return -1;
}

MAP(gather, gather_args)
{
    int64_t item = quotient(i, a->cols), row = row_of(a, item);
    if (row >= 0)
        put(&a->y[i], a->add, a->x[row * a->cols + (i - item * a->cols)]);
}

MAP(zero, gather_args)
{
    a->y[i] = 0;
}

/* i: (item, column) */
MAP(scatter_unordered, gather_args)
{
    int64_t item = quotient(i, a->cols), row = row_of(a, item);
    if (row >= 0)
        add_unordered(&a->y[row * a->cols + (i - item * a->cols)], a->x[i]);
}

/* i: (table, column) */
MAP(scatter_add, gather_args)
{
    int64_t table = quotient(i, a->cols), column = i - table * a->cols;
    for (int64_t item = table * a->count; item < (table + 1) * a->count; item++) {
        int64_t row = row_of(a, item);
        if (row >= 0)
            a->y[row * a->cols + column] += a->x[item * a->cols + column];
    }
}

/* block: a row, of all tables */
BLOCKS(scatter_rows, gather_args)
{
    SHARED int32_t hit[BLOCK], any[1];
    int64_t table = quotient(block, a->limit);
    float *y = a->y + block * a->cols;
    for (int64_t first = table * a->count; first < (table + 1) * a->count; first += BLOCK) {
        const float *x = a->x + first * a->cols;
        THREADS(t)
            if (t == 0)
                any[0] = 0;
        THREADS(t)
        {
            hit[t] = first + t < (table + 1) * a->count && row_of(a, first + t) == block;
            if (hit[t])
                raise_to(any, 1);
        }
        int32_t found = any[0];
        BARRIER();
        THREADS(t)
            for (int64_t column = t; found && column < a->cols; column += BLOCK) {
                float sum = y[column];
                for (int k = 0; k < BLOCK; k++)
                    sum = hit[k] ? sum + x[k * a->cols + column] : sum;
                y[column] = sum;
            }
    }
}

MAP(none_last, gather_args)
{
    a->last[i] = -1;
}

MAP(find_last, gather_args)
{
    int64_t row = row_of(a, i);
    if (row >= 0)
        raise_to(&a->last[row], (int32_t)i);
}

/* i: (item, column) */
MAP(scatter_last, gather_args)
{
    int64_t item = quotient(i, a->cols), row = row_of(a, item);
    if (row >= 0 && a->last[row] == item)
        a->y[row * a->cols + (i - item * a->cols)] = a->x[i];
}

static gather_args args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gather *g = &op->args.gather;
    gather_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                     (int32_t *)io->scratch, op->in[1].count, g->count, g->cols, g->limit,
                     cuda_adds(op, 0), op->backend->fault};
    return a;
}

static dn_status run_gather(const dn_op *op, const dn_op_io *io)
{
    gather_args a = args_of(op, io);
    gather(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_gather = {"GATHER", sizeof(dn_args_gather), NULL, run_gather};

static int64_t tables_of(const dn_op *op)
{
    return op->args.gather.batch ? op->args.gather.batch : 1;
}

static dn_status prepare_scatter_add(dn_op *op, dn_op_info *info)
{
    const dn_args_gather *g = &op->args.gather;
    if (g->set && op->in[1].count > INT32_MAX)
        return cuda_decline(info, "more than 2^31 rows to set");
    if (g->set)
        op->scratch = (size_t)(tables_of(op) * g->limit) * sizeof(int32_t);
    int64_t rows = tables_of(op) * g->limit;
    op->choice = g->count > FEW && rows > 0 && g->count <= MOST / rows;
    op->unordered = !g->set && op->backend->host.allow_nondeterministic != 0;
    return DN_OK;
}

static dn_status run_scatter_add(const dn_op *op, const dn_op_io *io)
{
    gather_args a = args_of(op, io);
    if (!a.add)
        zero(op, &a, op->out[0].count);
    if (op->args.gather.set) {
        none_last(op, &a, tables_of(op) * a.limit);
        find_last(op, &a, a.items);
        scatter_last(op, &a, a.items * a.cols);
    } else if (op->unordered) {
        scatter_unordered(op, &a, a.items * a.cols);
    } else if (op->choice) {
        scatter_rows(op, &a, tables_of(op) * a.limit);
    } else {
        scatter_add(op, &a, tables_of(op) * a.cols);
    }
    return DN_OK;
}

const cuda_kind cuda_scatter_add = {"SCATTER_ADD", sizeof(dn_args_gather),
                                    prepare_scatter_add, run_scatter_add};
