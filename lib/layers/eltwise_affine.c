/* SPDX-License-Identifier: BSD-2-Clause
 * EltwiseAffine (Caffe for Windows, before there was Scale): y = a x + b, a and b of each
 * channel. eltwise_affine_param: slope_filler (constant 1.0001), bias_filler (constant 0.0001),
 * channel_shared (false; true: one of each). bottom: (N, C, ...); top: the same; in place
 * allowed. weights: a, b, (C) or (). Gradient: as Scale's. */
#include "layers/scale.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__EltwiseAffineParameter *p = layer->own;
    dni_scale *s = layer->state;
    dni_shape shape;
    dn_status st = dni_affine_shape(layer, 1, !p->channel_shared, &shape);
    if (!st)
        st = dni_declare_weight(layer, &shape, p->slope_filler);
    if (!st)
        st = dni_declare_weight(layer, &shape, p->bias_filler);
    if (st)
        return st;
    layer->weight[0].constant = 1.0001;
    layer->weight[1].constant = 0.0001;
    s->axis = 1;
    s->bias_term = true;
    return DN_OK;
}

const dni_layer_class dni_layer_eltwise_affine = {
    .type = "EltwiseAffine",
    .own = DNI_OWN(eltwise_affine_param),
    .bottoms_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .setup = setup,
    DNI_SCALE_CLASS,
};
