/* SPDX-License-Identifier: BSD-2-Clause
 * gather.cu: GATHER and SCATTER_ADD. A row number outside the table is noted and its row left
 * out; the host reads the note. Rows are added in their order, a thread has a column; or as
 * they come, a thread has an element. */
#include "grid.cuh"

typedef struct gather_args {
    const float *x, *index;
    float *y;
    int64_t count, cols, limit;
    int32_t add;
    cuda_fault *fault;
} gather_args;

/* Row of item i, -1 if there is none. */
DEVICE int64_t row_of(const gather_args *a, int64_t i)
{
    float index = a->index[i];
    if (index > -1 && index < (float)a->limit)
        return (int64_t)index;
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

MAP(scatter_add, gather_args)
{
    for (int64_t item = 0; item < a->count; item++) {
        int64_t row = row_of(a, item);
        if (row >= 0)
            a->y[row * a->cols + i] += a->x[item * a->cols + i];
    }
}

static gather_args args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gather *g = &op->args.gather;
    gather_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0), g->count,
                     g->cols, g->limit, cuda_adds(op, 0), op->backend->fault};
    return a;
}

static dn_status run_gather(const dn_op *op, const dn_op_io *io)
{
    gather_args a = args_of(op, io);
    gather(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_gather = {"GATHER", sizeof(dn_args_gather), NULL, run_gather};

static dn_status prepare_scatter_add(dn_op *op, dn_op_info *info)
{
    (void)info;
    op->unordered = op->backend->host.allow_nondeterministic != 0;
    return DN_OK;
}

static dn_status run_scatter_add(const dn_op *op, const dn_op_io *io)
{
    gather_args a = args_of(op, io);
    if (!a.add)
        zero(op, &a, op->out[0].count);
    if (op->unordered)
        scatter_unordered(op, &a, a.count * a.cols);
    else
        scatter_add(op, &a, a.cols);
    return DN_OK;
}

const cuda_kind cuda_scatter_add = {"SCATTER_ADD", sizeof(dn_args_gather),
                                    prepare_scatter_add, run_scatter_add};
