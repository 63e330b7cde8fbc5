/* SPDX-License-Identifier: BSD-2-Clause
 * RegionLoss: the training loss of YOLO v2. It wires; its loss is not in this build, and it
 * says so. region_loss_param: num_class (20), num (5: anchors), coords (4), biases (width,
 * height of each anchor, in cells), softmax (1), thresh (0.2), object_scale (1), noobject_scale
 * (0.5), class_scale (1), coord_scale (5), absolute, rescore, bias_match, jitter, softmax_tree.
 * bottoms: map (N, num (coords + 1 + num_class), H, W), true boxes; top: one number. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__RegionLossParameter *p = layer->param->region_loss_param;
    DNI_REQUIRE(p && p->num > 0, DN_E_NET, "RegionLoss needs region_loss_param");
    DNI_REQUIRE(layer->wire_only, DN_E_UNSUPPORTED,
                "the loss of RegionLoss is not in this build; nets that detect have "
                "YoloDetectionOutput, which is");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__RegionLossParameter *p = layer->param->region_loss_param;
    const dni_shape *x = &layer->bottom[0];
    int64_t need = (int64_t)p->num * (1 + (int64_t)p->coords + (int64_t)p->num_class);
    DNI_REQUIRE(x->axes == 4 && x->dim[1] == need, DN_E_SHAPE,
                "bottom 0 must be a map of %lld channels, %u anchors of %u + 1 + %u values",
                (long long)need, p->num, p->coords, p->num_class);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

const dni_layer_class dni_layer_region_loss = {
    .type = "RegionLoss",
    .bottoms_min = 2, .bottoms_max = 2,
    .tops_min = 1, .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 3,
    .setup = setup,
    .shape = shape,
};
