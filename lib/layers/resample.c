/* SPDX-License-Identifier: BSD-2-Clause
 * Resample (FlowNet 2): y = R x C^T for each plane, rows i of R having their middle at
 * (i + 1/2) H / P - 1/2 (and, the fork's way, with W / Q in place of H / P in the shift).
 * resample_param: height, width; type: NEAREST, LINEAR (the usual) or CUBIC, a kernel that is
 * widened by H / P where either axis shrinks and antialias (true). bottoms: (N, C, H, W), [a
 * blob whose size is taken]; top: (N, C, P, Q). Gradient: dx = R^T dy C; none in the fork. */
#include "layers/interp.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__ResampleParameter *p = layer->own;
    const int64_t *x = layer->bottom[0].dim;
    int64_t size[2] = {p->height, p->width};
    DNI_REQUIRE(p->type != CNN__RESAMPLE_PARAMETER__RESAMPLE_TYPE__AREA, DN_E_UNSUPPORTED,
                "type AREA is not supported, nor in the fork");
    dn_status st = dni_interp_size(layer, size);
    if (st)
        return st;
    float step[2] = {(float)x[2] / (float)size[0], (float)x[3] / (float)size[1]};
    bool wide = p->antialias && (step[0] > 1 || step[1] > 1);
    dni_interp_rule rule[2];
    for (int d = 0; d < 2; d++)
        rule[d] = (dni_interp_rule){
            p->type == CNN__RESAMPLE_PARAMETER__RESAMPLE_TYPE__NEAREST  ? DNI_NEAREST
            : p->type == CNN__RESAMPLE_PARAMETER__RESAMPLE_TYPE__LINEAR ? DNI_TRIANGLE
                                                                        : DNI_CUBIC,
            step[d], step[!d] / 2 - 0.5f, wide ? step[d] : 1};
    return dni_interp_weigh(layer, size, rule);
}

const dni_layer_class dni_layer_resample = {
    .type = "Resample",
    .own = DNI_OWN(resample_param),
    DNI_INTERP_CLASS,
    .shape = shape,
    .forward = dni_interp_forward,
    .backward = dni_interp_backward,
};
