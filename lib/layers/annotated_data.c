/* SPDX-License-Identifier: BSD-2-Clause
 * AnnotatedData (SSD): batches of images with their true boxes, from an LMDB or LevelDB of
 * AnnotatedDatum records. To each image and its boxes, in this order: distort_param, colours;
 * expand_param, a canvas of mean_value around it; batch_sampler, a piece of it; resize_param,
 * of several one a batch; then crop and mirror as in Data. emit_constraint: a box goes with a
 * piece if its centre (CENTER, the default) or a share of it (MIN_OVERLAP, emit_overlap) lies
 * in it. data_param as in Data; annotated_data_param: batch_sampler, anno_type (the records';
 * BBOX alone), yolo_data_type (0), and with yolo_data_type 1 a piece by yolo_data_jitter (0.3)
 * in place of batch_sampler. label_map_file names classes and means nothing here. No bottoms;
 * tops: images (N, C, H, W), boxes (1, 1, G, 8), G those of the batch: item, label, instance,
 * x0, y0, x1, y1, difficult; -1 all in one row if there are none. With yolo_data_type 1 (N, 1,
 * 300, 5): label - 1, centre x, centre y, width, height, difficult ones left out; zeros follow.
 * Labels (N, 1, 1, 1) where records have no annotation. No gradient. */
#include "layers/boxes.h"
#include "layers/database.h"

#define YOLO_BOXES 300 /* of each image, whatever it has */

static bool is_yolo(const dni_layer *layer)
{
    const Cnn__AnnotatedDataParameter *p = layer->own;
    return p->yolo_data_type == 1;
}

static dni_shape shape_of_boxes(const dni_layer *layer, int64_t N, int64_t boxes, bool labels)
{
    return labels           ? dni_shape_of(4, (int64_t[]){N, 1, 1, 1})
           : is_yolo(layer) ? dni_shape_of(4, (int64_t[]){N, 1, YOLO_BOXES, 5})
                            : dni_shape_of(4, (int64_t[]){1, 1, boxes < 1 ? 1 : boxes, 8});
}

static dni_shape label_shape(const dni_layer *layer, const dni_batch *batch)
{
    return shape_of_boxes(layer, batch->shape.dim[0], (int64_t)batch->boxes.count,
                          !batch->has_boxes);
}

static void put_yolo(const dni_layer *layer, const dni_batch *batch, void *to)
{
    int64_t size = YOLO_BOXES * 5, at = 0, end = batch->shape.dim[0] * size;
    for (int64_t i = 0; i < end; i++)
        dni_put(to, layer->dtype, i, 0);
    for (size_t k = 0; k < batch->boxes.count; k++) {
        const dni_annotation *a = &batch->boxes.at[k];
        const float *b = a->box;
        if (k == 0 || a->item != a[-1].item)
            at = a->item * size;
        if (a->difficult || at == (a->item + 1) * size)
            continue;
        const float row[5] = {(float)(a->label - 1), (b[0] + b[2]) / 2, (b[1] + b[3]) / 2,
                              b[2] - b[0], b[3] - b[1]};
        for (int i = 0; i < 5; i++)
            dni_put(to, layer->dtype, at++, row[i]);
    }
}

static void put_boxes(const dni_layer *layer, const dni_batch *batch, void *to)
{
    int64_t at = 0;
    for (size_t k = 0; k < batch->boxes.count; k++) {
        const dni_annotation *a = &batch->boxes.at[k];
        const double row[8] = {a->item,   a->label,  a->instance, a->box[0],
                               a->box[1], a->box[2], a->box[3],   a->difficult};
        for (int i = 0; i < 8; i++)
            dni_put(to, layer->dtype, at++, row[i]);
    }
    for (; at < 8 && batch->boxes.count == 0; at++)
        dni_put(to, layer->dtype, at, -1);
}

static void labels(const dni_layer *layer, const dni_batch *batch, void *to)
{
    if (batch->has_boxes && is_yolo(layer))
        put_yolo(layer, batch, to);
    else if (batch->has_boxes)
        put_boxes(layer, batch, to);
    for (int64_t i = 0; !batch->has_boxes && i < batch->shape.dim[0]; i++)
        dni_put(to, layer->dtype, i, batch->labels[i]);
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__AnnotatedDataParameter *p = layer->own;
    dni_database *d = layer->state;
    d->label_shape = label_shape;
    d->labels = labels;
    if (!layer->wire_only) {
        DNI_REQUIRE(p->yolo_data_type == 0 || p->yolo_data_type == 1, DN_E_UNSUPPORTED,
                    "yolo_data_type %d is not supported, 0 and 1 are", p->yolo_data_type);
        DNI_REQUIRE(p->train_diffcult && !p->difficult_label_warmup, DN_E_UNSUPPORTED,
                    "train_diffcult: false and difficult_label_warmup are not supported");
        DNI_REQUIRE(!p->has_anno_type || p->anno_type == 0, DN_E_UNSUPPORTED,
                    "an anno_type other than BBOX is not supported");
        DNI_REQUIRE(layer->num_tops <= 2, DN_E_UNSUPPORTED,
                    "tops beyond the images and boxes (class maps) are not supported");
    }
    dn_status st = dni_database_setup(layer, true);
    layer->fixed &= layer->wire_only || layer->num_tops == 1 || is_yolo(layer);
    return st;
}

static dn_status shape(dni_layer *layer)
{
    const dni_database *d = layer->state;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    layer->top[0] = d->loader ? *dni_loader_shape(d->loader) : dni_database_guess(layer);
    int64_t crop[2];
    dni_transform_crop(t, crop);
    if (!d->loader && !crop[0] && !(t && t->n_resize_param))
        layer->top[0].dim[2] = layer->top[0].dim[3] = 300;
    bool labelled = d->loader && !dni_loader_has_boxes(d->loader);
    for (int32_t i = 2; i < layer->num_tops; i++)
        layer->top[i] = dni_database_maps(layer, &layer->top[0], 3);
    if (layer->num_tops > 1)
        layer->top[1] = shape_of_boxes(layer, layer->top[0].dim[0], 1, labelled);
    return DN_OK;
}

const dni_layer_class dni_layer_annotated_data = {
    .type = "AnnotatedData",
    .own = DNI_OWN(annotated_data_param),
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 4,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_database),
    .setup = setup,
    .shape = shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
