/* SPDX-License-Identifier: BSD-2-Clause
 * TripletLoss (Caffe's pull request 1663 and its kin): L = 1/(2 N) sum_n max(0, margin + |a -
 * p|^2 - |a - n|^2). triplet_loss_param: margin (1). Of other forks, whose bottoms are features
 * and triplets of them, it is not.
 * bottoms: a, p, n (N, ...), of one shape, [weights of samples, which count for nothing]; top:
 * one number. Gradient of a triplet whose margin is violated, else 0: da = (n - p) / N, dp = (p
 * - a) / N, dn = (a - n) / N. */
#include "layers/layer.h"

typedef struct triplet_state {
    int64_t N, D;
    double margin, share;    /* share: 1 / N */
    dni_tensor pos, neg, on; /* a - p, a - n, 1 where violated: while lowering */
} triplet_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__TripletLossParameter *p = layer->own;
    const dni_shape *a = &layer->bottom[0];
    triplet_state *s = layer->state;
    for (int32_t i = 1; i < 3; i++)
        DNI_REQUIRE(dni_shape_equal(a, &layer->bottom[i]), DN_E_SHAPE,
                    "bottoms 0 and %d have different shapes", i);
    DNI_REQUIRE(a->axes >= 1, DN_E_SHAPE, "bottom 0 has no items");
    s->N = a->dim[0];
    s->D = dni_shape_range(a, 1, a->axes);
    s->share = 1 / (double)(s->N ? s->N : 1);
    s->margin = p->margin;
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static dni_tensor distance(const triplet_state *s, dni_builder *b, dni_tensor d)
{
    dni_tensor y = dni_temp(b, b->dtype, 1, &s->N);
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, s->N, s->D, 1, 1, d, DNI_NONE, y);
    return y;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    triplet_state *s = layer->state;
    s->pos = dni_temp_like(b, b->x[0]);
    s->neg = dni_temp_like(b, b->x[0]);
    s->on = dni_temp(b, b->dtype, 1, &s->N);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->pos);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[2], s->neg);
    dni_tensor near = distance(s, b, s->pos), far = distance(s, b, s->neg);
    dni_emit_sum2(b, 1, near, -1, far, near);
    dni_emit_unary(b, DN_FN_AFFINE, 1, s->margin, 0, near, near);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, near, s->on);
    dni_emit_reduce_mid(b, s->N, 1, 1, s->share / 2, near, s->on, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const triplet_state *s = layer->state;
    dni_tensor on = dni_temp_like(b, s->on), d = dni_temp_like(b, s->pos);
    dni_emit_times(b, s->on, b->dy[0], on);
    dni_emit_unary(b, DN_FN_AFFINE, s->share, 0, 0, on, on);
    for (int32_t i = 0; i < 3; i++) {
        if (b->dx[i] == DNI_NONE)
            continue;
        dni_emit_sum2(b, i == 0 ? 1 : -(i == 1), s->pos, i == 0 ? -1 : i == 2, s->neg, d);
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N, s->D, d, on, b->dx[i]);
    }
}

const dni_layer_class dni_layer_triplet_loss = {
    .type = "TripletLoss",
    .own = DNI_OWN(triplet_loss_param),
    .bottoms_min = 3,
    .bottoms_max = 4,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 3,
    .state_size = sizeof(triplet_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
