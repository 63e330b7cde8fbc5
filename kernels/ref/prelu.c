/* SPDX-License-Identifier: BSD-2-Clause
 * prelu.c: PRELU and its gradients: a slope per channel, or one for all. dslope is summed
 * before dx is written, so dx may be dy. */
#include "ref.h"

static dn_status check_prelu(dn_op *op)
{
    const dn_args_prelu *a = &op->args.prelu;
    int64_t count;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, a->shared ? 1 : a->dim, count);
}

static int64_t slope_of(const dn_args_prelu *a, int64_t i)
{
    return a->shared ? 0 : i / a->inner % a->dim;
}

dn_status ref_run_prelu_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_prelu *a = &op->args.prelu;
    const double *x = io->in[0], *slope = io->in[1];
    double *y = io->out[0];
    for (int64_t i = 0; i < op->in[0].count; i++)
        put(&y[i], ref_adds(op, 0), x[i] > 0 ? x[i] : slope[slope_of(a, i)] * x[i]);
    return DN_OK;
}

const ref_kind ref_prelu = {"PRELU", "TT:T",      sizeof(dn_args_prelu),
                            1,       check_prelu, REF_WIDE(prelu)};

static dn_status check_prelu_bwd(dn_op *op)
{
    const dn_args_prelu *a = &op->args.prelu;
    int64_t count, slopes = a->shared ? 1 : a->dim;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, slopes, count, count, slopes);
}

static double slope_gradient(const dn_args_prelu *a, int64_t d, const double *x,
                             const double *dy)
{
    double sum = 0;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            int64_t at = (o * a->dim + d) * a->inner + i;
            sum += x[at] > 0 ? 0 : (double)dy[at] * x[at];
        }
    return sum;
}

dn_status ref_run_prelu_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_prelu *a = &op->args.prelu;
    const double *x = io->in[0], *slope = io->in[1], *dy = io->in[2];
    double *dx = ref_out(op, io, 0), *dslope = ref_out(op, io, 1);
    double shared = 0;
    for (int64_t d = 0; dslope && d < a->dim; d++) {
        double sum = slope_gradient(a, d, x, dy);
        if (a->shared)
            shared += sum;
        else
            put(&dslope[d], ref_adds(op, 1), sum);
    }
    if (dslope && a->shared)
        put(dslope, ref_adds(op, 1), shared);
    for (int64_t i = 0; dx && i < op->in[0].count; i++)
        put(&dx[i], ref_adds(op, 0), x[i] > 0 ? dy[i] : slope[slope_of(a, i)] * dy[i]);
    return DN_OK;
}

const ref_kind ref_prelu_bwd = {"PRELU_BWD", "TTT:tt",        sizeof(dn_args_prelu),
                                3,           check_prelu_bwd, REF_WIDE(prelu_bwd)};
