/* SPDX-License-Identifier: BSD-2-Clause
 * pool.c: MAX and AVE pooling of planes, forward and backward. A task is a range of planes; a
 * row's whole windows go to a vector kernel together, those cut by an edge one by one. */
#include "cpu.h"

#include <string.h>

typedef struct pool_op {
    dn_op base;
    int64_t planes, H, W, P, Q, R, S, sh, sw, ph, pw;
    int64_t p0, p1, q0, q1; /* rows and columns whose windows are whole */
    int64_t tasks;
    bool max, exclude_pad, relu, masked, add;
} pool_op;

typedef struct pool_call {
    const pool_op *op;
    const float *x;
    float *y;
    int32_t *mask;
    const int32_t *from_mask;
    float *lines; /* of AVE's gradient, each worker's */
} pool_call;

typedef struct window {
    int64_t h0, h1, w0, w1, size;
} window;

/* The window of (p, q) cut to the image, and what AVE divides by. */
static __attribute__((noinline)) window window_at(const pool_op *op, int64_t p, int64_t q)
{
    window win = {p * op->sh - op->ph, 0, q * op->sw - op->pw, 0, 0};
    win.h1 = cpu_min(win.h0 + op->R, op->H + op->ph);
    win.w1 = cpu_min(win.w0 + op->S, op->W + op->pw);
    win.size = (win.h1 - win.h0) * (win.w1 - win.w0);
    win.h0 = cpu_max(0, win.h0);
    win.w0 = cpu_max(0, win.w0);
    win.h1 = cpu_min(op->H, win.h1);
    win.w1 = cpu_min(op->W, win.w1);
    if (op->exclude_pad)
        win.size = (win.h1 - win.h0) * (win.w1 - win.w0);
    return win;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* Of one large window. */
static float sum_of(const pool_op *op, const float *x, const window *win)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t cols = win->w1 - win->w0;
    float sum = 0;
    if (cols == op->W)
        return ker->reduce(DN_REDUCE_SUM, x + win->h0 * op->W, NULL,
                           (win->h1 - win->h0) * cols);
    for (int64_t h = win->h0; h < win->h1; h++)
        sum += ker->reduce(DN_REDUCE_SUM, x + h * op->W + win->w0, NULL, cols);
    return sum;
}

/* Columns [q, q + n) of rows [p, p + lines) of y: windows of one size. */
static void pool_block(const pool_op *op, const float *x, const float *end, int64_t p,
                       int64_t lines, int64_t q, int64_t n, float *y, int32_t *mask)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    window win = window_at(op, p, q);
    cpu_pool_lines at = {.w = op->W,
                         .rows = cpu_max(0, win.h1 - win.h0),
                         .cols = cpu_max(0, win.w1 - win.w0),
                         .stride = n > 1 ? op->sw : 1,
                         .n = n,
                         .first = win.h0 * op->W + win.w0,
                         .lines = lines,
                         .next = op->sh * op->W,
                         .ldy = op->Q};
    float share = win.size > 0 ? 1.0f / (float)win.size : 0;
    y += p * op->Q + q;
    if (op->max)
        ker->pool_max(&at, y, mask ? mask + p * op->Q + q : NULL, x + at.first, end);
    else if (n > 1 || at.rows * at.cols < 32)
        ker->pool_sum(&at, y, x + at.first, end, share);
    else
        for (int64_t i = 0; i < lines; i++, y += op->Q, x += at.next)
            *y = sum_of(op, x, &win) * share;
}

/* Rows [p, p + lines) of y, the windows of more than one whole in height. */
static void pool_rows(const pool_op *op, const float *x, const float *end, int64_t p,
                      int64_t lines, float *y, int32_t *mask)
{
    for (int64_t q = 0, n; q < op->Q; q += n) {
        n = q == op->q0 && op->q1 > q ? op->q1 - q : 1;
        pool_block(op, x, end, p, lines, q, n, y, mask);
    }
}

static void pool_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->planes, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        float *y = call->y + i * op->P * op->Q;
        const float *end = call->x + op->planes * op->H * op->W;
        const float *x = call->x + i * op->H * op->W;
        int32_t *mask = call->mask ? call->mask + i * op->P * op->Q : NULL;
        for (int64_t p = 0, lines; p < op->P; p += lines) {
            lines = p == op->p0 && op->p1 > p ? op->p1 - p : 1;
            pool_rows(op, x, end, p, lines, y, mask);
        }
        if (op->relu) {
            const cpu_unary relu = {DN_FN_RELU, 0, 0, 0};
            op->base.backend->kernels->unary(&relu, y, y, false, op->P * op->Q);
        }
    }
}

static dn_status pool_run(dn_op *base, const dn_op_io *io)
{
    pool_op *op = (pool_op *)base;
    pool_call call = {op, io->in[0], io->out[0], op->masked ? io->out[1] : NULL};
    cpu_for(base->backend, op->tasks, pool_task, &call);
    return DN_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

/* A row of windows adds the same to all of its rows: `line`, of W floats. */
static void ave_back(const pool_op *op, const float *dy, float *dx, float *line)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    for (int64_t p = 0; p < op->P; p++, dy += op->Q) {
        window win = {0};
        memset(line, 0, (size_t)op->W * sizeof(float));
        for (int64_t q = 0; q < op->Q; q++) {
            win = window_at(op, p, q);
            float d = win.size < 1 ? 0 : dy[q] / (float)win.size;
            for (int64_t w = win.w0; w < win.w1; w++)
                line[w] += d;
        }
        for (int64_t h = win.h0; h < win.h1; h++)
            ker->axpby(dx + h * op->W, line, 1.0f, true, op->W);
    }
}

static void pool_bwd_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t from, to, in = op->H * op->W, out = op->P * op->Q;
    cpu_split(op->planes, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        float *dx = call->y + i * in;
        const float *dy = call->x + i * out;
        if (!op->add)
            memset(dx, 0, (size_t)in * sizeof(float));
        if (!op->max) {
            ave_back(op, dy, dx, call->lines + worker * op->W);
            continue;
        }
        const int32_t *mask = call->from_mask + i * out;
        for (int64_t j = 0; j < out; j++)
            if (mask[j] >= 0 && mask[j] < in)
                dx[mask[j]] += dy[j];
    }
}

static dn_status pool_bwd_run(dn_op *base, const dn_op_io *io)
{
    pool_op *op = (pool_op *)base;
    pool_call call = {op, io->in[0], io->out[0], NULL, op->max ? io->in[1] : NULL, io->scratch};
    cpu_for(base->backend, op->tasks, pool_bwd_task, &call);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Windows [from, to) of `count` that lie inside the image; none: [0, 0). */
static void whole(int64_t size, int64_t pad, int64_t reach, int64_t stride, int64_t count,
                  int64_t *from, int64_t *to)
{
    *from = *to = 0;
    if (size + pad < reach)
        return;
    *from = cpu_min(count, cpu_ceil(pad, stride));
    *to = cpu_max(*from, cpu_min(count, (size + pad - reach) / stride + 1));
}

static CPU_COLD dn_status create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info, bool forward)
{
    const dn_args_pool *args = desc->args;
    const dn_shape *x = forward ? &desc->inputs[0].shape : &desc->outputs[0].shape;
    const dn_shape *y = forward ? &desc->outputs[0].shape : &desc->inputs[0].shape;
    int32_t n = args->spatial;
    bool flat = n == 1;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->method != DN_POOL_MAX && args->method != DN_POOL_AVE)
        return cpu_decline(info, "stochastic pooling");
    if (n < 1 || n > 2 || x->axes != n + 2)
        return cpu_decline(info, "not 1-D or 2-D");
    if (forward && args->base.accumulate)
        return cpu_decline(info, "accumulates");
    if (args->activation != DN_FN_NONE && !(forward && args->activation == DN_FN_RELU))
        return cpu_decline(info, "activation other than ReLU");
    if (cpu_count(x) / cpu_max(1, x->dim[0] * x->dim[1]) >= 1 << 24)
        return cpu_decline(info, "plane too large for an exact mask");
    if (!forward && args->method == DN_POOL_MAX &&
        !cpu_present(desc->inputs, desc->num_inputs, 1))
        return cpu_decline(info, "no mask");
    pool_op *op =
        cpu_op_new(backend, sizeof *op, forward ? pool_run : pool_bwd_run, info, "cpu:pool");
    if (!op)
        return DN_E_NOMEM;
    op->planes = x->dim[0] * x->dim[1];
    op->H = flat ? 1 : x->dim[2], op->W = x->dim[n + 1];
    op->P = flat ? 1 : y->dim[2], op->Q = y->dim[n + 1];
    op->R = flat ? 1 : args->kernel[0], op->S = args->kernel[n - 1];
    op->sh = flat ? 1 : args->stride[0], op->sw = args->stride[n - 1];
    op->ph = flat ? 0 : args->pad[0], op->pw = args->pad[n - 1];
    op->max = args->method == DN_POOL_MAX;
    op->exclude_pad = args->exclude_pad;
    op->relu = args->activation == DN_FN_RELU;
    op->masked = forward && cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    if (op->sw <= 2)
        whole(op->W, op->pw, op->S, op->sw, op->Q, &op->q0, &op->q1);
    whole(op->H, op->ph, op->R, op->sh, op->P, &op->p0, &op->p1);
    if (!forward && !op->max)
        info->scratch = (size_t)(backend->host.num_threads * op->W) * sizeof(float);
    op->tasks = cpu_max(1, cpu_min(op->planes, cpu_tasks_for(op->planes * op->H * op->W)));
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_pool_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    return create(backend, desc, out, info, true);
}

dn_status cpu_pool_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    return create(backend, desc, out, info, false);
}
