/* SPDX-License-Identifier: BSD-2-Clause
 * affine.h: what Scale and Bias share: a blob stretched over the bottom as (outer, dim,
 * inner). */
#ifndef DNI_AFFINE_H
#define DNI_AFFINE_H

#include "layers/layer.h"

typedef struct dni_affine {
    int64_t outer, dim, inner;
} dni_affine;

/* The shape of the learned blob: num_axes axes of bottom 0 from axis on. */
dn_status dni_affine_shape(const dni_layer *layer, int64_t axis, int64_t num_axes,
                           dni_shape *out);
/* Lays a blob of that shape over bottom 0, starting at axis. */
dn_status dni_affine_view(const dni_layer *layer, int64_t axis, const dni_shape *blob,
                          dni_affine *out);

#endif
