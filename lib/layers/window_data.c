/* SPDX-License-Identifier: BSD-2-Clause
 * WindowData: batches of windows cut from images, background first and then foreground (R-CNN);
 * data/windows.c has the file's format. window_data_param: source, batch_size (both required),
 * fg_threshold (0.5; the overlap from which on a window is foreground), bg_threshold (0.5;
 * below it is background, of label 0), fg_fraction (0.25; of a batch, rounded down),
 * context_pad (0; pixels around a window once it has its size), crop_mode ("warp"; "square": as
 * high as wide before), root_folder; cache_images steers only. transform_param: crop_size
 * (required), mirror, scale, mean_file (its middle), mean_value. No bottoms; tops: windows (N,
 * 3, crop_size, crop_size), what lies outside of its image 0 after the mean; labels (N). No
 * gradient. Today's Caffe leaves out transform_param's scale here; earlier ones had it, and so
 * has this. */
#include "layers/database.h"

typedef struct state {
    dni_database database; /* first: its forward, tell and the others take it */
    Cnn__DataParameter data;
} state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__WindowDataParameter *p = layer->param->window_data_param;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    state *s = layer->state;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "window_data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "window_data_param needs a batch_size of at least 1");
    DNI_REQUIRE(t && t->crop_size, DN_E_NET, "WindowData needs transform_param.crop_size > 0");
    DNI_REQUIRE(!t->n_resize_param, DN_E_NET, "resize_param has no place in WindowData");
    s->data.source = p->source;
    s->data.batch_size = p->batch_size;
    s->data.prefetch = 4;
    s->data.force_encoded_color = true;
    return dni_database_open(
        layer, &(dni_loader_options){.param = &s->data, .windows = p, .transform = t});
}

static dn_status shape(dni_layer *layer)
{
    int64_t N = layer->param->window_data_param->batch_size;
    int64_t crop = layer->param->transform_param->crop_size;
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
    .state_size = sizeof(state),
    .setup = setup,
    .shape = shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
