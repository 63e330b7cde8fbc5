/* SPDX-License-Identifier: BSD-2-Clause
 * roi.h: what the layers that pool regions share: reading a region, and arithmetic rounded as
 * the net's type rounds, since floor and ceil make a bin of another size out of the last bit.
 */
#ifndef DNI_ROI_H
#define DNI_ROI_H

#include <math.h>

#include "layers/boxes.h"

typedef struct dni_roi {
    int64_t item;
    dni_box box;
} dni_roi;

static inline double dni_roi_round(int32_t dtype, double v)
{
    return dtype == DN_F64 ? v : (float)v;
}

static inline int64_t dni_roi_cut(double v, int64_t limit)
{
    return !(v > 0) ? 0 : v > (double)limit ? limit : (int64_t)v;
}

/* Bottom 0 is a map (N, C, H, W), bottom 1 regions (R, 5). */
dn_status dni_roi_check(const dni_layer *layer);
/* Region r of bottom 1's values; its item must be one of the map's. */
dn_status dni_roi_get(const dni_layer *layer, const void *regions, int64_t r, dni_roi *out);
/* Zeros as many as bottom 0 has. */
void dni_roi_clear(const dni_layer *layer, void *dx);

#endif
