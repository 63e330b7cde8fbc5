/* SPDX-License-Identifier: BSD-2-Clause
 * scale.h: Scale under each of its names. */
#ifndef DNI_SCALE_H
#define DNI_SCALE_H

#include "layers/affine.h"

typedef struct dni_scale {
    dni_affine view;
    int64_t axis;   /* where s begins */
    bool bias_term; /* b is the last weight */
    dni_tensor x;   /* for ds: a copy where the layer works in place; while lowering */
} dni_scale;

dn_status dni_scale_shape(dni_layer *layer);
void dni_scale_forward(dni_layer *layer, dni_builder *b);
void dni_scale_backward(dni_layer *layer, dni_builder *b);

/* The members every such class has; its setup says axis and bias_term, and declares weights. */
#define DNI_SCALE_CLASS                                                                        \
    .bottoms_min = 1, .tops_min = 1, .tops_max = 1, .state_size = sizeof(dni_scale),           \
    .shape = dni_scale_shape, .forward = dni_scale_forward, .backward = dni_scale_backward

#endif
