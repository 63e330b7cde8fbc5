/* SPDX-License-Identifier: BSD-2-Clause
 * conv_groups.c: convolutions of groups of 4, 8 or 16 channels in NHWC, forward and, with
 * stride 1, to the data. 16 channels at a time of some rows are laid in the first cache with
 * zeros around them; each weight of a channel is then multiplied by what its lane's group has.
 */
#include "conv.h"

#include <string.h>

enum { UNIT = 16, PIXELS = 384, MOST = 1 << 16, COLS = CPU_GROUP_COLS };

typedef struct groups_op {
    dn_op base;
    cpu_geo geo; /* backward: of dy to dx */
    cpu_groups job;
    int64_t lines, line, cols; /* of what is laid; outputs side by side see neighbours */
    int64_t bands, units, tasks;
    int64_t packed, worker_floats;
    bool back, keep, by_rows;
    cpu_end end;
} groups_op;

typedef struct groups_call {
    const groups_op *op;
    const float *x, *bias;
    float *y, *w, *work;
} groups_call;

/* (16 channels of y, tap, channel of x in its group, 16) */
static void pack(const groups_op *op, float *out, const float *w)
{
    int64_t few = op->job.few, row = op->job.steps, taps = row / few;
    for (int64_t k = 0; k < op->geo.K; k++)
        for (int64_t c = 0; c < few; c++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t from = op->back
                                   ? ((k / few * few + c) * few + k % few + 1) * taps - 1 - t
                                   : (k * few + c) * taps + t;
                out[(k / UNIT * row + t * few + c) * UNIT + k % UNIT] = w[from];
            }
}

/* A line's columns, those that are as far apart as outputs side by side. */
static void lay_line(const groups_op *op, float *out, const float *x)
{
    const cpu_geo *geo = &op->geo;
    int64_t step = op->by_rows ? 1 : geo->sw, cols = op->cols * geo->sw / step;
    for (int64_t f = 0; f < step; f++, out += op->cols * UNIT) {
        int64_t from, to;
        cpu_inside(f - geo->pw, step, geo->W, cols, &from, &to);
        if (from < to)
            op->base.backend->kernels->lay_rows(out + from * UNIT, UNIT,
                                                x + (f - geo->pw + from * step) * geo->C,
                                                step * geo->C, to - from, UNIT);
    }
}

/* Groups of 16 are what `rows` multiplies: a row of taps lies in one piece. */
static void multiply_rows(const groups_op *op, int64_t rows, float *y, const float *laid,
                          const float *w, const float *bias)
{
    const cpu_groups *job = &op->job;
    cpu_end end = op->end;
    end.bias_n = bias;
    end.lines = op->geo.R, end.line = op->geo.dh * op->line;
    for (int64_t i = 0; i < rows; i++, y += job->out_row, laid += job->row)
        op->base.backend->kernels->rows(2, job->cols, op->geo.S * UNIT, laid, op->geo.sw * UNIT,
                                        1, w, y, job->C, &end);
}

static void groups_task(void *arg, int64_t task, int32_t worker)
{
    const groups_call *call = arg;
    const groups_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t from, to, each = geo->C / UNIT;
    float *laid = call->work + worker * op->worker_floats;
    memset(laid, 0, (size_t)op->worker_floats * sizeof(float));
    cpu_split(op->units, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t c = i % each * UNIT, n = i / each / op->bands, p, end;
        cpu_groups job = op->job;
        cpu_split(geo->P, op->bands, i / each % op->bands, &p, &end);
        job.rows = end - p;
        for (int64_t l = 0, h = p * geo->sh - geo->ph; l < op->lines; l++, h++)
            if (h < 0 || h >= geo->H)
                memset(laid + l * op->line, 0, (size_t)op->line * sizeof(float));
            else
                lay_line(op, laid + l * op->line,
                         call->x + (n * geo->H + h) * geo->W * geo->C + c);
        float *y = call->y + (n * geo->P + p) * job.out_row + c;
        const float *w = call->w + c * job.steps, *bias = call->bias ? call->bias + c : NULL;
        if (op->by_rows)
            multiply_rows(op, job.rows, y, laid, w, bias);
        else
            op->base.backend->kernels->groups(&job, y, laid, w, bias, &op->end);
    }
}

static dn_status groups_prepare(dn_op *base, const dn_op_io *io)
{
    pack((groups_op *)base, io->keep, io->in[1]);
    return DN_OK;
}

static dn_status groups_run(dn_op *base, const dn_op_io *io)
{
    const groups_op *op = (groups_op *)base;
    groups_call call = {.op = op,
                        .x = io->in[0],
                        .bias = cpu_in(base, io, 2),
                        .y = io->out[0],
                        .w = op->keep ? io->keep : io->scratch,
                        .work = (float *)io->scratch + (op->keep ? 0 : op->packed)};
    if (!op->keep)
        pack(op, call.w, io->in[1]);
    cpu_for(base->backend, op->tasks, groups_task, &call);
    return DN_OK;
}

/* What a row of outputs sees, with its zeros, are no more pixels than MOST. */
static bool fits(const cpu_geo *geo)
{
    double high = (double)(geo->R - 1) * (double)geo->dh + 1;
    double wide =
        (double)(geo->Q + COLS) * (double)geo->sw + (double)(geo->S - 1) * (double)geo->dw;
    return high * wide <= MOST;
}

static bool plan(groups_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t vl = op->base.backend->kernels->vl;
    int64_t steps = geo->R * geo->S * geo->Cg, high = (geo->R - 1) * geo->dh + 1;
    int64_t *at = cpu_op_table(&op->base, (size_t)steps, sizeof *at);
    if (!at)
        return false;
    op->cols = cpu_ceil(geo->Q, COLS) * COLS + (geo->S - 1) * geo->dw / geo->sw;
    op->line = op->cols * geo->sw * UNIT;
    for (int64_t i = 0; i < steps; i++) {
        int64_t r = i / geo->Cg / geo->S * geo->dh, s = i / geo->Cg % geo->S * geo->dw;
        at[i] = r * op->line + (s % geo->sw * op->cols + s / geo->sw) * UNIT +
                (geo->Cg < vl ? 0 : i % geo->Cg);
    }
    int64_t rows = cpu_max(1, (PIXELS * UNIT / op->line - high) / geo->sh + 1);
    op->bands = cpu_ceil(geo->P, rows);
    op->lines = (cpu_ceil(geo->P, op->bands) - 1) * geo->sh + high;
    op->job = (cpu_groups){.at = at,
                           .steps = steps,
                           .few = geo->Cg,
                           .cols = geo->Q,
                           .row = geo->sh * op->line,
                           .out_row = geo->Q * geo->K,
                           .C = geo->K};
    op->packed = geo->K * steps;
    op->units = geo->N * op->bands * (geo->C / UNIT);
    op->tasks = cpu_max(
        1, cpu_min(cpu_min(64, op->units), geo->N * geo->P * geo->Q * op->packed >> 20));
    op->worker_floats = op->lines * op->line;
    info->keep = op->keep ? (size_t)op->packed * 4 : 0;
    info->unread = op->keep ? 2 : 0;
    info->scratch = (size_t)((op->keep ? 0 : op->packed) +
                             op->base.backend->host.num_threads * op->worker_floats) *
                    4;
    info->cost = (double)(geo->N * geo->P * geo->Q * op->packed) / 40 +
                 (double)(geo->N * geo->C * (geo->H * geo->W + geo->P * geo->Q)) * 0.4;
    return true;
}

dn_status cpu_groups_nhwc_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    bool back = desc->kind == DN_OP_CONV_BWD_DATA;
    cpu_geo f, geo;
    if (!cpu_conv_nhwc_geo(&f, desc, 0, info))
        return DN_DECLINED;
    geo = f;
    if (back) {
        geo.H = f.P, geo.W = f.Q, geo.P = f.H, geo.Q = f.W;
        geo.ph = (f.R - 1) * f.dh - f.ph, geo.pw = (f.S - 1) * f.dw - f.pw;
    }
    if (!backend->kernels->groups || f.Cg != f.Kg || (f.Cg != 4 && f.Cg != 8 && f.Cg != 16) ||
        f.C % UNIT || f.frames || f.group == 1 || cpu_conv_more(desc) || geo.ph < 0 ||
        geo.pw < 0 || (back && f.sh * f.sw > 1) || !fits(&geo))
        return cpu_decline(info, "no groups of 4, 8 or 16 channels");
    groups_op *op = cpu_op_new(backend, sizeof *op, groups_run, info, "cpu:groups nhwc");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo, op->back = back;
    op->keep = desc->constant & 2;
    /* `rows` begins with what it adds to, and is not narrower than AVX-512's vectors */
    op->by_rows =
        f.Cg == UNIT && backend->kernels->vl == 8 && f.dw == 1 && !(args->base.accumulate & 1);
    if (op->keep)
        op->base.prepare = groups_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
