/* SPDX-License-Identifier: BSD-2-Clause
 * sampler.h: an image at places of any kind, each between four of its pixels linearly. */
#ifndef DNI_SAMPLER_H
#define DNI_SAMPLER_H

#include "layers/layer.h"

typedef struct dni_sampler {
    int64_t N, C, H, W, P, Q;
    bool inside; /* zeros outside, and the last pixel reaches to the edge; else between zeros */
    /* while lowering: rows and columns plus 1, (N, P Q), which the layer makes; by axis; by
     * corner */
    dni_tensor at[2], part[2][2], index[4], near[4], weight[4], mask;
} dni_sampler;

/* top: (N, C, P, Q) of image: (N, C, H, W). */
void dni_sampler_forward(dni_sampler *s, dni_builder *b, dni_tensor image, dni_tensor top);
/* To the image (DNI_NONE: not), and to the places, in temporaries (NULL: not). */
void dni_sampler_backward(const dni_sampler *s, dni_builder *b, dni_tensor dy, dni_tensor image,
                          dni_tensor dat[2]);

#endif
