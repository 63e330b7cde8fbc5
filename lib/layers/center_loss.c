/* SPDX-License-Identifier: BSD-2-Clause
 * CenterLoss (Wen et al., 2016): L = 1/(2 N) sum |x_i - c[label_i]|^2, each class with a
 * learned centre c; with distance_type "L1" 1/N sum |x_i - c[label_i]|.
 * center_loss_param: num_output (the classes; required), center_filler (constant 0), axis (1:
 * values from it on are one feature), distance_type ("L2").
 * bottoms: x (N, ...), labels (N); top: one number; weights: c (num_output, values).
 * Gradient: dx_i = (x_i - c) / N; that of a centre is its mean step, dc_k = sum of (c_k - x_i)
 * over label_i = k / (1 + their number), whatever the loss weighs; L1: of the signs. */
#include <string.h>

#include "layers/loss.h"

typedef struct center_state {
    dn_args_gather rows;
    bool l1;
    dni_tensor d; /* x - c[label], or its sign: while lowering */
} center_state;

static dn_status values_of(const dni_layer *layer, int64_t *out)
{
    int32_t axis;
    dn_status st =
        dni_layer_axis(layer, 0, layer->param->center_loss_param->axis, "axis", &axis);
    if (!st)
        *out = dni_shape_range(&layer->bottom[0], axis, layer->bottom[0].axes);
    return st;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__CenterLossParameter *p = layer->param->center_loss_param;
    center_state *s = layer->state;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET, "center_loss_param needs num_output");
    s->l1 = p->distance_type && !strcmp(p->distance_type, "L1");
    DNI_REQUIRE(s->l1 || !p->distance_type || !strcmp(p->distance_type, "L2"), DN_E_NET,
                "distance_type is '%s', not L1 or L2", p->distance_type);
    s->rows.limit = p->num_output;
    dn_status st = values_of(layer, &s->rows.cols);
    if (st)
        return st;
    dni_shape c = dni_shape_of(2, (int64_t[]){s->rows.limit, s->rows.cols});
    return dni_declare_weight(layer, &c, p->center_filler);
}

static dn_status shape(dni_layer *layer)
{
    center_state *s = layer->state;
    int64_t values;
    dn_status st = values_of(layer, &values);
    if (st)
        return st;
    DNI_REQUIRE(values == s->rows.cols, DN_E_SHAPE,
                "bottom 0 has features of %lld values, the centres were made for %lld",
                (long long)values, (long long)s->rows.cols);
    s->rows.count = values ? dni_shape_count(&layer->bottom[0]) / values : 0;
    DNI_REQUIRE(s->rows.count > 0 && dni_shape_count(&layer->bottom[1]) == s->rows.count,
                DN_E_SHAPE, "bottom 1 has %lld labels, one for each of %lld features is needed",
                (long long)dni_shape_count(&layer->bottom[1]), (long long)s->rows.count);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    center_state *s = layer->state;
    s->d = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_GATHER, &s->rows, DNI_TENSORS(b->w[0], b->x[1]), DNI_TENSORS(s->d));
    dni_emit_sum2(b, 1, b->x[0], -1, s->d, s->d);
    dni_emit_reduce(b, s->l1 ? DN_REDUCE_ASUM : DN_REDUCE_SUMSQ, 1,
                    s->rows.count * s->rows.cols, 1, (s->l1 ? 1 : 0.5) / (double)s->rows.count,
                    s->d, DNI_NONE, b->y[0]);
    if (s->l1)
        dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, s->d, s->d);
}

static void centres_backward(const center_state *s, dni_builder *b)
{
    dn_args_gather tally = {.count = s->rows.count, .cols = 1, .limit = s->rows.limit};
    dni_tensor ones = dni_temp(b, b->dtype, 1, &s->rows.count);
    dni_tensor sizes = dni_temp(b, b->dtype, 1, &s->rows.limit);
    dni_tensor minus = dni_temp_like(b, s->d), sums = dni_temp_like(b, b->w[0]);
    dni_emit_fill(b, ones, 1);
    dni_emit(b, DN_OP_SCATTER_ADD, &tally, DNI_TENSORS(ones, b->x[1]), DNI_TENSORS(sizes));
    dni_emit_unary(b, DN_FN_AFFINE, 1, 1, 0, sizes, sizes);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, s->d, minus);
    dni_emit(b, DN_OP_SCATTER_ADD, &s->rows, DNI_TENSORS(minus, b->x[1]), DNI_TENSORS(sums));
    dni_emit_bcast(b, DN_BCAST_DIV, 1, s->rows.limit, s->rows.cols, sums, sizes, b->dw[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const center_state *s = layer->state;
    if (b->dw[0] != DNI_NONE)
        centres_backward(s, b);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor g = dni_temp_like(b, s->d);
    dni_emit_unary(b, DN_FN_AFFINE, 1 / (double)s->rows.count, 0, 0, s->d, g);
    dni_emit_times(b, g, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_center_loss = {
    .type = "CenterLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(center_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
