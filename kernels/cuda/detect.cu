/* SPDX-License-Identifier: BSD-2-Clause
 * detect.cu: DETECT, image by image. A candidate's place in the order is how many come before
 * it: each counts for itself, so nothing depends on who is first. Suppression is a block per
 * group: one kept box after the other is held against all that follow it. */
#include "grid.cuh"

#define DETECT_FUNCTION     DEVICE
#define DETECT_GET(d, x, i) ((const float *)(x))[i]
#include "../detect.h"

typedef struct detect_args {
    detect d;
    int64_t n;       /* the image */
    dn_box *boxes;   /* (places, P) */
    double *scores;  /* (groups, P): NaN where there is no candidate */
    double *nearest; /* (groups, before): IoU with the nearest one kept */
    int32_t *order;  /* (groups, before): candidates, then those kept */
    int32_t *mark;   /* (groups, group): is it one of the image's best? */
    int32_t *counts; /* (groups), and of all images */
    float *rows;
    int32_t *count;
} detect_args;

DEVICE const dn_box *box_of(const detect_args *a, int64_t group, int64_t i)
{
    return &a->boxes[(a->d.places > 1 ? group * a->d.P : 0) + i];
}

/* i: a group, or with the first image past the last: what was found so far */
MAP(detect_begin, detect_args)
{
    a->counts[i] = 0;
}

/* i: a box of this image */
MAP(detect_boxes, detect_args)
{
    int64_t place = quotient(i, a->d.P);
    a->boxes[i] = detect_box(&a->d, a->n, place, i - place * a->d.P);
}

/* i: a candidate of a group */
MAP(detect_scores, detect_args)
{
    int64_t group = quotient(i, a->d.P), at = i - group * a->d.P;
    double score;
    bool is = detect_score(&a->d, a->n, group, at, box_of(a, group, at), &score);
    a->scores[i] = !is ? NAN : score == score ? score : -INFINITY;
}

MAP(detect_rank, detect_args)
{
    int64_t group = quotient(i, a->d.P), at = i - group * a->d.P, before = 0;
    const double *scores = a->scores + group * a->d.P;
    double own = scores[at];
    if (own != own)
        return;
    for (int64_t k = 0; k < a->d.P; k++)
        before += comes_before(scores[k], k, own, at);
    if (before >= a->d.before)
        return;
    a->order[group * a->d.before + before] = (int32_t)at;
    raise_to(&a->counts[group], (int32_t)before + 1);
}

/* The next candidate, from i on, that is not too near to those kept: all threads look. */
DEVICE int64_t next_kept(const double *nearest, int64_t i, int64_t count, double nms)
{
    while (i < count && !(nearest[i] <= nms))
        i++;
    return i;
}

BLOCKS(detect_suppress, detect_args)
{
    int32_t *order = a->order + block * a->d.before;
    double *nearest = a->nearest + block * a->d.before, nms = a->d.nms;
    int64_t count = a->counts[block], kept = 0;
    THREADS(t)
    for (int64_t k = t; k < count; k += BLOCK)
        nearest[k] = -1;
    for (int64_t i = next_kept(nearest, 0, count, INFINITY); i < count && kept < a->d.group;) {
        dn_box box = *box_of(a, block, order[i]);
        THREADS(t)
        for (int64_t k = i + 1 + t; k < count; k += BLOCK) {
            double iou = dn_box_iou(box_of(a, block, order[k]), &box, a->d.one);
            if (!(iou <= nearest[k]))
                nearest[k] = iou == iou ? iou : INFINITY;
        }
        THREADS(t)
        if (t == 0)
            order[kept] = order[i];
        kept++;
        if (a->d.eta < 1 && nms > 0.5)
            nms *= a->d.eta;
        i = next_kept(nearest, i + 1, count, nms);
        BARRIER();
    }
    THREADS(t)
    if (t == 0)
        a->counts[block] = (int32_t)kept;
}

DEVICE double score_of(const detect_args *a, int64_t group, int64_t rank)
{
    return a->scores[group * a->d.P + a->order[group * a->d.before + rank]];
}

/* i: rank i % group of those kept of a group */
MAP(detect_mark, detect_args)
{
    int64_t group = quotient(i, a->d.group), rank = i - group * a->d.group, before = 0;
    a->mark[i] = 0;
    if (rank >= a->counts[group])
        return;
    double own = score_of(a, group, rank);
    for (int64_t g = 0; a->d.keep >= 0 && g < a->d.groups; g++)
        for (int64_t r = 0; r < a->counts[g]; r++)
            before += comes_before(score_of(a, g, r), g * a->d.group + r, own, i);
    a->mark[i] = a->d.keep < 0 || before < a->d.keep;
}

/* Of those before group `group`, rank `rank`, how many are the image's best? */
DEVICE int64_t marked_before(const detect_args *a, int64_t group, int64_t rank)
{
    int64_t marked = 0;
    for (int64_t g = 0; g <= group && g < a->d.groups; g++)
        for (int64_t r = 0; r < (g < group ? a->counts[g] : rank); r++)
            marked += a->mark[g * a->d.group + r];
    return marked;
}

MAP(detect_rows, detect_args)
{
    int64_t group = quotient(i, a->d.group), rank = i - group * a->d.group;
    if (!a->mark[i])
        return;
    int64_t row = a->counts[a->d.groups] + marked_before(a, group, rank);
    int64_t at = a->order[group * a->d.before + rank];
    double found[7];
    detect_row(&a->d, a->n, group, at, box_of(a, group, at), found);
    for (int k = 0; k < 7; k++)
        a->rows[row * 7 + k] = (float)found[k];
}

MAP(detect_advance, detect_args)
{
    a->counts[a->d.groups] += (int32_t)marked_before(a, a->d.groups, 0);
}

/* i: an element of the rows there are where nothing was found; and past them: the count */
MAP(detect_end, detect_args)
{
    int32_t all = a->d.N ? a->counts[a->d.groups] : 0;
    if (i == a->d.N * 7)
        *a->count = all ? all : (int32_t)a->d.N;
    else if (all == 0)
        a->rows[i] = (float)detect_nothing(&a->d, i);
}

/* ---- the op ------------------------------------------------------------------------------ */

static bool shape_of(const dn_op *op, detect *d)
{
    dn_operand in[1 + DN_DETECT_MAPS];
    for (int32_t i = 0; i < op->num_inputs; i++)
        in[i] = op->in[i].info;
    return detect_shape(d, &op->args.detect, op->num_inputs, in);
}

static dn_status prepare(dn_op *op, dn_op_info *info)
{
    detect d;
    shape_of(op, &d);
    if (d.P > 1 << 20 || d.N > 1 << 24 || d.P * d.groups > INT32_MAX)
        return cuda_decline(info, "more than 2^20 candidates, each held against each");
    op->scratch = (size_t)(d.P * d.places) * sizeof(dn_box) +
                  (size_t)((d.P + d.before) * d.groups) * sizeof(double) +
                  (size_t)((d.before + d.group + 1) * d.groups + 1) * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_detect(const dn_op *op, const dn_op_io *io)
{
    detect_args a;
    shape_of(op, &a.d);
    detect_bind(&a.d, io->in, op->num_inputs);
    const detect *d = &a.d;
    a.boxes = (dn_box *)io->scratch;
    a.scores = (double *)(a.boxes + d->P * d->places);
    a.nearest = a.scores + d->P * d->groups;
    a.order = (int32_t *)(a.nearest + d->before * d->groups);
    a.mark = a.order + d->before * d->groups;
    a.counts = a.mark + d->group * d->groups;
    a.rows = cuda_out(op, io, 0);
    a.count = (int32_t *)cuda_out(op, io, 1);
    for (a.n = 0; a.n < d->N; a.n++) {
        detect_begin(op, &a, d->groups + (a.n == 0));
        detect_boxes(op, &a, d->P * d->places);
        detect_scores(op, &a, d->P * d->groups);
        detect_rank(op, &a, d->P * d->groups);
        detect_suppress(op, &a, d->groups);
        detect_mark(op, &a, d->group * d->groups);
        detect_rows(op, &a, d->group * d->groups);
        detect_advance(op, &a, 1);
    }
    detect_end(op, &a, d->N * 7 + 1);
    return DN_OK;
}

const cuda_kind cuda_detect = {"DETECT", sizeof(dn_args_detect), prepare, run_detect, 0, NULL,
                               1};
