/* SPDX-License-Identifier: BSD-2-Clause
 * depthwise_nhwc.c: convolution with one channel a group in NHWC, in its three directions. The
 * channels are the vectors; the image is read as it lies, and columns at its edges, which see
 * fewer taps, are runs of their own. A task is a band of rows. */
#include "conv.h"
#include "taps.h"

#include <string.h>

enum { GRAD_CHANNELS = 256, GRAD_TASKS = 16 };

typedef struct dwc_op {
    dn_op base;
    cpu_axis rows, cols; /* of the outputs: of dx, backward to the data */
    int64_t N, C, in_image, in_row, out_image, out_row, taps, S;
    int64_t tasks;         /* bands of all images' rows */
    int64_t blocks;        /* weights: of channels */
    int64_t worker_floats; /* the list of taps */
    int64_t part_floats;   /* weights: sums of one band */
    bool weights, add_dw, add_db, keep;
    cpu_end end;
} dwc_op;

typedef struct dwc_call {
    const dwc_op *op;
    const float *x, *w, *bias; /* weights: w is dy */
    float *y, *db, *parts;
    int64_t *lists;
} dwc_call;

/* The taps that row p, columns of `span` see: where in the image, and where in w (taps, C). */
static int64_t list_taps(const dwc_op *op, int64_t p, const cpu_span *span, int64_t *x_at,
                         int64_t *w_at)
{
    const int64_t *row = op->rows.in + p * op->rows.taps;
    int64_t count = 0;
    for (int64_t r = 0; r < op->rows.taps; r++)
        for (int64_t i = 0; row[r] >= 0 && i < span->taps; i++) {
            x_at[count] = row[r] * op->in_row + span->in[i] * op->C;
            w_at[count++] = (r * op->S + span->tap[i]) * op->C;
        }
    return count;
}

static void band_task(void *arg, int64_t task, int32_t worker)
{
    const dwc_call *call = arg;
    const dwc_op *op = call->op;
    int64_t from, to, *list = call->lists + worker * op->worker_floats;
    cpu_split(op->N * op->rows.outs, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t n = i / op->rows.outs, p = i % op->rows.outs;
        for (int64_t s = 0; s < op->cols.spans; s++) {
            const cpu_span *span = &op->cols.span[s];
            cpu_dw dw = {list,
                         list + op->taps,
                         list_taps(op, p, span, list, list + op->taps),
                         op->cols.move * op->C,
                         op->cols.step * op->C,
                         span->count,
                         op->C};
            op->base.backend->kernels->dw_cols(
                &dw, call->y + n * op->out_image + p * op->out_row + span->first * op->C,
                call->x + n * op->in_image, call->w, call->bias, &op->end);
        }
    }
}

/* Sums of a band and a block of channels, as (taps, C), then those of db. */
static void grad_task(void *arg, int64_t task, int32_t worker)
{
    const dwc_call *call = arg;
    const dwc_op *op = call->op;
    int64_t from, to, c0, c1, *list = call->lists + worker * op->worker_floats;
    float *part = call->parts + task / op->blocks * op->part_floats;
    cpu_split(op->N * op->rows.outs, op->tasks, task / op->blocks, &from, &to);
    cpu_split(op->C, op->blocks, task % op->blocks, &c0, &c1);
    for (int64_t t = 0; t <= op->taps; t++)
        memset(part + t * op->C + c0, 0, (size_t)(c1 - c0) * sizeof(float));
    for (int64_t i = from; i < to; i++) {
        int64_t n = i / op->rows.outs, p = i % op->rows.outs;
        for (int64_t s = 0; s < op->cols.spans; s++) {
            const cpu_span *span = &op->cols.span[s];
            cpu_dw dw = {list,
                         list + op->taps,
                         list_taps(op, p, span, list, list + op->taps),
                         op->cols.move * op->C,
                         op->C,
                         span->count,
                         c1 - c0};
            op->base.backend->kernels->dw_cols_grad(
                &dw, part + c0, call->db ? part + op->taps * op->C + c0 : NULL,
                call->x + n * op->in_image + c0,
                call->w + n * op->out_image + p * op->out_row + span->first * op->C + c0);
        }
    }
}

/* w: (C, taps) and back: one is the other's transpose. */
static void weights_in(const dwc_op *op, float *out, const float *w)
{
    for (int64_t t = 0; t < op->taps; t++)
        for (int64_t c = 0; c < op->C; c++)
            out[t * op->C + c] = w[c * op->taps + t];
}

static void weights_out(const dwc_call *call)
{
    const dwc_op *op = call->op;
    int64_t size = (op->taps + 1) * op->C;
    float *sum = call->parts;
    for (int64_t i = 1; i < op->tasks; i++)
        op->base.backend->kernels->axpby(sum, sum + i * op->part_floats, 1, true, size);
    for (int64_t c = 0; c < op->C; c++)
        for (int64_t t = 0; t < op->taps; t++) {
            float *dw = call->y + c * op->taps + t;
            *dw = op->add_dw ? *dw + sum[t * op->C + c] : sum[t * op->C + c];
        }
    if (call->db)
        op->base.backend->kernels->axpby(call->db, sum + op->taps * op->C, 1, op->add_db,
                                         op->C);
}

static dn_status dwc_prepare(dn_op *base, const dn_op_io *io)
{
    dwc_op *op = (dwc_op *)base;
    weights_in(op, io->keep, io->in[1]);
    return DN_OK;
}

static dn_status dwc_run(dn_op *base, const dn_op_io *io)
{
    dwc_op *op = (dwc_op *)base;
    dwc_call call = {op, io->in[0], io->in[1], NULL, io->out[0], NULL, io->scratch, NULL};
    int64_t parts = op->weights ? op->tasks : 1;
    call.lists = (int64_t *)(call.parts + parts * op->part_floats);
    if (op->weights) {
        call.db = cpu_out(base, io, 1);
        cpu_for(base->backend, op->tasks * op->blocks, grad_task, &call);
        weights_out(&call);
        return DN_OK;
    }
    call.bias = cpu_in(base, io, 2);
    call.w = op->keep ? io->keep : call.parts;
    if (!op->keep)
        weights_in(op, call.parts, io->in[1]);
    cpu_for(base->backend, op->tasks, band_task, &call);
    return DN_OK;
}

static bool plan(dwc_op *op, const cpu_geo *geo, bool back, dn_op_info *info)
{
    if (!cpu_axis_plan(&op->rows, &op->base, geo->H, geo->P, geo->R, geo->sh, geo->ph, geo->dh,
                       back) ||
        !cpu_axis_plan(&op->cols, &op->base, geo->W, geo->Q, geo->S, geo->sw, geo->pw, geo->dw,
                       back))
        return false;
    op->N = geo->N, op->C = geo->C, op->S = geo->S, op->taps = geo->R * geo->S;
    op->in_row = (back ? geo->Q : geo->W) * geo->C;
    op->in_image = (back ? geo->P : geo->H) * op->in_row;
    op->out_row = op->cols.outs * geo->C;
    op->out_image = op->rows.outs * op->out_row;
    op->blocks = cpu_ceil(geo->C, GRAD_CHANNELS);
    int64_t most = op->weights ? cpu_ceil(GRAD_TASKS, op->blocks) : 64;
    int64_t work = op->N * op->out_image * op->taps;
    op->tasks = cpu_max(1, cpu_min(cpu_min(most, op->N * op->rows.outs), work >> 17));
    op->worker_floats = 2 * op->taps + 8; /* of 8 bytes */
    op->part_floats = ((op->taps + op->weights) * op->C + 15) & ~(int64_t)15;
    int64_t lists = op->base.backend->host.num_threads * op->worker_floats * 8;
    int64_t parts = op->weights ? op->tasks : 1;
    if (op->keep)
        info->keep = (size_t)(op->taps * op->C) * 4, info->unread = 2;
    info->scratch = (size_t)(parts * op->part_floats * 4 + lists);
    return true;
}

dn_status cpu_depthwise_nhwc_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                    dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_conv_nhwc_geo(&geo, desc, info))
        return DN_DECLINED;
    if (geo.Cg != 1 || geo.Kg != 1)
        return cpu_decline(info, "not depthwise");
    dwc_op *op = cpu_op_new(backend, sizeof *op, dwc_run, info, "cpu:depthwise nhwc");
    if (!op)
        return DN_E_NOMEM;
    op->weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    op->add_dw = args->base.accumulate & 1;
    op->add_db = args->base.accumulate & 2;
    op->keep = !op->weights && desc->constant & 2;
    if (op->keep)
        op->base.prepare = dwc_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, &geo, desc->kind == DN_OP_CONV_BWD_DATA, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
