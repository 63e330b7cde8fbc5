/* SPDX-License-Identifier: BSD-2-Clause
 * L1Loss (NVCaffe, FlowNet): L = 1/N sum |d|, d = a - b, or a alone. l1_loss_param (FlowNet
 * 2's; without it NVCaffe's L1Loss): where d is NaN it counts as 0, and where |d| is below
 * plateau (0); normalize_by_num_entries (false): N is the number that is not NaN, by channels;
 * l2_per_location (false): L = 1/N sum (epsilon (1e-2) + sum of d^2 over the channels)^power
 * (0.5: LiteFlowNet's) over the places, with l2_prescale_by_channels (false) their mean, and
 * plateau is of its root. bottoms: a, [b] of one count; N is a's first length; top: one number.
 * Gradient: da = -db = sign(d) / N, 0's sign being 0, with l1_loss_param -1. */
#include "layers/known.h"

typedef struct l1_state {
    int64_t outer, C, inner;
    double by_channels;
    bool places;        /* l2_per_location */
    dni_known d, sum;   /* value: d; of places, the sums of squares. While lowering, */
    dni_tensor entries; /* ... with the number of values that are not NaN */
} l1_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__L1LossParameter *p = layer->param->l1_loss_param;
    const dni_shape *a = &layer->bottom[0];
    l1_state *s = layer->state;
    s->places = p && p->l2_per_location;
    DNI_REQUIRE(a->axes > s->places, DN_E_SHAPE,
                "a bottom of one axis has no places for l2_per_location");
    s->outer = a->dim[0];
    s->C = a->axes > 1 ? a->dim[1] : 1;
    s->inner = dni_shape_range(a, a->axes > 1 ? 2 : 1, a->axes);
    s->by_channels = p && p->l2_prescale_by_channels ? 1 / (double)s->C : 1;
    layer->top[0] = dni_shape_of(0, NULL);
    return dni_same_counts(layer);
}

static void total(dni_builder *b, int32_t op, double alpha, dni_tensor x, dni_tensor y)
{
    dni_emit_reduce(b, op, 1, dni_tensor_count(b, x), 1, alpha, x, DNI_NONE, y);
}

/* Of the places, (outer, inner): the sums of squares. */
static void squares(const l1_state *s, dni_builder *b, dni_tensor x, dni_tensor y)
{
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, s->outer, s->C, s->inner, s->by_channels, x, DNI_NONE,
                    y);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__L1LossParameter *p = layer->param->l1_loss_param;
    l1_state *s = layer->state;
    double each = 1.0 / (double)s->outer;
    dni_tensor d = dni_temp_like(b, b->x[0]);
    if (layer->num_bottoms > 1)
        dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], d);
    else
        dni_emit_copy(b, b->x[0], d);
    s->d.value = d;
    s->entries = DNI_NONE;
    if (!p) {
        total(b, DN_REDUCE_ASUM, each, d, b->y[0]);
        return;
    }
    s->d = dni_emit_known(b, d, 0);
    if (p->normalize_by_num_entries) {
        s->entries = dni_temp_like(b, b->y[0]);
        total(b, DN_REDUCE_SUM, 1 / (double)s->C, s->d.one, s->entries);
        dni_emit_unary(b, DN_FN_CLIP, 1 / (double)s->C, 1e30, 0, s->entries, s->entries);
        each = 1;
    }
    if (s->places) {
        dni_tensor root = dni_temp(b, b->dtype, 2, (int64_t[]){s->outer, s->inner});
        squares(s, b, s->d.value, root);
        s->sum = dni_emit_known(b, root, p->plateau * p->plateau);
        dni_emit_unary(b, DN_FN_POWER, 1, p->epsilon, p->power, s->sum.value, root);
        total(b, DN_REDUCE_SUM, each, root, b->y[0]);
    } else {
        if (p->plateau > 0)
            s->d = dni_emit_known(b, s->d.value, p->plateau);
        total(b, DN_REDUCE_ASUM, each, s->d.value, b->y[0]);
    }
    if (s->entries != DNI_NONE)
        dni_emit_bcast(b, DN_BCAST_DIV, 1, 1, 1, b->y[0], s->entries, b->y[0]);
}

/* g: the gradient to d of the sum */
static void backward_sum(const dni_layer *layer, dni_builder *b, dni_tensor g)
{
    const Cnn__L1LossParameter *p = layer->param->l1_loss_param;
    const l1_state *s = layer->state;
    if (!p) {
        dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, s->d.value, g);
        return;
    }
    dni_tensor t = dni_temp_like(b, g);
    if (!s->places) {
        dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, s->d.value, t);
        dni_emit_unary(b, DN_FN_AFFINE, 2, -1, 0, t, t);
        dni_emit_where(b, t, s->d.mask, g);
        return;
    }
    dni_tensor slope = dni_temp_like(b, s->sum.value), kept = dni_temp_like(b, s->sum.value);
    dni_emit_fill(b, kept, 1);
    dni_emit_unary_bwd(b, DN_FN_POWER, 1, p->epsilon, p->power, s->sum.value, DNI_NONE, kept,
                       slope);
    dni_emit_where(b, slope, s->sum.mask, kept);
    dni_emit_spread(b, s->outer, s->C, s->inner, 2 * s->by_channels, kept, t);
    dni_emit_product(b, s->d.value, t, t);
    dni_emit_where(b, t, s->d.mask, g); /* a slope at 0 may be infinite */
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const l1_state *s = layer->state;
    dni_tensor g = dni_temp_like(b, b->x[0]), dy = b->dy[0];
    double each = 1.0 / (double)s->outer;
    backward_sum(layer, b, g);
    if (s->entries != DNI_NONE) {
        each = 1;
        dy = dni_temp_like(b, dy);
        dni_emit_bcast(b, DN_BCAST_DIV, 1, 1, 1, b->dy[0], s->entries, dy);
    }
    dni_emit_times(b, g, dy, g);
    dni_emit_unary(b, DN_FN_AFFINE, each, 0, 0, g, b->dx[0]);
    if (layer->num_bottoms > 1)
        dni_emit_unary(b, DN_FN_AFFINE, -each, 0, 0, g, b->dx[1]);
}

const dni_layer_class dni_layer_l1_loss = {
    .type = "L1Loss",
    .bottoms_min = 1,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .state_size = sizeof(l1_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
