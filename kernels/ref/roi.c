/* SPDX-License-Identifier: BSD-2-Clause
 * roi.c: ROI_POOL and ROI_POOL_BWD: bins of regions. Regions come as data: each item number is
 * checked before anything is written, and whatever the corners are, a bin is cut to the map. */
#include "../label.h"
#include "ref.h"

#include "../roi.h"

typedef struct roi {
    roi_axis axis[2]; /* rows, columns */
    int64_t item;
} roi;

static bool roi_of(const dn_op *op, const real *regions, int64_t r, const dn_shape *x,
                   const dn_shape *y, roi *out)
{
    const dn_args_roi *a = &op->args.roi;
    const real *at = regions + r * 5;
    if (!(at[0] >= 0 && at[0] < (real)x->dim[0]))
        return false;
    out->item = (int64_t)at[0];
    for (int d = 0; d < 2; d++)
        out->axis[d] = roi_axis_of(a->method, a->samples, (real)a->scale, at[2 - d], at[4 - d],
                                   y->dim[2 + d], x->dim[2 + d]);
    return true;
}

/* Element *at that bin k is made of, the tap-th, and its share of the mean; false: past the
 * last. A sample has two taps: the elements about it. */
static bool tap_of(int32_t method, const roi_axis *v, int64_t k, int64_t tap, int64_t *at,
                   double *share)
{
    int64_t to = 0;
    if (method != DN_ROI_ALIGN) {
        roi_bin(method, v, k, at, &to);
        *share = 1 / (double)(to - *at);
        *at += tap;
        return *at < to;
    }
    real second = roi_sample(v, k, tap / 2, at);
    *share = (second < 0 ? 0 : tap % 2 ? second : 1 - second) / (double)v->samples;
    *at += tap % 2;
    return tap < 2 * v->samples;
}

/* Bin p, q of a plane: the first largest, with its index, or the mean. Or dx gets the gradient
 * of a mean. */
static double bin_value(int32_t method, const roi *at, int64_t p, int64_t q, const real *x,
                        int32_t *which, double *dx, double dy)
{
    int64_t h, w;
    double v, u, sum = 0;
    real best = -FLT_MAX;
    bool any = false;
    for (int64_t i = 0; tap_of(method, &at->axis[0], p, i, &h, &v); i++)
        for (int64_t j = 0; tap_of(method, &at->axis[1], q, j, &w, &u); j++) {
            int64_t from = h * at->axis[1].limit + w;
            any = true;
            if (v * u == 0)
                continue;
            if (dx)
                dx[from] += dy * v * u;
            else if (method != DN_ROI_MAX)
                sum += v * u * x[from];
            else if (x[from] > best)
                best = x[from], *which = (int32_t)from;
        }
    return method == DN_ROI_MAX && any ? best : sum;
}

/* The channel of x that bin b of channel k of y is of. */
static int64_t channel_of(const dn_op *op, int64_t k, int64_t b, int64_t bins)
{
    return op->args.roi.method == DN_ROI_PS_AVERAGE ? k * bins + b : k;
}

static dn_status check_rois(const dn_op *op, const ref_operand *map, const ref_operand *pooled)
{
    const dn_args_roi *a = &op->args.roi;
    const dn_shape *x = &map->info.shape, *y = &pooled->info.shape;
    bool channels = a->method == DN_ROI_PS_AVERAGE;
    if (a->method < DN_ROI_MAX || a->method > DN_ROI_ALIGN || a->samples < 0)
        return ref_fail(op, DN_E_INVALID, "there is no method %d with %d samples",
                        (int)a->method, (int)a->samples);
    if (x->axes != 4 || y->axes != 4 || x->dim[2] < 1 || x->dim[3] < 1 ||
        x->dim[2] * x->dim[3] > INT32_MAX || y->dim[2] < 1 || y->dim[3] < 1 ||
        x->dim[1] != (channels ? y->dim[1] * y->dim[2] * y->dim[3] : y->dim[1]))
        return ref_fail(op, DN_E_SHAPE, "x and y of method %d do not go together",
                        (int)a->method);
    return ref_need_in(op, 1, y->dim[0] * 5);
}

static dn_status check_regions(const dn_op *op, const real *regions, const dn_shape *x,
                               const dn_shape *y)
{
    roi at;
    for (int64_t r = 0; r < y->dim[0]; r++)
        if (!roi_of(op, regions, r, x, y, &at))
            return region_fail(op->host, r, x->dim[0]);
    return DN_OK;
}

static dn_status check_roi_pool(dn_op *op)
{
    REF_TRY(check_rois(op, &op->in[0], &op->out[0]));
    if (ref_has_out(op, 1) && op->args.roi.method != DN_ROI_MAX)
        return ref_fail(op, DN_E_INVALID, "method %d has no mask", (int)op->args.roi.method);
    return ref_need_out(op, 1, op->out[0].count);
}

dn_status REF(ref_run_roi_pool)(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *x = &op->in[0].info.shape, *y = &op->out[0].info.shape;
    int64_t K = y->dim[1], Q = y->dim[3], bins = y->dim[2] * Q, W = x->dim[3];
    int32_t method = op->args.roi.method, *mask = ref_out(op, io, 1);
    REF_TRY(check_regions(op, io->in[1], x, y));
    for (int64_t i = 0; i < op->out[0].count; i++) {
        int64_t r = i / bins / K, k = i / bins % K, b = i % bins;
        int32_t which = -1;
        roi at;
        roi_of(op, io->in[1], r, x, y, &at);
        const real *plane = (const real *)io->in[0] +
                            (at.item * x->dim[1] + channel_of(op, k, b, bins)) * x->dim[2] * W;
        double value = bin_value(method, &at, b / Q, b % Q, plane, &which, NULL, 0);
        ((real *)io->out[0])[i] = (real)value;
        if (mask)
            mask[i] = which;
    }
    return DN_OK;
}

REF_KIND(roi_pool) = {"ROI_POOL", "TT:Tm",        sizeof(dn_args_roi),
                      0,          check_roi_pool, REF_RUNS(roi_pool)};

static dn_status check_roi_pool_bwd(dn_op *op)
{
    REF_TRY(check_rois(op, &op->out[0], &op->in[0]));
    if (ref_has_in(op, 2) != (op->args.roi.method == DN_ROI_MAX))
        return ref_fail(op, DN_E_INVALID, "method %d and the mask do not go together",
                        (int)op->args.roi.method);
    op->scratch =
        (size_t)(op->out[0].info.shape.dim[2] * op->out[0].info.shape.dim[3]) * sizeof(double);
    return ref_need_in(op, 2, op->in[0].count);
}

/* What region r adds to the gradient of channel c of its item. */
static void add_region(const dn_op *op, const dn_op_io *io, const roi *at, int64_t r, int64_t c,
                       double *dx)
{
    const dn_shape *y = &op->in[0].info.shape;
    int64_t K = y->dim[1], Q = y->dim[3], bins = y->dim[2] * Q;
    const int32_t *mask = ref_in(op, io, 2);
    bool own = op->args.roi.method == DN_ROI_PS_AVERAGE;
    int64_t first = own ? c % bins : 0, k = own ? c / bins : c;
    for (int64_t b = first; b < (own ? first + 1 : bins); b++) {
        int64_t i = (r * K + k) * bins + b;
        double dy = ((const real *)io->in[0])[i];
        if (!mask)
            bin_value(op->args.roi.method, at, b / Q, b % Q, NULL, NULL, dx, dy);
        else if (mask[i] >= 0)
            dx[mask[i]] += dy;
    }
}

dn_status REF(ref_run_roi_pool_bwd)(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *x = &op->out[0].info.shape, *y = &op->in[0].info.shape;
    int64_t plane = x->dim[2] * x->dim[3];
    double *sum = io->scratch;
    REF_TRY(check_regions(op, io->in[1], x, y));
    for (int64_t c = 0; c < x->dim[0] * x->dim[1]; c++) {
        roi at;
        for (int64_t i = 0; i < plane; i++)
            sum[i] = 0;
        for (int64_t r = 0; r < y->dim[0]; r++)
            if (roi_of(op, io->in[1], r, x, y, &at) && at.item == c / x->dim[1])
                add_region(op, io, &at, r, c % x->dim[1], sum);
        for (int64_t i = 0; i < plane; i++)
            put((real *)io->out[0] + c * plane + i, ref_adds(op, 0), sum[i]);
    }
    return DN_OK;
}

REF_KIND(roi_pool_bwd) = {"ROI_POOL_BWD",      "TTm:T",
                          sizeof(dn_args_roi), 1,
                          check_roi_pool_bwd,  REF_RUNS(roi_pool_bwd)};
