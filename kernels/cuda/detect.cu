/* SPDX-License-Identifier: BSD-2-Clause
 * detect.cu: DETECT, of as many images at once as some memory holds. Which boxes are too near
 * to which is found of all pairs at once, as bits; a block per group then goes through them, 64
 * boxes at a time. Where the limit changes with each box kept, or the bits are too many, the
 * block holds one kept box after the other against all that follow it. Groups are counted
 * through the images. */
#include "order.cuh"

#define DETECT_FUNCTION     DEVICE
#define DETECT_GET(d, x, i) ((const float *)(x))[i]
#include "../detect.h"

#define MOST_SCRATCH ((int64_t)64 << 20) /* of several images; of an image's bits */
#define WORD         64                  /* boxes whose bits are a number */

typedef struct detect_args {
    detect d;
    int64_t n, images; /* the first, and how many: */
    dn_box *boxes;     /* (places, P) */
    double *scores;    /* (groups, P) */
    double *nearest;   /* (groups, before): IoU with the nearest one kept */
    ordered ranks;     /* (groups, P) by score */
    uint64_t *bits;    /* (groups, before, words): which later ones are too near */
    int64_t words;
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

/* i: what may be a candidate of a group */
MAP(detect_scores, detect_args)
{
    int64_t group = quotient(i, a->d.P), at = i - group * a->d.P;
    int64_t image = quotient(group, a->d.groups);
    double score = 0;
    bool is = detect_score(&a->d, a->n + image, group - image * a->d.groups, at,
                           box_of(a, group, at), &score);
    a->scores[i] = score == score ? score : -INFINITY;
    a->ranks.key[i] = is ? order_key(score) : 0;
    if (at == 0)
        a->counts[group] = 0;
}

/* i: one by the order of its piece of a group */
MAP(detect_rank, detect_args)
{
    int64_t group = quotient(i, a->d.P);
    if (a->ranks.key[i] == 0)
        return;
    int64_t before = order_place(&a->ranks, group, i - group * a->d.P);
    if (before >= a->d.before)
        return;
    a->order[group * a->d.before + before] = a->ranks.item[i];
    raise_to(&a->counts[group], (int32_t)before + 1);
}

/* ---- suppression ------------------------------------------------------------------------- */

/* i: (group, word, box): of the boxes of a word those that are too near; what they say of those
 * before the box is not looked at. */
MAP(detect_near, detect_args)
{
    int64_t row = quotient(i, a->d.before), box = i - row * a->d.before;
    int64_t group = quotient(row, a->words), word = row - group * a->words;
    int64_t count = a->counts[group], first = word * WORD, end = first + WORD;
    const int32_t *order = a->order + group * a->d.before;
    uint64_t bits = 0;
    if (box >= count || first >= count || end <= box)
        return;
    dn_box own = *box_of(a, group, order[box]);
    for (int64_t k = first; k < end && k < count; k++)
        if (!(dn_box_iou(box_of(a, group, order[k]), &own, a->d.one) <= a->d.nms))
            bits |= (uint64_t)1 << (k - first);
    a->bits[(group * a->d.before + box) * a->words + word] = bits;
}

DEVICE int ones(uint64_t bits)
{
#ifdef __CUDACC__
    return __popcll(bits);
#else
    return __builtin_popcountll(bits);
#endif
}

/* One thread goes through 64 boxes, all then note what those that are kept are too near to. */
BLOCKS(detect_take, detect_args)
{
    SHARED uint64_t gone[BLOCK], near[WORD];
    SHARED int32_t which[WORD];
    int32_t *order = a->order + block * a->d.before;
    const uint64_t *bits = a->bits + block * a->d.before * a->words;
    int64_t count = a->counts[block], kept = 0;
    THREADS(t)
        gone[t] = 0;
    for (int64_t w = 0; w * WORD < count && kept < a->d.group; w++) {
        const uint64_t *rows = bits + w * WORD * a->words;
        int here = (int)(count - w * WORD < WORD ? count - w * WORD : WORD);
        THREADS(t)
            if (t < here) {
                near[t] = rows[t * a->words + w];
                which[t] = order[w * WORD + t];
            }
        THREADS(t)
            if (t == 0) {
                uint64_t out = gone[w], in = 0;
                int64_t left = a->d.group - kept;
                for (int k = 0; k < here && left > 0; k++)
                    if (!(out >> k & 1)) {
                        out |= near[k];
                        in |= (uint64_t)1 << k;
                        left--;
                    }
                gone[w] = in;
            }
        uint64_t in = gone[w];
        THREADS(t)
        {
            if (t < here && (in >> t & 1))
                order[kept + ones(in & (((uint64_t)1 << t) - 1))] = which[t];
            if (t > w && t < a->words) {
                uint64_t out = 0;
                UNROLL
                for (int k = 0; k < WORD; k++)
                    out |= in >> k & 1 ? rows[k * a->words + t] : 0;
                gone[t] |= out;
            }
        }
        kept += ones(in);
    }
    THREADS(t)
        if (t == 0)
            a->counts[block] = (int32_t)kept;
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

static int64_t words_of(const detect *d)
{
    return (d->before + WORD - 1) / WORD;
}

/* Of an image. 0: it is done without bits. */
static int64_t bits_each(const detect *d)
{
    int64_t words = words_of(d), bits = words * d->before * d->groups;
    bool changes = d->eta < 1 && d->nms > 0.5;
    return changes || words > BLOCK || bits > MOST_SCRATCH / 8 ? 0 : bits;
}

/* Bytes of scratch of an image. */
static int64_t bytes_each(const detect *d)
{
    return d->P * d->places * (int64_t)sizeof(dn_box) +
           ((d->P + d->before) * d->groups + bits_each(d)) * (int64_t)sizeof(double) +
           order_bytes(d->groups, d->P) +
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
        return cuda_decline(info, "more than 2^20 candidates");
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
    a.bits = (uint64_t *)(a.nearest + d->before * groups);
    a.words = bits_each(d) ? words_of(d) : 0;
    a.ranks = order_in(a.bits + step * bits_each(d), groups, d->P);
    a.order = a.ranks.item + d->P * groups;
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
        order_sort(op, &a.ranks, a.ranks.pieces * groups);
        detect_rank(op, &a, d->P * groups);
        if (a.words) {
            detect_near(op, &a, d->before * a.words * groups);
            detect_take(op, &a, groups);
        } else {
            detect_suppress(op, &a, groups);
        }
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
