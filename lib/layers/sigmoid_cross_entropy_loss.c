/* SPDX-License-Identifier: BSD-2-Clause
 * SigmoidCrossEntropyLoss: L = -1/Z sum t log s(x) + (1 - t) log(1 - s(x)), s the sigmoid.
 * loss_param: ignore_label (none): elements whose target is that number do not count;
 * normalization (BATCH_SIZE): FULL: Z is the number of elements, VALID: of those that count,
 * BATCH_SIZE: of items, NONE: 1; the older normalize: true means VALID, false BATCH_SIZE.
 * bottoms: x (N, ...), targets, [weights w], all of one count; top: one number. With weights
 * (MNC) each element counts w times, Z is their sum, or 1 where that is not above 0, and there
 * is no loss_param. Gradient: w (s(x) - t) / Z; none to the targets and weights. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    dni_loss *s = layer->state;
    dn_status st = dni_loss_read(s, layer->param->loss_param,
                                 CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE);
    if (st)
        return st;
    DNI_REQUIRE(layer->num_bottoms < 3 || !layer->param->loss_param, DN_E_UNSUPPORTED,
                "there is no loss_param beside weights");
    st = dni_same_counts(layer);
    return st ? st : dni_loss_per_item(layer, DN_LOSS_SIGMOID_CE, false);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_loss *s = layer->state;
    if (b->num_x < 3) {
        dni_loss_lower(layer, b);
        return;
    }
    int64_t count = dni_tensor_count(b, b->x[0]);
    dni_tensor l = dni_temp_like(b, b->x[0]), tx = dni_temp_like(b, b->x[0]);
    dni_tensor none = dni_temp(b, b->dtype, 0, NULL);
    s->norm = dni_temp(b, b->dtype, 0, NULL);
    dni_emit_unary(b, DN_FN_BNLL, 0, 0, 0, b->x[0], l);
    dni_emit_product(b, b->x[0], b->x[1], tx);
    dni_emit_sum2(b, 1, l, -1, tx, l);
    dni_emit_reduce_mid(b, count, 1, 1, 1, l, b->x[2], b->y[0]);
    dni_emit_reduce_mid(b, count, 1, 1, 1, b->x[2], DNI_NONE, s->norm);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, s->norm, none);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 1, 0, none, none);
    dni_emit_pair(b, DN_ELTWISE_MAX, s->norm, none, s->norm);
    dni_emit_pair(b, DN_ELTWISE_DIV, b->y[0], s->norm, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_loss *s = layer->state;
    if (b->num_x < 3) {
        dni_loss_lower_back(layer, b);
        return;
    }
    dni_tensor g = dni_temp_like(b, b->x[0]), share = dni_temp(b, b->dtype, 0, NULL);
    dni_emit_unary(b, DN_FN_SIGMOID, 0, 0, 0, b->x[0], g);
    dni_emit_sum2(b, 1, g, -1, b->x[1], g);
    dni_emit_product(b, g, b->x[2], g);
    dni_emit_pair(b, DN_ELTWISE_DIV, b->dy[0], s->norm, share);
    dni_emit_times(b, g, share, b->dx[0]);
}

const dni_layer_class dni_layer_sigmoid_cross_entropy_loss = {
    .type = "SigmoidCrossEntropyLoss",
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1 | 1u << 2,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
