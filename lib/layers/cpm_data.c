/* SPDX-License-Identifier: BSD-2-Clause
 * CPMData (Convolutional Pose Machines, OpenPose): images of people with maps of their parts,
 * from a database that holds poses. It wires; making the maps is not in this build, and it says
 * so. data_param: source, batch_size. cpm_transform_param: crop_size_x (368), crop_size_y
 * (368), stride (4), num_parts (14); the others say how images are changed.
 * tops: (N, 4, crop_size_y, crop_size_x): the image, where its middle is; [(N, 2 (num_parts +
 * 1), crop_size_y / stride, crop_size_x / stride): weights, maps]. No gradient. */
#include "layers/guess.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__DataParameter *d = layer->param->data_param;
    const Cnn__CPMTransformationParameter *p = layer->own;
    DNI_REQUIRE(p->stride > 0, DN_E_NET, "cpm_transform_param needs a stride");
    return dni_guess_unread(layer, "the poses of", "data_param", d ? d->source : NULL,
                            d ? d->batch_size : 0);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__CPMTransformationParameter *p = layer->own;
    int64_t N = layer->param->data_param->batch_size, H = p->crop_size_y, W = p->crop_size_x;
    layer->top[0] = dni_shape_of(4, (int64_t[]){N, 4, H, W});
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(
            4, (int64_t[]){N, 2 * ((int64_t)p->num_parts + 1), H / p->stride, W / p->stride});
    return DN_OK;
}

const dni_layer_class dni_layer_cpm_data = {
    .type = "CPMData",
    .own = DNI_OWN(cpm_transform_param),
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
