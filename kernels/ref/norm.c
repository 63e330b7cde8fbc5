/* SPDX-License-Identifier: BSD-2-Clause
 * norm.c: BATCH_NORM and MVN with their gradients. Both are one normalisation over different
 * sets of elements: a channel of (outer, dim, inner), or a row. */
#include "ref.h"

typedef struct set { /* element (o, i) is at base + o * step + i */
    int64_t base, outer, step, inner;
} set;

static double mean_of(const set *s, const double *x)
{
    double sum = 0;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++)
            sum += x[s->base + o * s->step + i];
    return sum / (double)(s->outer * s->inner);
}

static double variance_of(const set *s, const double *x, double mean)
{
    double sum = 0;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            double d = x[s->base + o * s->step + i] - mean;
            sum += d * d;
        }
    return sum / (double)(s->outer * s->inner);
}

static void normalise(const set *s, const double *x, double mean, double inv_std, bool add,
                      double *y)
{
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int64_t at = s->base + o * s->step + i;
            put(&y[at], add, (x[at] - mean) * inv_std);
        }
}

/* dx = inv_std (dy - mean(dy) - y mean(dy y)), the last term where the variance counts. */
static void normalise_bwd(const set *s, const double *y, const double *dy, double inv_std,
                          bool centred, bool scaled, bool add, double *dx)
{
    double mean_dy = 0, mean_dyy = 0, m = (double)(s->outer * s->inner);
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int64_t at = s->base + o * s->step + i;
            mean_dy += centred ? dy[at] / m : 0;
            mean_dyy += scaled ? dy[at] * y[at] / m : 0;
        }
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int64_t at = s->base + o * s->step + i;
            put(&dx[at], add, inv_std * (dy[at] - mean_dy - y[at] * mean_dyy));
        }
}

static set channel(const dn_args_batch_norm *a, int64_t d)
{
    return (set){d * a->inner, a->outer, a->dim * a->inner, a->inner};
}

static dn_status check_batch_norm(dn_op *op)
{
    const dn_args_batch_norm *a = &op->args.batch_norm;
    int64_t count;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, count, a->dim, a->dim, a->dim, a->dim, 1);
}

dn_status ref_run_batch_norm_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_batch_norm *a = &op->args.batch_norm;
    const double *x = io->in[0];
    double *y = io->out[0], *mean = io->out[1], *inv_std = io->out[2];
    double *running_mean = io->out[3], *running_var = io->out[4], *factor = io->out[5];
    double m = (double)(a->outer * a->inner), unbiased = m > 1 ? m / (m - 1) : 1;
    double share = *factor == 0 ? 0 : 1 / *factor;
    for (int64_t d = 0; d < a->dim; d++) {
        set s = channel(a, d);
        double mu = a->use_global ? running_mean[d] * share : mean_of(&s, x);
        double var = a->use_global ? running_var[d] * share : variance_of(&s, x, mu);
        mean[d] = mu;
        inv_std[d] = 1 / sqrt(var + a->eps);
        normalise(&s, x, mu, 1 / sqrt(var + a->eps), ref_adds(op, 0), y);
        if (!a->use_global) {
            running_mean[d] = a->fraction * running_mean[d] + mu;
            running_var[d] = a->fraction * running_var[d] + var * unbiased;
        }
    }
    if (!a->use_global)
        *factor = a->fraction * *factor + 1;
    return DN_OK;
}

const ref_kind ref_batch_norm = {
    "BATCH_NORM",     "T:TTTTTT",          sizeof(dn_args_batch_norm), 1,
    check_batch_norm, REF_WIDE(batch_norm)};

static dn_status check_batch_norm_bwd(dn_op *op)
{
    const dn_args_batch_norm *a = &op->args.batch_norm;
    int64_t count;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, a->dim, count, count);
}

dn_status ref_run_batch_norm_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_batch_norm *a = &op->args.batch_norm;
    const double *y = io->in[0], *inv_std = io->in[1], *dy = io->in[2];
    for (int64_t d = 0; d < a->dim; d++) {
        set s = channel(a, d);
        normalise_bwd(&s, y, dy, inv_std[d], !a->use_global, !a->use_global, ref_adds(op, 0),
                      io->out[0]);
    }
    return DN_OK;
}

const ref_kind ref_batch_norm_bwd = {"BATCH_NORM_BWD",           "TTT:T",
                                     sizeof(dn_args_batch_norm), 1,
                                     check_batch_norm_bwd,       REF_WIDE(batch_norm_bwd)};

static dn_status check_mvn(dn_op *op)
{
    const dn_args_mvn *a = &op->args.mvn;
    int64_t count;
    REF_TRY(ref_count3(op, a->rows, a->cols, 1, &count));
    return REF_NEED(op, count, count, a->rows);
}

dn_status ref_run_mvn_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_mvn *a = &op->args.mvn;
    const double *x = io->in[0];
    double *inv_std = io->out[1];
    for (int64_t r = 0; r < a->rows; r++) {
        set s = {r * a->cols, 1, 0, a->cols};
        double mean = mean_of(&s, x), inverse = 1;
        if (a->normalize_variance)
            inverse = 1 / (sqrt(variance_of(&s, x, mean)) + a->eps);
        inv_std[r] = inverse;
        normalise(&s, x, mean, inverse, ref_adds(op, 0), io->out[0]);
    }
    return DN_OK;
}

const ref_kind ref_mvn = {"MVN", "T:TT", sizeof(dn_args_mvn), 1, check_mvn, REF_WIDE(mvn)};

static dn_status check_mvn_bwd(dn_op *op)
{
    const dn_args_mvn *a = &op->args.mvn;
    int64_t count;
    REF_TRY(ref_count3(op, a->rows, a->cols, 1, &count));
    return REF_NEED(op, count, a->rows, count, count);
}

dn_status ref_run_mvn_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_mvn *a = &op->args.mvn;
    const double *y = io->in[0], *inv_std = io->in[1], *dy = io->in[2];
    for (int64_t r = 0; r < a->rows; r++) {
        set s = {r * a->cols, 1, 0, a->cols};
        normalise_bwd(&s, y, dy, a->normalize_variance ? inv_std[r] : 1, true,
                      a->normalize_variance, ref_adds(op, 0), io->out[0]);
    }
    return DN_OK;
}

const ref_kind ref_mvn_bwd = {"MVN_BWD", "TTT:T",       sizeof(dn_args_mvn),
                              1,         check_mvn_bwd, REF_WIDE(mvn_bwd)};
