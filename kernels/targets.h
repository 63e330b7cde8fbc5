/* SPDX-License-Identifier: BSD-2-Clause
 * targets.h: TARGETS, box by box, in double: which boxes hold something hangs on the last bit,
 * and what is drawn on all of them, so there is one copy. Whoever includes this may say how
 * functions begin. */
#ifndef DN_KERNELS_TARGETS_H
#define DN_KERNELS_TARGETS_H

#include <math.h>
#include <stdbool.h>

#include "deepnet/sys/backend.h"
#include "deepnet/sys/boxes.h"
#include "deepnet/sys/random.h"

#ifndef TARGETS_FUNCTION
#define TARGETS_FUNCTION static inline
#endif

enum { TARGETS_HOLDS = 0, TARGETS_EMPTY = 1, TARGETS_NEITHER = 2 };

typedef struct targets {
    const dn_args_targets *a;
    const double *anchors;     /* NULL: regions */
    const void *from, *truths; /* the image or the regions; double if wide, else float */
    void *label, *target, *inside, *outside, *region;
    int64_t N, R, G; /* boxes; of them regions; true boxes */
    bool wide;
} targets;

TARGETS_FUNCTION double targets_get(const targets *t, const void *from, int64_t i)
{
    return t->wide ? ((const double *)from)[i] : ((const float *)from)[i];
}

TARGETS_FUNCTION void targets_put(const targets *t, void *to, int64_t i, double value)
{
    if (t->wide)
        ((double *)to)[i] = value;
    else
        ((float *)to)[i] = (float)value;
}

TARGETS_FUNCTION dn_box targets_at(const targets *t, const void *from, int64_t i)
{
    return dn_box_of(targets_get(t, from, i), targets_get(t, from, i + 1),
                     targets_get(t, from, i + 2), targets_get(t, from, i + 3));
}

TARGETS_FUNCTION dn_box targets_truth(const targets *t, int64_t g)
{
    return targets_at(t, t->truths, 5 * g);
}

TARGETS_FUNCTION bool targets_is_class(const targets *t, int64_t g)
{
    double label = targets_get(t, t->truths, 5 * g + 4);
    return label >= 0 && label < (double)t->a->classes;
}

/* Anchors in the order of labels, (a H + h) W + w; regions, then the true boxes. */
TARGETS_FUNCTION dn_box targets_box(const targets *t, int64_t i)
{
    int64_t W = t->a->W, plane = t->a->H * W;
    if (!t->anchors)
        return i < t->R ? targets_at(t, t->from, 5 * i + 1) : targets_truth(t, i - t->R);
    const double *p = t->anchors + 4 * (i / plane);
    double x = (double)(i % W) * t->a->stride, y = (double)(i / W % t->a->H) * t->a->stride;
    return dn_box_of(p[0] + x, p[1] + y, p[2] + x, p[3] + y);
}

/* Is the box compared with the true ones? */
TARGETS_FUNCTION bool targets_counts(const targets *t, const dn_box *b)
{
    double border = t->a->border;
    return !t->anchors || (b->x0 >= -border && b->y0 >= -border &&
                           b->x1 < targets_get(t, t->from, 1) + border &&
                           b->y1 < targets_get(t, t->from, 0) + border);
}

TARGETS_FUNCTION double targets_iou(const targets *t, const dn_box *box, int64_t g)
{
    dn_box truth = targets_truth(t, g);
    return dn_box_iou(box, &truth, 1);
}

/* The most that a true box has of the box, and which one, the first of them. */
TARGETS_FUNCTION double targets_overlap(const targets *t, const dn_box *box, int32_t *truth)
{
    double overlap = 0;
    *truth = 0;
    for (int64_t g = 0; g < t->G; g++) {
        double iou = targets_iou(t, box, g);
        if (iou > overlap)
            overlap = iou, *truth = (int32_t)g;
    }
    return overlap;
}

/* TARGETS_*; best: the most that each true box has of any anchor, which is then its own. */
TARGETS_FUNCTION int32_t targets_kind(const targets *t, const dn_box *box, double overlap,
                                      const double *best)
{
    bool holds = overlap >= t->a->positive;
    for (int64_t g = 0; t->anchors && overlap > 0 && !holds && g < t->G; g++)
        holds = best[g] > 0 && targets_iou(t, box, g) == best[g];
    return holds ? TARGETS_HOLDS : overlap < t->a->negative ? TARGETS_EMPTY : TARGETS_NEITHER;
}

TARGETS_FUNCTION int64_t targets_keep(const targets *t, int32_t which, int64_t count,
                                      int64_t holding)
{
    int64_t most = which == TARGETS_HOLDS ? t->a->holding : t->a->draws - holding;
    return count < most ? count : most;
}

/* Draw i, without putting back, of `count`: what it changes place with. */
TARGETS_FUNCTION int64_t targets_draw(const targets *t, const int64_t *state, int32_t which,
                                      int64_t i, int64_t count)
{
    uint32_t word[4];
    dn_random_block(word, (uint64_t)state[0], t->a->stream + (uint64_t)which,
                    (uint64_t)state[1], (uint64_t)i);
    uint64_t w = (uint64_t)word[0] << 32 | word[1];
    return i + (int64_t)(w % (uint64_t)(count - i));
}

/* How a box must move and grow to become the true one; corners are pixels. */
TARGETS_FUNCTION void targets_offsets(const targets *t, const dn_box *from, int64_t g,
                                      double v[4])
{
    dn_box to = targets_truth(t, g);
    double w = from->x1 - from->x0 + 1, h = from->y1 - from->y0 + 1;
    double tw = to.x1 - to.x0 + 1, th = to.y1 - to.y0 + 1;
    v[0] = (to.x0 + tw / 2 - from->x0 - w / 2) / w / t->a->deviation[0];
    v[1] = (to.y0 + th / 2 - from->y0 - h / 2) / h / t->a->deviation[1];
    v[2] = log(tw / w) / t->a->deviation[2];
    v[3] = log(th / h) / t->a->deviation[3];
}

/* Anchor i; label -1: not among the `drawn`. */
TARGETS_FUNCTION void targets_put_anchor(const targets *t, int64_t i, int32_t truth,
                                         int32_t label, int64_t drawn)
{
    int64_t plane = t->a->H * t->a->W, at = i / plane * 4 * plane + i % plane;
    double v[4] = {0, 0, 0, 0};
    dn_box box = targets_box(t, i);
    if (targets_counts(t, &box) && t->G)
        targets_offsets(t, &box, truth, v);
    targets_put(t, t->label, i, label);
    for (int32_t k = 0; k < 4; k++, at += plane) {
        targets_put(t, t->target, at, v[k]);
        targets_put(t, t->inside, at, label == 1);
        targets_put(t, t->outside, at, label >= 0 ? 1 / (double)drawn : 0);
    }
}

/* Row k: box i with its label, and its targets in the columns of that class. */
TARGETS_FUNCTION void targets_put_region(const targets *t, int64_t k, int64_t i, int32_t truth,
                                         bool holds)
{
    int64_t columns = 4 * t->a->classes;
    holds = holds && targets_is_class(t, truth);
    double label = holds ? targets_get(t, t->truths, 5 * (int64_t)truth + 4) : 0;
    double v[4] = {0, 0, 0, 0};
    dn_box box = targets_box(t, i);
    if (label > 0)
        targets_offsets(t, &box, truth, v);
    targets_put(t, t->label, k, label);
    targets_put(t, t->region, 5 * k, 0);
    targets_put(t, t->region, 5 * k + 1, box.x0);
    targets_put(t, t->region, 5 * k + 2, box.y0);
    targets_put(t, t->region, 5 * k + 3, box.x1);
    targets_put(t, t->region, 5 * k + 4, box.y1);
    for (int64_t c = 0; c < columns; c++) {
        bool own = label > 0 && c / 4 == (int64_t)label;
        targets_put(t, t->target, k * columns + c, own ? v[c % 4] : 0);
        targets_put(t, t->inside, k * columns + c, own);
        targets_put(t, t->outside, k * columns + c, own);
    }
}

#endif
