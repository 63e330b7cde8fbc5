/* SPDX-License-Identifier: BSD-2-Clause
 * prior_box.h: PriorBox, and PriorBoxClustered, whose boxes have sizes of their own. */
#ifndef DNI_PRIOR_BOX_H
#define DNI_PRIOR_BOX_H

#include "layers/boxes.h"

#define DNI_PRIOR_RATIOS 64

typedef struct dni_prior_boxes {
    double ratio[DNI_PRIOR_RATIOS]; /* without 1 */
    int32_t num_ratios;
    int64_t H, W, image_h, image_w;
    double step_h, step_w;
    double variance[4];
    void *priors;  /* the top, of the net's type */
    int64_t count; /* of its coordinates, for which there is room */
} dni_prior_boxes;

dn_status dni_prior_setup(dni_layer *layer);
dn_status dni_prior_shape(dni_layer *layer);
void dni_prior_forward(dni_layer *layer, dni_builder *b);
void dni_prior_teardown(dni_layer *layer);

#define DNI_PRIOR_CLASS                                                                        \
    .own = DNI_OWN(prior_box_param), .bottoms_min = 2, .bottoms_max = 2, .tops_min = 1,        \
    .tops_max = 1, .no_gradient = 3, .state_size = sizeof(dni_prior_boxes),                    \
    .setup = dni_prior_setup, .shape = dni_prior_shape, .forward = dni_prior_forward,          \
    .teardown = dni_prior_teardown

#endif
