/* SPDX-License-Identifier: BSD-2-Clause
 * convolution.h: Convolution for the classes that are one by another name. */
#ifndef DNI_CONVOLUTION_H
#define DNI_CONVOLUTION_H

#include "layers/window.h"

typedef struct dni_convolution {
    dni_window window;
    int64_t C, K, Q; /* channels in and out, elements of an output plane */
} dni_convolution;

dn_status dni_convolution_setup(dni_layer *layer);
dn_status dni_convolution_shape(dni_layer *layer);
/* The same from bottom 0 alone. */
dn_status dni_convolution_shape_top(dni_layer *layer);
void dni_convolution_forward(dni_layer *layer, dni_builder *b);
void dni_convolution_backward(dni_layer *layer, dni_builder *b);
/* The weights' part of it: of a convolution by these arguments. */
void dni_convolution_backward_weights(const dni_convolution *s, const dn_args_conv *args,
                                      dni_builder *b, dni_tensor x, dni_tensor dy);

/* The members every such class has. */
#define DNI_CONVOLUTION_CLASS                                                                  \
    .own = DNI_OWN(convolution_param), .bottoms_min = 1, .bottoms_max = -1, .tops_min = 1,     \
    .tops_max = -1, .state_size = sizeof(dni_convolution), .setup = dni_convolution_setup,     \
    .shape = dni_convolution_shape, .forward = dni_convolution_forward,                        \
    .backward = dni_convolution_backward

#endif
