/* SPDX-License-Identifier: BSD-2-Clause
 * roi.h: where the bins of ROI_POOL lie, in the arithmetic of the net's type: floor and ceil
 * make a bin of another size out of the last bit, so there is one copy. Corners come as data:
 * whatever they are, what is made of them lies on the map. Whoever includes this says what
 * `real` is, and may say how functions begin. */
#ifndef DN_KERNELS_ROI_H
#define DN_KERNELS_ROI_H

#include <math.h>
#include <stdbool.h>

#include "deepnet/sys/backend.h"

#ifndef ROI_FUNCTION
#define ROI_FUNCTION static inline
#endif

/* Rows, or columns, of a region: bins of `size` from `first` on, on a map with `limit`. */
typedef struct roi_axis {
    real first, size;
    int64_t limit, samples;
} roi_axis;

ROI_FUNCTION int64_t roi_cut(real v, int64_t limit)
{
    return !(v > 0) ? 0 : v >= (real)limit ? limit : (int64_t)v;
}

ROI_FUNCTION roi_axis roi_axis_of(int32_t method, int32_t samples, real scale, real from,
                                  real to, int64_t bins, int64_t limit)
{
    real end = to * scale, least = 1;
    roi_axis v = {from * scale, 0, limit, samples};
    if (method == DN_ROI_MAX) {
        v.first = (real)round(v.first);
        end = (real)round(end) + 1;
    } else if (method == DN_ROI_PS_AVERAGE) {
        v.first = (real)round(from) * scale;
        end = ((real)round(to) + 1) * scale;
        least = (real)0.1;
    }
    v.size = (end - v.first > least ? end - v.first : least) / (real)bins;
    if (samples == 0)
        v.samples = roi_cut((real)ceil(v.size), limit);
    v.samples += v.samples == 0;
    return v;
}

/* [*from, *to) of bin k, but of ALIGN */
ROI_FUNCTION void roi_bin(int32_t method, const roi_axis *v, int64_t k, int64_t *from,
                          int64_t *to)
{
    real low = (real)k * v->size, high = (real)(k + 1) * v->size;
    real within = method == DN_ROI_MAX ? 0 : v->first, after = v->first - within;
    *from = roi_cut((real)floor(low + within) + after, v->limit);
    *to = roi_cut((real)ceil(high + within) + after, v->limit);
}

/* Sample i of bin k of ALIGN lies between element *at and the next, whose share of it this is.
 * -1: it is outside. */
ROI_FUNCTION real roi_sample(const roi_axis *v, int64_t k, int64_t i, int64_t *at)
{
    real place =
        v->first + (real)k * v->size + ((real)i + (real)0.5) * v->size / (real)v->samples;
    *at = 0;
    if (!(place >= -1 && place <= (real)v->limit))
        return -1;
    *at = roi_cut(place, v->limit - 1);
    return *at + 1 < v->limit && place > 0 ? place - (real)*at : 0;
}

#endif
