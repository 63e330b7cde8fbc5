/* SPDX-License-Identifier: BSD-2-Clause
 * loss_bwd.c: LOSS_BWD: dloss / normaliser times the derivative of each loss. A position's
 * elements are read before they are written: dx may be x. */
#include "loss.h"

typedef struct gradient {
    const dn_op *op;
    const real *x, *t, *w, *aux;
    double scale; /* dloss / normaliser */
    real *dx, *dt;
} gradient;

static void put_dx(const gradient *g, int64_t at, double value)
{
    put(&g->dx[at], ref_adds(g->op, 0), g->scale * value);
}

/* One function per loss with labels: the derivative to element d of the position (o, i). */
static double d_softmax(const gradient *g, int64_t at, int64_t d, int64_t label, double row_sum)
{
    return (g->x[at] - (d == label)) * (g->w ? g->w[label] : 1);
}

static double d_multinomial(const gradient *g, int64_t at, int64_t d, int64_t label,
                            double row_sum)
{
    double p = g->x[at];
    return d == label ? -1 / (p > REF_LOG_FLOOR || p != p ? p : REF_LOG_FLOOR) : 0;
}

static double d_infogain(const gradient *g, int64_t at, int64_t d, int64_t label,
                         double row_sum)
{
    return g->x[at] * row_sum - g->w[label * g->op->args.loss.dim + d];
}

static double d_hinge(const gradient *g, int64_t at, int64_t d, int64_t label, double row_sum)
{
    double s = d == label ? 1 : -1, margin = 1 - s * g->x[at];
    if (!(margin > 0))
        return 0;
    return g->op->args.loss.param == 1 ? -s : -s * 2 * margin;
}

static double row_sum_of(const gradient *g, int64_t label)
{
    const dn_args_loss *a = &g->op->args.loss;
    double sum = 0;
    if (a->loss != DN_LOSS_INFOGAIN)
        return 0;
    if (g->aux)
        return g->aux[label];
    for (int64_t k = 0; k < a->dim; k++)
        sum += g->w[label * a->dim + k];
    return sum;
}

static dn_status over_labels(const gradient *g)
{
    static double (*const derivative[])(const gradient *, int64_t, int64_t, int64_t,
                                        double) = {[DN_LOSS_SOFTMAX] = d_softmax,
                                                   [DN_LOSS_MULTINOMIAL] = d_multinomial,
                                                   [DN_LOSS_INFOGAIN] = d_infogain,
                                                   [DN_LOSS_HINGE] = d_hinge};
    const dn_args_loss *a = &g->op->args.loss;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            int64_t label;
            real t = g->t[o * a->inner + i];
            int answer = label_of(t, a->dim, a->has_ignore, a->ignore_label, &label);
            if (answer == LABEL_BAD)
                return label_fail(g->op->host, t, o, a->dim);
            double row_sum = answer == LABEL_OK ? row_sum_of(g, label) : 0;
            for (int64_t d = 0; d < a->dim; d++) {
                int64_t at = ref_loss_at(a, o, d, i);
                put_dx(g, at,
                       answer == LABEL_OK ? derivative[a->loss](g, at, d, label, row_sum) : 0);
            }
        }
    return DN_OK;
}

static void sigmoid_ce(const gradient *g)
{
    const dn_args_loss *a = &g->op->args.loss;
    for (int64_t i = 0; i < a->outer * a->dim * a->inner; i++) {
        bool ignored = a->has_ignore && label_whole(g->t[i]) == a->ignore_label;
        put_dx(g, i, ignored ? 0 : 1 / (1 + exp(-(double)g->x[i])) - g->t[i]);
    }
}

/* dx = scale * value, dt its negative. */
static void put_pair(const gradient *g, int64_t at, double value)
{
    if (g->dx)
        put_dx(g, at, value);
    if (g->dt)
        put(&g->dt[at], ref_adds(g->op, 1), -g->scale * value);
}

static void contrastive(const gradient *g)
{
    const dn_args_loss *a = &g->op->args.loss;
    int64_t length = a->dim * a->inner;
    for (int64_t o = 0; o < a->outer; o++) {
        double squares = 0, factor = 1;
        for (int64_t i = 0; i < length; i++)
            squares += (double)g->x[o * length + i] * g->x[o * length + i];
        if (label_whole(g->t[o]) == 0) {
            double distance = sqrt(squares), gap = a->param - (a->flag ? squares : distance);
            factor = !(gap > 0) ? 0 : a->flag ? -1 : -gap / (distance + REF_CONTRASTIVE_EPS);
        }
        for (int64_t i = 0; i < length; i++)
            put_pair(g, o * length + i, factor * g->x[o * length + i]);
    }
}

static void euclidean(const gradient *g)
{
    const dn_args_loss *a = &g->op->args.loss;
    for (int64_t i = 0; i < a->outer * a->dim * a->inner; i++)
        put_pair(g, i, g->x[i] - (g->t ? (double)g->t[i] : 0));
}

static dn_status check_loss_bwd(dn_op *op)
{
    const dn_args_loss *a = &op->args.loss;
    bool pair = a->loss == DN_LOSS_EUCLIDEAN || a->loss == DN_LOSS_CONTRASTIVE;
    REF_TRY(ref_check_loss(op));
    if (!ref_has_out(op, 0) && !pair)
        return ref_fail(op, DN_E_INVALID, "loss %d needs dx", (int)a->loss);
    if (ref_has_out(op, 1) && !pair)
        return ref_fail(op, DN_E_INVALID, "loss %d has no gradient to t", (int)a->loss);
    return REF_NEED(op, REF_ANY, REF_ANY, REF_ANY, 1,
                    a->loss == DN_LOSS_INFOGAIN ? a->dim : a->outer, 1, op->in[0].count,
                    op->in[0].count);
}

dn_status REF(ref_run_loss_bwd)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_loss *a = &op->args.loss;
    const real *norm = ref_in(op, io, 3), *dloss = io->in[5];
    gradient g = {.op = op,
                  .x = io->in[0],
                  .t = ref_in(op, io, 1),
                  .w = ref_in(op, io, 2),
                  .aux = ref_in(op, io, 4),
                  .dx = ref_out(op, io, 0),
                  .dt = ref_out(op, io, 1)};
    g.scale = *dloss / (norm ? *norm : REF(ref_normaliser)(a, g.t));
    switch (a->loss) {
    case DN_LOSS_SIGMOID_CE:
        sigmoid_ce(&g);
        return DN_OK;
    case DN_LOSS_CONTRASTIVE:
        contrastive(&g);
        return DN_OK;
    case DN_LOSS_EUCLIDEAN:
        euclidean(&g);
        return DN_OK;
    default:
        return over_labels(&g);
    }
}

REF_KIND(loss_bwd) = {"LOSS_BWD", "TttttT:tt",    sizeof(dn_args_loss),
                      3,          check_loss_bwd, REF_RUNS(loss_bwd)};
