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
    double (*size)[2]; /* width and height of the anchors, image is 1 */
} dni_yolo_map;

typedef struct dni_yolo {
    dni_layer *layer;
    int32_t classes, num_maps;
    bool softmax; /* over class scores; else each its sigmoid */
    double threshold, nms;
    dni_yolo_map map[DNI_YOLO_MAPS];
    double size[DNI_YOLO_MAPS * DNI_YOLO_ANCHORS][2]; /* of all maps' anchors */
    dni_detected found;
} dni_yolo;

/* After the maps' anchors are known and bottoms have shapes: sizes, the top's shape, room. */
dn_status dni_yolo_shape(dni_layer *layer);
/* Bottom i, after those before it, as a map of `anchors`; the caller fills in their sizes. */
dn_status dni_yolo_read_map(dni_layer *layer, int32_t i, int32_t anchors);
void dni_yolo_forward(dni_layer *layer, dni_builder *b);

#endif
