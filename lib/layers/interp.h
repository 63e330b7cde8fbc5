/* SPDX-License-Identifier: BSD-2-Clause
 * interp.h: layers that resize images by weights of rows and of columns: y = R x C^T for each
 * plane. bottoms: (N, C, H, W), [a blob whose size is taken]; top: (N, C, P, Q). */
#ifndef DNI_INTERP_H
#define DNI_INTERP_H

#include "layers/layer.h"

typedef struct dni_interp {
    int64_t planes, H, W, P, Q; /* from H x W to P x Q */
    void *R, *C;                /* (P, H), (Q, W), of the net's type */
} dni_interp;

/* TENT: a triangle of which what lies outside of x is lost; CUT: one that is 0 where its middle
 * is more than half an element beyond the last. */
enum { DNI_TRIANGLE, DNI_CUBIC, DNI_NEAREST, DNI_TENT, DNI_CUT };

/* Row i of the weights has its middle at i step + shift; each but TENT's is
 * divided by their sum. */
typedef struct dni_interp_rule {
    int32_t kernel;
    float step, shift, width; /* width: of the kernel, in elements of x; not NEAREST's */
} dni_interp_rule;

/* size: as given, or of bottom 1 if there is one. */
dn_status dni_interp_size(const dni_layer *layer, int64_t size[2]);
/* The top, and the weights of rows and columns. */
dn_status dni_interp_weigh(dni_layer *layer, const int64_t size[2],
                           const dni_interp_rule rule[2]);
void dni_interp_product(dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor y);
void dni_interp_forward(dni_layer *layer, dni_builder *b);
void dni_interp_backward(dni_layer *layer, dni_builder *b);
void dni_interp_teardown(dni_layer *layer);

#define DNI_INTERP_CLASS                                                                       \
    .bottoms_min = 1, .bottoms_max = 2, .tops_min = 1, .tops_max = 1, .no_gradient = 1u << 1,  \
    .state_size = sizeof(dni_interp), .teardown = dni_interp_teardown

#endif
