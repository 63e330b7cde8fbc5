/* SPDX-License-Identifier: BSD-2-Clause
 * VideoData (C3D): batches of clips named in a list of files. It wires, with a guess where the
 * size is in the files alone; reading them is not in this build, and it says so.
 * image_data_param: as in ImageData; new_length (1): frames of a clip; crop_size.
 * tops: clips (N, 3 or 1, new_length, H, W), [labels (N)]. No gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    return dni_guess_list(layer);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    dni_shape x = dni_guess_listed(layer);
    int64_t H = p->crop_size ? p->crop_size : x.dim[2], W = p->crop_size ? H : x.dim[3];
    layer->top[0] = dni_shape_of(5, (int64_t[]){x.dim[0], x.dim[1], p->new_length, H, W});
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, x.dim);
    return DN_OK;
}

const dni_layer_class dni_layer_video_data = {
    .type = "VideoData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
