/* SPDX-License-Identifier: BSD-2-Clause
 * accuracy.c: ACCURACY and ARGMAX. Both rank values along dim by counting or by repeated
 * selection, which needs no sorting and no scratch for values. */
#include <string.h>

#include "../label.h"
#include "ref.h"

static dn_status check_accuracy(dn_op *op)
{
    const dn_args_accuracy *a = &op->args.accuracy;
    int64_t count, labels;
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_count3(op, a->outer, 1, a->inner, &labels));
    op->scratch = 2 * (size_t)a->dim * sizeof(int64_t); /* right, all: per class */
    return REF_NEED(op, count, labels, 1, a->dim);
}

static bool among_top(const dn_args_accuracy *a, const double *x, int64_t label)
{
    int64_t better = 0;
    for (int64_t d = 0; d < a->dim; d++)
        better += d != label && x[d * a->inner] >= x[label * a->inner];
    return better < a->top_k;
}

dn_status ref_run_accuracy_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_accuracy *a = &op->args.accuracy;
    const double *x = io->in[0], *t = io->in[1];
    double *accuracy = io->out[0], *per_class = ref_out(op, io, 1);
    int64_t *right = io->scratch, *all = right + a->dim, num_right = 0, num = 0;
    memset(io->scratch, 0, op->scratch);
    for (int64_t p = 0; p < a->outer * a->inner; p++) {
        int64_t label, o = p / a->inner, i = p % a->inner;
        int answer = label_of(t[p], a->dim, a->has_ignore, a->ignore_label, &label);
        if (answer == LABEL_BAD)
            return label_fail(op->host, t[p], o, a->dim);
        if (answer == LABEL_IGNORED)
            continue;
        right[label] += among_top(a, x + o * a->dim * a->inner + i, label);
        all[label]++;
    }
    for (int64_t d = 0; d < a->dim; d++) {
        num_right += right[d];
        num += all[d];
        if (per_class)
            per_class[d] = all[d] ? (double)right[d] / (double)all[d] : 0;
    }
    *accuracy = num ? (double)num_right / (double)num : 0;
    return DN_OK;
}

const ref_kind ref_accuracy = {"ACCURACY", "TT:Tt",        sizeof(dn_args_accuracy),
                               0,          check_accuracy, REF_WIDE(accuracy)};

static dn_status check_argmax(dn_op *op)
{
    const dn_args_argmax *a = &op->args.argmax;
    int64_t count, answers;
    if (a->top_k < 1 || a->top_k > a->dim || (a->pairs && a->inner != 1))
        return ref_fail(op, DN_E_INVALID, "the top %d of %lld cannot be had", (int)a->top_k,
                        (long long)a->dim);
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_count3(op, a->outer, a->top_k, a->pairs ? 2 : a->inner, &answers));
    return REF_NEED(op, count, answers);
}

/* A NaN ranks below everything, so that ranks are an order whatever the data. */
static double rank_of(double x)
{
    return x == x ? x : -HUGE_VAL;
}

/* Does element d come before element e, largest first, the larger index first in a tie? */
static bool before(const double *x, int64_t step, int64_t d, int64_t e)
{
    double a = rank_of(x[d * step]), b = rank_of(x[e * step]);
    return a > b || (a == b && d > e);
}

/* The first in order that comes after `last` (-1: the very first). */
static int64_t next_in_order(const dn_args_argmax *a, const double *x, int64_t last)
{
    int64_t best = -1;
    for (int64_t d = 0; d < a->dim; d++)
        if ((last < 0 || before(x, a->inner, last, d)) &&
            (best < 0 || before(x, a->inner, d, best)))
            best = d;
    return best;
}

dn_status ref_run_argmax_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_argmax *a = &op->args.argmax;
    double *y = io->out[0];
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            const double *x = (const double *)io->in[0] + o * a->dim * a->inner + i;
            int64_t index = -1;
            for (int64_t k = 0; k < a->top_k; k++) {
                index = next_in_order(a, x, index);
                double value = x[index * a->inner];
                if (a->pairs) {
                    y[(o * 2 + 0) * a->top_k + k] = (double)index;
                    y[(o * 2 + 1) * a->top_k + k] = value;
                } else {
                    y[(o * a->top_k + k) * a->inner + i] =
                        a->out_max_val ? value : (double)index;
                }
            }
        }
    return DN_OK;
}

const ref_kind ref_argmax = {"ARGMAX", "T:T",        sizeof(dn_args_argmax),
                             0,        check_argmax, REF_WIDE(argmax)};
