/* SPDX-License-Identifier: BSD-2-Clause
 * PriorBoxClustered (OpenVINO's training toolbox): PriorBox, but with boxes of given widths and
 * heights around the centre of each cell. prior_box_param: width, height (required, pixels, as
 * many of one as of the other), and clip, variance, img_size, img_h, img_w, step, step_h,
 * step_w, offset as there. Bottoms and top: as there. No gradient. */
#include "layers/prior_box.h"

const dni_layer_class dni_layer_prior_box_clustered = {
    .type = "PriorBoxClustered",
    DNI_PRIOR_CLASS,
};
