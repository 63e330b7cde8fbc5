/* SPDX-License-Identifier: BSD-2-Clause
 * loss.c: LOSS, one function per loss: each returns the sum before it is divided by the
 * normaliser, and fails on a label that no class has. */
#include "loss.h"

typedef struct operands {
    const real *x, *t, *w;
    real *aux;
} operands;

double REF(ref_normaliser)(const dn_args_loss *a, const real *t)
{
    int64_t positions = a->outer * a->inner, valid = 0;
    switch (a->loss) {
    case DN_LOSS_MULTINOMIAL:
    case DN_LOSS_HINGE:
    case DN_LOSS_CONTRASTIVE:
    case DN_LOSS_EUCLIDEAN:
        return a->outer > 0 ? (double)a->outer : 1;
    case DN_LOSS_SIGMOID_CE:
        positions *= a->dim;
        break;
    }
    for (int64_t i = 0; i < positions; i++)
        valid += !(a->has_ignore && t[i] == t[i] && label_whole(t[i]) == a->ignore_label);
    int64_t by[4] = {positions, valid, a->outer, 1};
    return by[a->normalization] > 1 ? (double)by[a->normalization] : 1;
}

/* -log p[label] of one position; the other losses of a label have the same form. */
static double loss_softmax(const dn_args_loss *a, const operands *v, int64_t o, int64_t i,
                           int64_t label)
{
    double p = v->x[ref_loss_at(a, o, label, i)];
    double loss = -log(p > FLT_MIN || p != p ? p : FLT_MIN);
    if (v->aux)
        v->aux[o * a->inner + i] = (real)loss;
    return loss * (v->w ? v->w[label] : 1);
}

static double loss_multinomial(const dn_args_loss *a, const operands *v, int64_t o, int64_t i,
                               int64_t label)
{
    double p = v->x[ref_loss_at(a, o, label, i)];
    return -log(p > REF_LOG_FLOOR || p != p ? p : REF_LOG_FLOOR);
}

static double loss_infogain(const dn_args_loss *a, const operands *v, int64_t o, int64_t i,
                            int64_t label)
{
    double sum = 0;
    for (int64_t k = 0; k < a->dim; k++) {
        double p = v->x[ref_loss_at(a, o, k, i)];
        sum -= v->w[label * a->dim + k] * log(p > REF_LOG_FLOOR || p != p ? p : REF_LOG_FLOOR);
    }
    return sum;
}

static double loss_hinge(const dn_args_loss *a, const operands *v, int64_t o, int64_t i,
                         int64_t label)
{
    double sum = 0;
    for (int64_t d = 0; d < a->dim; d++) {
        double x = v->x[ref_loss_at(a, o, d, i)], margin = 1 + (d == label ? -x : x);
        if (margin > 0)
            sum += a->param == 1 ? margin : margin * margin;
    }
    return sum;
}

static dn_status sum_over_labels(const dn_op *op, const operands *v, double *sum)
{
    static double (*const of_label[])(const dn_args_loss *, const operands *, int64_t, int64_t,
                                      int64_t) = {[DN_LOSS_SOFTMAX] = loss_softmax,
                                                  [DN_LOSS_MULTINOMIAL] = loss_multinomial,
                                                  [DN_LOSS_INFOGAIN] = loss_infogain,
                                                  [DN_LOSS_HINGE] = loss_hinge};
    const dn_args_loss *a = &op->args.loss;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            int64_t label;
            real t = v->t[o * a->inner + i];
            int answer = label_of(t, a->dim, a->has_ignore, a->ignore_label, &label);
            if (answer == LABEL_BAD)
                return label_fail(op->host, t, o, a->dim);
            if (v->aux && a->loss == DN_LOSS_SOFTMAX)
                v->aux[o * a->inner + i] = 0;
            if (answer == LABEL_OK)
                *sum += of_label[a->loss](a, v, o, i, label);
        }
    return DN_OK;
}

/* log(1 + exp(x)) - t x, arranged not to overflow. */
static double sum_sigmoid_ce(const dn_args_loss *a, const operands *v)
{
    double sum = 0;
    for (int64_t i = 0; i < a->outer * a->dim * a->inner; i++) {
        double x = v->x[i];
        if (a->has_ignore && label_whole(v->t[i]) == a->ignore_label)
            continue;
        sum += (x > 0 ? x : 0) - x * v->t[i] + log1p(exp(-fabs(x)));
    }
    return sum;
}

static double sum_contrastive(const dn_args_loss *a, const operands *v)
{
    int64_t length = a->dim * a->inner;
    double sum = 0;
    for (int64_t o = 0; o < a->outer; o++) {
        double squares = 0, gap;
        for (int64_t i = 0; i < length; i++)
            squares += (double)v->x[o * length + i] * v->x[o * length + i];
        if (v->aux)
            v->aux[o] = (real)squares;
        gap = a->param - (a->flag ? squares : sqrt(squares));
        if (label_whole(v->t[o]) != 0)
            sum += squares;
        else if (gap > 0)
            sum += a->flag ? gap : gap * gap;
    }
    return sum / 2;
}

static double sum_euclidean(const dn_args_loss *a, const operands *v)
{
    double sum = 0;
    for (int64_t i = 0; i < a->outer * a->dim * a->inner; i++) {
        double d = v->x[i] - (v->t ? (double)v->t[i] : 0);
        sum += d * d;
    }
    return sum / 2;
}

static void infogain_row_sums(const dn_args_loss *a, const operands *v)
{
    for (int64_t row = 0; row < a->dim; row++) {
        double sum = 0;
        for (int64_t k = 0; k < a->dim; k++)
            sum += v->w[row * a->dim + k];
        v->aux[row] = (real)sum;
    }
}

static dn_status check_loss(dn_op *op)
{
    const dn_args_loss *a = &op->args.loss;
    REF_TRY(ref_check_loss(op));
    bool softmax = a->loss == DN_LOSS_SOFTMAX;
    if (ref_has_out(op, 2) && !softmax && a->loss != DN_LOSS_INFOGAIN &&
        a->loss != DN_LOSS_CONTRASTIVE)
        return ref_fail(op, DN_E_INVALID, "loss %d has no aux", (int)a->loss);
    return REF_NEED(op, REF_ANY, REF_ANY, REF_ANY, 1, 1,
                    softmax                       ? a->outer * a->inner
                    : a->loss == DN_LOSS_INFOGAIN ? a->dim
                                                  : a->outer);
}

dn_status REF(ref_run_loss)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_loss *a = &op->args.loss;
    operands v = {io->in[0], ref_in(op, io, 1), ref_in(op, io, 2), ref_out(op, io, 2)};
    real *norm = ref_out(op, io, 1);
    double sum = 0;
    switch (a->loss) {
    case DN_LOSS_SIGMOID_CE:
        sum = sum_sigmoid_ce(a, &v);
        break;
    case DN_LOSS_CONTRASTIVE:
        sum = sum_contrastive(a, &v);
        break;
    case DN_LOSS_EUCLIDEAN:
        sum = sum_euclidean(a, &v);
        break;
    default:
        REF_TRY(sum_over_labels(op, &v, &sum));
    }
    if (a->loss == DN_LOSS_INFOGAIN && v.aux)
        infogain_row_sums(a, &v);
    double normaliser = REF(ref_normaliser)(a, v.t);
    put(io->out[0], ref_adds(op, 0), sum / normaliser);
    if (norm)
        *norm = (real)normaliser;
    return DN_OK;
}

REF_KIND(loss) = {"LOSS", "Ttt:Ttt", sizeof(dn_args_loss), 1, check_loss, REF_RUNS(loss)};
