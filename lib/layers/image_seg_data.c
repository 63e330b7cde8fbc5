/* SPDX-License-Identifier: BSD-2-Clause
 * ImageSegData (DeepLab): batches of images and of class maps of their size, named in a list of
 * files. image_data_param as in ImageData; label_type: what a line has after the image's path:
 * PIXEL, that of its map, an image of one channel; IMAGE (the default), a label, the map's
 * everywhere; NONE, nothing that is read, the map is ignore_label (255). transform_param as in
 * Data; map and image are cropped and mirrored alike, and where crop_size is more than they
 * have, 0 and ignore_label follow below and right. Maps are resized without mixing classes.
 * tops: images (N, 3 or 1, H, W), [class maps (N, 1, H, W)], [rows and columns of them that are
 * no padding (N, 1, 1, 2)]. No gradient. */
#include "layers/image_list.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    dni_image_list *s = layer->state;
    s->maps = s->pad = true;
    s->blend = CNN__RESIZE_PARAMETER__INTERP_MODE__NEAREST;
    if (p) {
        s->ignore = p->ignore_label;
        s->list.mapped = p->label_type == CNN__IMAGE_DATA_PARAMETER__LABEL_TYPE__PIXEL;
        s->list.labelled = p->label_type == CNN__IMAGE_DATA_PARAMETER__LABEL_TYPE__IMAGE;
        s->list.alone = p->label_type == CNN__IMAGE_DATA_PARAMETER__LABEL_TYPE__NONE;
    }
    return dni_image_list_setup(layer, p);
}

const dni_layer_class dni_layer_image_seg_data = {
    .type = "ImageSegData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 3,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_image_list),
    .setup = setup,
    .shape = dni_image_list_shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
