/* SPDX-License-Identifier: BSD-2-Clause
 * norm_scale.c: NORM_SCALE and its gradient: batch normalisation, scale and shift, activation.
 * x alone is kept for the backward: n = (x - mean) inv_std is computed again from it. */
#include "ref.h"

static int64_t index_of(const dn_args_norm_scale *a, int64_t o, int64_t d, int64_t i)
{
    return (o * a->dim + d) * a->inner + i;
}

static dn_status check_norm_scale(dn_op *op)
{
    const dn_args_norm_scale *a = &op->args.norm_scale;
    int64_t count;
    REF_TRY(ref_need_activation(op, a->activation));
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, a->dim, a->dim, 2 * a->dim, count, a->dim, a->dim, a->dim,
                    a->dim, 1);
}

/* Mean and biased variance of channel d. */
static void statistics(const dn_args_norm_scale *a, const double *x, int64_t d, double *mean,
                       double *var)
{
    double sum = 0, squares = 0, m = (double)(a->outer * a->inner);
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++)
            sum += x[index_of(a, o, d, i)];
    *mean = sum / m;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            double away = x[index_of(a, o, d, i)] - *mean;
            squares += away * away;
        }
    *var = squares / m;
}

dn_status ref_run_norm_scale_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_norm_scale *a = &op->args.norm_scale;
    const double *x = io->in[0], *gamma = io->in[1], *beta = io->in[2];
    const double *moments = ref_in(op, io, 3);
    double *y = ref_out(op, io, 0), *mean = io->out[1], *inv_std = io->out[2];
    double *running_mean = io->out[3], *running_var = io->out[4], *factor = io->out[5];
    double m = (double)(a->outer * a->inner), unbiased = m > 1 ? m / (m - 1) : 1;
    double share = *factor == 0 ? 0 : 1 / *factor;
    for (int64_t d = 0; d < a->dim; d++) {
        double mu = running_mean[d] * share, var = running_var[d] * share;
        if (!a->use_global) {
            if (moments)
                mu = moments[d], var = moments[a->dim + d];
            else
                statistics(a, x, d, &mu, &var);
            running_mean[d] = a->fraction * running_mean[d] + mu;
            running_var[d] = a->fraction * running_var[d] + var * unbiased;
        }
        double inverse = 1 / sqrt(var + a->eps);
        mean[d] = mu;
        inv_std[d] = inverse;
        for (int64_t o = 0; y && o < a->outer; o++)
            for (int64_t i = 0; i < a->inner; i++) {
                int64_t at = index_of(a, o, d, i);
                put_through(&y[at], ref_adds(op, 0),
                            gamma[d] * ((x[at] - mu) * inverse) + beta[d], a->activation,
                            a->activation_a);
            }
    }
    if (!a->use_global)
        *factor = a->fraction * *factor + 1;
    return DN_OK;
}

const ref_kind ref_norm_scale = {
    "NORM_SCALE",     "TTTt:tTTTTT",       sizeof(dn_args_norm_scale), 1,
    check_norm_scale, REF_WIDE(norm_scale)};

static dn_status check_norm_scale_bwd(dn_op *op)
{
    const dn_args_norm_scale *a = &op->args.norm_scale;
    int64_t count;
    REF_TRY(ref_need_activation(op, a->activation));
    bool has_y = ref_has_in(op, 1) || ref_has_in(op, 6);
    if (a->activation && (!has_y || !(DN_FN_FROM_Y >> a->activation & 1)))
        return ref_fail(op, DN_E_INVALID,
                        "the gradient through activation %d needs y or beta, "
                        "and a function of y",
                        (int)a->activation);
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    return REF_NEED(op, count, count, a->dim, a->dim, a->dim, count, a->dim, 2 * a->dim, count,
                    a->dim, a->dim);
}

typedef struct bwd {
    const dn_args_norm_scale *args;
    const double *x, *y, *mean, *inv_std, *gamma, *dy, *beta, *sums;
} bwd;

static double n_at(const bwd *b, int64_t d, int64_t at)
{
    return (b->x[at] - b->mean[d]) * b->inv_std[d];
}

static double dz_at(const bwd *b, int64_t d, int64_t at)
{
    int32_t fn = b->args->activation;
    double y, a = b->args->activation_a;
    if (!fn)
        return b->dy[at];
    if (b->y)
        y = b->y[at];
    else
        put_through(&y, false, b->gamma[d] * n_at(b, d, at) + b->beta[d], fn, a);
    return b->dy[at] * ref_slope_from_y_f64(fn, y, a, 0);
}

dn_status ref_run_norm_scale_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_norm_scale *a = &op->args.norm_scale;
    bwd b = {a,         io->in[0], ref_in(op, io, 1), io->in[2],        io->in[3],
             io->in[4], io->in[5], ref_in(op, io, 6), ref_in(op, io, 7)};
    double *dx = io->out[0], *dgamma = ref_out(op, io, 1), *dbeta = ref_out(op, io, 2);
    double m = (double)(a->outer * a->inner);
    for (int64_t d = 0; d < a->dim; d++) {
        double sum = 0, sum_n = 0;
        if (b.sums)
            sum = b.sums[d], sum_n = b.sums[a->dim + d] * b.inv_std[d];
        for (int64_t o = 0; !b.sums && o < a->outer; o++)
            for (int64_t i = 0; i < a->inner; i++) {
                int64_t at = index_of(a, o, d, i);
                sum += dz_at(&b, d, at);
                sum_n += dz_at(&b, d, at) * n_at(&b, d, at);
            }
        if (dgamma)
            put(&dgamma[d], ref_adds(op, 1), sum_n);
        if (dbeta)
            put(&dbeta[d], ref_adds(op, 2), sum);
        double centre = a->use_global ? 0 : sum / m, tilt = a->use_global ? 0 : sum_n / m;
        for (int64_t o = 0; o < a->outer; o++)
            for (int64_t i = 0; i < a->inner; i++) {
                int64_t at = index_of(a, o, d, i);
                double dn = dz_at(&b, d, at) - centre - n_at(&b, d, at) * tilt;
                put(&dx[at], ref_adds(op, 0), b.gamma[d] * b.inv_std[d] * dn);
            }
    }
    return DN_OK;
}

const ref_kind ref_norm_scale_bwd = {"NORM_SCALE_BWD",           "TtTTTTtt:Ttt",
                                     sizeof(dn_args_norm_scale), 7,
                                     check_norm_scale_bwd,       REF_WIDE(norm_scale_bwd)};
