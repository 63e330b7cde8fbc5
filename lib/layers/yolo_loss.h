/* SPDX-License-Identifier: BSD-2-Clause
 * yolo_loss.h: what the training losses of YOLO v2 and v3 share. A true box pulls the anchor of
 * its cell that has the most of its shape; what the other boxes believe is pushed down. */
#ifndef DNI_YOLO_LOSS_H
#define DNI_YOLO_LOSS_H

#include "layers/yolo.h"

typedef struct dni_yolo_truth { /* centre and size, the image is 1 */
    int32_t label;
    double x, y, w, h;
} dni_yolo_truth;

typedef struct dni_yolo_loss {
    dni_layer *layer;
    int32_t classes;
    int32_t anchors, mask[DNI_YOLO_ANCHORS];                  /* of this map: which of all */
    int32_t all;                                              /* that truths are matched with */
    double width[DNI_YOLO_ANCHORS], height[DNI_YOLO_ANCHORS]; /* of all, in cells */
    double thresh, object, noobject, class_scale, coord;
    double smooth;      /* of the class targets, towards 1/2 */
    bool softmax;       /* over class scores; else the sigmoid of each */
    bool by_shape;      /* truths are matched with the anchors; else with what they predict */
    bool by_size;       /* small boxes weigh more: coord (2 - w h) */
    bool rescore;       /* a box should believe in its overlap; else in 1 */
    bool add;           /* what several truths ask of one box adds up; else the last counts */
    bool focal;         /* classes by the focal loss */
    bool slope;         /* the loss is of x, y and objectness: times their sigmoid's slope */
    bool logic;         /* the gradient alone, and the classes', times that slope */
    int64_t warm, seen; /* images for which the anchors pull all boxes; images so far */
    int64_t N, H, W, T;
    double *v, *g; /* one image: activated, and what the loss asks for */
    dni_yolo_truth *truths;
    int64_t num_truths;
    dni_tensor gradient; /* while lowering: for a dy of 1 */
} dni_yolo_loss;

/* After the anchors are known: shapes and room. */
dn_status dni_yolo_loss_shape(dni_layer *layer);
void dni_yolo_loss_forward(dni_layer *layer, dni_builder *b);
void dni_yolo_loss_backward(dni_layer *layer, dni_builder *b);
void dni_yolo_loss_teardown(dni_layer *layer);

#endif
