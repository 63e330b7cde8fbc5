/* SPDX-License-Identifier: BSD-2-Clause
 * MatWrite (DeepLab): each batch of its bottoms as a file of MATLAB's. It wires; writing them
 * is not in this build, and it says so. mat_write_param: prefix, source, strip, period: names
 * of the files. bottoms: any; no tops. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    DNI_REQUIRE(
        layer->wire_only, DN_E_UNSUPPORTED,
        "MatWrite would write .mat files, which this build cannot; read its bottoms from "
        "the program, or put a Silence in its place");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    (void)layer;
    return DN_OK;
}

const dni_layer_class dni_layer_mat_write = {
    .type = "MatWrite",
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 0,
    .tops_max = 0,
    .setup = setup,
    .shape = shape,
};
