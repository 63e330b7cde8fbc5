/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.h: what YOLO_LOSS asks of one box, in double: which anchor a true box belongs to hangs
 * on the last bit, so there is one copy. Whoever includes this may say how functions begin. */
#ifndef DN_KERNELS_YOLO_H
#define DN_KERNELS_YOLO_H

#include <math.h>
#include <stdbool.h>

#include "deepnet/sys/backend.h"

#ifndef YOLO_FUNCTION
#define YOLO_FUNCTION static inline
#endif

enum { YOLO_ELSEWHERE = -1, YOLO_END = -2 }; /* places of true boxes */

/* One image: its map (A (5 + classes), H, W), its true boxes (T, 5). */
typedef struct yolo_image {
    const dn_args_yolo_loss *a;
    const void *x, *truths; /* double if wide, else float */
    const int32_t *place; /* (T): anchor and cell of each, as boxes are numbered, or of enum */
    int64_t H, W, T;
    double N;  /* images: what the gradient is divided by */
    bool warm; /* boxes are drawn to their anchors */
    bool wide;
} yolo_image;

typedef struct yolo_box { /* centre and size, the image is 1 */
    double x, y, w, h;
} yolo_box;

YOLO_FUNCTION double yolo_get(const yolo_image *m, const void *from, int64_t i)
{
    return m->wide ? ((const double *)from)[i] : ((const float *)from)[i];
}

/* The class that true box i names. */
YOLO_FUNCTION double yolo_label(const yolo_image *m, int64_t i)
{
    return yolo_get(m, m->truths, i * 5);
}

YOLO_FUNCTION double yolo_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Element k of anchor a in a cell. */
YOLO_FUNCTION int64_t yolo_at(const yolo_image *m, int64_t a, int64_t k, int64_t cell)
{
    return (a * (5 + m->a->classes) + k) * m->H * m->W + cell;
}

/* x, y, w, h and objectness as the net has them. */
YOLO_FUNCTION void yolo_values(const yolo_image *m, int64_t a, int64_t cell, double *v)
{
    for (int32_t k = 0; k < 5; k++) {
        double x = yolo_get(m, m->x, yolo_at(m, a, k, cell));
        v[k] = k == 2 || k == 3 ? x : yolo_sigmoid(x);
    }
}

YOLO_FUNCTION yolo_box yolo_predicted(const yolo_image *m, int64_t a, int64_t cell,
                                      const double *v)
{
    double W = (double)m->W, H = (double)m->H;
    int32_t k = m->a->mask[a];
    yolo_box box = {((double)(cell % m->W) + v[0]) / W, ((double)(cell / m->W) + v[1]) / H,
                    exp(v[2]) * m->a->width[k] / W, exp(v[3]) * m->a->height[k] / H};
    return box;
}

YOLO_FUNCTION yolo_box yolo_truth(const yolo_image *m, int64_t i)
{
    yolo_box box = {yolo_get(m, m->truths, i * 5 + 1), yolo_get(m, m->truths, i * 5 + 2),
                    yolo_get(m, m->truths, i * 5 + 3), yolo_get(m, m->truths, i * 5 + 4)};
    return box;
}

/* The rows end before the first without a box. */
YOLO_FUNCTION bool yolo_is_end(const yolo_image *m, int64_t i)
{
    yolo_box t = yolo_truth(m, i);
    return t.x == 0 || t.w == 0;
}

YOLO_FUNCTION bool yolo_is_class(const yolo_image *m, int64_t i)
{
    return yolo_label(m, i) >= 0 && yolo_label(m, i) < m->a->classes;
}

YOLO_FUNCTION double yolo_common(double x, double w, double u, double d)
{
    return fmin(x + w / 2, u + d / 2) - fmax(x - w / 2, u - d / 2);
}

YOLO_FUNCTION double yolo_overlap(const yolo_box *a, const yolo_box *b)
{
    double w = yolo_common(a->x, a->w, b->x, b->w), h = yolo_common(a->y, a->h, b->y, b->h);
    if (!(w >= 0 && h >= 0))
        return 0;
    return w * h / (a->w * a->h + b->w * b->h - w * h);
}

YOLO_FUNCTION int64_t yolo_cell(double x, int64_t length)
{
    double at = floor(x * (double)length);
    return !(at > 0) ? 0 : at < (double)length ? (int64_t)at : length - 1;
}

/* The box that true box i belongs to: of its cell, the anchor with the most of its shape. */
YOLO_FUNCTION int32_t yolo_place(const yolo_image *m, int64_t i)
{
    const dn_args_yolo_loss *p = m->a;
    yolo_box t = yolo_truth(m, i), shape = {0, 0, t.w, t.h};
    int64_t cell = yolo_cell(t.y, m->H) * m->W + yolo_cell(t.x, m->W);
    int32_t best = -1;
    double most = 0;
    for (int32_t k = 0; k < p->all; k++) {
        yolo_box box = {0, 0, p->width[k] / (double)m->W, p->height[k] / (double)m->H};
        if (!(p->flags & DN_YOLO_BY_SHAPE)) {
            double v[5];
            yolo_values(m, k, cell, v);
            box = yolo_predicted(m, k, cell, v);
            box.x = box.y = 0;
        }
        double iou = yolo_overlap(&box, &shape);
        if (iou > most) {
            most = iou;
            best = k;
        }
    }
    for (int32_t a = 0; a < p->anchors; a++)
        if (p->mask[a] == best)
            return (int32_t)(a * m->H * m->W + cell);
    return YOLO_ELSEWHERE;
}

/* g = scale (v - target) */
YOLO_FUNCTION void yolo_ask(const yolo_image *m, double *g, double v, double scale,
                            double target, bool sloped, bool add)
{
    double slope = sloped && (m->a->flags & DN_YOLO_SLOPE) ? v * (1 - v) : 1;
    double ask = scale * (v - target) * slope;
    *g = add ? *g + ask : ask;
}

YOLO_FUNCTION void yolo_ask_box(const yolo_image *m, int64_t a, int64_t cell, const double *v,
                                const yolo_box *t, double scale, double *g)
{
    double W = (double)m->W, H = (double)m->H;
    int32_t k = m->a->mask[a];
    bool add = m->a->flags & DN_YOLO_ADD;
    yolo_ask(m, &g[0], v[0], scale, t->x * W - (double)(cell % m->W), true, add);
    yolo_ask(m, &g[1], v[1], scale, t->y * H - (double)(cell / m->W), true, add);
    yolo_ask(m, &g[2], v[2], scale, log(t->w * W / m->a->width[k]), false, add);
    yolo_ask(m, &g[3], v[3], scale, log(t->h * H / m->a->height[k]), false, add);
}

/* The class scores of a box, and the true box that said last what all of them should be. */
typedef struct yolo_classes {
    int64_t at, step, from; /* the first score, `step` apart */
    int32_t here;           /* the box's number */
    double largest, sum, scale;
} yolo_classes;

YOLO_FUNCTION double yolo_score(const yolo_image *m, const yolo_classes *s, int64_t c)
{
    return yolo_get(m, m->x, s->at + c * s->step);
}

YOLO_FUNCTION yolo_classes yolo_classes_of(const yolo_image *m, int64_t a, int64_t cell)
{
    yolo_classes s = {
        yolo_at(m, a, 5, cell), m->H * m->W, -1, (int32_t)(a * m->H * m->W + cell), 0, 0, 0};
    if (!(m->a->flags & DN_YOLO_SOFTMAX))
        return s;
    s.largest = yolo_score(m, &s, 0);
    for (int32_t c = 1; c < m->a->classes; c++)
        s.largest = fmax(s.largest, yolo_score(m, &s, c));
    for (int32_t c = 0; c < m->a->classes; c++)
        s.sum += exp(yolo_score(m, &s, c) - s.largest);
    return s;
}

YOLO_FUNCTION double yolo_class_value(const yolo_image *m, const yolo_classes *s, int64_t c)
{
    double x = yolo_score(m, s, c);
    return m->a->flags & DN_YOLO_SOFTMAX ? exp(x - s->largest) / s->sum : yolo_sigmoid(x);
}

/* What true boxes before `before` ask of class c: a box that several share gets the classes of
 * all of them. */
YOLO_FUNCTION double yolo_class_ask(const yolo_image *m, const yolo_classes *s, int64_t before,
                                    int64_t c, double v)
{
    const dn_args_yolo_loss *p = m->a;
    double target = c == (int64_t)yolo_label(m, s->from);
    for (int64_t i = s->from + 1; i < before; i++)
        if (m->place[i] == s->here && (int64_t)yolo_label(m, i) == c)
            return p->class_scale * (v - (1 - p->smooth / 2));
    if (!(p->flags & DN_YOLO_FOCAL))
        target += p->smooth * (0.5 - target);
    return s->scale * (v - target);
}

YOLO_FUNCTION void yolo_ask_classes(const yolo_image *m, yolo_classes *s, int64_t i)
{
    int64_t label = (int64_t)yolo_label(m, i);
    double v = yolo_class_value(m, s, label), p = v + 1e-15;
    if (!(m->a->flags & DN_YOLO_SOFTMAX) && s->from >= 0 &&
        yolo_class_ask(m, s, i, label, v) != 0)
        return;
    s->from = i;
    s->scale = m->a->class_scale;
    if (m->a->flags & DN_YOLO_FOCAL) /* gamma 2, alpha 1/2 */
        s->scale *= -0.5 * (1 - p) * (2 * p * log(p) + p - 1);
}

/* All of one element: returns g^2, and writes the gradient where it is wanted. */
YOLO_FUNCTION double yolo_put(const yolo_image *m, void *dx, int64_t at, double g, double v,
                              bool sloped)
{
    double slope = sloped && (m->a->flags & DN_YOLO_LOGIC) ? v * (1 - v) : 1;
    if (dx && m->wide)
        ((double *)dx)[at] = g * slope / m->N;
    else if (dx)
        ((float *)dx)[at] = (float)(g * slope / m->N);
    return g * g;
}

/* Box `here` of an image: the sum of g^2; g / N to dx, laid out as x, or NULL. */
YOLO_FUNCTION double yolo_of_box(const yolo_image *m, int64_t here, void *dx)
{
    const dn_args_yolo_loss *p = m->a;
    int64_t plane = m->H * m->W, a = here / plane, cell = here % plane, i, last = 0;
    double v[5], g[5] = {0, 0, 0, 0, 0}, best = 0, sum = 0;
    yolo_values(m, a, cell, v);
    yolo_box box = yolo_predicted(m, a, cell, v);
    for (i = 0; i < m->T && m->place[i] != YOLO_END; i++) {
        yolo_box t = yolo_truth(m, i);
        best = fmax(best, yolo_overlap(&box, &t));
        last = m->place[i] == here ? i + 1 : last;
    }
    if (!(best > p->thresh))
        yolo_ask(m, &g[4], v[4], p->noobject, 0, true, false);
    if (m->warm) {
        int32_t k = p->mask[a];
        double W = (double)m->W, H = (double)m->H;
        yolo_box own = {((double)(cell % m->W) + 0.5) / W, ((double)(cell / m->W) + 0.5) / H,
                        p->width[k] / W, p->height[k] / H};
        yolo_ask_box(m, a, cell, v, &own, 0.01, g);
    }
    yolo_classes classes = {0};
    if (last > 0)
        classes = yolo_classes_of(m, a, cell);
    for (i = 0; i < last; i++) {
        if (m->place[i] != here)
            continue;
        yolo_box t = yolo_truth(m, i);
        bool rescore = p->flags & DN_YOLO_RESCORE, by_size = p->flags & DN_YOLO_BY_SIZE;
        yolo_ask_box(m, a, cell, v, &t, p->coord * (by_size ? 2 - t.w * t.h : 1), g);
        yolo_ask(m, &g[4], v[4], p->object, rescore ? yolo_overlap(&box, &t) : 1, true, false);
        yolo_ask_classes(m, &classes, i);
    }
    for (int32_t k = 0; k < 5; k++)
        sum += yolo_put(m, dx, yolo_at(m, a, k, cell), g[k], v[k], k != 2 && k != 3);
    for (int32_t c = 0; (dx || last > 0) && c < p->classes; c++) {
        double value = last > 0 ? yolo_class_value(m, &classes, c) : 0;
        double ask = last > 0 ? yolo_class_ask(m, &classes, last, c, value) : 0;
        sum += yolo_put(m, dx, yolo_at(m, a, 5 + c, cell), ask, value, true);
    }
    return sum;
}

#endif
