/* SPDX-License-Identifier: BSD-2-Clause
 * roi.c: ROI_POOL and its gradient: what the bins of a region are made of is put in tables, one
 * for rows and one for columns, which then serve many channels. Gradients of an item's regions
 * are added in their order. */
#include <float.h>
#include <string.h>

#include "../label.h"
#include "cpu.h"

typedef float real;
#include "../roi.h"

enum { CHANNELS = 32, MOST_TAPS = 1 << 24 };

typedef struct tap { /* an element's row or column, and its share of the mean */
    int32_t at;
    float share;
} tap;

typedef struct roi_op {
    dn_op base;
    dn_args_roi a;
    bool back;
    int64_t N, C, R, K, pieces;         /* pieces of the channels: of y's, backward of x's */
    int64_t limit[2], bins[2], most[2]; /* rows, columns: of x, of y; taps of a bin */
} roi_op;

typedef struct roi_call {
    const roi_op *op;
    const float *regions;
    float *x, *y; /* dx, dy */
    int32_t *mask;
    tap *taps;
} roi_call;

/* Of each bin: taps[k * most], ended by at -1 if there are fewer. */
static void lay_taps(const roi_op *op, int d, const float *region, tap *taps)
{
    const dn_args_roi *a = &op->a;
    roi_axis v = roi_axis_of(a->method, a->samples, (float)a->scale, region[2 - d],
                             region[4 - d], op->bins[d], op->limit[d]);
    for (int64_t k = 0; k < op->bins[d]; k++, taps += op->most[d]) {
        int64_t n = 0, from = 0, to = 0;
        if (a->method != DN_ROI_ALIGN)
            for (roi_bin(a->method, &v, k, &from, &to); from + n < to; n++)
                taps[n] = (tap){(int32_t)(from + n), 1 / (float)(to - from)};
        for (int64_t i = 0; a->method == DN_ROI_ALIGN && i < v.samples; i++) {
            float second = roi_sample(&v, k, i, &from);
            if (second >= 0)
                taps[n++] = (tap){(int32_t)from, (1 - second) / (float)v.samples};
            if (second > 0)
                taps[n++] = (tap){(int32_t)from + 1, second / (float)v.samples};
        }
        if (n < op->most[d])
            taps[n].at = -1;
    }
}

/* The largest of a bin, and which. */
static float largest(const roi_op *op, const tap *rows, const tap *columns, const float *x,
                     int32_t *which)
{
    float best = -FLT_MAX;
    *which = -1;
    if (rows->at < 0 || columns->at < 0)
        return 0;
    for (int64_t i = 0; i < op->most[0] && rows[i].at >= 0; i++)
        for (int64_t j = 0; j < op->most[1] && columns[j].at >= 0; j++) {
            int32_t at = rows[i].at * (int32_t)op->limit[1] + columns[j].at;
            if (x[at] > best)
                best = x[at], *which = at;
        }
    return best;
}

/* The mean of a bin; back: x gets its gradient, dy. */
static float mean(const roi_op *op, const tap *rows, const tap *columns, float *x, float dy)
{
    float all = 0;
    for (int64_t i = 0; i < op->most[0] && rows[i].at >= 0; i++) {
        float *row = x + rows[i].at * op->limit[1], sum = 0;
        for (int64_t j = 0; j < op->most[1] && columns[j].at >= 0; j++)
            if (op->back)
                row[columns[j].at] += dy * rows[i].share * columns[j].share;
            else
                sum += columns[j].share * row[columns[j].at];
        all += rows[i].share * sum;
    }
    return all;
}

/* Channels [from, to) of y and region r: the gradients of the largest. */
static void scatter_region(const roi_call *call, int64_t r, int64_t from, int64_t to)
{
    const roi_op *op = call->op;
    int64_t bins = op->bins[0] * op->bins[1], plane = op->limit[0] * op->limit[1];
    float *x = call->x + ((int64_t)call->regions[r * 5] * op->C + from) * plane;
    for (int64_t k = from; k < to; k++, x += plane) {
        const float *dy = call->y + (r * op->K + k) * bins;
        const int32_t *which = call->mask + (r * op->K + k) * bins;
        for (int64_t b = 0; b < bins; b++)
            if (which[b] >= 0)
                x[which[b]] += dy[b];
    }
}

/* The same: values, or gradients of means. A channel of x has all bins, or one of its own. */
static void pool_region(const roi_call *call, int64_t r, int64_t from, int64_t to, tap *taps)
{
    const roi_op *op = call->op;
    const float *region = call->regions + r * 5;
    int64_t P = op->bins[0], Q = op->bins[1], plane = op->limit[0] * op->limit[1];
    int64_t i = (r * op->K + from) * P * Q;
    bool own = op->a.method == DN_ROI_PS_AVERAGE;
    tap *columns = taps + P * op->most[0];
    float *x = call->x + ((int64_t)region[0] * op->C + from * (own ? P * Q : 1)) * plane;
    lay_taps(op, 0, region, taps);
    lay_taps(op, 1, region, columns);
    for (int64_t k = from; k < to; k++, x += own ? 0 : plane)
        for (const tap *v = taps; v < columns; v += op->most[0])
            for (int64_t q = 0; q < Q; q++, i++, x += own ? plane : 0) {
                const tap *u = columns + q * op->most[1];
                int32_t which = -1;
                if (op->back)
                    mean(op, v, u, x, call->y[i]);
                else if (op->a.method == DN_ROI_MAX)
                    call->y[i] = largest(op, v, u, x, &which);
                else
                    call->y[i] = mean(op, v, u, x, 0);
                if (!op->back && call->mask)
                    call->mask[i] = which;
            }
}

/* Forward a task is a region (and a piece of the channels), backward an item. */
static void roi_task(void *arg, int64_t task, int32_t worker)
{
    const roi_call *call = arg;
    const roi_op *op = call->op;
    int64_t n = task / op->pieces, from, to, plane = op->limit[0] * op->limit[1];
    int64_t each = op->C / (op->K ? op->K : 1); /* channels of x to one of y */
    tap *taps = call->taps + worker * (op->bins[0] * op->most[0] + op->bins[1] * op->most[1]);
    cpu_split(op->K, op->pieces, task % op->pieces, &from, &to);
    if (!op->back) {
        pool_region(call, n, from, to, taps);
        return;
    }
    if (!(op->a.base.accumulate & 1))
        memset(call->x + (n * op->C + from * each) * plane, 0,
               (size_t)((to - from) * each * plane) * sizeof(float));
    for (int64_t r = 0; r < op->R; r++)
        if ((int64_t)call->regions[r * 5] == n && call->mask)
            scatter_region(call, r, from, to);
        else if ((int64_t)call->regions[r * 5] == n)
            pool_region(call, r, from, to, taps);
}

static dn_status roi_run(dn_op *base, const dn_op_io *io)
{
    roi_op *op = (roi_op *)base;
    roi_call call = {.op = op, .regions = io->in[1], .taps = io->scratch};
    call.x = op->back ? io->out[0] : io->in[0];
    call.y = op->back ? io->in[0] : io->out[0];
    call.mask = op->back ? cpu_in(base, io, 2) : cpu_out(base, io, 1);
    for (int64_t r = 0; r < op->R; r++)
        if (!(call.regions[r * 5] >= 0 && call.regions[r * 5] < (float)op->N))
            return region_fail(&base->backend->host, r, op->N);
    cpu_for(base->backend, (op->back ? op->N : op->R) * op->pieces, roi_task, &call);
    return DN_OK;
}

dn_status cpu_roi_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_args_roi *a = desc->args;
    bool back = desc->kind == DN_OP_ROI_POOL_BWD;
    const int64_t *x = (back ? desc->outputs : desc->inputs)->shape.dim;
    const int64_t *y = (back ? desc->inputs : desc->outputs)->shape.dim;
    int64_t most[2], taps = 0;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    for (int d = 0; d < 2; d++) {
        most[d] =
            a->method == DN_ROI_ALIGN ? 2 * (a->samples ? a->samples : x[2 + d]) : x[2 + d];
        if (most[d] < 1 || y[2 + d] > MOST_TAPS / most[d])
            return cpu_decline(info, "more bins than fit in the tables");
        taps += most[d] * y[2 + d];
    }
    roi_op *op = cpu_op_new(backend, sizeof *op, roi_run, info, "cpu:roi");
    if (!op)
        return DN_E_NOMEM;
    op->a = *a;
    op->back = back;
    op->N = x[0], op->C = x[1], op->R = y[0], op->K = y[1];
    op->pieces = cpu_max(1, op->K / CHANNELS);
    memcpy(op->limit, x + 2, sizeof op->limit);
    memcpy(op->bins, y + 2, sizeof op->bins);
    memcpy(op->most, most, sizeof most);
    info->scratch = (size_t)taps * sizeof(tap) * (size_t)backend->host.num_threads;
    *out = &op->base;
    return DN_OK;
}
