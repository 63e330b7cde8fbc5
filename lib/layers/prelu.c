/* SPDX-License-Identifier: BSD-2-Clause
 * PReLU (He et al., 2015): y = x > 0 ? x : slope[c] x.
 * prelu_param: filler (constant 0.25), channel_shared (false).
 * bottom: (N, C, ...); top: the same; in place allowed (a copy of x is kept). weight: slope,
 * (C), or one number without axes where shared.
 * Gradient: dx = dy where x > 0, slope dy elsewhere; dslope[c] = sum of dy x over x <= 0. */
#include "layers/neuron.h"

typedef struct prelu_state {
    dni_tensor x;
    dn_args_prelu args;
} prelu_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__PReLUParameter *p = layer->own;
    prelu_state *s = layer->state;
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    s->args.shared = p->channel_shared;
    s->args.dim = layer->bottom[0].dim[1];
    dni_shape slope = dni_shape_of(s->args.shared ? 0 : 1, &s->args.dim);
    st = dni_declare_weight(layer, &slope, p->filler);
    if (!st)
        layer->weight[0].constant = 0.25;
    return st;
}

static dn_status shape(dni_layer *layer)
{
    prelu_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    DNI_REQUIRE(s->args.shared || x->dim[1] == s->args.dim, DN_E_SHAPE,
                "bottom has %lld channels, the slopes were made for %lld", (long long)x->dim[1],
                (long long)s->args.dim);
    s->args.outer = x->dim[0];
    s->args.dim = x->dim[1];
    s->args.inner = dni_shape_range(x, 2, x->axes);
    return dni_shape_like_bottom(layer);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    prelu_state *s = layer->state;
    s->x = dni_keep_input(b, layer->propagate[0] || layer->weight_wanted[0]);
    dni_emit(b, DN_OP_PRELU, &s->args, DNI_TENSORS(b->x[0], b->w[0]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const prelu_state *s = layer->state;
    dni_emit(b, DN_OP_PRELU_BWD, &s->args, DNI_TENSORS(s->x, b->w[0], b->dy[0]),
             DNI_TENSORS(b->dx[0], b->dw[0]));
}

const dni_layer_class dni_layer_prelu = {
    .type = "PReLU",
    .own = DNI_OWN(prelu_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(prelu_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
