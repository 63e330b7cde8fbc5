/* SPDX-License-Identifier: BSD-2-Clause
 * ImageSegData (DeepLab): batches of images and class maps of their size, named in a list of
 * files. It wires, with a guess where the size is in the files alone; reading them is not in
 * this build, and it says so. image_data_param and transform_param as in ImageData; label_type.
 * tops: images (N, 3 or 1, H, W), class maps (N, 1, H, W), [sizes of the images (N, 1, 1, 2)].
 * No gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    return dni_guess_list(layer);
}

static dn_status shape(dni_layer *layer)
{
    dni_shape x = dni_guess_listed(layer);
    dni_shape tops[] = {x, dni_shape_of(4, (int64_t[]){x.dim[0], 1, x.dim[2], x.dim[3]}),
                        dni_shape_of(4, (int64_t[]){x.dim[0], 1, 1, 2})};
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = tops[i];
    return DN_OK;
}

const dni_layer_class dni_layer_image_seg_data = {
    .type = "ImageSegData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 3,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
