/* SPDX-License-Identifier: BSD-2-Clause
 * correlation.h: Correlation and Correlation1D, which differ in the axes that they displace. */
#ifndef DNI_CORRELATION_H
#define DNI_CORRELATION_H

#include "layers/layer.h"

typedef struct dni_correlation {
    /* Of rows and columns: padding in front, where places of a begin, from one to the next,
     * the first displacement of b, and how many there are. */
    int64_t pad[2], reach[2], step[2], first[2], count[2];
    dni_shape padded;   /* of a bottom */
    int64_t box[4];     /* of a row of displacements: what places have of it */
    int64_t field[4];   /* of a bottom */
    dni_tensor wide[2]; /* the bottoms, padded; while lowering */
} dni_correlation;

extern const dni_layer_class dni_layer_correlation;
dn_status dni_correlation_shape(dni_layer *layer);
void dni_correlation_forward(dni_layer *layer, dni_builder *b);
void dni_correlation_backward(dni_layer *layer, dni_builder *b);

#define DNI_CORRELATION_CLASS                                                                  \
    .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1, .tops_max = 1,                          \
    .state_size = sizeof(dni_correlation), .shape = dni_correlation_shape,                     \
    .forward = dni_correlation_forward, .backward = dni_correlation_backward

#endif
