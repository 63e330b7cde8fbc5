/* SPDX-License-Identifier: BSD-2-Clause
 * boxes.c: see boxes.h. */
#include "layers/boxes.h"

#include <math.h>
#include <stdlib.h>

dni_box dni_box_get(const void *values, int32_t dtype, int64_t i)
{
    return (dni_box){dni_get(values, dtype, i), dni_get(values, dtype, i + 1),
                     dni_get(values, dtype, i + 2), dni_get(values, dtype, i + 3)};
}

void dni_box_put(void *values, int32_t dtype, int64_t i, const dni_box *box)
{
    dni_put(values, dtype, i, box->x0);
    dni_put(values, dtype, i + 1, box->y0);
    dni_put(values, dtype, i + 2, box->x1);
    dni_put(values, dtype, i + 3, box->y1);
}

static double area(const dni_box *b, double one)
{
    return b->x1 < b->x0 || b->y1 < b->y0 ? 0 : (b->x1 - b->x0 + one) * (b->y1 - b->y0 + one);
}

double dni_box_iou(const dni_box *a, const dni_box *b, double one)
{
    double w = fmin(a->x1, b->x1) - fmax(a->x0, b->x0) + one;
    double h = fmin(a->y1, b->y1) - fmax(a->y0, b->y0) + one;
    if (!(w > 0 && h > 0))
        return 0;
    return w * h / (area(a, one) + area(b, one) - w * h);
}

bool dni_box_crosses(const dni_box *b)
{
    return b->x0 < 0 || b->x0 > 1 || b->y0 < 0 || b->y0 > 1 || b->x1 < 0 || b->x1 > 1 ||
           b->y1 < 0 || b->y1 > 1;
}

enum { /* PriorBoxParameter.CodeType */
       CENTER_SIZE = CNN__PRIOR_BOX_PARAMETER__CODE_TYPE__CENTER_SIZE,
       CORNER_SIZE = CNN__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER_SIZE
};

static const double ones[4] = {1, 1, 1, 1};

dni_box dni_box_decode(int32_t code, const dni_box *p, const double *variance, const dni_box *b)
{
    const double *v = variance ? variance : ones;
    double w = p->x1 - p->x0, h = p->y1 - p->y0;
    if (code == CENTER_SIZE) {
        double x = (p->x0 + p->x1) / 2 + v[0] * b->x0 * w;
        double y = (p->y0 + p->y1) / 2 + v[1] * b->y0 * h;
        double rx = exp(v[2] * b->x1) * w / 2, ry = exp(v[3] * b->y1) * h / 2;
        return (dni_box){x - rx, y - ry, x + rx, y + ry};
    }
    if (code != CORNER_SIZE)
        w = h = 1;
    return (dni_box){p->x0 + v[0] * b->x0 * w, p->y0 + v[1] * b->y0 * h,
                     p->x1 + v[2] * b->x1 * w, p->y1 + v[3] * b->y1 * h};
}

dni_box dni_box_encode(int32_t code, const dni_box *p, const double *variance, const dni_box *b)
{
    const double *v = variance ? variance : ones;
    double w = p->x1 - p->x0, h = p->y1 - p->y0;
    if (code == CENTER_SIZE)
        return (dni_box){(b->x0 + b->x1 - p->x0 - p->x1) / 2 / w / v[0],
                         (b->y0 + b->y1 - p->y0 - p->y1) / 2 / h / v[1],
                         log((b->x1 - b->x0) / w) / v[2], log((b->y1 - b->y0) / h) / v[3]};
    if (code != CORNER_SIZE)
        w = h = 1;
    return (dni_box){(b->x0 - p->x0) / w / v[0], (b->y0 - p->y0) / h / v[1],
                     (b->x1 - p->x1) / w / v[2], (b->y1 - p->y1) / h / v[3]};
}

/* NaN ranks last, so that the order is one whatever the scores are. */
static int by_score(const void *pa, const void *pb)
{
    const dni_scored *a = pa, *b = pb;
    double sa = isnan(a->score) ? -INFINITY : a->score;
    double sb = isnan(b->score) ? -INFINITY : b->score;
    if (sa != sb)
        return sa > sb ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

void dni_sort_scored(dni_scored *list, int64_t count)
{
    if (count > 1)
        qsort(list, (size_t)count, sizeof *list, by_score);
}

int64_t dni_suppress(dni_scored *list, int64_t count, const dni_box *boxes, double threshold,
                     double eta, double one)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        const dni_box *box = &boxes[list[i].index];
        int64_t k = 0;
        while (k < kept && dni_box_iou(box, &boxes[list[k].index], one) <= threshold)
            k++;
        if (k < kept)
            continue;
        list[kept++] = list[i];
        if (eta < 1 && threshold > 0.5)
            threshold *= eta;
    }
    return kept;
}
