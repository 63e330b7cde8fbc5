/* SPDX-License-Identifier: BSD-2-Clause
 * Embed: y[i, :] = W[x[i], :] + b: a learned row for each number.
 * embed_param: num_output, input_dim (both required), bias_term (true), weight_filler,
 * bias_filler.
 * bottom: any shape, whole numbers in [0, input_dim); top: bottom's shape, num_output.
 * weights: W (input_dim, num_output), b (num_output).
 * Gradient: dW[k] = sum of dy[i] over x[i] = k; db = sum of dy; none to the bottom. */
#include "layers/layer.h"

typedef struct embed_state {
    dn_args_gather args;
    bool bias;
} embed_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__EmbedParameter *p = layer->param->embed_param;
    embed_state *s = layer->state;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET, "embed_param needs num_output");
    DNI_REQUIRE(p->input_dim > 0, DN_E_NET, "embed_param needs input_dim");
    s->args.cols = p->num_output;
    s->args.limit = p->input_dim;
    s->bias = p->bias_term;
    dni_shape w = dni_shape_of(2, (int64_t[]){s->args.limit, s->args.cols});
    dni_shape bias = dni_shape_of(1, &s->args.cols);
    dn_status st = dni_declare_weight(layer, &w, p->weight_filler);
    return !st && s->bias ? dni_declare_weight(layer, &bias, p->bias_filler) : st;
}

static dn_status shape(dni_layer *layer)
{
    embed_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(x->axes < DN_MAX_AXES, DN_E_SHAPE, "bottom has %d axes, Embed adds one",
                x->axes);
    s->args.count = dni_shape_count(x);
    layer->top[0] = *x;
    layer->top[0].dim[layer->top[0].axes++] = s->args.cols;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const embed_state *s = layer->state;
    dni_emit(b, DN_OP_GATHER, &s->args, DNI_TENSORS(b->w[0], b->x[0]), DNI_TENSORS(b->y[0]));
    if (s->bias)
        dni_emit_bcast(b, DN_BCAST_ADD, s->args.count, s->args.cols, 1, b->y[0], b->w[1],
                       b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const embed_state *s = layer->state;
    dni_emit(b, DN_OP_SCATTER_ADD, &s->args, DNI_TENSORS(b->dy[0], b->x[0]),
             DNI_TENSORS(b->dw[0]));
    if (s->bias)
        dni_emit_reduce_mid(b, s->args.count, s->args.cols, 1, 1, b->dy[0], DNI_NONE, b->dw[1]);
}

const dni_layer_class dni_layer_embed = {
    .type = "Embed",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 0,
    .state_size = sizeof(embed_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
