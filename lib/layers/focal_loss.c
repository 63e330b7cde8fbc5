/* SPDX-License-Identifier: BSD-2-Clause
 * FocalLoss (Lin et al., 2017, for classes): L = -alpha / norm * sum over positions of
 * (1 - p)^gamma log p, p = softmax(x) at the label.
 * focal_loss_param: gamma (2), alpha (0.25), type (ORIGIN; no other). softmax_param: axis (1).
 * loss_param: ignore_label, normalization, as in SoftmaxWithLoss; norm is at least 1.
 * bottoms: x (any shape), labels (one for each position outside the axis). tops: one number;
 * the probabilities (x's shape).
 * Gradient: dx = g (1[label] - softmax), g = -alpha / norm ((1 - p)^gamma - gamma p (1 -
 * p)^(gamma - 1) log p). */
#include <float.h>
#include <math.h>

#include "layers/focal_loss.h"

static const Cnn__FocalLossParameter *param_of(const dni_layer *layer)
{
    return layer->own;
}

/* What the sum is divided by, where labels that are left out do not change it. */
static double constant_norm(const dni_focal *s)
{
    const dn_args_loss *a = &s->loss.args;
    switch (a->normalization) {
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__FULL:
        return (double)s->M;
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID:
        return a->has_ignore ? 1 : (double)s->M;
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE:
        return (double)a->outer;
    default:
        return s->loss.fixed;
    }
}

dn_status dni_focal_shape(dni_layer *layer)
{
    const Cnn__FocalLossParameter *p = param_of(layer);
    dni_focal *s = layer->state;
    dn_status st = dni_softmax_loss_shape(layer);
    if (st)
        return st;
    DNI_REQUIRE(p->type == CNN__FOCAL_LOSS_PARAMETER__TYPE__ORIGIN && p->gamma >= 0,
                DN_E_UNSUPPORTED, "focal_loss_param: only type ORIGIN, and a gamma >= 0");
    s->M = s->loss.args.outer * s->loss.args.inner;
    s->C = s->loss.args.dim;
    s->scale = (p->has_alpha ? p->alpha : 0.25) / fmax(constant_norm(s), 1);
    return DN_OK;
}

/* Probabilities, a row for each position; out: from there to where x has them. */
static void emit_rows(const dni_focal *s, dni_builder *b, dni_tensor from, dni_tensor to,
                      bool out)
{
    const dn_args_loss *l = &s->loss.args;
    dn_args_copy a = {.axes = 3, .dim = {l->outer, s->C, l->inner}, .alpha = 1};
    int64_t *x = out ? a.y_stride : a.x_stride, *rows = out ? a.x_stride : a.y_stride;
    x[0] = s->C * l->inner, x[1] = l->inner, x[2] = 1;
    rows[0] = s->C * l->inner, rows[1] = 1, rows[2] = s->C;
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(from), DNI_TENSORS(to));
}

static dni_tensor unary(dni_builder *b, int32_t fn, double p, double q, double r, dni_tensor x)
{
    dni_tensor y = dni_temp_like(b, x);
    dni_emit_unary(b, fn, p, q, r, x, y);
    return y;
}

/* Which labels count, 1 or 0; the row numbers, 0 where they do not. */
static void emit_labels(dni_focal *s, dni_builder *b)
{
    s->index = b->x[1];
    s->valid = s->norm = DNI_NONE;
    if (!s->loss.args.has_ignore)
        return;
    s->valid = dni_temp(b, b->dtype, 1, &s->M);
    s->index = dni_temp(b, b->dtype, 1, &s->M);
    dni_emit_unary(b, DN_FN_AFFINE, 1, -(double)s->loss.args.ignore_label, 0, b->x[1],
                   s->valid);
    dni_emit_unary(b, DN_FN_ABS, 0, 0, 0, s->valid, s->valid);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0.5, 0, 0, s->valid, s->valid);
    dni_emit_product(b, b->x[1], s->valid, s->index);
    if (s->loss.args.normalization != CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID)
        return;
    s->norm = dni_temp(b, b->dtype, 0, NULL);
    dni_emit_reduce_mid(b, s->M, 1, 1, 1, s->valid, DNI_NONE, s->norm);
    dni_emit_unary(b, DN_FN_CLIP, 1, FLT_MAX, 0, s->norm, s->norm);
}

void dni_focal_forward(dni_layer *layer, dni_builder *b)
{
    dni_focal *s = layer->state;
    const dn_args_loss *l = &s->loss.args;
    dn_args_axis soft = {.outer = l->outer, .dim = l->dim, .inner = l->inner};
    dni_tensor prob = b->num_y > 1 ? b->y[1] : dni_temp_like(b, b->x[0]), part;
    s->rows = dni_temp_like(b, b->x[0]);
    s->p = dni_temp(b, b->dtype, 1, &s->M);
    emit_labels(s, b);
    dni_emit(b, DN_OP_SOFTMAX, &soft, DNI_TENSORS(b->x[0]), DNI_TENSORS(prob));
    emit_rows(s, b, prob, s->rows, false);
    dni_emit_at(b, false, s->M, s->C, s->rows, s->index, s->p);
    dni_emit_unary(b, DN_FN_CLIP, FLT_MIN, 1, 0, s->p, s->p);
    s->log_p = unary(b, DN_FN_LOG, 1, 0, 1, s->p);
    s->q = unary(b, DN_FN_AFFINE, -1, 1, 0, s->p);
    dni_emit_unary(b, DN_FN_CLIP, 1e-10, 1, 0, s->q, s->q); /* its powers below 0 as well */
    part = unary(b, DN_FN_POWER, 1, 0, param_of(layer)->gamma, s->q);
    dni_emit_product(b, part, s->log_p, part);
    if (s->valid != DNI_NONE)
        dni_emit_product(b, part, s->valid, part);
    dni_emit_reduce_mid(b, s->M, 1, 1, -s->scale, part, DNI_NONE, b->y[0]);
    if (s->norm != DNI_NONE)
        dni_emit_bcast(b, DN_BCAST_DIV, 1, 1, 1, b->y[0], s->norm, b->y[0]);
}

void dni_focal_backward(dni_layer *layer, dni_builder *b)
{
    const dni_focal *s = layer->state;
    double gamma = param_of(layer)->gamma;
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor g = unary(b, DN_FN_POWER, 1, 0, gamma, s->q), rows = dni_temp_like(b, s->rows);
    dni_tensor h = unary(b, DN_FN_POWER, 1, 0, gamma - 1, s->q);
    dni_emit_product(b, h, s->log_p, h);
    dni_emit_product(b, h, s->p, h);
    dni_emit_sum2(b, -s->scale, g, s->scale * gamma, h, g);
    if (s->valid != DNI_NONE)
        dni_emit_product(b, g, s->valid, g);
    dni_emit_times(b, g, b->dy[0], g);
    if (s->norm != DNI_NONE)
        dni_emit_bcast(b, DN_BCAST_DIV, s->M, 1, 1, g, s->norm, g);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->M, s->C, s->rows, g, rows);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, rows, rows);
    dni_emit_at(b, true, s->M, s->C, g, s->index, rows);
    emit_rows(s, b, rows, b->dx[0], true);
}

const dni_layer_class dni_layer_focal_loss = {
    .type = "FocalLoss",
    DNI_FOCAL_CLASS,
};
