/* SPDX-License-Identifier: BSD-2-Clause
 * Data: batches of images and labels from an LMDB or LevelDB of Datum records, read ahead.
 * data_param: source, batch_size (both required), backend (LEVELDB), rand_skip (0), prefetch
 * (4), force_encoded_color, shuffle (false; of forks: another order of the records in each
 * pass). transform_param: scale, mirror, crop_size, mean_file, mean_value, resize_param.
 * No bottoms; tops: (batch_size, C, H, W), labels (batch_size). No gradient.
 * In a batch of 1 each image may have its own size. Where no data may be opened the size is
 * crop_size's, or a guess by the source's name. */
#include "layers/database.h"

static dn_status setup(dni_layer *layer)
{
    layer->guessed = layer->wire_only && layer->num_tops == 1; /* maybe a truth of another's */
    return dni_database_setup(layer, false);
}

static dn_status shape(dni_layer *layer)
{
    const dni_database *d = layer->state;
    layer->top[0] = d->loader ? *dni_loader_shape(d->loader) : dni_database_guess(layer);
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, layer->top[0].dim);
    return DN_OK;
}

const dni_layer_class dni_layer_data = {
    .type = "Data",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE | DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_database),
    .setup = setup,
    .shape = shape,
    .forward = dni_database_forward,
    .teardown = dni_database_teardown,
};
