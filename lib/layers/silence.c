/* SPDX-License-Identifier: BSD-2-Clause
 * Silence: takes blobs that nobody reads, so that they are no outputs of the net.
 * No parameters. bottoms: any; no tops. Gradient: 0. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    (void)layer;
    return DN_OK;
}

static void backward(dni_layer *layer, dni_builder *b)
{
    for (int32_t i = 0; i < b->num_x; i++)
        dni_emit_fill(b, b->dx[i], 0);
}

const dni_layer_class dni_layer_silence = {
    .type = "Silence",
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 0,
    .tops_max = 0,
    .shape = shape,
    .backward = backward,
};
