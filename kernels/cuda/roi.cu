/* SPDX-License-Identifier: BSD-2-Clause
 * roi.cu: ROI_POOL and ROI_POOL_BWD. The gradient is gathered: an element of the map asks the
 * regions which of their bins reach it, so nothing is added twice at once and the order is
 * fixed. A region of no item is noted and left out; the host reads the note. */
#include "grid.cuh"

typedef float real;
#define ROI_FUNCTION DEVICE
#include "../roi.h"

typedef struct roi_args {
    const float *x, *regions; /* x: dy of the gradient */
    float *y;
    int32_t *mask;
    int64_t N, C, R, K;
    int32_t H, W, P, Q, method, samples, add;
    float scale;
    cuda_fault *fault;
} roi_args;

DEVICE roi_axis axis_of(const roi_args *a, float from, float to, int32_t bins, int32_t limit)
{
    return roi_axis_of(a->method, a->samples, a->scale, from, to, bins, limit);
}

DEVICE roi_axis rows_of(const roi_args *a, int64_t r)
{
    return axis_of(a, a->regions[r * 5 + 2], a->regions[r * 5 + 4], a->P, a->H);
}

DEVICE roi_axis columns_of(const roi_args *a, int64_t r)
{
    return axis_of(a, a->regions[r * 5 + 1], a->regions[r * 5 + 3], a->Q, a->W);
}

/* -1: there is none. */
DEVICE int64_t item_of(const roi_args *a, int64_t r)
{
    float item = a->regions[r * 5];
    if (item >= 0 && item < (float)a->N)
        return (int64_t)item;
    note_fault(a->fault, CUDA_FAULT_REGION, r, item, a->N);
    return -1;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* Between an element and the next. One of no share is not looked at: it may be infinite. */
DEVICE double between(const float *at, float share)
{
    return share > 0 ? (double)(1 - share) * at[0] + (double)share * at[1] : at[0];
}

DEVICE float aligned_mean(const roi_args *a, const roi_axis *rows, const roi_axis *columns,
                          int32_t p, int32_t q, const float *x)
{
    double sum = 0;
    int64_t h, w;
    for (int64_t i = 0; i < rows->samples; i++) {
        float v = roi_sample(rows, p, i, &h);
        for (int64_t j = 0; v >= 0 && j < columns->samples; j++) {
            float u = roi_sample(columns, q, j, &w);
            if (u < 0)
                continue;
            const float *at = x + h * a->W + w;
            sum += (double)(1 - v) * between(at, u);
            if (v > 0)
                sum += (double)v * between(at + a->W, u);
        }
    }
    return (float)(sum / ((double)rows->samples * (double)columns->samples));
}

/* The largest of a bin, and where it is; or the mean. */
DEVICE float of_bin(const roi_args *a, const roi_axis *rows, const roi_axis *columns, int32_t p,
                    int32_t q, const float *x, int32_t *which)
{
    int64_t h0, h1, w0, w1;
    float best = -FLT_MAX;
    double sum = 0;
    roi_bin(a->method, rows, p, &h0, &h1);
    roi_bin(a->method, columns, q, &w0, &w1);
    if (h0 >= h1 || w0 >= w1)
        return 0;
    for (int64_t h = h0; h < h1; h++)
        for (int64_t w = w0; w < w1; w++) {
            int32_t at = (int32_t)(h * a->W + w);
            if (a->method != DN_ROI_MAX) {
                sum += x[at];
            } else if (x[at] > best) {
                best = x[at];
                *which = at;
            }
        }
    return a->method == DN_ROI_MAX ? best
                                   : (float)(sum / ((double)(h1 - h0) * (double)(w1 - w0)));
}

/* i: an element of y */
MAP(roi_pool, roi_args)
{
    int64_t row = quotient(i, a->Q), channel = quotient(row, a->P), r = quotient(channel, a->K);
    int32_t q = (int32_t)(i - row * a->Q), p = (int32_t)(row - channel * a->P), which = -1;
    int64_t k = channel - r * a->K, item = item_of(a, r);
    if (item < 0)
        return;
    if (a->method == DN_ROI_PS_AVERAGE)
        k = (k * a->P + p) * a->Q + q;
    roi_axis rows = rows_of(a, r), columns = columns_of(a, r);
    const float *x = a->x + (item * a->C + k) * a->H * a->W;
    a->y[i] = a->method == DN_ROI_ALIGN ? aligned_mean(a, &rows, &columns, p, q, x)
                                        : of_bin(a, &rows, &columns, p, q, x, &which);
    if (a->mask)
        a->mask[i] = which;
}

/* ---- gradient ---------------------------------------------------------------------------- */

/* [*from, *to): bins that may reach element h, by a bin too many on either side. */
DEVICE void bins_near(const roi_axis *v, int32_t h, int32_t bins, int32_t *from, int32_t *to)
{
    float place = (float)h - v->first;
    *from = (int32_t)roi_cut((place - 1) / v->size - 2, bins);
    *to = (int32_t)roi_cut((place + 1) / v->size + 2, bins);
}

/* What element h is to bin k: its share, or 1 within it. */
DEVICE float reach(const roi_args *a, const roi_axis *v, int32_t k, int32_t h)
{
    int64_t from, to;
    float share = 0;
    if (a->method == DN_ROI_ALIGN) {
        for (int64_t i = 0; i < v->samples; i++) {
            float second = roi_sample(v, k, i, &from);
            if (second >= 0 && from == h)
                share += 1 - second;
            else if (second > 0 && from + 1 == h)
                share += second;
        }
        return share / (float)v->samples;
    }
    roi_bin(a->method, v, k, &from, &to);
    if (a->method == DN_ROI_MAX)
        return from <= h && h < to ? 1.0f : 0.0f;
    return from <= h && h < to ? 1 / (float)(to - from) : 0;
}

/* i: an element of dx (y here) */
MAP(roi_pool_bwd, roi_args)
{
    int64_t row = quotient(i, a->W), plane = quotient(row, a->H), n = quotient(plane, a->C);
    int32_t w = (int32_t)(i - row * a->W), h = (int32_t)(row - plane * a->H);
    int64_t c = plane - n * a->C, bins = (int64_t)a->P * a->Q;
    bool own = a->method == DN_ROI_PS_AVERAGE; /* one bin is of this channel */
    int64_t k = own ? quotient(c, bins) : c;
    int32_t own_p = own ? (int32_t)(quotient(c - k * bins, a->Q)) : 0;
    int32_t own_q = own ? (int32_t)(c - k * bins - (int64_t)own_p * a->Q) : 0;
    double sum = 0;
    for (int64_t r = 0; r < a->R; r++) {
        if (item_of(a, r) != n)
            continue;
        roi_axis rows = rows_of(a, r), columns = columns_of(a, r);
        int32_t p0 = own_p, p1 = own_p + 1, q0 = own_q, q1 = own_q + 1;
        if (!own) {
            bins_near(&rows, h, a->P, &p0, &p1);
            bins_near(&columns, w, a->Q, &q0, &q1);
        }
        for (int32_t p = p0; p < p1; p++) {
            float v = reach(a, &rows, p, h);
            for (int32_t q = q0; v > 0 && q < q1; q++) {
                int64_t at = (r * a->K + k) * bins + (int64_t)p * a->Q + q;
                bool here = !a->mask || a->mask[at] == h * a->W + w;
                float u = here ? reach(a, &columns, q, w) : 0;
                sum += u > 0 ? (double)v * u * a->x[at] : 0;
            }
        }
    }
    put_wide(&a->y[i], a->add, sum);
}

/* ---- both -------------------------------------------------------------------------------- */

static roi_args args_of(const dn_op *op, const dn_op_io *io, const cuda_operand *map,
                        const cuda_operand *pooled)
{
    const dn_args_roi *p = &op->args.roi;
    const int64_t *x = map->info.shape.dim, *y = pooled->info.shape.dim;
    roi_args a = {cuda_in(op, io, 0),
                  cuda_in(op, io, 1),
                  cuda_out(op, io, 0),
                  NULL,
                  x[0],
                  x[1],
                  y[0],
                  y[1],
                  (int32_t)x[2],
                  (int32_t)x[3],
                  (int32_t)y[2],
                  (int32_t)y[3],
                  p->method,
                  p->samples,
                  cuda_adds(op, 0),
                  (float)p->scale,
                  op->backend->fault};
    return a;
}

static dn_status prepare(dn_op *op, dn_op_info *info)
{
    const cuda_operand *pooled = op->kind == &cuda_roi_pool ? &op->out[0] : &op->in[0];
    const int64_t *y = pooled->info.shape.dim;
    if (y[2] > INT32_MAX / 2 || y[3] > INT32_MAX / 2)
        return cuda_decline(info, "more than 2^30 bins");
    return DN_OK;
}

static dn_status run_roi_pool(const dn_op *op, const dn_op_io *io)
{
    roi_args a = args_of(op, io, &op->in[0], &op->out[0]);
    a.mask = (int32_t *)cuda_out(op, io, 1);
    roi_pool(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_roi_pool = {"ROI_POOL", sizeof(dn_args_roi), prepare, run_roi_pool};

static dn_status run_roi_pool_bwd(const dn_op *op, const dn_op_io *io)
{
    roi_args a = args_of(op, io, &op->out[0], &op->in[0]);
    a.mask = (int32_t *)cuda_in(op, io, 2);
    roi_pool_bwd(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_roi_pool_bwd = {"ROI_POOL_BWD", sizeof(dn_args_roi), prepare,
                                     run_roi_pool_bwd};
