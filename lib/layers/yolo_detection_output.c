/* SPDX-License-Identifier: BSD-2-Clause
 * YoloDetectionOutput (YOLO v2): the boxes of a map worth showing: those with objectness x
 * best class above confidence_threshold, less those that overlap a better one.
 * yolo_detection_output_param: num_classes (20), num_box (5), biases (width, height of each
 * anchor, in cells; required), confidence_threshold (0.01), nms_threshold (0.45), coords (4).
 * bottoms: maps (N, num_box (5 + classes), H, W), all with these anchors; top: (1, 1, K, 7):
 * image, label (from 1), score, x0, y0, x1, y1 with the image as 1; K is known after the run;
 * with nothing found, a row for each image of its number and -1. No gradient. */
#include "layers/yolo.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__YoloDetectionOutputParameter *p = layer->param->yolo_detection_output_param;
    dni_yolo *s = layer->state;
    DNI_REQUIRE(p && p->n_biases == 2 * (size_t)p->num_box, DN_E_NET,
                "yolo_detection_output_param needs two biases for each box");
    DNI_REQUIRE(p->coords == 4, DN_E_UNSUPPORTED, "coords is %u, only 4 are supported",
                p->coords);
    DNI_REQUIRE(p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET, "num_classes is %u",
                p->num_classes);
    *s = (dni_yolo){.layer = layer,
                    .classes = (int32_t)p->num_classes,
                    .num_maps = layer->num_bottoms,
                    .softmax = true,
                    .threshold = p->confidence_threshold,
                    .nms = p->nms_threshold};
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__YoloDetectionOutputParameter *p = layer->param->yolo_detection_output_param;
    dni_yolo *s = layer->state;
    DNI_REQUIRE(p->num_box <= DNI_YOLO_ANCHORS, DN_E_UNSUPPORTED, "%u boxes a cell",
                p->num_box);
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < s->num_maps; i++) {
        st = dni_yolo_read_map(layer, i, (int32_t)p->num_box);
        for (uint32_t a = 0; !st && a < p->num_box; a++) {
            s->map[i].size[a][0] = p->biases[2 * a] / (double)s->map[i].W;
            s->map[i].size[a][1] = p->biases[2 * a + 1] / (double)s->map[i].H;
        }
    }
    return st ? st : dni_yolo_shape(layer);
}

const dni_layer_class dni_layer_yolo_detection_output = {
    .type = "YoloDetectionOutput",
    .bottoms_min = 1,
    .bottoms_max = DNI_YOLO_MAPS,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_yolo),
    .setup = setup,
    .shape = shape,
    .forward = dni_yolo_forward,
};
