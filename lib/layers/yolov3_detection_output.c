/* SPDX-License-Identifier: BSD-2-Clause
 * Yolov3DetectionOutput: the boxes of several maps worth showing: those with objectness x best
 * class above confidence_threshold, less those that overlap a better one.
 * yolov3_detection_output_param: num_classes (20), biases (width, height of each anchor, in
 * pixels; required), mask (which anchors: as many for each map), anchors_scale (pixels of a
 * cell, for each map), mask_group_num (2), confidence_threshold (0.01), nms_threshold (0.45).
 * bottoms: maps (N, A (5 + classes), H, W); top: (1, 1, K, 7) as YoloDetectionOutput's. No
 * gradient. */
#include "layers/yolo.h"

typedef Cnn__Yolov3DetectionOutputParameter parameters;

static dn_status setup(dni_layer *layer)
{
    const parameters *p = layer->param->yolov3_detection_output_param;
    dni_yolo *s = layer->state;
    DNI_REQUIRE(p && p->n_biases > 0 && p->n_mask > 0, DN_E_NET,
                "yolov3_detection_output_param needs biases and mask");
    DNI_REQUIRE(layer->num_bottoms <= DNI_YOLO_MAPS, DN_E_UNSUPPORTED, "more than %d maps",
                DNI_YOLO_MAPS);
    DNI_REQUIRE(p->n_mask % (size_t)layer->num_bottoms == 0, DN_E_NET,
                "%zu masks are not as many for each of %d maps", p->n_mask, layer->num_bottoms);
    DNI_REQUIRE(p->n_anchors_scale >= (size_t)layer->num_bottoms, DN_E_NET,
                "%zu anchors_scale for %d maps", p->n_anchors_scale, layer->num_bottoms);
    for (size_t i = 0; i < p->n_mask; i++)
        DNI_REQUIRE((size_t)p->mask[i] * 2 + 1 < p->n_biases, DN_E_NET,
                    "mask %u names no anchor of the %zu biases", p->mask[i], p->n_biases);
    for (int32_t i = 0; i < layer->num_bottoms; i++)
        DNI_REQUIRE(p->anchors_scale[i] > 0, DN_E_NET, "an anchors_scale is 0");
    DNI_REQUIRE(!p->gaussian_box, DN_E_UNSUPPORTED, "gaussian_box is not supported");
    DNI_REQUIRE(p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET, "num_classes is %u",
                p->num_classes);
    *s = (dni_yolo){.layer = layer,
                    .classes = (int32_t)p->num_classes,
                    .num_maps = layer->num_bottoms,
                    .threshold = p->confidence_threshold,
                    .nms = p->nms_threshold};
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const parameters *p = layer->param->yolov3_detection_output_param;
    dni_yolo *s = layer->state;
    size_t each = p->n_mask / (size_t)s->num_maps;
    dn_status st = DN_OK;
    DNI_REQUIRE(each <= DNI_YOLO_ANCHORS, DN_E_UNSUPPORTED, "%zu anchors a map", each);
    for (int32_t i = 0; !st && i < s->num_maps; i++) {
        dni_yolo_map *m = &s->map[i];
        st = dni_yolo_read_map(layer, i, (int32_t)each);
        for (size_t a = 0; !st && a < each; a++) {
            size_t anchor = p->mask[(size_t)i * each + a];
            m->size[a][0] =
                p->biases[2 * anchor] / ((double)p->anchors_scale[i] * (double)m->W);
            m->size[a][1] =
                p->biases[2 * anchor + 1] / ((double)p->anchors_scale[i] * (double)m->H);
        }
    }
    return st ? st : dni_yolo_shape(layer);
}

const dni_layer_class dni_layer_yolov3_detection_output = {
    .type = "Yolov3DetectionOutput",
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_yolo),
    .setup = setup,
    .shape = shape,
    .forward = dni_yolo_forward,
};
