/* SPDX-License-Identifier: BSD-2-Clause
 * ImageData: batches of images named in a list of files. It wires, with a guess where the size
 * of an image is in the files alone; reading them is not in this build, and it says so.
 * image_data_param: source (required), batch_size (1), new_height and new_width (0: the
 * file's), is_color (true), root_folder, shuffle, rand_skip; transform_param: crop_size,
 * mirror, scale, mean_file, mean_value. tops: images (N, 3 or 1, H, W), [labels (N)]. No
 * gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    return dni_guess_list(layer);
}

static dn_status shape(dni_layer *layer)
{
    layer->top[0] = dni_guess_listed(layer);
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, layer->top[0].dim);
    return DN_OK;
}

const dni_layer_class dni_layer_image_data = {
    .type = "ImageData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
