/* SPDX-License-Identifier: BSD-2-Clause
 * RReLU (Xu et al., 2015): y = max(x, 0) + min(x, 0) / r, r from U(lb, ub) for each value in
 * TRAIN; in TEST r = (ub - lb) / log(ub / lb). rrelu_param: lb, ub; of another fork
 * negative_slope_lower, negative_slope_upper, with r = their mean in TEST (the two of one fork
 * are required). bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy where x > 0, dy / r elsewhere. */
#include "layers/rrelu.h"

#include <math.h>

#include "deepnet/net.h"

dn_status dni_rrelu_bounds(dni_layer *layer, double low, double high)
{
    dni_rrelu *s = layer->state;
    DNI_REQUIRE(low > 0 && low < high, DN_E_NET,
                "the bounds are above 0, the second above the first");
    s->low = low;
    s->high = high;
    s->test = log(high / low) / (high - low);
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__RReLUParameter *p = layer->own;
    dni_rrelu *s = layer->state;
    bool bounds = p->has_lb && p->has_ub;
    bool slopes = p->has_negative_slope_lower && p->has_negative_slope_upper;
    DNI_REQUIRE(bounds != slopes, DN_E_NET,
                "rrelu_param needs lb and ub, or negative_slope_lower and _upper");
    if (bounds)
        return dni_rrelu_bounds(layer, p->lb, p->ub);
    dn_status st = dni_rrelu_bounds(layer, p->negative_slope_lower, p->negative_slope_upper);
    if (!st)
        s->test = 2 / (s->low + s->high);
    return st;
}

/* y = above + below / r: one of them is 0. */
static void join(const dni_rrelu *s, dni_builder *b, dni_tensor above, dni_tensor below,
                 dni_tensor y)
{
    dni_emit_bcast(b, DN_BCAST_DIV, 1, dni_tensor_count(b, below), 1, below, s->r, below);
    dni_emit_sum2(b, 1, above, 1, below, y);
}

void dni_rrelu_forward(dni_layer *layer, dni_builder *b)
{
    dni_rrelu *s = layer->state;
    if (layer->phase != DN_PHASE_TRAIN) {
        dni_emit_unary(b, DN_FN_RELU, s->test, 0, 0, b->x[0], b->y[0]);
        return;
    }
    dn_args_random draw = {
        .dist = DN_DIST_UNIFORM, .a = s->low, .b = s->high, .stream = layer->stream};
    dni_tensor above = dni_temp_like(b, b->x[0]), below = dni_temp_like(b, b->x[0]);
    s->r = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_RANDOM, &draw, DNI_TENSORS(b->random), DNI_TENSORS(s->r));
    dni_emit_unary(b, DN_FN_RELU, 0, 0, 0, b->x[0], above);
    dni_emit_unary(b, DN_FN_CLIP, -INFINITY, 0, 0, b->x[0], below);
    join(s, b, above, below, b->y[0]);
}

/* y has the sign of x, so in place it will do. */
void dni_rrelu_backward(dni_layer *layer, dni_builder *b)
{
    const dni_rrelu *s = layer->state;
    dni_tensor x = dni_same(b, b->x[0], b->y[0]) ? b->y[0] : b->x[0];
    if (layer->phase != DN_PHASE_TRAIN) {
        dni_emit_unary_bwd(b, DN_FN_RELU, s->test, 0, 0, x, DNI_NONE, b->dy[0], b->dx[0]);
        return;
    }
    dni_tensor above = dni_temp_like(b, x), below = dni_temp_like(b, x);
    dni_emit_unary_bwd(b, DN_FN_RELU, 0, 0, 0, x, DNI_NONE, b->dy[0], above);
    dni_emit_unary_bwd(b, DN_FN_CLIP, -INFINITY, 0, 0, x, DNI_NONE, b->dy[0], below);
    join(s, b, above, below, b->dx[0]);
}

const dni_layer_class dni_layer_rrelu = {
    .type = "RReLU",
    .own = DNI_OWN(rrelu_param),
    .setup = setup,
    DNI_RRELU_CLASS,
};
