/* SPDX-License-Identifier: BSD-2-Clause
 * ChannelScale: y[n, c, s] = x[n, c, s] f[n, s]: each position times one factor for all
 * channels.
 * channel_scale_param: do_forward (true; false: y = x), do_backward_feature (true; false: dx =
 * dy), do_backward_scale (true; false: df = 0); global_scale is not supported.
 * bottoms: x (N, C, positions...), f (one for each item and position); top: x's shape.
 * Gradient: dx = f dy; df = sum over the channels of x dy; with do_forward false the same. */
#include "layers/channel_scale.h"

typedef dni_channel_scale scale_state;

dn_status dni_channel_scale_setup(dni_layer *layer)
{
    const Cnn__ChannelScaleParameter *p = layer->own;
    scale_state *s = layer->state;
    DNI_REQUIRE(!p->global_scale, DN_E_UNSUPPORTED, "global_scale is not supported");
    s->scales = p->do_forward;
    s->to_x = p->do_backward_feature;
    s->to_f = p->do_backward_scale;
    return DN_OK;
}

dn_status dni_channel_scale_shape(dni_layer *layer)
{
    scale_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *f = &layer->bottom[1];
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    s->N = x->dim[0];
    s->C = x->dim[1];
    s->S = dni_shape_range(x, 2, x->axes);
    DNI_REQUIRE(f->axes >= 1 && f->dim[0] == s->N && dni_shape_count(f) == s->N * s->S,
                DN_E_SHAPE,
                "bottom 1 has %lld values, %lld items of %lld positions need one "
                "each",
                (long long)dni_shape_count(f), (long long)s->N, (long long)s->S);
    return dni_shape_like_bottom(layer);
}

void dni_channel_scale_forward(dni_layer *layer, dni_builder *b)
{
    scale_state *s = layer->state;
    s->f = dni_temp_like(b, b->x[0]);
    dni_emit_spread(b, s->N, s->C, s->S, 1, b->x[1], s->f);
    if (s->scales)
        dni_emit_product(b, b->x[0], s->f, b->y[0]);
    else
        dni_emit_copy(b, b->x[0], b->y[0]);
}

void dni_channel_scale_backward(dni_layer *layer, dni_builder *b)
{
    const scale_state *s = layer->state;
    if (s->to_x)
        dni_emit_product(b, b->dy[0], s->f, b->dx[0]);
    else
        dni_emit_copy(b, b->dy[0], b->dx[0]);
    if (s->to_f)
        dni_emit_reduce(b, DN_REDUCE_DOT, s->N, s->C, s->S, 1, b->x[0], b->dy[0], b->dx[1]);
    else
        dni_emit_fill(b, b->dx[1], 0);
}

const dni_layer_class dni_layer_channel_scale = {
    .type = "ChannelScale",
    DNI_CHANNEL_SCALE_CLASS,
};
