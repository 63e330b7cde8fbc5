/* SPDX-License-Identifier: BSD-2-Clause
 * pool_nhwc.c: MAX and AVE pooling in NHWC: the channels are the vectors. Backward every
 * element of dx gathers from the windows that hold it, so each is written once. */
#include "cpu.h"
#include "taps.h"

enum { MAX_SIDE = 64 }; /* of AVE's windows, backward */

typedef struct pool_op {
    dn_op base;
    cpu_axis axis[2]; /* frames and rows of y forward, of dx backward */
    cpu_axis cols;
    int64_t N, C, tasks, taps; /* of a window, and what fills the last line */
    int64_t x[3], y[3], kernel[3], stride[3], pad[3]; /* frames, rows, columns */
    bool max, exclude_pad, relu, masked, add;
} pool_op;

typedef struct pool_call {
    const pool_op *op;
    const float *x; /* dy backward */
    float *y;       /* dx */
    int32_t *mask;
    const int32_t *from_mask;
    int64_t *at; /* a list of offsets, one of weights, for each worker */
    float *weight;
} pool_call;

/* First and last input of output o's window along axis a, and what AVE divides by. */
static int64_t extent(const pool_op *op, int32_t a, int64_t o)
{
    int64_t start = o * op->stride[a] - op->pad[a];
    int64_t end = cpu_min(start + op->kernel[a], op->x[a] + op->pad[a]);
    return op->exclude_pad ? cpu_min(op->x[a], end) - cpu_max(0, start) : end - start;
}

static float share_of(const pool_op *op, int64_t t, int64_t p, int64_t q)
{
    int64_t size = extent(op, 0, t) * extent(op, 1, p) * extent(op, 2, q);
    return size > 0 ? 1.0f / (float)size : 0;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* Of row i of y, of all images and frames. */
static void forward_span(const pool_call *call, int64_t i, const cpu_span *span, int64_t *at,
                         float *index)
{
    const pool_op *op = call->op;
    int64_t p = i % op->y[1], t = i / op->y[1] % op->y[0], n = i / op->y[1] / op->y[0];
    const int64_t *frame = op->axis[0].in + t * op->kernel[0];
    const int64_t *row = op->axis[1].in + p * op->kernel[1];
    int64_t y = (i * op->y[2] + span->first) * op->C;
    cpu_window win = {.at = at,
                      .weight = index,
                      .move = op->stride[2] * op->C,
                      .step = op->C,
                      .count = span->count,
                      .C = op->C,
                      .index_step = (int32_t)op->stride[2],
                      .relu = op->relu};
    for (int64_t e = 0; e < op->kernel[0]; e++)
        for (int64_t r = 0; frame[e] >= 0 && r < op->kernel[1]; r++)
            for (int64_t s = 0; row[r] >= 0 && s < span->taps; s++) {
                int64_t pixel = (frame[e] * op->x[1] + row[r]) * op->x[2] + span->in[s];
                at[win.taps] = pixel * op->C;
                index[win.taps++] = op->max ? (float)pixel : share_of(op, t, p, span->first);
            }
    const float *x = call->x + n * op->x[0] * op->x[1] * op->x[2] * op->C;
    if (op->max)
        op->base.backend->kernels->pool_cols_max(&win, call->y + y,
                                                 call->mask ? call->mask + y : NULL, x);
    else
        op->base.backend->kernels->pool_cols_sum(&win, call->y + y, x);
}

static void forward_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t from, to;
    cpu_split(op->N * op->y[0] * op->y[1], op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        for (int64_t s = 0; s < op->cols.spans; s++)
            forward_span(call, i, &op->cols.span[s], call->at + worker * op->taps,
                         call->weight + worker * op->taps);
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Elements of row i of dx that the same windows hold; of AVE one, as shares differ. */
static void backward_span(const pool_call *call, int64_t i, const cpu_span *span, int64_t *at,
                          float *weight)
{
    const pool_op *op = call->op;
    int64_t line = i % (op->x[0] * op->x[1]);
    int64_t y = i / (op->x[0] * op->x[1]) * op->y[0] * op->y[1] * op->y[2] * op->C;
    const int64_t *frame = op->axis[0].in + line / op->x[1] * op->kernel[0];
    const int64_t *row = op->axis[1].in + line % op->x[1] * op->kernel[1];
    cpu_window win = {.at = at,
                      .weight = weight,
                      .move = op->C,
                      .step = op->stride[2] * op->C,
                      .count = span->count,
                      .C = op->C,
                      .index = (int32_t)(line * op->x[2] + span->first),
                      .index_step = (int32_t)op->stride[2],
                      .add = op->add};
    for (int64_t e = 0; e < op->kernel[0]; e++)
        for (int64_t r = 0; frame[e] >= 0 && r < op->kernel[1]; r++)
            for (int64_t s = 0; row[r] >= 0 && s < span->taps; s++) {
                int64_t t = frame[e], p = row[r], q = span->in[s];
                at[win.taps] = ((t * op->y[1] + p) * op->y[2] + q) * op->C;
                weight[win.taps++] = op->max ? 1 : share_of(op, t, p, q);
            }
    op->base.backend->kernels->pool_cols_bwd(&win,
                                             call->y + (i * op->x[2] + span->first) * op->C,
                                             call->x + y, op->max ? call->from_mask + y : NULL);
}

static void backward_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t from, to, *at = call->at + worker * op->taps, in[MAX_SIDE];
    float *weight = call->weight + worker * op->taps;
    cpu_split(op->N * op->x[0] * op->x[1], op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        for (int64_t s = 0; s < op->cols.spans; s++) {
            cpu_span span = op->cols.span[s];
            if (op->max) {
                backward_span(call, i, &span, at, weight);
                continue;
            }
            for (int64_t k = 0, count = span.count; k < count; k++) {
                cpu_span one = {span.first + k * op->stride[2], 1, span.taps, span.tap, in};
                for (int64_t t = 0; t < span.taps; t++)
                    in[t] = span.in[t] + k;
                backward_span(call, i, &one, at, weight);
            }
        }
}

/* ---- run, create ------------------------------------------------------------------------- */

static dn_status pool_run(dn_op *base, const dn_op_io *io)
{
    pool_op *op = (pool_op *)base;
    pool_call call = {.op = op, .x = io->in[0], .y = io->out[0], .at = io->scratch};
    int64_t lists = op->taps * base->backend->host.num_threads;
    call.weight = (float *)(call.at + lists);
    call.mask = op->masked ? io->out[1] : NULL;
    cpu_for(base->backend, op->tasks, forward_task, &call);
    return DN_OK;
}

static dn_status pool_bwd_run(dn_op *base, const dn_op_io *io)
{
    pool_op *op = (pool_op *)base;
    pool_call call = {.op = op, .x = io->in[0], .y = io->out[0], .at = io->scratch};
    int64_t lists = op->taps * base->backend->host.num_threads;
    call.weight = (float *)(call.at + lists);
    call.from_mask = op->max ? io->in[1] : NULL;
    cpu_for(base->backend, op->tasks, backward_task, &call);
    return DN_OK;
}

CPU_COLD dn_status cpu_pool_nhwc_create(dn_backend *backend, const dn_op_desc *desc,
                                        dn_op **out, dn_op_info *info)
{
    const dn_args_pool *args = desc->args;
    bool forward = desc->kind == DN_OP_POOL;
    const dn_shape *x = forward ? &desc->inputs[0].shape : &desc->outputs[0].shape;
    const dn_shape *y = forward ? &desc->outputs[0].shape : &desc->inputs[0].shape;
    if (!cpu_all_nhwc(desc, forward ? 1 | 3u << 16 : 3 | 1u << 16))
        return cpu_decline(info, "operands are not NHWC f32");
    if (args->method != DN_POOL_MAX && args->method != DN_POOL_AVE)
        return cpu_decline(info, "stochastic pooling");
    int32_t spatial = args->spatial, last = spatial - 1;
    if (spatial < 2 || spatial > 3 || (forward && args->base.accumulate))
        return cpu_decline(info, "neither two nor three axes, or accumulates");
    if (args->activation != DN_FN_NONE && !(forward && args->activation == DN_FN_RELU))
        return cpu_decline(info, "activation other than ReLU");
    if (!forward && args->method == DN_POOL_AVE && args->kernel[last] > MAX_SIDE)
        return cpu_decline(info, "window too wide");
    if (cpu_count(x) < 1 || cpu_count(y) < 1 ||
        cpu_count(x) / (x->dim[0] * x->dim[1]) >= 1 << 24)
        return cpu_decline(info, "empty, or a plane too large for an exact mask");
    if (!forward && args->method == DN_POOL_MAX &&
        !cpu_present(desc->inputs, desc->num_inputs, 1))
        return cpu_decline(info, "no mask");
    pool_op *op = cpu_op_new(backend, sizeof *op, forward ? pool_run : pool_bwd_run, info,
                             "cpu:pool nhwc");
    if (!op)
        return DN_E_NOMEM;
    op->N = x->dim[0], op->C = x->dim[1], op->taps = 1;
    for (int32_t i = 2, a = last; i >= 0; i--, a--) { /* of two axes there is one frame */
        op->x[i] = a < 0 ? 1 : x->dim[2 + a], op->y[i] = a < 0 ? 1 : y->dim[2 + a];
        op->kernel[i] = a < 0 ? 1 : args->kernel[a],
        op->stride[i] = a < 0 ? 1 : args->stride[a];
        op->pad[i] = a < 0 ? 0 : args->pad[a];
        op->taps *= op->kernel[i];
    }
    op->max = args->method == DN_POOL_MAX;
    op->exclude_pad = args->exclude_pad;
    op->relu = args->activation == DN_FN_RELU;
    op->masked = forward && cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->tasks = cpu_min(op->N * cpu_min(op->y[0] * op->y[1], op->x[0] * op->x[1]),
                        cpu_tasks_for(cpu_count(x) * 2));
    op->taps = (op->taps + 15) & ~(int64_t)15;
    info->scratch = (size_t)(op->taps * backend->host.num_threads) * 12;
    for (int32_t i = 0; i < 3; i++)
        if (!cpu_axis_plan(i < 2 ? &op->axis[i] : &op->cols, &op->base, op->x[i], op->y[i],
                           op->kernel[i], op->stride[i], op->pad[i], 1, !forward)) {
            cpu_op_free(&op->base);
            return DN_E_NOMEM;
        }
    *out = &op->base;
    return DN_OK;
}
