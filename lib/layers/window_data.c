/* SPDX-License-Identifier: BSD-2-Clause
 * WindowData: batches of windows cut from images, foreground and background (R-CNN). It wires;
 * reading the files is not in this build, and it says so.
 * window_data_param: source, batch_size (both required), fg_threshold (0.5), bg_threshold
 * (0.5), fg_fraction (0.25), context_pad (0), crop_mode ("warp"), cache_images, root_folder;
 * transform_param: crop_size (required), mirror, scale, mean_file, mean_value.
 * tops: windows (N, 3, crop_size, crop_size), labels (N). No gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__WindowDataParameter *p = layer->param->window_data_param;
    return dni_guess_unread(layer, "the windows of", "window_data_param", p ? p->source : NULL,
                            p ? p->batch_size : 0);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__WindowDataParameter *p = layer->param->window_data_param;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    int64_t crop = t && t->crop_size ? t->crop_size : p->crop_size, N = p->batch_size;
    DNI_REQUIRE(crop > 0, DN_E_NET, "WindowData needs transform_param.crop_size > 0");
    layer->top[0] = dni_shape_of(4, (int64_t[]){N, 3, crop, crop});
    layer->top[1] = dni_shape_of(1, &N);
    return DN_OK;
}

const dni_layer_class dni_layer_window_data = {
    .type = "WindowData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 2,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
