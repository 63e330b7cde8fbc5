/* SPDX-License-Identifier: BSD-2-Clause
 * LaneData (MobileNet-YOLO): batches of images, of the lanes in them, and of maps of these
 * drawn. It wires; reading the records is not in this build, and it says so. data_param as in
 * Data; transform_param as in AnnotatedData; annotated_data_param: seg_scales (8),
 * seg_resize_height and seg_resize_width (0: the image's by seg_scales). tops: images (N, 3, H,
 * W), [lanes (N, 5, 64, 3)], [maps (N, 1, H2, W2)]. No gradient. */
#include "layers/database.h"
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__DataParameter *p = layer->param->data_param;
    return dni_guess_unread(layer, "the lanes of", "data_param", p ? p->source : NULL,
                            p ? p->batch_size : 0);
}

static dn_status shape(dni_layer *layer)
{
    dni_shape x = dni_database_guess(layer);
    dni_shape tops[] = {x, dni_shape_of(4, (int64_t[]){x.dim[0], 5, 64, 3}),
                        dni_database_maps(layer, &x, 1)};
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = tops[i];
    return DN_OK;
}

const dni_layer_class dni_layer_lane_data = {
    .type = "LaneData",
    .own = DNI_OWN(annotated_data_param),
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 3,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
