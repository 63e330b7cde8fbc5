/* SPDX-License-Identifier: BSD-2-Clause
 * DenseImageData (SegNet): batches of images and of class maps of their size; each line of the
 * list has the paths of both. dense_image_data_param: source (required), batch_size (1),
 * new_height and new_width (0: the file's; maps without mixing classes), crop_height and
 * crop_width, is_color (true), root_folder, shuffle, rand_skip, mirror;
 * label_divide_factor (1). transform_param as in Data; crop and mirror alike for both.
 * tops: images (N, 3 or 1, H, W), [class maps (N, 1, H, W)]. No gradient. */
#include "layers/image_list.h"

#define HEIGHT 360 /* CamVid's, which SegNet's own nets read */
#define WIDTH  480

static dn_status setup(dni_layer *layer)
{
    const Cnn__DenseImageDataParameter *p = layer->param->dense_image_data_param;
    dni_image_list *s = layer->state;
    if (!p)
        return dni_image_list_setup(layer, NULL);
    DNI_REQUIRE(layer->wire_only || p->label_divide_factor == 1, DN_E_UNSUPPORTED,
                "label_divide_factor is not supported");
    const Cnn__ImageDataParameter listed = {.source = p->source,
                                            .batch_size = p->batch_size,
                                            .rand_skip = p->rand_skip,
                                            .shuffle = p->shuffle,
                                            .new_height = p->new_height,
                                            .new_width = p->new_width,
                                            .is_color = p->is_color,
                                            .root_folder = p->root_folder};
    s->maps = s->list.mapped = true;
    s->crop_height = p->crop_height;
    s->crop_width = p->crop_width;
    s->mirror = p->mirror;
    s->blend = CNN__RESIZE_PARAMETER__INTERP_MODE__NEAREST;
    return dni_image_list_setup(layer, &listed);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__DenseImageDataParameter *p = layer->param->dense_image_data_param;
    int64_t H = p->crop_height ? p->crop_height : p->new_height ? p->new_height : HEIGHT;
    int64_t W = p->crop_width ? p->crop_width : p->new_width ? p->new_width : WIDTH;
    return dni_image_list_shape_as(
        layer, dni_shape_of(4, (int64_t[]){p->batch_size, p->is_color ? 3 : 1, H, W}));
}

const dni_layer_class dni_layer_dense_image_data = {
    .type = "DenseImageData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_image_list),
    .setup = setup,
    .shape = shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
