/* SPDX-License-Identifier: BSD-2-Clause
 * AnnotatedData (SSD): batches of images with their true boxes from a database. It wires where
 * the size of an image can be told from the prototxt, with one true box standing for those of
 * a batch; reading AnnotatedDatum records is not in this build, and it says so.
 * data_param: source, batch_size (both required), backend; annotated_data_param:
 * batch_sampler, label_map_file, anno_type, yolo_data_type (0; 1: boxes for YOLO);
 * transform_param: resize_param { height width }, crop_size, scale, mirror, mean_value,
 * distort_param, expand_param, emit_constraint.
 * tops: images (N, 3, H, W), [boxes (1, 1, G, 8): image, label, instance, x0, y0, x1, y1,
 * difficult]. No gradient. */
#include "layers/layer.h"

#define GUESS      300
#define YOLO_BOXES 300 /* of each image, whatever it has */

static dn_status setup(dni_layer *layer)
{
    const Cnn__DataParameter *p = layer->param->data_param;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "data_param needs a batch_size of at least 1");
    DNI_REQUIRE(
        layer->wire_only, DN_E_UNSUPPORTED,
        "AnnotatedData would read the images and boxes of '%s', which this build cannot; "
        "hand them over through Input layers",
        p->source);
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    const Cnn__ResizeParameter *r = t && t->n_resize_param ? t->resize_param[0] : NULL;
    int64_t H = GUESS, W = GUESS;
    if (t && t->crop_size)
        H = W = t->crop_size;
    else if (r && r->height && r->width)
        H = r->height, W = r->width;
    layer->top[0] = dni_shape_of(4, (int64_t[]){layer->param->data_param->batch_size, 3, H, W});
    const Cnn__AnnotatedDataParameter *a = layer->param->annotated_data_param;
    int64_t boxes[4] = {1, 1, 1, 8}, yolo[4] = {layer->top[0].dim[0], 1, YOLO_BOXES, 5};
    for (int32_t i = 1; i < layer->num_tops; i++)
        layer->top[i] = dni_shape_of(4, a && a->yolo_data_type == 1 ? yolo : boxes);
    return DN_OK;
}

const dni_layer_class dni_layer_annotated_data = {
    .type = "AnnotatedData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 4,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
