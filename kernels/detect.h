/* SPDX-License-Identifier: BSD-2-Clause
 * detect.h: the candidates of DETECT: where each lies and what it is ranked by, in double, as
 * the choice between them hangs on the last bit. Whoever includes this may say how functions
 * begin, and says what DETECT_GET(d, x, i) is: element i of an operand of the net's type. */
#ifndef DN_KERNELS_DETECT_H
#define DN_KERNELS_DETECT_H

#include <stdbool.h>
#include <string.h>

#include "deepnet/sys/backend.h"
#include "deepnet/sys/boxes.h"

#ifndef DETECT_FUNCTION
#define DETECT_FUNCTION static inline
#endif

typedef struct detect_map { /* of YOLO: (N, anchors (5 + classes), H, W) */
    const void *x;
    int64_t anchors, H, W;
} detect_map;

/* Sizes are set by detect_shape, pointers by detect_bind. */
typedef struct detect {
    int32_t dtype, method, code, flags, maps;
    int64_t N, P;             /* images; boxes of one */
    int64_t groups, places;   /* classes that are ranked apart; that boxes are given for */
    int64_t group, image;     /* most boxes kept of one group, of one image */
    int64_t before, keep;     /* most looked at of a group; kept of an image, -1: all */
    int64_t background;       /* the group left out */
    int64_t classes, A, H, W; /* A, H, W: of PROPOSAL */
    double threshold, least, nms, eta, stride, one;
    const double *anchors;
    const void *scores, *codes, *extra; /* extra: the image's size, or the priors */
    const void *object, *moves;
    detect_map map[DN_DETECT_MAPS];
} detect;

static inline int64_t detect_at_most(int64_t limit, int64_t count)
{
    return limit >= 0 && limit < count ? limit : count;
}

/* x: shapes of inputs 1 ..., as dn_args_detect says; false: they do not go together. */
static inline bool detect_shape(detect *d, const dn_args_detect *a, int32_t num,
                                const dn_operand *in)
{
    const int64_t *x = in[1].shape.dim;
    memset(d, 0, sizeof(*d));
    bool fits = num >= 2 && num <= 1 + DN_DETECT_MAPS && in[1].shape.axes == 4;
    d->dtype = in[1].dtype;
    d->method = a->method, d->code = a->code, d->flags = a->flags, d->maps = num - 1;
    d->N = x[0], d->P = 0, d->groups = d->places = 1, d->background = -1;
    d->classes = a->classes;
    d->threshold = a->threshold, d->least = a->least, d->nms = a->nms, d->eta = a->eta;
    d->stride = a->stride, d->one = a->method == DN_DETECT_PROPOSAL;
    if (a->method == DN_DETECT_PROPOSAL) {
        d->A = x[1] / 2, d->H = x[2], d->W = x[3];
        d->P = d->A * d->H * d->W;
        fits = fits && num == 4 && d->N == 1 && x[1] % 2 == 0;
    } else if (a->method == DN_DETECT_PRIORS) {
        fits = num >= 4 && num <= 6 && in[3].shape.axes >= 3 && in[1].shape.axes >= 1;
        d->P = in[3].shape.dim[2] / 4;
        d->groups = a->classes;
        d->places = a->flags & DN_DETECT_SHARED ? 1 : a->classes;
        d->background = a->background;
    }
    for (int32_t k = 0; a->method == DN_DETECT_YOLO && k < d->maps && fits; k++) {
        const int64_t *dim = in[1 + k].shape.dim, each = 5 + a->classes;
        fits = in[1 + k].shape.axes == 4 && dim[0] == d->N && dim[1] % each == 0;
        d->map[k].anchors = dim[1] / each, d->map[k].H = dim[2], d->map[k].W = dim[3];
        d->P += d->map[k].anchors * dim[2] * dim[3];
    }
    d->before = detect_at_most(a->before, d->P);
    d->group = detect_at_most(a->after, d->before);
    d->keep = a->keep;
    d->image = detect_at_most(a->keep, d->group * d->groups);
    d->image += d->image == 0;
    return fits;
}

static inline void detect_bind(detect *d, void *const *in, int32_t num)
{
    d->anchors = (const double *)in[0];
    d->scores = in[1];
    d->codes = d->method == DN_DETECT_YOLO ? NULL : in[2];
    d->extra = d->method == DN_DETECT_YOLO ? NULL : in[3];
    d->object = d->method == DN_DETECT_PRIORS && num > 4 ? in[4] : NULL;
    d->moves = d->method == DN_DETECT_PRIORS && num > 5 ? in[5] : NULL;
    for (int32_t k = 0; d->method == DN_DETECT_YOLO && k < d->maps; k++)
        d->map[k].x = in[1 + k];
}

/* ---- PROPOSAL: candidate i: anchor i % A of cell i / A -------------------------------------
 */

DETECT_FUNCTION double detect_cut(double v, double size)
{
    return fmax(fmin(v, size - 1), 0.0);
}

/* The anchor moved, and cut to the image. */
DETECT_FUNCTION dn_box detect_proposal(const detect *d, int64_t i)
{
    int64_t plane = d->H * d->W, cell = i / d->A, a = i % d->A, at = 4 * a * plane + cell;
    const double *p = d->anchors + 4 * a;
    double x = (double)(cell % d->W) * d->stride, y = (double)(cell / d->W) * d->stride;
    double H = DETECT_GET(d, d->extra, 0), W = DETECT_GET(d, d->extra, 1);
    double w = p[2] - p[0] + 1, h = p[3] - p[1] + 1;
    double cx = p[0] + x + w / 2 + DETECT_GET(d, d->codes, at) * w;
    double cy = p[1] + y + h / 2 + DETECT_GET(d, d->codes, at + plane) * h;
    double rx = exp(DETECT_GET(d, d->codes, at + 2 * plane)) * w / 2,
           ry = exp(DETECT_GET(d, d->codes, at + 3 * plane)) * h / 2;
    return dn_box_of(detect_cut(cx - rx, W), detect_cut(cy - ry, H), detect_cut(cx + rx, W),
                     detect_cut(cy + ry, H));
}

/* ---- YOLO: candidate i: map by map, anchor by anchor, cell by cell --------------------------
 */

typedef struct detect_cell {
    const void *x; /* its map; its values begin at `at`, `plane` apart */
    const double *size;
    int64_t at, plane, row, column, H, W;
} detect_cell;

DETECT_FUNCTION detect_cell detect_find(const detect *d, int64_t n, int64_t i)
{
    const double *size = d->anchors;
    int32_t k = 0;
    detect_cell c;
    while (i >= d->map[k].anchors * d->map[k].H * d->map[k].W) {
        i -= d->map[k].anchors * d->map[k].H * d->map[k].W;
        size += 2 * d->map[k++].anchors;
    }
    const detect_map *m = &d->map[k];
    c.plane = m->H * m->W, c.H = m->H, c.W = m->W;
    int64_t a = i / c.plane, cell = i % c.plane;
    c.row = cell / m->W, c.column = cell % m->W;
    c.x = m->x;
    c.at = (n * m->anchors + a) * (5 + d->classes) * c.plane + cell;
    c.size = size + 2 * a;
    return c;
}

/* Value k of a cell: x, y, w, h, objectness, classes. */
DETECT_FUNCTION double detect_value(const detect *d, const detect_cell *c, int64_t k)
{
    return DETECT_GET(d, c->x, c->at + k * c->plane);
}

DETECT_FUNCTION double detect_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

DETECT_FUNCTION dn_box detect_yolo(const detect *d, int64_t n, int64_t i)
{
    detect_cell c = detect_find(d, n, i);
    double cx = ((double)c.column + detect_sigmoid(detect_value(d, &c, 0))) / (double)c.W;
    double cy = ((double)c.row + detect_sigmoid(detect_value(d, &c, 1))) / (double)c.H;
    double rx = exp(detect_value(d, &c, 2)) * c.size[0] / 2;
    double ry = exp(detect_value(d, &c, 3)) * c.size[1] / 2;
    return dn_box_of(cx - rx, cy - ry, cx + rx, cy + ry);
}

DETECT_FUNCTION int64_t detect_best(const detect *d, const detect_cell *c, double *value)
{
    int64_t best = 0;
    *value = -INFINITY;
    for (int64_t k = 0; k < d->classes; k++)
        if (detect_value(d, c, 5 + k) > *value) {
            *value = detect_value(d, c, 5 + k);
            best = k;
        }
    return best;
}

/* Objectness times the probability of the best class. */
DETECT_FUNCTION double detect_yolo_score(const detect *d, int64_t n, int64_t i)
{
    detect_cell c = detect_find(d, n, i);
    double best, sum = 0, object = detect_sigmoid(detect_value(d, &c, 4));
    detect_best(d, &c, &best);
    if (!(d->flags & DN_DETECT_SOFTMAX))
        return object * detect_sigmoid(best);
    for (int64_t k = 0; k < d->classes; k++)
        sum += exp(detect_value(d, &c, 5 + k) - best);
    return object * (1 / sum);
}

/* ---- PRIORS --------------------------------------------------------------------------------
 */

DETECT_FUNCTION dn_box detect_at(const detect *d, const void *x, int64_t i)
{
    return dn_box_of(DETECT_GET(d, x, i), DETECT_GET(d, x, i + 1), DETECT_GET(d, x, i + 2),
                     DETECT_GET(d, x, i + 3));
}

DETECT_FUNCTION dn_box detect_prior(const detect *d, int64_t n, int64_t place, int64_t i)
{
    dn_box prior = detect_at(d, d->extra, i * 4), code;
    double variance[4];
    for (int32_t k = 0; k < 4; k++)
        variance[k] = DETECT_GET(d, d->extra, (d->P + i) * 4 + k);
    const double *v = d->flags & DN_DETECT_VARIED ? NULL : variance;
    if (d->moves) {
        code = detect_at(d, d->moves, (n * d->P + i) * 4);
        prior = dn_box_decode(d->code, &prior, v, &code);
    }
    code = detect_at(d, d->codes, ((n * d->P + i) * d->places + place) * 4);
    return dn_box_decode(d->code, &prior, v, &code);
}

/* ---- all -----------------------------------------------------------------------------------
 */

DETECT_FUNCTION dn_box detect_box(const detect *d, int64_t n, int64_t place, int64_t i)
{
    return d->method == DN_DETECT_PROPOSAL ? detect_proposal(d, i)
           : d->method == DN_DETECT_YOLO   ? detect_yolo(d, n, i)
                                           : detect_prior(d, n, place, i);
}

/* What candidate i of a group is ranked by; false: it is none. */
DETECT_FUNCTION bool detect_score(const detect *d, int64_t n, int64_t group, int64_t i,
                                  const dn_box *box, double *score)
{
    if (d->method == DN_DETECT_PROPOSAL) {
        double least = d->least * DETECT_GET(d, d->extra, 2);
        *score = DETECT_GET(d, d->scores, (d->A + i % d->A) * d->H * d->W + i / d->A);
        return box->x1 - box->x0 + 1 >= least && box->y1 - box->y0 + 1 >= least;
    }
    if (group == d->background)
        return false;
    if (d->method == DN_DETECT_YOLO)
        *score = detect_yolo_score(d, n, i);
    else if (d->object && DETECT_GET(d, d->object, (n * d->P + i) * 2 + 1) < d->least)
        *score = 0;
    else
        *score = DETECT_GET(d, d->scores, (n * d->P + i) * d->classes + group);
    return *score > d->threshold;
}

/* A row of what was found. */
DETECT_FUNCTION void detect_row(const detect *d, int64_t n, int64_t group, int64_t i,
                                const dn_box *box, double y[7])
{
    y[2] = 0;
    detect_score(d, n, group, i, box, &y[2]);
    if (d->method == DN_DETECT_YOLO) {
        detect_cell c = detect_find(d, n, i);
        group = detect_best(d, &c, &y[1]) + 1;
    }
    y[0] = (double)n, y[1] = (double)group;
    y[3] = box->x0, y[4] = box->y0, y[5] = box->x1, y[6] = box->y1;
}

/* Where nothing was found: a row of an image. The corner, for PROPOSAL. */
DETECT_FUNCTION double detect_nothing(const detect *d, int64_t i)
{
    return i % 7 == 0 ? (double)(i / 7) : d->method == DN_DETECT_PROPOSAL ? 0 : -1;
}

#endif
