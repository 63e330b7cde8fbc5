/* SPDX-License-Identifier: BSD-2-Clause
 * softmax.c: SOFTMAX and its gradient along dim, with the largest taken off first so that
 * nothing overflows. */
#include "ref.h"

static dn_status check_softmax(dn_op *op)
{
    const dn_args_axis *a = &op->args.axis;
    int64_t count;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_need_in(op, 0, count));
    REF_TRY(ref_need_in(op, 1, count));
    return ref_need_out(op, 0, count);
}

dn_status ref_run_softmax_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_axis *a = &op->args.axis;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            int64_t base = o * a->dim * a->inner + i;
            const double *x = (const double *)io->in[0] + base;
            double *y = (double *)io->out[0] + base;
            double largest = -HUGE_VAL, sum = 0;
            for (int64_t d = 0; d < a->dim; d++)
                largest = x[d * a->inner] > largest ? x[d * a->inner] : largest;
            for (int64_t d = 0; d < a->dim; d++)
                sum += exp(x[d * a->inner] - largest);
            for (int64_t d = 0; d < a->dim; d++)
                put(&y[d * a->inner], ref_adds(op, 0), exp(x[d * a->inner] - largest) / sum);
        }
    return DN_OK;
}

const ref_kind ref_softmax = {"SOFTMAX", "T:T",         sizeof(dn_args_axis),
                              1,         check_softmax, REF_WIDE(softmax)};

dn_status ref_run_softmax_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_axis *a = &op->args.axis;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            int64_t base = o * a->dim * a->inner + i;
            const double *y = (const double *)io->in[0] + base,
                         *dy = (const double *)io->in[1] + base;
            double *dx = (double *)io->out[0] + base;
            double dot = 0;
            for (int64_t d = 0; d < a->dim; d++)
                dot += dy[d * a->inner] * y[d * a->inner];
            for (int64_t d = 0; d < a->dim; d++)
                put(&dx[d * a->inner], ref_adds(op, 0),
                    (dy[d * a->inner] - dot) * y[d * a->inner]);
        }
    return DN_OK;
}

const ref_kind ref_softmax_bwd = {
    "SOFTMAX_BWD", "TT:T", sizeof(dn_args_axis), 1, check_softmax, REF_WIDE(softmax_bwd)};
