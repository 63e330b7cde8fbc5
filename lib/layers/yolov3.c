/* SPDX-License-Identifier: BSD-2-Clause
 * Yolov3: the training loss of YOLO v3, L = 1/N sum g^2 over what is asked of each box: v are
 * x, y, objectness and class scores through a sigmoid, w and h as they are. For each true box,
 * g at the anchor of all that has the most of its shape, if it is of this map, in the box's
 * cell: coord_scale (2 - w h) (v - target) for place and size, v - 1 for objectness,
 * class_scale (v - target) for the classes. Elsewhere noobject_scale v for the objectness of
 * boxes that overlap no true one by more than thresh.
 * yolov3_param: num_class (20), num (5: anchors of this map), biases (width, height of each
 * anchor, in pixels; required), mask (which of them this map has; none: the first),
 * anchors_scale (32: pixels of a cell), thresh (0.2), noobject_scale (0.5), class_scale (1),
 * coord_scale (5), use_logic_gradient (false: true multiplies the gradient by the sigmoid's
 * slope, and objectness by object_scale (1)), use_focal_loss (false), label_smooth_eps (0.1),
 * accumulate (true), iou_loss (MSE alone). side is the map's own; iou_normalizer, max_delta
 * are for other iou_loss.
 * bottoms: map (N, num (5 + num_class), H, W); true boxes (N, ..., 5): label, x, y, w, h of
 * the centre with the image as 1, up to the first 0. top: one number.
 * Gradient: g / N, which is darknet's and not the derivative of L. */
#include "layers/yolo_loss.h"

static dn_status check(const Cnn__Yolov3Parameter *p)
{
    DNI_REQUIRE(p && p->n_biases > 0 && p->n_biases % 2 == 0 && p->num > 0, DN_E_NET,
                "yolov3_param needs biases, two for each anchor, and num");
    DNI_REQUIRE(p->n_biases / 2 <= DN_MAX_ANCHORS && p->num <= DN_MAX_ANCHORS, DN_E_UNSUPPORTED,
                "more than %d anchors", DN_MAX_ANCHORS);
    DNI_REQUIRE(p->num_class > 0 && p->num_class < 1u << 20, DN_E_NET, "num_class is %u",
                p->num_class);
    DNI_REQUIRE(p->n_mask == 0 || p->n_mask == p->num, DN_E_NET,
                "%zu masks for the %u anchors of a map", p->n_mask, p->num);
    DNI_REQUIRE(p->n_mask || p->num <= p->n_biases / 2, DN_E_NET,
                "%zu biases for the %u anchors of a map", p->n_biases, p->num);
    for (size_t i = 0; i < p->n_mask; i++)
        DNI_REQUIRE((size_t)p->mask[i] * 2 + 1 < p->n_biases, DN_E_NET,
                    "mask %u names no anchor of the %zu biases", p->mask[i], p->n_biases);
    for (size_t i = 0; i < p->n_biases; i++)
        DNI_REQUIRE(p->biases[i] > 0, DN_E_NET, "biases must be positive");
    DNI_REQUIRE(p->anchors_scale > 0, DN_E_NET, "anchors_scale is 0");
    DNI_REQUIRE(p->iou_loss == CNN__YOLOV3_PARAMETER__IOU__LOSS__MSE, DN_E_UNSUPPORTED,
                "iou_loss other than MSE is not supported");
    DNI_REQUIRE(!p->has_iou_thresh, DN_E_UNSUPPORTED, "iou_thresh is not supported");
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__Yolov3Parameter *p = layer->param->yolov3_param;
    dn_args_yolo_loss *a = &((dni_yolo_loss *)layer->state)->args;
    dn_status st = check(p);
    if (st)
        return st;
    *a = (dn_args_yolo_loss){.classes = (int32_t)p->num_class,
                             .anchors = (int32_t)p->num,
                             .all = (int32_t)(p->n_biases / 2),
                             .flags = DN_YOLO_BY_SHAPE | DN_YOLO_BY_SIZE |
                                      (p->accumulate ? DN_YOLO_ADD : 0) |
                                      (p->use_focal_loss ? DN_YOLO_FOCAL : 0) |
                                      (p->use_logic_gradient ? DN_YOLO_LOGIC : 0),
                             .thresh = p->thresh,
                             .noobject = p->noobject_scale,
                             .object = p->use_logic_gradient ? p->object_scale : 1,
                             .class_scale = p->class_scale,
                             .coord = p->coord_scale,
                             .smooth = p->label_smooth_eps};
    for (int32_t k = 0; k < a->all; k++) {
        a->width[k] = p->biases[2 * k] / (double)p->anchors_scale;
        a->height[k] = p->biases[2 * k + 1] / (double)p->anchors_scale;
    }
    for (int32_t k = 0; k < a->anchors; k++)
        a->mask[k] = p->n_mask ? (int32_t)p->mask[k] : k;
    return DN_OK;
}

const dni_layer_class dni_layer_yolov3 = {
    .type = "Yolov3",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_yolo_loss),
    .setup = setup,
    .shape = dni_yolo_loss_shape,
    .forward = dni_yolo_loss_forward,
    .backward = dni_yolo_loss_backward,
};
