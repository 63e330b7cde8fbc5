/* SPDX-License-Identifier: BSD-2-Clause
 * DenseImageData (SegNet): batches of images and of class maps of their size, named in a list
 * of files. It wires, with a guess where the size is in the files alone; reading them is not in
 * this build, and it says so.
 * dense_image_data_param: source (required), batch_size (1), new_height and new_width (0: the
 * file's), crop_height and crop_width, is_color (true), root_folder, shuffle, rand_skip,
 * mirror, label_divide_factor. tops: images (N, 3 or 1, H, W), [class maps (N, 1, H, W)]. No
 * gradient. */
#include "layers/guess.h"

#define HEIGHT 360 /* CamVid's, which SegNet's own nets read */
#define WIDTH  480

static dn_status setup(dni_layer *layer)
{
    const Cnn__DenseImageDataParameter *p = layer->param->dense_image_data_param;
    return dni_guess_unread(layer, "the images of", "dense_image_data_param",
                            p ? p->source : NULL, p ? p->batch_size : 0);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__DenseImageDataParameter *p = layer->param->dense_image_data_param;
    int64_t H = p->crop_height ? p->crop_height : p->new_height ? p->new_height : HEIGHT;
    int64_t W = p->crop_width ? p->crop_width : p->new_width ? p->new_width : WIDTH;
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] =
            dni_shape_of(4, (int64_t[]){p->batch_size, i == 0 && p->is_color ? 3 : 1, H, W});
    return DN_OK;
}

const dni_layer_class dni_layer_dense_image_data = {
    .type = "DenseImageData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
