/* SPDX-License-Identifier: BSD-2-Clause
 * AssistedExcitation (MobileNet-YOLO): y = x + a m in all channels where a true box lies: m
 * what bottom 2 has there, a falling from 1 to 0 over the training. It wires: how far the
 * training is no layer is told here, and it says so. No parameters. bottoms: x (N, C, H, W),
 * boxes (N, 1, 300, 5), m (N, H, W); top: like x. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *m = &layer->bottom[2];
    DNI_REQUIRE(x->axes == 4 && dni_shape_count(m) == x->dim[0] * x->dim[2] * x->dim[3],
                DN_E_SHAPE, "bottom 2 needs one number for each place of bottom 0");
    DNI_REQUIRE(layer->wire_only, DN_E_UNSUPPORTED,
                "AssistedExcitation fades with the solver's iterations, which layers are not "
                "told here; leave it out to run the net without it");
    return DN_OK;
}

const dni_layer_class dni_layer_assisted_excitation = {
    .type = "AssistedExcitation",
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .setup = setup,
    .shape = dni_shape_like_bottom,
};
