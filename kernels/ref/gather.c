/* SPDX-License-Identifier: BSD-2-Clause
 * gather.c: GATHER and SCATTER_ADD: rows by number. Row numbers come as data, so each is
 * checked before anything is written. */
#include "../label.h"
#include "ref.h"

static int64_t batch_of(const dn_args_gather *a)
{
    return a->batch ? a->batch : 1;
}

static dn_status check_rows(dn_op *op, bool gather)
{
    const dn_args_gather *a = &op->args.gather;
    int64_t rows, table, batch = batch_of(a);
    REF_TRY(ref_count3(op, batch, a->count, a->cols, &rows));
    REF_TRY(ref_count3(op, batch, a->limit, a->cols, &table));
    if (a->set && (gather || a->base.accumulate))
        return ref_fail(op, DN_E_INVALID, "set is %d: of a scatter alone, without a sum",
                        (int)a->set);
    return REF_NEED(op, gather ? table : rows, batch * a->count, gather ? rows : table);
}

static dn_status check_gather(dn_op *op)
{
    return check_rows(op, true);
}

static dn_status check_scatter_add(dn_op *op)
{
    return check_rows(op, false);
}

static dn_status check_indices(const dn_op *op, const real *index)
{
    const dn_args_gather *a = &op->args.gather;
    for (int64_t i = 0; i < batch_of(a) * a->count; i++)
        if (!(index[i] > -1 && index[i] < (real)a->limit))
            return row_number_fail(op->host, index[i], i, a->limit);
    return DN_OK;
}

/* Of item i, counted through all tables: where its row of a table begins. */
static int64_t row_of(const dn_args_gather *a, const real *index, int64_t i)
{
    return (i / a->count * a->limit + (int64_t)index[i]) * a->cols;
}

dn_status REF(ref_run_gather)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gather *a = &op->args.gather;
    const real *x = io->in[0], *index = io->in[1];
    real *y = io->out[0];
    REF_TRY(check_indices(op, index));
    for (int64_t i = 0; i < batch_of(a) * a->count; i++) {
        const real *row = x + row_of(a, index, i);
        for (int64_t j = 0; j < a->cols; j++)
            put(&y[i * a->cols + j], ref_adds(op, 0), row[j]);
    }
    return DN_OK;
}

REF_KIND(gather) = {"GATHER", "TT:T",       sizeof(dn_args_gather),
                    1,        check_gather, REF_RUNS(gather)};

dn_status REF(ref_run_scatter_add)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_gather *a = &op->args.gather;
    const real *x = io->in[0], *index = io->in[1];
    real *y = io->out[0];
    REF_TRY(check_indices(op, index));
    for (int64_t i = 0; !ref_adds(op, 0) && i < op->out[0].count; i++)
        y[i] = 0;
    for (int64_t i = 0; i < batch_of(a) * a->count; i++) {
        real *row = y + row_of(a, index, i);
        for (int64_t j = 0; j < a->cols; j++)
            put(&row[j], !a->set, x[i * a->cols + j]);
    }
    return DN_OK;
}

REF_KIND(scatter_add) = {
    "SCATTER_ADD", "TT:T", sizeof(dn_args_gather), 1, check_scatter_add, REF_RUNS(scatter_add)};
