/* SPDX-License-Identifier: BSD-2-Clause
 * ImageData: batches of images, JPEG or PNG, named in a list of files, a path and a label in
 * each line, read ahead. image_data_param: source (the list; required), batch_size (1),
 * new_height and new_width (0: the file's; as OpenCV's bilinear resize), is_color (true),
 * root_folder (goes before each path), shuffle (false; another order in each pass), rand_skip;
 * transform_param as in Data. No bottoms; tops: images (N, 3 or 1, H, W), [labels (N)]. No
 * gradient.
 * In a batch of 1 each image may have its own size. Pixels are blue, green, red, and turned as
 * a camera's Exif says, as Caffe has them with OpenCV 3.1 and later (2.4 did not turn them). */
#include "layers/image_list.h"

static dn_status setup(dni_layer *layer)
{
    dni_image_list *s = layer->state;
    s->list.labelled = layer->num_tops > 1;
    return dni_image_list_setup(layer, layer->param->image_data_param);
}

const dni_layer_class dni_layer_image_data = {
    .type = "ImageData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_image_list),
    .setup = setup,
    .shape = dni_image_list_shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
