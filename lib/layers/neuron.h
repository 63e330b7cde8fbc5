/* SPDX-License-Identifier: BSD-2-Clause
 * neuron.h: layers that apply one function to each element. In place, a function whose gradient
 * needs x keeps a copy of it, so the gradient is right where Caffe's would use y for x. */
#ifndef DNI_NEURON_H
#define DNI_NEURON_H

#include "layers/layer.h"

/* The function with its numbers, filled by the layer's setup; the state of such a layer. */
typedef struct dni_neuron {
    int32_t fn; /* DN_FN_* */
    double a, b, c;
    dni_tensor x; /* what backward reads, while lowering */
} dni_neuron;

void dni_neuron_forward(dni_layer *layer, dni_builder *b);
void dni_neuron_backward(dni_layer *layer, dni_builder *b);

/* x itself, or a copy when the layer works in place and needed says that backward reads it. */
dni_tensor dni_keep_input(dni_builder *b, bool needed);

/* The members every such class has; more: flags. */
#define DNI_NEURON_CLASS(more)                                                                 \
    .bottoms_min = 1, .bottoms_max = 1, .tops_min = 1, .tops_max = 1,                          \
    .flags = DNI_LAYER_INPLACE | (more), .state_size = sizeof(dni_neuron),                     \
    .shape = dni_shape_like_bottom, .forward = dni_neuron_forward,                             \
    .backward = dni_neuron_backward

#endif
