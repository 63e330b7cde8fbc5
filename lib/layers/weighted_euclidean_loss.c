/* SPDX-License-Identifier: BSD-2-Clause
 * WeightedEuclideanLoss: L = 1/(2N) sum w (a - b)^2, N the length of axis 0.
 * No parameters. bottoms: a, b (N, ...), weights w, all of one count; top: one number. Forks
 * that give one weight to an item or to a place divide by other numbers: refused, but where
 * there is one value of each. Gradient: da = -db = w (a - b) / N; dw = (a - b)^2 / (2N), which
 * those that were read leave out. */
#include "layers/loss.h"

typedef struct weighted_state {
    int64_t count;
    double share;         /* 1 / N */
    dni_tensor d, shared; /* a - b, w (a - b), while lowering */
} weighted_state;

static dn_status shape(dni_layer *layer)
{
    weighted_state *s = layer->state;
    const dni_shape *a = &layer->bottom[0];
    dn_status st = dni_loss_check_items(layer);
    if (st)
        return st;
    s->count = dni_shape_count(a);
    s->share = 1.0 / (double)a->dim[0];
    layer->top[0] = dni_shape_of(0, NULL);
    return dni_same_counts(layer);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    weighted_state *s = layer->state;
    s->d = dni_temp_like(b, b->x[0]);
    s->shared = dni_temp_like(b, b->x[0]);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->d);
    dni_emit_product(b, s->d, b->x[2], s->shared);
    dni_emit_reduce_mid(b, s->count, 1, 1, s->share / 2, s->d, s->shared, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const weighted_state *s = layer->state;
    dni_tensor g = dni_temp_like(b, b->x[0]);
    dni_emit_times(b, s->shared, b->dy[0], g);
    dni_emit_unary(b, DN_FN_AFFINE, s->share, 0, 0, g, b->dx[0]);
    dni_emit_unary(b, DN_FN_AFFINE, -s->share, 0, 0, g, b->dx[1]);
    if (b->dx[2] == DNI_NONE)
        return;
    dni_emit_product(b, s->d, s->d, g);
    dni_emit_times(b, g, b->dy[0], g);
    dni_emit_unary(b, DN_FN_AFFINE, s->share / 2, 0, 0, g, b->dx[2]);
}

const dni_layer_class dni_layer_weighted_euclidean_loss = {
    .type = "WeightedEuclideanLoss",
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .state_size = sizeof(weighted_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
