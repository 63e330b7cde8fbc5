/* SPDX-License-Identifier: BSD-2-Clause
 * overlap.c: OVERLAP: how well maps of classes agree. Places are counted by class first. */
#include <string.h>

#include "../label.h"
#include "ref.h"

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
    bool maps = a->measure == DN_OVERLAP_MAPS;
    int64_t count, labels;
    if (!maps && a->measure != DN_OVERLAP_LABELS)
        return ref_fail(op, DN_E_INVALID, "there is no measure %d", (int)a->measure);
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_count3(op, a->outer, 1, a->inner, &labels));
    REF_TRY(ref_need_in(op, 0, count));
    REF_TRY(ref_need_in(op, 1, maps ? count : labels));
    op->scratch = (size_t)classes_of(a) * sizeof(counts);
    return ref_need_out(op, 0, maps ? a->dim : 3);
}

static int64_t guess_of(const dn_args_overlap *a, const real *x)
{
    int64_t best = 0;
    if (a->dim == 1)
        return (double)x[0] > a->threshold;
    for (int64_t d = 1; d < a->dim; d++)
        if (x[d * a->inner] > x[best * a->inner])
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
    const real *x = io->in[0], *t = io->in[1];
    for (int64_t p = 0; p < a->outer * a->inner; p++) {
        int64_t label, o = p / a->inner, i = p % a->inner;
        if (is_ignored(op, io, t[p]))
            continue;
        if (label_of(t[p], classes_of(a), 0, 0, &label) == LABEL_BAD)
            return label_fail(op->host, t[p], p, classes_of(a));
        int64_t guess = guess_of(a, x + o * a->dim * a->inner + i);
        of[label].truth++;
        of[guess].found++;
        of[guess].both += guess == label;
    }
    return DN_OK;
}

static void count_maps(const dn_op *op, const dn_op_io *io, counts *of)
{
    const dn_args_overlap *a = &op->args.overlap;
    const real *x = io->in[0], *t = io->in[1];
    for (int64_t i = 0; a->outer && i < a->dim * a->inner; i++) {
        bool found = (double)x[i] > a->threshold, truth = (double)t[i] > a->threshold;
        counts *c = &of[i / a->inner];
        c->found += found;
        c->truth += truth;
        c->both += found && truth;
    }
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

dn_status REF(ref_run_overlap)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_overlap *a = &op->args.overlap;
    counts *of = io->scratch;
    real *y = io->out[0];
    int64_t all = 0, right = 0, with_truth = 0, seen = 0;
    double recall = 0, iou = 0;
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
            y[c] = (real)share(of[c].both, either);
    }
    if (a->measure == DN_OVERLAP_MAPS)
        return DN_OK;
    y[0] = (real)share(right, all);
    y[1] = (real)(with_truth ? recall / (double)with_truth : 0);
    y[2] = (real)(seen ? iou / (double)seen : 0);
    return DN_OK;
}

REF_KIND(overlap) = {"OVERLAP", "TTd:T",       sizeof(dn_args_overlap),
                     0,         check_overlap, REF_RUNS(overlap)};
