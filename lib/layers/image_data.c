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
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    DNI_REQUIRE(!p || (p->new_height > 0) == (p->new_width > 0), DN_E_NET,
                "image_data_param needs both of new_height and new_width, or neither");
    return dni_guess_unread(layer, "the images of", "image_data_param", p ? p->source : NULL,
                            p ? p->batch_size : 0);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    int64_t crop = t ? t->crop_size : 0, N = p->batch_size;
    layer->top[0] = dni_guess_images(N, p->source);
    layer->top[0].dim[1] = p->is_color ? 3 : 1;
    if (crop || p->new_height) {
        layer->top[0].dim[2] = crop ? crop : p->new_height;
        layer->top[0].dim[3] = crop ? crop : p->new_width;
    }
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, &N);
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
