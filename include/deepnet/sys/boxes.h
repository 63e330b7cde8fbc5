/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/sys/boxes.h: the geometry of boxes that every backend shares: their overlap, and how
 * a box is coded relative to a prior (Liu et al., "SSD: Single Shot MultiBox Detector", ECCV
 * 2016). All in double, so that every backend keeps the same boxes where two scores or overlaps
 * are nearly equal. */
#ifndef DEEPNET_SYS_BOXES_H
#define DEEPNET_SYS_BOXES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define DN_BOXES_FN static __host__ __device__ inline
#else
#define DN_BOXES_FN static inline
#endif

typedef struct dn_box { /* empty unless x1 >= x0 and y1 >= y0 */
    double x0, y0, x1, y1;
} dn_box;

/* PriorBoxParameter.CodeType of prototxt */
enum { DN_BOX_CORNER = 1, DN_BOX_CENTER_SIZE = 2, DN_BOX_CORNER_SIZE = 3 };

DN_BOXES_FN dn_box dn_box_of(double x0, double y0, double x1, double y1)
{
    dn_box b;
    b.x0 = x0;
    b.y0 = y0;
    b.x1 = x1;
    b.y1 = y1;
    return b;
}

DN_BOXES_FN double dn_box_area(const dn_box *b, double one)
{
    return b->x1 < b->x0 || b->y1 < b->y0 ? 0 : (b->x1 - b->x0 + one) * (b->y1 - b->y0 + one);
}

/* Intersection over union. one: what is added to x1 - x0 to give a width: 1 where
 * corners are the indices of pixels, which belong to the box; otherwise 0. */
DN_BOXES_FN double dn_box_iou(const dn_box *a, const dn_box *b, double one)
{
    double w = fmin(a->x1, b->x1) - fmax(a->x0, b->x0) + one;
    double h = fmin(a->y1, b->y1) - fmax(a->y0, b->y0) + one;
    if (!(w > 0 && h > 0))
        return 0;
    return w * h / (dn_box_area(a, one) + dn_box_area(b, one) - w * h);
}

/* The box that `b` encodes relative to prior `p`. code: DN_BOX_*. v: the prior's 4 variances,
 * or NULL where the encoded values are already multiplied by them. */
DN_BOXES_FN dn_box dn_box_decode(int32_t code, const dn_box *p, const double *v,
                                 const dn_box *b)
{
    double v0 = v ? v[0] : 1, v1 = v ? v[1] : 1, v2 = v ? v[2] : 1, v3 = v ? v[3] : 1;
    double w = p->x1 - p->x0, h = p->y1 - p->y0;
    if (code == DN_BOX_CENTER_SIZE) {
        double x = (p->x0 + p->x1) / 2 + v0 * b->x0 * w;
        double y = (p->y0 + p->y1) / 2 + v1 * b->y0 * h;
        double rx = exp(v2 * b->x1) * w / 2, ry = exp(v3 * b->y1) * h / 2;
        return dn_box_of(x - rx, y - ry, x + rx, y + ry);
    }
    if (code != DN_BOX_CORNER_SIZE)
        w = h = 1;
    return dn_box_of(p->x0 + v0 * b->x0 * w, p->y0 + v1 * b->y0 * h, p->x1 + v2 * b->x1 * w,
                     p->y1 + v3 * b->y1 * h);
}

#endif
