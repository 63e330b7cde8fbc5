/* SPDX-License-Identifier: BSD-2-Clause
 * copy.c: FILL, COPY (strided), SELECT. A strided walk is an odometer of indices: element t of
 * the walk in index order, last axis fastest. */
#include "ref.h"

dn_status REF(ref_run_fill)(const dn_op *op, const dn_op_io *io)
{
    real *y = io->out[0];
    for (int64_t i = 0; i < op->out[0].count; i++)
        put(&y[i], ref_adds(op, 0), (real)op->args.fill.value);
    return DN_OK;
}

REF_KIND(fill) = {"FILL", ":T", sizeof(dn_args_fill), 1, NULL, REF_RUNS(fill)};

static dn_status check_copy(dn_op *op)
{
    const dn_args_copy *a = &op->args.copy;
    REF_TRY(
        ref_need_strided(op, "x", a->axes, a->dim, a->x_stride, a->x_offset, op->in[0].count));
    return ref_need_strided(op, "y", a->axes, a->dim, a->y_stride, a->y_offset,
                            op->out[0].count);
}

dn_status REF(ref_run_copy)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_copy *a = &op->args.copy;
    const real *x = io->in[0];
    real *y = io->out[0];
    int64_t total = 1;
    for (int32_t d = 0; d < a->axes; d++)
        total *= a->dim[d];
    for (int64_t t = 0; t < total; t++) {
        int64_t rest = t, from = a->x_offset, to = a->y_offset;
        for (int32_t d = a->axes - 1; d >= 0; d--) {
            int64_t index = rest % a->dim[d];
            from += index * a->x_stride[d];
            to += index * a->y_stride[d];
            rest /= a->dim[d];
        }
        put(&y[to], ref_adds(op, 0), (real)a->alpha * x[from]);
    }
    return DN_OK;
}

REF_KIND(copy) = {"COPY", "T:T", sizeof(dn_args_copy), 1, check_copy, REF_RUNS(copy)};

static dn_status check_select(dn_op *op)
{
    return REF_NEED(op, REF_ANY, op->in[0].count, op->in[0].count);
}

dn_status REF(ref_run_select)(const dn_op *op, const dn_op_io *io)
{
    const real *dy = io->in[0];
    const int32_t *mask = io->in[1];
    real *dx = io->out[0];
    for (int64_t i = 0; i < op->out[0].count; i++)
        put(&dx[i], ref_adds(op, 0), mask[i] == op->args.select.index ? dy[i] : 0);
    return DN_OK;
}

REF_KIND(select) = {"SELECT", "TM:T",       sizeof(dn_args_select),
                    1,        check_select, REF_RUNS(select)};
