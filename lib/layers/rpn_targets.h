/* SPDX-License-Identifier: BSD-2-Clause
 * rpn_targets.h: what the nets of Faster R-CNN learn from: the Python layers AnchorTargetLayer
 * and ProposalTargetLayer. Both draw from what there is, counted by the net's seed and step. */
#ifndef DNI_RPN_TARGETS_H
#define DNI_RPN_TARGETS_H

#include "layers/proposal.h"

typedef struct dni_rpn_targets {
    dni_layer *layer;
    double border;       /* pixels by which anchors may cross the image's edge */
    int64_t classes;     /* ProposalTargetLayer */
    dni_proposal anchor; /* AnchorTargetLayer: stride, scales; A, H, W */
    dni_detected drawn;  /* ProposalTargetLayer */
} dni_rpn_targets;

/* bottoms: scores (1, 2 A, H, W); true boxes (G, 5): x0, y0, x1, y1, label; image (1, 3):
 * height, width, scale. tops: labels (1, 1, A H, W); targets, inside and outside weights (1,
 * 4 A, H, W). */
dn_status dni_anchor_target_shape(dni_layer *layer, dni_rpn_targets *s);
void dni_anchor_target_forward(dni_rpn_targets *s, dni_builder *b);
/* bottoms: regions (R, 5), true boxes (G, 5). tops: regions drawn (K, 5), labels (K), targets,
 * inside and outside weights (K, 4 classes); K is known after the run. */
dn_status dni_proposal_target_shape(dni_layer *layer, dni_rpn_targets *s);
void dni_proposal_target_forward(dni_rpn_targets *s, dni_builder *b);

#endif
