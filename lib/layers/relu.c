/* SPDX-License-Identifier: BSD-2-Clause
 * ReLU: y = max(0, x) + negative_slope * min(0, x).
 * relu_param: negative_slope (0); of Synopsys' fork relu6 (false; true: y is at most 6, no
 * negative_slope). bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy where x > 0, negative_slope * dy elsewhere; of relu6 that of Clip: dx = dy
 * where 0 <= x <= 6, 0 elsewhere. */
#include "layers/neuron.h"

static double slope(const dni_layer *layer)
{
    const Cnn__ReLUParameter *p = layer->own;
    return p->negative_slope;
}

static bool is_cut(const dni_layer *layer)
{
    const Cnn__ReLUParameter *p = layer->own;
    return p->relu6;
}

static dn_status setup(dni_layer *layer)
{
    DNI_REQUIRE(!is_cut(layer) || slope(layer) == 0, DN_E_UNSUPPORTED,
                "relu6 is without a negative_slope");
    return DN_OK;
}

/* In place the sign of y is that of x, but for a slope below 0. */
static void forward(dni_layer *layer, dni_builder *b)
{
    dni_tensor *x = layer->state;
    bool cut = is_cut(layer);
    *x = dni_keep_input(b, layer->propagate[0] && (cut || slope(layer) < 0));
    dni_emit_unary(b, cut ? DN_FN_CLIP : DN_FN_RELU, slope(layer), cut ? 6 : 0, 0, b->x[0],
                   b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_tensor *x = layer->state;
    bool cut = is_cut(layer);
    dni_emit_unary_bwd(b, cut ? DN_FN_CLIP : DN_FN_RELU, slope(layer), cut ? 6 : 0, 0, *x,
                       b->y[0], b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_relu = {
    .type = "ReLU",
    .own = DNI_OWN(relu_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_READS_SIGN,
    .state_size = sizeof(dni_tensor),
    .setup = setup,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
