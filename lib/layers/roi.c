/* SPDX-License-Identifier: BSD-2-Clause
 * roi.c: see roi.h. */
#include "layers/roi.h"

#include <string.h>

dn_status dni_roi_check(const dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *r = &layer->bottom[1];
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, not 4", x->axes);
    DNI_REQUIRE(r->axes >= 2 && dni_shape_range(r, 1, r->axes) == 5, DN_E_SHAPE,
                "bottom 1 must be regions, (R, 5)");
    DNI_REQUIRE(x->dim[2] * x->dim[3] <= INT32_MAX, DN_E_SHAPE, "the map is too large");
    return DN_OK;
}

dn_status dni_roi_get(const dni_layer *layer, const void *regions, int64_t r, dni_roi *out)
{
    double item = dni_get(regions, layer->dtype, r * 5);
    DNI_REQUIRE(item >= 0 && item < (double)layer->bottom[0].dim[0], DN_E_DATA,
                "region %lld is not in one of the %lld items of bottom 0", (long long)r,
                (long long)layer->bottom[0].dim[0]);
    *out = (dni_roi){(int64_t)item, dni_box_get(regions, layer->dtype, r * 5 + 1)};
    return DN_OK;
}

void dni_roi_clear(const dni_layer *layer, void *dx)
{
    size_t size = dni_dtype_size(layer->dtype);
    memset(dx, 0, (size_t)dni_shape_count(&layer->bottom[0]) * size);
}
