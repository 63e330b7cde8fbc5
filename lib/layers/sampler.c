/* SPDX-License-Identifier: BSD-2-Clause
 * sampler.c: see sampler.h. A bottom becomes a table of its pixels, each with its channels,
 * whose planes have a border of zeros: the four pixels around a place are four gathers wherever
 * it lies, and their gradient is four scatters. */
#include "layers/sampler.h"

#include <math.h>
#include <string.h>

/* Between images and tables of pixels, whose planes may have borders: 1 before, 2 after. */
static void turn(const dni_sampler *s, dni_builder *b, bool bordered, bool back, dni_tensor x,
                 dni_tensor y)
{
    int64_t H = bordered ? s->H : s->P, W = bordered ? s->W : s->Q, wide = W + 3 * bordered;
    int64_t table[4] = {(H + 3 * bordered) * wide * s->C, 1, wide * s->C, s->C};
    dn_args_copy a = {.axes = 4,
                      .dim = {s->N, s->C, H, W},
                      .x_stride = {s->C * H * W, H * W, W, 1},
                      .x_offset = 0,
                      .y_offset = bordered ? (wide + 1) * s->C : 0,
                      .alpha = 1};
    memcpy(a.y_stride, table, sizeof table);
    if (back) {
        memcpy(a.y_stride, a.x_stride, sizeof table);
        memcpy(a.x_stride, table, sizeof table);
        a.x_offset = a.y_offset, a.y_offset = 0;
    }
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static dni_tensor table(const dni_sampler *s, dni_builder *b, bool bordered)
{
    int64_t rows = bordered ? (s->H + 3) * (s->W + 3) : s->P * s->Q;
    return dni_temp(b, b->dtype, 3, (int64_t[]){s->N, rows, s->C});
}

/* 1 where the place is in the bottom along axis d, else 0. */
static void emit_inside(const dni_sampler *s, dni_builder *b, int d, dni_tensor y)
{
    double L = (double)(d ? s->W : s->H);
    dni_tensor below = dni_temp_like(b, y);
    dni_emit_unary(b, DN_FN_THRESHOLD, nextafterf(1, 0), 0, 0, s->at[d], y);
    dni_emit_unary(b, DN_FN_AFFINE, -1, L + 1, 0, s->at[d], below);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, below, below);
    dni_emit_product(b, y, below, y);
}

/* The places along axis d: whole, and the rest. */
static dni_tensor part(dni_sampler *s, dni_builder *b, int d)
{
    double low = s->inside, high = (double)(d ? s->W : s->H) + !s->inside;
    dni_tensor whole = dni_temp_like(b, s->at[d]), cut = dni_temp_like(b, s->at[d]);
    dni_tensor number = dni_temp(b, DN_I32, 2, (int64_t[]){s->N, s->P * s->Q});
    s->part[d][0] = dni_temp_like(b, cut), s->part[d][1] = dni_temp_like(b, cut);
    dni_emit_unary(b, DN_FN_CLIP, low, high, 0, s->at[d], cut);
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(cut), DNI_TENSORS(number));
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(number), DNI_TENSORS(whole));
    dni_emit_sum2(b, 1, cut, -1, whole, s->part[d][1]);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 1, 0, s->part[d][1], s->part[d][0]);
    return whole;
}

static dn_args_gather rows(const dni_sampler *s)
{
    return (dn_args_gather){
        .count = s->P * s->Q, .cols = s->C, .limit = (s->H + 3) * (s->W + 3), .batch = s->N};
}

void dni_sampler_forward(dni_sampler *s, dni_builder *b, dni_tensor image, dni_tensor top)
{
    dni_tensor x = table(s, b, true), y = table(s, b, false), product = table(s, b, false);
    dni_tensor row = part(s, b, 0), column = part(s, b, 1);
    dn_args_gather a = rows(s);
    dni_emit_fill(b, x, 0);
    turn(s, b, true, false, image, x);
    dni_emit_sum2(b, (double)(s->W + 3), row, 1, column, row);
    if (s->inside) {
        s->mask = dni_temp_like(b, row);
        emit_inside(s, b, 0, s->mask);
        emit_inside(s, b, 1, column);
        dni_emit_product(b, s->mask, column, s->mask);
    }
    for (int k = 0; k < 4; k++) {
        double corner = (double)(k / 2 * (s->W + 3) + k % 2);
        s->index[k] = dni_temp_like(b, row);
        s->near[k] = table(s, b, false);
        s->weight[k] = dni_temp_like(b, row);
        dni_emit_unary(b, DN_FN_AFFINE, 1, corner, 0, row, s->index[k]);
        dni_emit(b, DN_OP_GATHER, &a, DNI_TENSORS(x, s->index[k]), DNI_TENSORS(s->near[k]));
        dni_emit_product(b, s->part[0][k / 2], s->part[1][k % 2], s->weight[k]);
        if (s->inside)
            dni_emit_product(b, s->weight[k], s->mask, s->weight[k]);
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N * s->P * s->Q, s->C, s->near[k], s->weight[k],
                       k ? product : y);
        if (k)
            dni_emit_sum2(b, 1, y, 1, product, y);
    }
    turn(s, b, false, true, y, top);
}

static void backward_image(const dni_sampler *s, dni_builder *b, dni_tensor dy,
                           dni_tensor image)
{
    dni_tensor dx = table(s, b, true), product = table(s, b, false);
    dn_args_gather a = rows(s);
    for (int k = 0; k < 4; k++) {
        a.base.accumulate = k > 0;
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->N * s->P * s->Q, s->C, dy, s->weight[k], product);
        dni_emit(b, DN_OP_SCATTER_ADD, &a, DNI_TENSORS(product, s->index[k]), DNI_TENSORS(dx));
    }
    turn(s, b, true, true, dx, image);
}

static void backward_places(const dni_sampler *s, dni_builder *b, dni_tensor dy,
                            dni_tensor dat[2])
{
    dni_tensor sum[4], t = dni_temp_like(b, s->at[0]);
    for (int k = 0; k < 4; k++) {
        sum[k] = dni_temp_like(b, t);
        dni_emit_reduce_mid(b, 1, s->N * s->P * s->Q, s->C, 1, dy, s->near[k], sum[k]);
    }
    for (int d = 0; d < 2; d++) {
        double low = s->inside, high = (double)(d ? s->W : s->H) + !s->inside;
        if (s->inside) /* on the last pixel: to the edge it is constant */
            high = nextafterf((float)high, 0);
        dni_tensor slope = dat[d] = dni_temp_like(b, t);
        /* the corners on one side of the other axis */
        for (int other = 0; other < 2; other++) {
            int after = d ? 2 * other + 1 : 2 + other, before = d ? 2 * other : other;
            dni_emit_sum2(b, 1, sum[after], -1, sum[before], t);
            dni_emit_product(b, t, s->part[1 - d][other], other ? t : slope);
        }
        dni_emit_sum2(b, 1, slope, 1, t, slope);
        if (s->inside)
            dni_emit_product(b, slope, s->mask, slope);
        dni_emit_unary_bwd(b, DN_FN_CLIP, low, high, 0, s->at[d], DNI_NONE, slope, slope);
    }
}

void dni_sampler_backward(const dni_sampler *s, dni_builder *b, dni_tensor dy, dni_tensor image,
                          dni_tensor dat[2])
{
    dni_tensor rows_of_dy = table(s, b, false);
    turn(s, b, false, false, dy, rows_of_dy);
    if (dat)
        backward_places(s, b, rows_of_dy, dat);
    if (image != DNI_NONE)
        backward_image(s, b, rows_of_dy, image);
}
