/* SPDX-License-Identifier: BSD-2-Clause
 * proposal.h: Proposal, for the class of that name and for the Python layer it was first. */
#ifndef DNI_PROPOSAL_H
#define DNI_PROPOSAL_H

#include "layers/boxes.h"

#define DNI_PROPOSAL_LIST 16

typedef struct dni_proposal {
    dni_layer *layer;
    double stride, base, min_size, nms;
    double ratio[DNI_PROPOSAL_LIST], scale[DNI_PROPOSAL_LIST];
    int32_t num_ratios, num_scales;
    int64_t before, after; /* boxes kept before and after suppression */
    int64_t A, H, W;
    dni_box anchor[DNI_PROPOSAL_LIST * DNI_PROPOSAL_LIST];
    dni_detected found;
} dni_proposal;

/* What all but stride and lists are without parameters; then the caller changes what it reads.
 */
void dni_proposal_defaults(dni_layer *layer, dni_proposal *s);
void dni_proposal_anchors(dni_proposal *s); /* of a cell, from base, ratios and scales */
dn_status dni_proposal_shape(dni_layer *layer, dni_proposal *s);
void dni_proposal_forward(dni_proposal *s, dni_builder *b);

#endif
