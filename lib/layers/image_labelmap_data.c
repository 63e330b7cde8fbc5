/* SPDX-License-Identifier: BSD-2-Clause
 * ImageLabelmapData (HED): batches of images and edge maps of their size, named in a list of
 * files. It wires, with a guess where the size is in the files alone; reading them is not in
 * this build, and it says so. image_data_param and transform_param as in ImageData.
 * tops: images (N, 3 or 1, H, W), edge maps (N, 1, H, W). No gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    return dni_guess_list(layer);
}

static dn_status shape(dni_layer *layer)
{
    layer->top[0] = layer->top[1] = dni_guess_listed(layer);
    layer->top[1].dim[1] = 1;
    return DN_OK;
}

const dni_layer_class dni_layer_image_labelmap_data = {
    .type = "ImageLabelmapData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 2,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
