/* SPDX-License-Identifier: BSD-2-Clause
 * narrow_pool.c: MAX and AVE pooling, and LRN across channels, of bf16 images in NHWC. Backward
 * every element gathers from the windows that hold it, so each is written once. */
#include "narrow.h"

#include <string.h>

enum { MAX_TAPS = 256, LINE = 2048 }; /* of a window; most channels of LRN */

typedef struct axis { /* along H or W */
    int64_t in, out, kernel, stride, pad;
} axis;

typedef struct pool_op {
    dn_op base;
    axis h, w;
    int64_t N, C, tasks;
    bool max, exclude_pad, relu, masked, add, backward;
} pool_op;

typedef struct pool_call {
    const pool_op *op;
    const one_bf16 *x; /* dy backward */
    one_bf16 *y;       /* dx */
    int32_t *mask;
} pool_call;

/* The elements of the image in output o's window; what AVE divides by. */
static int64_t window_of(const pool_op *op, const axis *a, int64_t o, int64_t *from,
                         int64_t *to)
{
    int64_t start = o * a->stride - a->pad, end = one_min(start + a->kernel, a->in + a->pad);
    *from = one_max(0, start);
    *to = one_min(a->in, end);
    return op->exclude_pad ? one_max(0, *to - *from) : end - start;
}

/* The outputs in whose window element i is. */
static void outputs_of(const axis *a, int64_t i, int64_t *from, int64_t *to)
{
    int64_t after = i + a->pad - a->kernel;
    *from = after < 0 ? 0 : after / a->stride + 1;
    *to = one_min(a->out, (i + a->pad) / a->stride + 1);
}

static void forward_pixel(const pool_call *call, int64_t n, int64_t p, int64_t q)
{
    const pool_op *op = call->op;
    int64_t h0, h1, w0, w1, at[MAX_TAPS];
    int32_t index[MAX_TAPS];
    float share[MAX_TAPS];
    int64_t size = window_of(op, &op->h, p, &h0, &h1) * window_of(op, &op->w, q, &w0, &w1);
    nk_window w = {.at = at, .index = index, .share = share, .C = op->C};
    for (int64_t h = h0; h < h1; h++)
        for (int64_t x = w0; x < w1; x++) {
            int64_t pixel = h * op->w.in + x;
            at[w.taps] = pixel * op->C;
            share[w.taps] = size > 0 ? 1.0f / (float)size : 0;
            index[w.taps++] = (int32_t)pixel;
        }
    int64_t y = ((n * op->h.out + p) * op->w.out + q) * op->C;
    const one_bf16 *x = call->x + n * op->h.in * op->w.in * op->C;
    if (op->max)
        nk_pool_max(&w, call->y + y, call->mask ? call->mask + y : NULL, x, op->relu);
    else
        nk_pool_sum(&w, call->y + y, x, op->relu, false);
}

static void backward_pixel(const pool_call *call, int64_t n, int64_t h, int64_t x)
{
    const pool_op *op = call->op;
    int64_t p0, p1, q0, q1, h0, h1, w0, w1, at[MAX_TAPS];
    float share[MAX_TAPS];
    nk_window w = {.at = at, .share = share, .C = op->C};
    outputs_of(&op->h, h, &p0, &p1);
    outputs_of(&op->w, x, &q0, &q1);
    for (int64_t p = p0; p < p1; p++)
        for (int64_t q = q0; q < q1; q++) {
            int64_t size =
                window_of(op, &op->h, p, &h0, &h1) * window_of(op, &op->w, q, &w0, &w1);
            share[w.taps] = size > 0 ? 1.0f / (float)size : 0;
            at[w.taps++] = (p * op->w.out + q) * op->C;
        }
    int64_t pixel = h * op->w.in + x, image = n * op->h.out * op->w.out * op->C;
    one_bf16 *dx = call->y + (n * op->h.in * op->w.in + pixel) * op->C;
    if (op->max)
        nk_pool_max_bwd(&w, dx, call->x + image, call->mask + image, (int32_t)pixel, op->add);
    else
        nk_pool_sum(&w, dx, call->x + image, false, op->add);
}

static dnnl_status_t pool_task(void *arg, int64_t task, int32_t worker)
{
    const pool_call *call = arg;
    const pool_op *op = call->op;
    int64_t rows = op->backward ? op->h.in : op->h.out, from, to;
    int64_t cols = op->backward ? op->w.in : op->w.out;
    (void)worker;
    one_split(op->N * rows, op->tasks, task, &from, &to);
    for (int64_t r = from; r < to; r++)
        for (int64_t c = 0; c < cols; c++)
            (op->backward ? backward_pixel : forward_pixel)(call, r / rows, r % rows, c);
    return dnnl_success;
}

static dn_status pool_run(dn_op *base, const dn_op_io *io)
{
    const pool_op *op = (pool_op *)base;
    pool_call call = {.op = op, .x = io->in[0], .y = io->out[0]};
    if (op->masked)
        call.mask = op->backward ? io->in[1] : io->out[1];
    return one_for(base->backend, op->tasks, pool_task, &call);
}

static const char *unfit_pool(const dn_op_desc *desc, bool forward)
{
    const dn_args_pool *a = desc->args;
    const dn_shape *x = forward ? &desc->inputs[0].shape : &desc->outputs[0].shape;
    if (!one_narrow_fits(desc, 1 | 1u << 16, DN_LAYOUT_NHWC) || x->axes != 4)
        return "images are not bf16 in NHWC";
    if (a->spatial != 2 || a->method > DN_POOL_AVE || (forward && a->base.accumulate))
        return "not 2-D, stochastic, or accumulates";
    if (a->activation != DN_FN_NONE && !(forward && a->activation == DN_FN_RELU))
        return "activation other than ReLU";
    if (a->kernel[0] * a->kernel[1] > MAX_TAPS || x->dim[2] * x->dim[3] > INT32_MAX)
        return "window or plane too large";
    if (!forward && a->method == DN_POOL_MAX && !one_present(desc->inputs, desc->num_inputs, 1))
        return "no mask";
    return NULL;
}

dn_status one_narrow_pool(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_pool *a = desc->args;
    bool forward = desc->kind == DN_OP_POOL;
    if (!one_is_narrow(backend, desc))
        return one_decline(info, "not in bf16");
    const char *why = unfit_pool(desc, forward);
    if (why)
        return one_decline(info, why);
    const int64_t *x = (forward ? &desc->inputs[0] : &desc->outputs[0])->shape.dim;
    const int64_t *y = (forward ? &desc->outputs[0] : &desc->inputs[0])->shape.dim;
    pool_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = pool_run;
    op->N = x[0];
    op->C = x[1];
    op->h = (axis){x[2], y[2], a->kernel[0], a->stride[0], a->pad[0]};
    op->w = (axis){x[3], y[3], a->kernel[1], a->stride[1], a->pad[1]};
    op->max = a->method == DN_POOL_MAX;
    op->exclude_pad = a->exclude_pad;
    op->relu = a->activation == DN_FN_RELU;
    op->backward = !forward;
    op->masked = op->max && (op->backward || one_present(desc->outputs, desc->num_outputs, 1));
    op->add = a->base.accumulate & 1;
    int64_t rows = op->N * (forward ? y[2] : x[2]);
    op->tasks = one_max(1, one_min(rows, one_tasks(2 * op->N * op->C * x[2] * x[3])));
    one_narrow_info(desc, info, "pool");
    *out = &op->base;
    return DN_OK;
}

/* ---- LRN --------------------------------------------------------------------------------- */

typedef struct lrn_op {
    dn_op base;
    dn_args_lrn a;
    int64_t pixels, C, tasks;
    bool backward;
} lrn_op;

typedef struct lrn_call {
    const lrn_op *op;
    const dn_op_io *io;
} lrn_call;

static dnnl_status_t lrn_task(void *arg, int64_t task, int32_t worker)
{
    const lrn_call *call = arg;
    const lrn_op *op = call->op;
    const dn_args_lrn *a = &op->a;
    const one_bf16 *const *in = (const one_bf16 *const *)call->io->in;
    one_bf16 *const *out = (one_bf16 *const *)call->io->out;
    float line[LINE + 48];
    int64_t from, to, C = op->C;
    (void)worker;
    memset(line, 0, (size_t)(C + 48) * sizeof *line);
    one_split(op->pixels, op->tasks, task, &from, &to);
    for (int64_t at = from * C; at < to * C; at += C)
        if (op->backward)
            nk_lrn_bwd(out[0] + at, in[0] + at, in[1] + at, in[2] + at, in[3] + at, C, a->size,
                       (float)a->alpha, a->base.accumulate & 1, line);
        else
            nk_lrn(out[0] + at, out[1] + at, in[0] + at, C, a->size, (float)a->alpha,
                   (float)a->k, line);
    return dnnl_success;
}

static dn_status lrn_run(dn_op *base, const dn_op_io *io)
{
    lrn_call call = {(lrn_op *)base, io};
    return one_for(base->backend, call.op->tasks, lrn_task, &call);
}

dn_status one_narrow_lrn(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_args_lrn *a = desc->args;
    bool backward = desc->kind == DN_OP_LRN_BWD;
    const dn_shape *x = &desc->inputs[0].shape;
    if (!one_is_narrow(backend, desc) || x->axes != 4 ||
        !one_narrow_fits(desc, backward ? 15 | 1u << 16 : 1 | 3u << 16, DN_LAYOUT_NHWC))
        return one_decline(info, "images are not bf16 in NHWC");
    if (a->region != DN_LRN_ACROSS || a->size < 1 || a->size > 15 || a->size % 2 == 0 ||
        a->beta != 0.75 || x->dim[1] > LINE || (!backward && a->base.accumulate))
        return one_decline(info, "a region, size or beta that is rare, or accumulates");
    lrn_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = lrn_run;
    op->a = *a;
    op->C = x->dim[1];
    op->pixels = x->dim[0] * x->dim[2] * x->dim[3];
    op->tasks = one_max(1, one_min(op->pixels, one_tasks(4 * op->C * op->pixels)));
    op->backward = backward;
    one_narrow_info(desc, info, "lrn");
    *out = &op->base;
    return DN_OK;
}
