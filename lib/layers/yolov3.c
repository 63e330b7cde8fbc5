/* SPDX-License-Identifier: BSD-2-Clause
 * Yolov3: the training loss of YOLO v3. It wires; its loss is not in this build, and it says
 * so.
 * yolov3_param: num_class (20), num (5: anchors of this map), biases (width, height of each
 * anchor, in pixels), mask (which of them this map has), anchors_scale (32), thresh (0.2),
 * object_scale (1), noobject_scale (0.5), class_scale (1), coord_scale (5), iou_loss (MSE).
 * bottoms: map (N, num (5 + num_class), H, W), true boxes; top: one number. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__Yolov3Parameter *p = layer->param->yolov3_param;
    DNI_REQUIRE(p && p->n_biases > 0 && p->num > 0, DN_E_NET, "yolov3_param needs biases");
    for (size_t i = 0; i < p->n_mask; i++)
        DNI_REQUIRE((size_t)p->mask[i] * 2 + 1 < p->n_biases, DN_E_NET,
                    "mask %u names no anchor of the %zu biases", p->mask[i], p->n_biases);
    DNI_REQUIRE(layer->wire_only, DN_E_UNSUPPORTED,
                "the loss of Yolov3 is not in this build; nets that detect have "
                "Yolov3DetectionOutput, which is");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__Yolov3Parameter *p = layer->param->yolov3_param;
    const dni_shape *x = &layer->bottom[0];
    int64_t need = (int64_t)p->num * (5 + (int64_t)p->num_class);
    DNI_REQUIRE(x->axes == 4 && x->dim[1] == need, DN_E_SHAPE,
                "bottom 0 must be a map of %lld channels, %u anchors of 5 + %u values",
                (long long)need, p->num, p->num_class);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

const dni_layer_class dni_layer_yolov3 = {
    .type = "Yolov3",
    .bottoms_min = 2, .bottoms_max = 2,
    .tops_min = 1, .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 3,
    .setup = setup,
    .shape = shape,
};
