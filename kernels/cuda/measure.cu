/* SPDX-License-Identifier: BSD-2-Clause
 * measure.cu: ACCURACY, ARGMAX and OVERLAP: a thread per position. Hits per class are counted
 * with integer atomics, whose order does not show. */
#include "grid.cuh"

typedef struct accuracy_args {
    const float *x, *t;
    float *accuracy, *per_class;
    int32_t *right, *all; /* per class */
    int64_t dim, inner;
    int32_t top_k, has_ignore, ignore_label;
    cuda_fault *fault;
} accuracy_args;

DEVICE void count_one(int32_t *counter)
{
#ifdef __CUDACC__
    atomicAdd(counter, 1);
#else
    ATOMIC(++*counter);
#endif
}

MAP(accuracy_zero, accuracy_args)
{
    a->right[i] = a->all[i] = 0;
}

/* i: a position (outer, inner) */
MAP(accuracy_count, accuracy_args)
{
    float t = a->t[i];
    int64_t label = whole_of(t), o = quotient(i, a->inner), better = 0;
    if (a->has_ignore && label == a->ignore_label && t == t)
        return;
    if (label < 0 || label >= a->dim) {
        note_fault(a->fault, CUDA_FAULT_LABEL, o, t, a->dim);
        return;
    }
    const float *x = a->x + o * a->dim * a->inner + (i - o * a->inner);
    float mine = x[label * a->inner];
    for (int64_t d = 0; d < a->dim; d++)
        better += d != label && x[d * a->inner] >= mine;
    count_one(&a->all[label]);
    if (better < a->top_k)
        count_one(&a->right[label]);
}

MAP(accuracy_class, accuracy_args)
{
    a->per_class[i] = a->all[i] ? (float)a->right[i] / (float)a->all[i] : 0;
}

BLOCKS(accuracy_finish, accuracy_args)
{
    SHARED double right[BLOCK], all[BLOCK];
    THREADS(t)
    {
        right[t] = all[t] = 0;
        for (int64_t d = t; d < a->dim; d += BLOCK) {
            right[t] += a->right[d];
            all[t] += a->all[d];
        }
    }
    double hits = block_sum(right), num = block_sum(all);
    THREADS(t)
    if (t == 0 && block == 0)
        *a->accuracy = num > 0 ? (float)hits / (float)num : 0;
}

static dn_status prepare_accuracy(dn_op *op, dn_op_info *info)
{
    const dn_args_accuracy *c = &op->args.accuracy;
    if (c->outer * c->inner > INT32_MAX)
        return cuda_decline(info, "2^31 positions");
    op->scratch = 2 * (size_t)c->dim * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_accuracy(const dn_op *op, const dn_op_io *io)
{
    const dn_args_accuracy *c = &op->args.accuracy;
    int32_t *counts = (int32_t *)io->scratch;
    accuracy_args a = {cuda_in(op, io, 0),
                       cuda_in(op, io, 1),
                       cuda_out(op, io, 0),
                       cuda_out(op, io, 1),
                       counts,
                       counts + c->dim,
                       c->dim,
                       c->inner,
                       c->top_k,
                       c->has_ignore,
                       c->ignore_label,
                       op->backend->fault};
    accuracy_zero(op, &a, a.dim);
    accuracy_count(op, &a, c->outer * c->inner);
    if (a.per_class)
        accuracy_class(op, &a, a.dim);
    accuracy_finish(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_accuracy = {"ACCURACY", sizeof(dn_args_accuracy), prepare_accuracy,
                                 run_accuracy};

typedef struct argmax_args {
    const float *x;
    float *y;
    int64_t dim, inner;
    int32_t top_k, out_max_val, pairs;
} argmax_args;

/* A NaN ranks below everything, so that ranks are an order whatever the data. */
DEVICE float rank_of(float x)
{
    return x == x ? x : -INFINITY;
}

/* Does element d come before element e, largest first, the larger index first in a tie? */
DEVICE bool before(const float *x, int64_t step, int64_t d, int64_t e)
{
    float a = rank_of(x[d * step]), b = rank_of(x[e * step]);
    return a > b || (a == b && d > e);
}

/* i: a position (outer, inner) */
MAP(argmax, argmax_args)
{
    int64_t o = quotient(i, a->inner), in = i - o * a->inner, last = -1;
    const float *x = a->x + o * a->dim * a->inner + in;
    for (int32_t k = 0; k < a->top_k; k++) {
        int64_t best = -1;
        for (int64_t d = 0; d < a->dim; d++)
            if ((last < 0 || before(x, a->inner, last, d)) &&
                (best < 0 || before(x, a->inner, d, best)))
                best = d;
        float value = x[best * a->inner];
        last = best;
        if (a->pairs) {
            a->y[(o * 2 + 0) * a->top_k + k] = (float)best;
            a->y[(o * 2 + 1) * a->top_k + k] = value;
        } else {
            a->y[(o * a->top_k + k) * a->inner + in] = a->out_max_val ? value : (float)best;
        }
    }
}

static dn_status run_argmax(const dn_op *op, const dn_op_io *io)
{
    const dn_args_argmax *m = &op->args.argmax;
    argmax_args a = {cuda_in(op, io, 0), cuda_out(op, io, 0), m->dim,  m->inner,
                     m->top_k,           m->out_max_val,      m->pairs};
    argmax(op, &a, m->outer * m->inner);
    return DN_OK;
}

const cuda_kind cuda_argmax = {"ARGMAX", sizeof(dn_args_argmax), NULL, run_argmax};

typedef struct overlap_args {
    const float *x, *t;
    const double *ignored;
    float *y;
    int32_t *truth, *found, *both; /* per class */
    int64_t dim, inner, classes, num_ignored, outer, labels; /* labels: of a sequence */
    double threshold;
    cuda_fault *fault;
} overlap_args;

MAP(overlap_zero, overlap_args)
{
    a->truth[i] = a->found[i] = a->both[i] = 0;
}

DEVICE void overlap_count(const overlap_args *a, int64_t truth, int64_t found)
{
    if (truth >= 0)
        count_one(&a->truth[truth]);
    if (found >= 0)
        count_one(&a->found[found]);
    if (truth >= 0 && truth == found)
        count_one(&a->both[truth]);
}

/* i: a position (outer, inner) */
MAP(overlap_labels, overlap_args)
{
    float t = a->t[i];
    int64_t label = whole_of(t), o = quotient(i, a->inner), best = 0;
    for (int64_t k = 0; k < a->num_ignored; k++)
        if (t == a->ignored[k])
            return;
    if (label < 0 || label >= a->classes) {
        note_fault(a->fault, CUDA_FAULT_LABEL, i, t, a->classes);
        return;
    }
    const float *x = a->x + o * a->dim * a->inner + (i - o * a->inner);
    for (int64_t d = 1; d < a->dim; d++)
        if (x[d * a->inner] > x[best * a->inner])
            best = d;
    overlap_count(a, label, a->dim == 1 ? x[0] > a->threshold : best);
}

/* i: an element (dim, inner) of the first map */
MAP(overlap_maps, overlap_args)
{
    int64_t d = quotient(i, a->inner);
    overlap_count(a, a->t[i] > a->threshold ? d : -1, a->x[i] > a->threshold ? d : -1);
}

DEVICE double overlap_share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

DEVICE double overlap_iou(const overlap_args *a, int64_t c)
{
    return overlap_share(a->both[c], (int64_t)a->truth[c] + a->found[c] - a->both[c]);
}

MAP(overlap_each, overlap_args)
{
    a->y[i] = (float)overlap_iou(a, i);
}

/* One thread: classes are few, and their order is the sum's. */
MAP(overlap_means, overlap_args)
{
    int64_t all = 0, right = 0, with_truth = 0, seen = 0;
    double recall = 0, iou = 0;
    for (int64_t c = 0; c < a->classes; c++) {
        all += a->truth[c];
        right += a->both[c];
        with_truth += a->truth[c] > 0;
        seen += a->truth[c] > 0 || a->found[c] > 0;
        recall += overlap_share(a->both[c], a->truth[c]);
        iou += overlap_iou(a, c);
    }
    a->y[i] = (float)overlap_share(right, all);
    a->y[i + 1] = (float)(with_truth ? recall / (double)with_truth : 0);
    a->y[i + 2] = (float)(seen ? iou / (double)seen : 0);
}

#define SEQUENCE_FUNCTION DEVICE
#define SEQUENCE_REAL     float
#include "../sequence.h"

/* block: a step; its best class, the first of equal ones. None is above one that is NaN. */
BLOCKS(overlap_best, overlap_args)
{
    SHARED float most[BLOCK];
    SHARED int32_t which[BLOCK];
    const float *x = a->x + block * a->dim;
    THREADS(t)
    {
        most[t] = x[0];
        which[t] = 0;
        for (int64_t d = t; d < a->dim; d += BLOCK)
            if (x[d] > most[t]) {
                most[t] = x[d];
                which[t] = (int32_t)d;
            }
    }
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half && comes_before(most[t + half], which[t + half], most[t], which[t])) {
                most[t] = most[t + half];
                which[t] = which[t + half];
            }
    THREADS(t)
        if (t == 0)
            a->found[block] = which[0];
}

BLOCKS(overlap_sequences, overlap_args)
{
    SHARED double sums[BLOCK];
    THREADS(t)
    {
        sums[t] = 0;
        for (int64_t n = t; n < a->outer; n += BLOCK)
            sums[t] += sequence_is_right(a->found + n * a->inner, a->inner,
                                         a->t + n * a->labels, a->labels, a->threshold);
    }
    double right = block_sum(sums);
    THREADS(t)
        if (t == 0 && block == 0)
            a->y[0] = (float)overlap_share((int64_t)right, a->outer);
}

static dn_status prepare_overlap(dn_op *op, dn_op_info *info)
{
    const dn_args_overlap *c = &op->args.overlap;
    if (c->outer * c->inner > INT32_MAX || c->dim > INT32_MAX)
        return cuda_decline(info, "2^31 positions");
    if (c->measure == DN_OVERLAP_SEQUENCES) {
        op->scratch = (size_t)(c->outer * c->inner) * sizeof(int32_t);
        return DN_OK;
    }
    op->scratch = 3 * (size_t)(c->dim > 1 ? c->dim : 2) * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_overlap(const dn_op *op, const dn_op_io *io)
{
    const dn_args_overlap *c = &op->args.overlap;
    bool labels = c->measure == DN_OVERLAP_LABELS;
    overlap_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1)};
    a.ignored = cuda_has_in(op, 2) ? (const double *)io->in[2] : NULL;
    a.num_ignored = a.ignored ? op->in[2].count : 0;
    a.y = cuda_out(op, io, 0);
    a.dim = c->dim;
    a.inner = c->inner;
    a.classes = labels && c->dim == 1 ? 2 : c->dim;
    a.truth = (int32_t *)io->scratch;
    a.found = a.truth + a.classes;
    a.both = a.found + a.classes;
    a.threshold = c->threshold;
    a.fault = op->backend->fault;
    if (c->measure == DN_OVERLAP_SEQUENCES) {
        a.found = a.truth;
        a.outer = c->outer;
        a.labels = c->outer ? op->in[1].count / c->outer : 0;
        overlap_best(op, &a, c->outer * c->inner);
        overlap_sequences(op, &a, 1);
        return DN_OK;
    }
    overlap_zero(op, &a, a.classes);
    if (labels) {
        overlap_labels(op, &a, c->outer * c->inner);
        overlap_means(op, &a, 1);
    } else {
        overlap_maps(op, &a, c->outer ? c->dim * c->inner : 0);
        overlap_each(op, &a, c->dim);
    }
    return DN_OK;
}

const cuda_kind cuda_overlap = {
    "OVERLAP", sizeof(dn_args_overlap), prepare_overlap, run_overlap, 0, NULL, 1 << 2};
