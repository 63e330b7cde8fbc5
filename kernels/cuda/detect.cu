/* SPDX-License-Identifier: BSD-2-Clause
 * detect.cu: DETECT, of as many images at once as some memory holds. A candidate's place in the
 * order is how many come before it: each counts for itself, so nothing depends on who is first.
 * Suppression is a block per group: one kept box after the other is held against all that
 * follow it. Groups are counted through the images. */
#include "grid.cuh"

#define DETECT_FUNCTION     DEVICE
#define DETECT_GET(d, x, i) ((const float *)(x))[i]
#include "../detect.h"

#define MOST_SCRATCH ((int64_t)64 << 20) /* of several images */

typedef struct detect_args {
    detect d;
    int64_t n, images; /* the first, and how many: */
    dn_box *boxes;     /* (places, P) */
    double *scores;    /* (groups, P): NaN where there is no candidate */
    double *nearest;   /* (groups, before): IoU with the nearest one kept */
    int32_t *order;    /* (groups, before): candidates, then those kept */
    int32_t *mark;     /* (groups, group): is it one of the image's best? */
    int32_t *counts;   /* (groups) */
    int32_t *first;    /* of all images: rows before each; and of all */
    float *rows;
    int32_t *count;
} detect_args;

DEVICE const dn_box *box_of(const detect_args *a, int64_t group, int64_t i)
{
    int64_t place = a->d.places > 1 ? group : quotient(group, a->d.groups);
    return &a->boxes[place * a->d.P + i];
}

/* i: a box of a place */
MAP(detect_boxes, detect_args)
{
    int64_t row = quotient(i, a->d.P), image = quotient(row, a->d.places);
    a->boxes[i] = detect_box(&a->d, a->n + image, row - image * a->d.places, i - row * a->d.P);
}

/* i: a candidate of a group */
MAP(detect_scores, detect_args)
{
    int64_t group = quotient(i, a->d.P), at = i - group * a->d.P;
    int64_t image = quotient(group, a->d.groups);
    double score;
    bool is = detect_score(&a->d, a->n + image, group - image * a->d.groups, at,
                           box_of(a, group, at), &score);
    a->scores[i] = !is ? NAN : score == score ? score : -INFINITY;
    if (at == 0)
        a->counts[group] = 0;
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
    int64_t first = quotient(group, a->d.groups) * a->d.groups;
    for (int64_t g = first; a->d.keep >= 0 && g < first + a->d.groups; g++)
        for (int64_t r = 0; r < a->counts[g]; r++)
            before += comes_before(score_of(a, g, r), g * a->d.group + r, own, i);
    a->mark[i] = a->d.keep < 0 || before < a->d.keep;
}

/* Of those of an image before group `group`, rank `rank`, how many are the image's best? */
DEVICE int64_t marked_before(const detect_args *a, int64_t image, int64_t group, int64_t rank)
{
    int64_t marked = 0, end = (image + 1) * a->d.groups;
    for (int64_t g = image * a->d.groups; g <= group && g < end; g++)
        for (int64_t r = 0; r < (g < group ? a->counts[g] : rank); r++)
            marked += a->mark[g * a->d.group + r];
    return marked;
}

/* i: an image */
MAP(detect_count, detect_args)
{
    a->first[a->n + i + 1] = (int32_t)marked_before(a, i, (i + 1) * a->d.groups, 0);
}

MAP(detect_total, detect_args)
{
    if (a->n == 0)
        a->first[0] = 0;
    for (int64_t n = a->n; n < a->n + a->images; n++)
        a->first[n + 1] += a->first[n];
}

MAP(detect_rows, detect_args)
{
    int64_t group = quotient(i, a->d.group), rank = i - group * a->d.group;
    int64_t image = quotient(group, a->d.groups);
    if (!a->mark[i])
        return;
    int64_t row = a->first[a->n + image] + marked_before(a, image, group, rank);
    int64_t at = a->order[group * a->d.before + rank];
    double found[7];
    detect_row(&a->d, a->n + image, group - image * a->d.groups, at, box_of(a, group, at),
               found);
    for (int k = 0; k < 7; k++)
        a->rows[row * 7 + k] = (float)found[k];
}

/* i: an element of the rows there are where nothing was found; and past them: the count */
MAP(detect_end, detect_args)
{
    int32_t all = a->d.N && a->d.P ? a->first[a->d.N] : 0;
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

/* Bytes of scratch of an image. */
static int64_t bytes_each(const detect *d)
{
    return d->P * d->places * (int64_t)sizeof(dn_box) +
           (d->P + d->before) * d->groups * (int64_t)sizeof(double) +
           (d->before + d->group + 1) * d->groups * (int64_t)sizeof(int32_t);
}

static int64_t images_at_a_time(const detect *d)
{
    int64_t most = MOST_SCRATCH / (bytes_each(d) + 1);
    most = most < d->N ? most : d->N;
    return most > 1 ? most : 1;
}

static dn_status prepare(dn_op *op, dn_op_info *info)
{
    detect d;
    shape_of(op, &d);
    if (d.P > 1 << 20 || d.N > 1 << 24 || d.P * d.groups > INT32_MAX)
        return cuda_decline(info, "more than 2^20 candidates, each held against each");
    op->scratch =
        (size_t)(images_at_a_time(&d) * bytes_each(&d)) + (size_t)(d.N + 1) * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_detect(const dn_op *op, const dn_op_io *io)
{
    detect_args a;
    shape_of(op, &a.d);
    detect_bind(&a.d, io->in, op->num_inputs);
    const detect *d = &a.d;
    int64_t step = images_at_a_time(d), groups = step * d->groups;
    a.boxes = (dn_box *)io->scratch;
    a.scores = (double *)(a.boxes + step * d->P * d->places);
    a.nearest = a.scores + d->P * groups;
    a.order = (int32_t *)(a.nearest + d->before * groups);
    a.mark = a.order + d->before * groups;
    a.counts = a.mark + d->group * groups;
    a.first = a.counts + groups;
    a.rows = cuda_out(op, io, 0);
    a.count = (int32_t *)cuda_out(op, io, 1);
    for (a.n = 0; a.n < d->N && d->P > 0; a.n += step) {
        a.images = step < d->N - a.n ? step : d->N - a.n;
        groups = a.images * d->groups;
        detect_boxes(op, &a, d->P * d->places * a.images);
        detect_scores(op, &a, d->P * groups);
        detect_rank(op, &a, d->P * groups);
        detect_suppress(op, &a, groups);
        detect_mark(op, &a, d->group * groups);
        detect_count(op, &a, a.images);
        detect_total(op, &a, 1);
        detect_rows(op, &a, d->group * groups);
    }
    detect_end(op, &a, d->N * 7 + 1);
    return DN_OK;
}

const cuda_kind cuda_detect = {"DETECT", sizeof(dn_args_detect), prepare, run_detect, 0, NULL,
                               1};
