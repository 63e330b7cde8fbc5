/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.h: what the YOLO detection outputs share. A map (N, A (5 + classes), H, W) has for each
 * cell and anchor x, y, w, h, objectness and class scores. */
#ifndef DNI_YOLO_H
#define DNI_YOLO_H

#include "layers/boxes.h"

#define DNI_YOLO_MAPS    8
#define DNI_YOLO_ANCHORS 64

typedef struct dni_yolo_map {
    int64_t H, W;
    int32_t anchors;
    double width[DNI_YOLO_ANCHORS], height[DNI_YOLO_ANCHORS]; /* of the anchors, image is 1 */
} dni_yolo_map;

typedef struct dni_yolo_found {
    int64_t image;
    int32_t label;
    double score;
} dni_yolo_found;

typedef struct dni_yolo {
    dni_layer *layer;
    int32_t classes, num_maps;
    bool softmax; /* over class scores; else each its sigmoid */
    double threshold, nms;
    dni_yolo_map map[DNI_YOLO_MAPS];
    int64_t N, limit; /* boxes of one image at most */
    dni_shape y;      /* as lowered */
    dni_box *boxes;   /* (limit) candidates of one image, and what they are */
    int32_t *labels;
    dni_scored *list;
    dni_box *rows; /* (N limit) found */
    dni_yolo_found *found;
    int64_t num_rows;
} dni_yolo;

/* After the maps' anchors are known and bottoms have shapes: sizes, the top's shape, room. */
dn_status dni_yolo_shape(dni_layer *layer);
/* Bottom i as a map of `anchors`; the caller fills in their widths and heights. */
dn_status dni_yolo_read_map(dni_layer *layer, int32_t i, int32_t anchors);
void dni_yolo_forward(dni_layer *layer, dni_builder *b);
void dni_yolo_teardown(dni_layer *layer);

#endif
