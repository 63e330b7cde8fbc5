/* SPDX-License-Identifier: BSD-2-Clause
 * RegionLoss: the training loss of YOLO v2, L = 1/N sum g^2 over what is asked of each box: v
 * are x, y and objectness through a sigmoid, class scores through a softmax, w and h as they
 * are. For each true box, g at the anchor that has the most of its shape, in the box's cell:
 * coord_scale (v - target) for place and size, object_scale (v - target) for objectness,
 * class_scale (v - target) for the classes. Elsewhere noobject_scale v for the objectness of
 * boxes that overlap no true one by more than thresh; x, y and objectness times their
 * sigmoid's slope. For the first 12800 images every box is also asked, by 0.01, to be its
 * anchor.
 * region_loss_param: num_class (20), num (5: anchors), biases (width, height of each anchor,
 * in cells; required), thresh (0.2), object_scale (1), noobject_scale (0.5), class_scale (1),
 * coord_scale (5), rescore (1: objectness should be the overlap; 0: 1, and small boxes weigh
 * more, by 2 - w h), bias_match (1: truths are matched with the anchors; 0: with what they
 * predict), coords (4). side is the map's own; softmax, absolute, jitter and random change
 * nothing.
 * bottoms: map (N, num (5 + num_class), H, W); true boxes (N, ..., 5): label, x, y, w, h of
 * the centre with the image as 1, up to the first 0. top: one number.
 * Gradient: g / N, which is darknet's and not the derivative of L. */
#include "layers/yolo_loss.h"

#define WARM 12800

static dn_status check(const Cnn__RegionLossParameter *p)
{
    DNI_REQUIRE(p && p->num > 0 && p->n_biases == 2 * (size_t)p->num, DN_E_NET,
                "region_loss_param needs num anchors and two biases for each");
    DNI_REQUIRE(p->num <= DN_MAX_ANCHORS, DN_E_UNSUPPORTED, "more than %d anchors",
                DN_MAX_ANCHORS);
    DNI_REQUIRE(p->num_class > 0 && p->num_class < 1u << 20, DN_E_NET, "num_class is %u",
                p->num_class);
    DNI_REQUIRE(p->coords == 4, DN_E_UNSUPPORTED, "coords is %u, only 4 are supported",
                p->coords);
    DNI_REQUIRE((!p->softmax_tree || !*p->softmax_tree) && (!p->class_map || !*p->class_map),
                DN_E_UNSUPPORTED, "softmax_tree and class_map are not supported");
    for (size_t i = 0; i < p->n_biases; i++)
        DNI_REQUIRE(p->biases[i] > 0, DN_E_NET, "biases must be positive");
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__RegionLossParameter *p = layer->param->region_loss_param;
    dn_args_yolo_loss *a = &((dni_yolo_loss *)layer->state)->args;
    dn_status st = check(p);
    if (st)
        return st;
    *a = (dn_args_yolo_loss){.classes = (int32_t)p->num_class,
                             .anchors = (int32_t)p->num,
                             .all = (int32_t)p->num,
                             .flags = DN_YOLO_SOFTMAX | DN_YOLO_SLOPE |
                                      (p->bias_match ? DN_YOLO_BY_SHAPE : 0) |
                                      (p->rescore ? DN_YOLO_RESCORE : DN_YOLO_BY_SIZE),
                             .thresh = p->thresh,
                             .noobject = p->noobject_scale,
                             .object = p->object_scale,
                             .class_scale = p->class_scale,
                             .coord = p->coord_scale,
                             .warm = WARM};
    for (int32_t k = 0; k < a->all; k++) {
        a->width[k] = p->biases[2 * k];
        a->height[k] = p->biases[2 * k + 1];
        a->mask[k] = k;
    }
    return DN_OK;
}

const dni_layer_class dni_layer_region_loss = {
    .type = "RegionLoss",
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
