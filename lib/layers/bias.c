/* SPDX-License-Identifier: BSD-2-Clause
 * Bias: y = x + b, b stretched over the axes it does not have.
 * bias_param: axis (1: where b begins), num_axes (1: of the learned b; -1: all from axis on;
 * 0: one number), filler (constant 0). bottoms: x; b, if it is not learned. top: x's shape;
 * in place allowed. weights: b unless it is a bottom. Gradient: dx = dy; db = sums of dy. */
#include "layers/affine.h"

static const Cnn__BiasParameter *param_of(const dni_layer *layer)
{
    return layer->own;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__BiasParameter *p = param_of(layer);
    dni_shape s;
    if (layer->num_bottoms > 1)
        return DN_OK;
    dn_status st = dni_affine_shape(layer, p->axis, p->num_axes, &s);
    return st ? st : dni_declare_weight(layer, &s, p->filler);
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *blob =
        layer->num_bottoms > 1 ? &layer->bottom[1] : &layer->weight[0].shape;
    dn_status st = dni_affine_view(layer, param_of(layer)->axis, blob, layer->state);
    return st ? st : dni_shape_like_bottom(layer);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_affine *v = layer->state;
    dni_emit_bcast(b, DN_BCAST_ADD, v->outer, v->dim, v->inner, b->x[0],
                   b->num_x > 1 ? b->x[1] : b->w[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_affine *v = layer->state;
    dni_emit_reduce_mid(b, v->outer, v->dim, v->inner, 1, b->dy[0], DNI_NONE,
                        b->num_x > 1 ? b->dx[1] : b->dw[0]);
    dni_emit_unary(b, DN_FN_NONE, 0, 0, 0, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_bias = {
    .type = "Bias",
    .own = DNI_OWN(bias_param),
    .bottoms_min = 1,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(dni_affine),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
