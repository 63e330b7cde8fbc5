/* SPDX-License-Identifier: BSD-2-Clause
 * Clip: y = min(max(x, min), max).
 * clip_param: min, max (both required). bottom: any shape; top: the same; in place allowed (a
 * copy of x is kept).
 * Gradient: dx = dy where min <= x <= max, 0 elsewhere. */
#include "layers/neuron.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ClipParameter *p = layer->param->clip_param;
    DNI_REQUIRE(p, DN_E_NET, "clip_param needs min and max");
    *(dni_neuron *)layer->state = (dni_neuron){.fn = DN_FN_CLIP, .a = p->min, .b = p->max};
    return DN_OK;
}

const dni_layer_class dni_layer_clip = {
    .type = "Clip",
    .setup = setup,
    DNI_NEURON_CLASS(0),
};
