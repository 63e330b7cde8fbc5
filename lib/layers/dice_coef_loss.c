/* SPDX-License-Identifier: BSD-2-Clause
 * DiceCoefLoss: L = 1 - 1/N sum over items of r, r = (2 a.b + 1) / (a.a + b.b + 1). No
 * parameters. bottoms: a, b (N, ...) of one count; top: one number.
 * Gradient, its authors' own, that of N L: da = 2 (r a - b) / (a.a + b.b + 1); db likewise. */
#include "layers/loss.h"

typedef struct dice_state {
    int64_t N, K;
    dni_tensor r, size; /* (N), while lowering */
} dice_state;

static dn_status shape(dni_layer *layer)
{
    dice_state *s = layer->state;
    dn_status st = dni_loss_check_items(layer);
    if (!st)
        st = dni_same_counts(layer);
    if (st)
        return st;
    s->N = layer->bottom[0].dim[0];
    s->K = dni_shape_range(&layer->bottom[0], 1, layer->bottom[0].axes);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

/* alpha x.y + 1 of every item; y NONE: x.x */
static dni_tensor dots(const dice_state *s, dni_builder *b, double alpha, dni_tensor x,
                       dni_tensor y)
{
    dni_tensor out = dni_temp(b, b->dtype, 1, &s->N);
    dni_emit_reduce(b, y == DNI_NONE ? DN_REDUCE_SUMSQ : DN_REDUCE_DOT, s->N, s->K, 1, alpha, x,
                    y, out);
    dni_emit_unary(b, DN_FN_AFFINE, 1, y == DNI_NONE ? 0.5 : 1, 0, out, out);
    return out;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dice_state *s = layer->state;
    dni_tensor a2 = dots(s, b, 1, b->x[0], DNI_NONE), b2 = dots(s, b, 1, b->x[1], DNI_NONE);
    s->size = dni_temp_like(b, a2);
    dni_emit_sum2(b, 1, a2, 1, b2, s->size);
    s->r = dots(s, b, 2, b->x[0], b->x[1]);
    dni_emit_pair(b, DN_ELTWISE_DIV, s->r, s->size, s->r);
    dni_emit_reduce_mid(b, s->N, 1, 1, -1 / (double)s->N, s->r, DNI_NONE, b->y[0]);
    dni_emit_unary(b, DN_FN_AFFINE, 1, 1, 0, b->y[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dice_state *s = layer->state;
    for (int i = 0; i < 2; i++) {
        if (b->dx[i] == DNI_NONE)
            continue;
        dni_tensor g = dni_temp_like(b, b->x[i]);
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N, s->K, b->x[i], s->r, g);
        dni_emit_sum2(b, 2, g, -2, b->x[1 - i], g);
        dni_emit_bcast(b, DN_BCAST_DIV, 1, s->N, s->K, g, s->size, g);
        dni_emit_times(b, g, b->dy[0], b->dx[i]);
    }
}

const dni_layer_class dni_layer_dice_coef_loss = {
    .type = "DiceCoefLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .state_size = sizeof(dice_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
