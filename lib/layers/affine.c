/* SPDX-License-Identifier: BSD-2-Clause
 * affine.c: see affine.h. */
#include "layers/affine.h"

dn_status dni_affine_shape(const dni_layer *layer, int64_t axis, int64_t num_axes,
                           dni_shape *out)
{
    const dni_shape *x = &layer->bottom[0];
    int32_t from;
    *out = dni_shape_of(0, NULL);
    DNI_REQUIRE(num_axes >= -1, DN_E_NET, "num_axes is %lld", (long long)num_axes);
    if (num_axes == 0)
        return DN_OK;
    dn_status st = dni_layer_axis(layer, 0, axis, "axis", &from);
    if (st)
        return st;
    int64_t count = num_axes == -1 ? x->axes - from : num_axes;
    DNI_REQUIRE(from + count <= x->axes, DN_E_SHAPE,
                "axis %d and num_axes %lld reach beyond the %d axes", from, (long long)num_axes,
                x->axes);
    *out = dni_shape_of((int32_t)count, x->dim + from);
    return DN_OK;
}

dn_status dni_affine_view(const dni_layer *layer, int64_t axis, const dni_shape *blob,
                          dni_affine *out)
{
    const dni_shape *x = &layer->bottom[0];
    int32_t from = 0;
    dn_status st = blob->axes ? dni_layer_axis(layer, 0, axis, "axis", &from) : DN_OK;
    if (st)
        return st;
    DNI_REQUIRE(from + blob->axes <= x->axes, DN_E_SHAPE,
                "a blob of %d axes does not fit at axis %d of %d", blob->axes, from, x->axes);
    for (int32_t i = 0; i < blob->axes; i++)
        DNI_REQUIRE(blob->dim[i] == x->dim[from + i], DN_E_SHAPE,
                    "axis %d of the bottom is %lld where the blob has %lld", from + i,
                    (long long)x->dim[from + i], (long long)blob->dim[i]);
    *out = (dni_affine){.outer = dni_shape_range(x, 0, from),
                        .dim = dni_shape_count(blob),
                        .inner = dni_shape_range(x, from + blob->axes, x->axes)};
    return DN_OK;
}
