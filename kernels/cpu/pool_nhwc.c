/* SPDX-License-Identifier: BSD-2-Clause
 * pool_nhwc.c: MAX and AVE pooling in NHWC: the channels are the vectors. Backward every
 * element of dx gathers from the windows that hold it, so each is written once. */
#include "cpu.h"
#include "taps.h"

enum { MAX_SIDE = 64 }; /* of AVE's windows, backward */

typedef struct pool_op {
    dn_op base;
    cpu_axis rows, cols; /* of y forward, of dx backward */
    int64_t N, C, H, W, P, Q, R, S, sh, sw, ph, pw;
    int64_t tasks, list; /* list: most taps of an element */
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

/* First and last input of output o's window along an axis, and what AVE divides by. */
static int64_t extent(const pool_op *op, bool h, int64_t o, int64_t *from, int64_t *to)
{
    int64_t pad = h ? op->ph : op->pw, size = h ? op->H : op->W;
    int64_t start = o * (h ? op->sh : op->sw) - pad;
    int64_t end = cpu_min(start + (h ? op->R : op->S), size + pad);
    *from = cpu_max(0, start);
    *to = cpu_min(size, end);
    return op->exclude_pad ? *to - *from : end - start;
}

static float share_of(const pool_op *op, int64_t p, int64_t q)
{
    int64_t from, to;
    int64_t size = extent(op, true, p, &from, &to) * extent(op, false, q, &from, &to);
    return size > 0 ? 1.0f / (float)size : 0;
}

/* ---- forward ----------------------------------------------------------------------------- */

static void forward_span(const pool_call *call, int64_t n, int64_t p, const cpu_span *span,
                         int64_t *at, float *index)
{
    const pool_op *op = call->op;
    const int64_t *row = op->rows.in + p * op->R;
    int64_t y = ((n * op->P + p) * op->Q + span->first) * op->C;
    cpu_window win = {.at = at,
                      .weight = index,
                      .move = op->sw * op->C,
                      .step = op->C,
                      .count = span->count,
                      .C = op->C,
                      .index_step = (int32_t)op->sw,
                      .relu = op->relu};
    for (int64_t r = 0; r < op->R; r++)
        for (int64_t i = 0; row[r] >= 0 && i < span->taps; i++) {
            int64_t pixel = row[r] * op->W + span->in[i];
            at[win.taps] = pixel * op->C;
            index[win.taps++] = op->max ? (float)pixel : share_of(op, p, span->first);
        }
    const float *x = call->x + n * op->H * op->W * op->C;
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
    cpu_split(op->N * op->P, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        for (int64_t s = 0; s < op->cols.spans; s++)
            forward_span(call, i / op->P, i % op->P, &op->cols.span[s],
                         call->at + worker * op->list, call->weight + worker * op->list);
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Elements of a row of dx that the same windows hold; of AVE one, as shares differ. */
static void backward_span(const pool_call *call, int64_t i, const cpu_span *span, int64_t *at,
                          float *weight)
{
    const pool_op *op = call->op;
    int64_t h = i % op->H, y = i / op->H * op->P * op->Q * op->C;
    const int64_t *row = op->rows.in + h * op->R;
    cpu_window win = {.at = at,
                      .weight = weight,
                      .move = op->C,
                      .step = op->sw * op->C,
                      .count = span->count,
                      .C = op->C,
                      .index = (int32_t)(h * op->W + span->first),
                      .index_step = (int32_t)op->sw,
                      .add = op->add};
    for (int64_t r = 0; r < op->R; r++)
        for (int64_t s = 0; row[r] >= 0 && s < span->taps; s++) {
            at[win.taps] = (row[r] * op->Q + span->in[s]) * op->C;
            weight[win.taps++] = op->max ? 1 : share_of(op, row[r], span->in[s]);
        }
    op->base.backend->kernels->pool_cols_bwd(&win, call->y + (i * op->W + span->first) * op->C,
                                             call->x + y, op->max ? call->from_mask + y : NULL);
}

static void backward_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t from, to, *at = call->at + worker * op->list, in[MAX_SIDE];
    float *weight = call->weight + worker * op->list;
    cpu_split(op->N * op->H, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        for (int64_t s = 0; s < op->cols.spans; s++) {
            cpu_span span = op->cols.span[s];
            if (op->max) {
                backward_span(call, i, &span, at, weight);
                continue;
            }
            for (int64_t k = 0, count = span.count; k < count; k++) {
                cpu_span one = {span.first + k * op->sw, 1, span.taps, span.tap, in};
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
    int64_t lists = op->list * base->backend->host.num_threads;
    call.weight = (float *)(call.at + lists);
    call.mask = op->masked ? io->out[1] : NULL;
    cpu_for(base->backend, op->tasks, forward_task, &call);
    return DN_OK;
}

static dn_status pool_bwd_run(dn_op *base, const dn_op_io *io)
{
    pool_op *op = (pool_op *)base;
    pool_call call = {.op = op, .x = io->in[0], .y = io->out[0], .at = io->scratch};
    int64_t lists = op->list * base->backend->host.num_threads;
    call.weight = (float *)(call.at + lists);
    call.from_mask = op->max ? io->in[1] : NULL;
    cpu_for(base->backend, op->tasks, backward_task, &call);
    return DN_OK;
}

dn_status cpu_pool_nhwc_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_pool *args = desc->args;
    bool forward = desc->kind == DN_OP_POOL;
    const dn_shape *x = forward ? &desc->inputs[0].shape : &desc->outputs[0].shape;
    const dn_shape *y = forward ? &desc->outputs[0].shape : &desc->inputs[0].shape;
    if (!cpu_all_nhwc(desc, forward ? 1 | 3u << 16 : 3 | 1u << 16))
        return cpu_decline(info, "operands are not NHWC f32");
    if (args->method != DN_POOL_MAX && args->method != DN_POOL_AVE)
        return cpu_decline(info, "stochastic pooling");
    if (args->spatial != 2 || (forward && args->base.accumulate))
        return cpu_decline(info, "not 2-D, or accumulates");
    if (args->activation != DN_FN_NONE && !(forward && args->activation == DN_FN_RELU))
        return cpu_decline(info, "activation other than ReLU");
    if (!forward && args->method == DN_POOL_AVE && args->kernel[1] > MAX_SIDE)
        return cpu_decline(info, "window too wide");
    if (cpu_count(x) < 1 || cpu_count(y) < 1 || x->dim[2] * x->dim[3] >= 1 << 24)
        return cpu_decline(info, "empty, or a plane too large for an exact mask");
    if (!forward && args->method == DN_POOL_MAX &&
        !cpu_present(desc->inputs, desc->num_inputs, 1))
        return cpu_decline(info, "no mask");
    pool_op *op = cpu_op_new(backend, sizeof *op, forward ? pool_run : pool_bwd_run, info,
                             "cpu:pool nhwc");
    if (!op)
        return DN_E_NOMEM;
    op->N = x->dim[0], op->C = x->dim[1], op->H = x->dim[2], op->W = x->dim[3];
    op->P = y->dim[2], op->Q = y->dim[3], op->R = args->kernel[0], op->S = args->kernel[1];
    op->sh = args->stride[0], op->sw = args->stride[1];
    op->ph = args->pad[0], op->pw = args->pad[1];
    op->max = args->method == DN_POOL_MAX;
    op->exclude_pad = args->exclude_pad;
    op->relu = args->activation == DN_FN_RELU;
    op->masked = forward && cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->tasks = cpu_min(op->N * cpu_min(op->P, op->H), cpu_tasks_for(cpu_count(x) * 2));
    op->list = (op->R * op->S + 15) & ~(int64_t)15;
    info->scratch = (size_t)(op->list * backend->host.num_threads) * 12;
    if (!cpu_axis_plan(&op->rows, &op->base, op->H, op->P, op->R, op->sh, op->ph, 1,
                       !forward) ||
        !cpu_axis_plan(&op->cols, &op->base, op->W, op->Q, op->S, op->sw, op->pw, 1,
                       !forward)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
