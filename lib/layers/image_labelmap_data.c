/* SPDX-License-Identifier: BSD-2-Clause
 * ImageLabelmapData (HED): batches of images and of edge maps of their size; each line of the
 * list has the paths of both. Edges are 1 where the map's image has at least 128, else 0.
 * image_data_param as in ImageData, transform_param as in Data; crop and mirror alike for both.
 * tops: images (N, 3 or 1, H, W), edge maps (N, 1, H, W). No gradient. */
#include "layers/image_list.h"
#include "layers/values.h"

static void put_edges(const dni_layer *layer, const dni_batch *batch, void *to)
{
    int64_t count = batch->shape.dim[0] * batch->shape.dim[2] * batch->shape.dim[3];
    for (int64_t i = 0; i < count; i++)
        dni_put(to, layer->dtype, i, batch->maps[i] >= 128);
}

static dn_status setup(dni_layer *layer)
{
    dni_image_list *s = layer->state;
    s->maps = s->list.mapped = true;
    s->blend = CNN__RESIZE_PARAMETER__INTERP_MODE__LINEAR;
    dn_status st = dni_image_list_setup(layer, layer->param->image_data_param);
    s->database.labels = put_edges;
    if (!st)
        dni_log(layer->context, DN_LOG_NOTICE,
                "layer '%s': HED's SigmoidCrossEntropyLoss weighs edges against the rest, "
                "here as in Caffe it does not",
                layer->name);
    return st;
}

const dni_layer_class dni_layer_image_labelmap_data = {
    .type = "ImageLabelmapData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 2,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_image_list),
    .setup = setup,
    .shape = dni_image_list_shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
