/* SPDX-License-Identifier: BSD-2-Clause
 * Python: a layer whose code is a Python class of the host. Only the host can say its shapes
 * and run it, so without the host's own class of that name the layer is refused.
 * python_param: module, layer (both required), param_str, share_in_parallel (ignored).
 * bottoms, tops, gradient: whatever the class makes of them. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__PythonParameter *p = layer->param->python_param;
    DNI_REQUIRE(p && p->module && p->layer, DN_E_NET, "python_param needs module and layer");
    return dni_fail(DN_E_UNSUPPORTED,
                    "the layer is Python code ('%s' of module '%s') that only a host with an "
                    "implementation of it can run", p->layer, p->module);
}

const dni_layer_class dni_layer_python = {
    .type = "Python",
    .bottoms_min = 0, .bottoms_max = -1,
    .tops_min = 0, .tops_max = -1,
    .setup = setup,
    .shape = dni_shape_like_bottom,
};
