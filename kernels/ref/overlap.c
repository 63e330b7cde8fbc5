/* SPDX-License-Identifier: BSD-2-Clause
 * overlap.c: OVERLAP: how well maps of classes agree. Places are counted by class first. */
#include <string.h>

#include "../label.h"
#include "ref.h"

#define SEQUENCE_FUNCTION static
#define SEQUENCE_REAL     double
#include "../sequence.h"

typedef struct counts { /* of one class: places that are of it, are taken for it, both */
    int64_t truth, found, both;
} counts;

static int64_t classes_of(const dn_args_overlap *a)
{
    return a->measure == DN_OVERLAP_LABELS && a->dim == 1 ? 2 : a->dim;
}

static dn_status check_overlap(dn_op *op)
{
    const dn_args_overlap *a = &op->args.overlap;
    bool maps = a->measure == DN_OVERLAP_MAPS, sequences = a->measure == DN_OVERLAP_SEQUENCES;
    int64_t count, labels;
    if (a->measure < DN_OVERLAP_LABELS || a->measure > DN_OVERLAP_SEQUENCES ||
        (sequences && a->outer > 0 && (a->dim < 1 || op->in[1].count % a->outer)))
        return ref_fail(op, DN_E_INVALID, "no measure %d of these sizes", (int)a->measure);
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_count3(op, a->outer, 1, a->inner, &labels));
    op->scratch = (size_t)classes_of(a) * sizeof(counts);
    if (sequences)
        op->scratch = (size_t)a->inner * sizeof(int32_t);
    return REF_NEED(op, count,
                    maps        ? count
                    : sequences ? REF_ANY
                                : labels,
                    REF_ANY,
                    maps        ? a->dim
                    : sequences ? 1
                                : 3);
}

static int64_t best_of(const double *x, int64_t dim, int64_t step)
{
    int64_t best = 0;
    for (int64_t d = 1; d < dim; d++)
        if (x[d * step] > x[best * step])
            best = d;
    return best;
}

static bool is_ignored(const dn_op *op, const dn_op_io *io, double label)
{
    const double *ignored = ref_in(op, io, 2);
    for (int64_t i = 0; ignored && i < op->in[2].count; i++)
        if (label == ignored[i])
            return true;
    return false;
}

static dn_status count_labels(const dn_op *op, const dn_op_io *io, counts *of)
{
    const dn_args_overlap *a = &op->args.overlap;
    const double *x = io->in[0], *t = io->in[1];
    for (int64_t p = 0; p < a->outer * a->inner; p++) {
        int64_t label, o = p / a->inner, i = p % a->inner;
        if (is_ignored(op, io, t[p]))
            continue;
        if (label_of(t[p], classes_of(a), 0, 0, &label) == LABEL_BAD)
            return label_fail(op->host, t[p], p, classes_of(a));
        x = (const double *)io->in[0] + o * a->dim * a->inner + i;
        int64_t guess = a->dim == 1 ? x[0] > a->threshold : best_of(x, a->dim, a->inner);
        of[label].truth++;
        of[guess].found++;
        of[guess].both += guess == label;
    }
    return DN_OK;
}

static void count_maps(const dn_op *op, const dn_op_io *io, counts *of)
{
    const dn_args_overlap *a = &op->args.overlap;
    const double *x = io->in[0], *t = io->in[1];
    for (int64_t i = 0; a->outer && i < a->dim * a->inner; i++) {
        bool found = x[i] > a->threshold, truth = t[i] > a->threshold;
        counts *c = &of[i / a->inner];
        c->found += found;
        c->truth += truth;
        c->both += found && truth;
    }
}

static int64_t count_sequences(const dn_op *op, const dn_op_io *io, int32_t *best)
{
    const dn_args_overlap *a = &op->args.overlap;
    const double *x = io->in[0], *t = io->in[1];
    int64_t right = 0;
    for (int64_t n = 0; n < a->outer; n++) {
        int64_t labels = op->in[1].count / a->outer;
        for (int64_t i = 0; i < a->inner; i++)
            best[i] = (int32_t)best_of(x + (n * a->inner + i) * a->dim, a->dim, 1);
        right += sequence_is_right(best, a->inner, t + n * labels, labels, a->threshold);
    }
    return right;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

dn_status ref_run_overlap_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_overlap *a = &op->args.overlap;
    counts *of = io->scratch;
    double *y = io->out[0];
    int64_t all = 0, right = 0, with_truth = 0, seen = 0;
    double recall = 0, iou = 0;
    if (a->measure == DN_OVERLAP_SEQUENCES) {
        y[0] = share(count_sequences(op, io, io->scratch), a->outer);
        return DN_OK;
    }
    memset(of, 0, op->scratch);
    if (a->measure == DN_OVERLAP_LABELS)
        REF_TRY(count_labels(op, io, of));
    else
        count_maps(op, io, of);
    for (int64_t c = 0; c < classes_of(a); c++) {
        int64_t either = of[c].truth + of[c].found - of[c].both;
        all += of[c].truth, right += of[c].both;
        with_truth += of[c].truth > 0, seen += either > 0;
        recall += share(of[c].both, of[c].truth);
        iou += share(of[c].both, either);
        if (a->measure == DN_OVERLAP_MAPS)
            y[c] = share(of[c].both, either);
    }
    if (a->measure == DN_OVERLAP_MAPS)
        return DN_OK;
    y[0] = share(right, all);
    y[1] = with_truth ? recall / (double)with_truth : 0;
    y[2] = seen ? iou / (double)seen : 0;
    return DN_OK;
}

const ref_kind ref_overlap = {"OVERLAP", "TTd:T",       sizeof(dn_args_overlap),
                              0,         check_overlap, REF_WIDE(overlap)};
