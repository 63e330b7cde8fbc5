/* SPDX-License-Identifier: BSD-2-Clause
 * Parameter: y = its weight: a blob that is learned.
 * parameter_param: shape, blob_filler (constant 0). No bottom; top: that shape; weight: so too.
 * Gradient: dweight = dy. */
#include "layers/layer.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ParameterParameter *p = layer->param->parameter_param;
    DNI_REQUIRE(!p || !p->shape || p->shape->n_dim <= DN_MAX_AXES, DN_E_SHAPE,
                "parameter_param.shape has more than %d axes", DN_MAX_AXES);
    dni_shape w = dni_shape_of(0, NULL);
    if (p && p->shape)
        w = dni_shape_of((int32_t)p->shape->n_dim, p->shape->dim);
    return dni_declare_weight(layer, &w, p ? p->blob_filler : NULL);
}

static dn_status shape(dni_layer *layer)
{
    layer->top[0] = layer->weight[0].shape;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_emit_copy(b, b->w[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dni_emit_copy(b, b->dy[0], b->dw[0]);
}

const dni_layer_class dni_layer_parameter = {
    .type = "Parameter",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 1,
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
