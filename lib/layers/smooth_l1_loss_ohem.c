/* SPDX-License-Identifier: BSD-2-Clause
 * SmoothL1LossOHEM (R-FCN): L = 1/Z sum f(w (a - b)), f(x) = x^2 / 2 where |x| < 1, else |x| -
 * 1/2; it also tells the loss of each position, by which the hard ones are found.
 * loss_param: normalization (VALID and FULL: positions; BATCH_SIZE: items; NONE: 1; PRE_FIXED:
 * pre_fixed_normalizer (1)).
 * bottoms: a (N, C, positions...), b, [weights w], all of one shape. tops: one number; [the sum
 * over C at each position: (N, 1, positions...)].
 * Gradient: da = -db = w f'(w (a - b)) / Z. */
#include "layers/loss.h"

typedef struct smooth_state {
    int64_t N, C, S;
    double scale; /* 1 / Z */
    dni_tensor d; /* w (a - b), while lowering */
} smooth_state;

static dn_status shape(dni_layer *layer)
{
    smooth_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dni_loss loss = {0};
    dn_status st = dni_loss_read(&loss, layer->param->loss_param,
                                 CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID);
    if (!st)
        st = dni_need_axes(layer, 0, 2, true);
    if (!st)
        st = dni_same_counts(layer);
    if (st)
        return st;
    s->N = x->dim[0];
    s->C = x->dim[1];
    s->S = dni_shape_range(x, 2, x->axes);
    int64_t by[] = {s->N * s->S, s->N * s->S, s->N, 1}, Z = by[loss.args.normalization];
    s->scale = 1 / ((double)(Z > 1 ? Z : 1) * loss.fixed);
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->num_tops > 1) {
        layer->top[1] = *x;
        layer->top[1].dim[1] = 1;
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    smooth_state *s = layer->state;
    dni_tensor f = dni_temp_like(b, b->x[0]);
    s->d = dni_temp_like(b, b->x[0]);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->d);
    if (b->num_x > 2)
        dni_emit_product(b, s->d, b->x[2], s->d);
    dni_emit_unary(b, DN_FN_SMOOTH_L1, 1, 0, 0, s->d, f);
    dni_emit_reduce_mid(b, s->N * s->C * s->S, 1, 1, s->scale, f, DNI_NONE, b->y[0]);
    if (b->num_y > 1)
        dni_emit_reduce(b, DN_REDUCE_SUM, s->N, s->C, s->S, 1, f, DNI_NONE, b->y[1]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const smooth_state *s = layer->state;
    dni_tensor g = dni_temp_like(b, b->x[0]);
    dni_emit_fill(b, g, s->scale);
    dni_emit_times(b, g, b->dy[0], g);
    dni_emit_unary_bwd(b, DN_FN_SMOOTH_L1, 1, 0, 0, s->d, DNI_NONE, g, g);
    if (b->num_x > 2)
        dni_emit_product(b, g, b->x[2], g);
    dni_emit_copy(b, g, b->dx[0]);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, g, b->dx[1]);
}

const dni_layer_class dni_layer_smooth_l1_loss_ohem = {
    .type = "SmoothL1LossOHEM",
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 2,
    .state_size = sizeof(smooth_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
