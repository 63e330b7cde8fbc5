/* SPDX-License-Identifier: BSD-2-Clause
 * Normalize (SSD): y = s x / |x|, |x| = sqrt(eps + sum x^2) over the channels of each position.
 * norm_param: across_spatial (true: one norm for each item, over all its values), scale_filler
 * (constant 1), channel_shared (true: one s for all channels), eps (1e-10).
 * bottom: (N, C, ...); top: the same. weights: s, (1) or (C).
 * Another fork's, known by its normalize_param, a second top or the lack of either (SSD's nets
 * always have a norm_param), has one norm for each position,
 * eps 1e-6 and no s; the second top is |x|, (N, 1, ...), with a gradient if bp_norm (false).
 * Gradient: ds = sums of dy x / |x|; dx = s (dy - u (u . dy)) / |x| with u = x / |x|. Where s
 * differs from channel to channel that is not the derivative, but what SSD trains with. */
#include "layers/normalize.h"

#include <string.h>

typedef dni_normalize normalize_state;

static const Cnn__NormalizeParameter *param_of(const dni_layer *layer)
{
    return layer->param->norm_param ? layer->param->norm_param : layer->own;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__NormalizeParameter *p = param_of(layer);
    normalize_state *s = layer->state;
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    DNI_REQUIRE(!p->fix_gradient && !strcmp(p->normalize_type, "L2"), DN_E_UNSUPPORTED,
                "normalize_param: only L2, without fix_gradient");
    DNI_REQUIRE(!layer->param->norm_param || !layer->param->normalize_param, DN_E_NET,
                "norm_param and normalize_param are of different forks; one will do");
    s->plain = !layer->param->norm_param || layer->num_tops == 2;
    s->across = p->across_spatial && !s->plain;
    s->shared = p->channel_shared;
    s->eps = s->plain ? 1e-6 : p->eps;
    if (s->plain)
        return DN_OK;
    dni_shape scale = dni_shape_of(s->shared ? 0 : 1, &layer->bottom[0].dim[1]);
    st = dni_declare_weight(layer, &scale, p->scale_filler);
    layer->weight[0].constant = 1;
    return st;
}

dn_status dni_normalize_shape(dni_layer *layer)
{
    normalize_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    s->N = x->dim[0];
    s->C = x->dim[1];
    s->inner = dni_shape_range(x, 2, x->axes);
    DNI_REQUIRE(s->plain || s->shared || s->C == layer->weight[0].shape.dim[0], DN_E_SHAPE,
                "bottom has %lld channels, the scale was made for %lld", (long long)s->C,
                (long long)layer->weight[0].shape.dim[0]);
    dni_shape_like_bottom(layer);
    if (layer->num_tops == 2)
        layer->top[1].dim[1] = 1;
    return DN_OK;
}

/* Sums of op over what one norm is taken of: norms (N), or (N, inner). */
static void emit_sums(const normalize_state *s, dni_builder *b, int32_t op, dni_tensor x,
                      dni_tensor x2, dni_tensor y)
{
    dni_emit_reduce(b, op, s->N, s->across ? s->C * s->inner : s->C, s->across ? 1 : s->inner,
                    1, x, x2, y);
}

/* y = x op v, v stretched over what it is the norm of. */
static void emit_stretched(const normalize_state *s, dni_builder *b, int32_t op, dni_tensor x,
                           dni_tensor v, dni_tensor y)
{
    if (s->across || s->inner == 1) {
        dni_emit_bcast(b, op, 1, s->N, s->C * s->inner, x, v, y);
        return;
    }
    dni_tensor wide = dni_temp_like(b, x);
    dni_emit_spread(b, s->N, s->C, s->inner, 1, v, wide);
    dni_emit_bcast(b, op, 1, s->N * s->C * s->inner, 1, x, wide, y);
}

static void emit_scale(const normalize_state *s, dni_builder *b, dni_tensor x, dni_tensor y)
{
    if (s->plain)
        dni_emit_copy(b, x, y);
    else if (s->shared)
        dni_emit_bcast(b, DN_BCAST_MUL, s->N, 1, s->C * s->inner, x, b->w[0], y);
    else
        dni_emit_bcast(b, DN_BCAST_MUL, s->N, s->C, s->inner, x, b->w[0], y);
}

void dni_normalize_forward(dni_layer *layer, dni_builder *b)
{
    normalize_state *s = layer->state;
    int64_t norms = s->across ? s->N : s->N * s->inner;
    bool keep = !s->plain && (layer->propagate[0] || layer->weight_wanted[0]);
    s->norm = layer->num_tops == 2 ? b->y[1] : dni_temp(b, b->dtype, 1, &norms);
    s->u = keep ? dni_temp_like(b, b->x[0]) : b->y[0];
    emit_sums(s, b, DN_REDUCE_SUMSQ, b->x[0], DNI_NONE, s->norm);
    dni_emit_unary(b, DN_FN_POWER, 1, s->eps, 0.5, s->norm, s->norm);
    emit_stretched(s, b, DN_BCAST_DIV, b->x[0], s->norm, s->u);
    if (!s->plain)
        emit_scale(s, b, s->u, b->y[0]);
}

void dni_normalize_backward(dni_layer *layer, dni_builder *b)
{
    const normalize_state *s = layer->state;
    int64_t dim = s->shared ? 1 : s->C;
    if (!s->plain)
        dni_emit_reduce_mid(b, s->N, dim, s->C * s->inner / dim, 1, b->dy[0], s->u, b->dw[0]);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor dot = dni_temp_like(b, s->norm), t = dni_temp_like(b, b->x[0]);
    bool of_norm = layer->num_tops == 2 && param_of(layer)->bp_norm && b->dy[1] != DNI_NONE;
    if (b->dy[0] == DNI_NONE) {
        dni_emit_fill(b, t, 0);
    } else {
        emit_sums(s, b, DN_REDUCE_DOT, b->dy[0], s->u, dot);
        emit_stretched(s, b, DN_BCAST_MUL, s->u, dot, t);
        dni_emit_sum2(b, 1, b->dy[0], -1, t, t);
        emit_stretched(s, b, DN_BCAST_DIV, t, s->norm, t);
    }
    if (of_norm) {
        dni_tensor more = dni_temp_like(b, t);
        emit_stretched(s, b, DN_BCAST_MUL, s->u, b->dy[1], more);
        dni_emit_sum2(b, 1, t, 1, more, t);
    }
    emit_scale(s, b, t, b->dx[0]);
}

const dni_layer_class dni_layer_normalize = {
    .type = "Normalize",
    .own = DNI_OWN(normalize_param),
    .tops_max = 2,
    .setup = setup,
    DNI_NORMALIZE_CLASS,
};
