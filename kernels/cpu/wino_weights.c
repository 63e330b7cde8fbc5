/* SPDX-License-Identifier: BSD-2-Clause
 * wino_weights.c: dw of Winograd's convolution in NHWC: the tile of x (6x6) times that of dy
 * (4x4 for 3x3 taps), summed over tiles frequency by frequency, then brought back to taps. A
 * task is one frequency, so sums are in the order of the tiles. Channels of dy go in blocks
 * that keep all frequencies' sums in the third cache. */
#include "wino.h"

#include <string.h>

enum {
    FLOATS = 2 << 20, /* of all frequencies' sums, and of transformed tiles */
    TILES_MOST = 256, /* at a time */
    BIAS_PARTS = 8,
    ROWS = 8 /* channels of dy to a task of the way back */
};

typedef struct weights_op {
    dn_op base;
    cpu_wino wino;
    int64_t panels;       /* of 32 channels of x */
    int64_t blocks, most; /* of tiles */
    int64_t parts, part;  /* of dy's channels */
    int64_t ld, dy_ld;    /* of sums, from channel to channel of dy; of dy, from tile to tile */
    int64_t x_floats, dy_floats, sum_floats, worker_floats;
    bool bias, add, add_bias;
} weights_op;

typedef struct weights_call {
    const weights_op *op;
    const float *x, *dy;
    float *dw, *db, *v, *u, *sums, *bias, *work;
    int64_t g, k0, k1, from, to; /* group, channels of dy, tiles */
    bool x_ready, first;
} weights_call;

enum { INPUT_TASKS = 16 };

static void input_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t tiles = call->to - call->from, t0, t1;
    int64_t step = cpu_wino_step(op->panels * tiles * ker->nr);
    int64_t dy_step = cpu_wino_step(tiles * op->dy_ld);
    float *zeros = call->work + worker * op->worker_floats;
    const float *at[CPU_WINO_FREQ];
    memset(zeros, 0, (size_t)cpu_max(w->C, w->K) * sizeof(float));
    cpu_split(tiles, INPUT_TASKS, task, &t0, &t1);
    for (int64_t t = t0; t < t1; t++) {
        cpu_wino_corner c = cpu_wino_at(w, call->from + t);
        cpu_wino_patch(at, w->size, call->dy + c.n * w->P * w->Q * w->Kx + call->g * w->K, w->P,
                       w->Q, w->Kx, c.h, c.w, zeros);
        ker->wino_values((int32_t)w->size, call->u + t * op->dy_ld, dy_step, at, call->k0,
                         call->k1 - call->k0);
        if (call->x_ready)
            continue;
        cpu_wino_patch(at, 6, call->x + c.n * w->H * w->W * w->Cx + call->g * w->C, w->H, w->W,
                       w->Cx, c.h - w->pad_h, c.w - w->pad_w, zeros);
        for (int64_t j = 0; j < op->panels; j++)
            ker->wino_in(call->v + (j * tiles + t) * ker->nr, step, at, j * ker->nr,
                         cpu_min(ker->nr, w->C - j * ker->nr));
    }
}

static void product_task(void *arg, int64_t f, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t tiles = call->to - call->from;
    const float *v = call->v + f * cpu_wino_step(op->panels * tiles * ker->nr);
    const float *u = call->u + f * cpu_wino_step(tiles * op->dy_ld);
    float *sums = call->sums + f * cpu_wino_step(op->part * op->ld);
    const cpu_end end = {.alpha = 1, .add = !call->first};
    (void)worker;
    for (int64_t j = 0; j < op->panels; j++)
        ker->rows(w->C - j * ker->nr <= ker->vl ? 1 : 2, call->k1 - call->k0, tiles, u, 1,
                  op->dy_ld, v + j * tiles * ker->nr, sums + j * ker->nr, op->ld, &end);
}

static void output_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    float *taps = call->work + worker * op->worker_floats, *at[25];
    int64_t area = w->taps * w->taps, end = cpu_min(call->k1, call->k0 + (task + 1) * ROWS);
    const cpu_end nothing = {0};
    for (int64_t k = call->k0 + task * ROWS; k < end; k++) {
        for (int64_t c = 0; c < w->C; c += ker->nr) {
            for (int64_t t = 0; t < area; t++)
                at[t] = taps + t * w->C + c;
            ker->wino_out((int32_t)w->taps, at, call->sums + (k - call->k0) * op->ld + c,
                          cpu_wino_step(op->part * op->ld), cpu_min(ker->nr, w->C - c),
                          &nothing);
        }
        ker->turn_rows(call->dw + (call->g * w->K + k) * w->C * area, area, taps, w->C, area,
                       w->C, op->add);
    }
}

static void bias_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    float *zeros = call->work + worker * op->worker_floats,
          *sums = call->bias + task * 2 * w->Kx;
    const cpu_norm plain = {.mean = zeros, .rows = true};
    int64_t from, to;
    memset(zeros, 0, (size_t)w->Kx * sizeof(float));
    memset(sums, 0, (size_t)(2 * w->Kx) * sizeof(float));
    cpu_split(w->N * w->P * w->Q, BIAS_PARTS, task, &from, &to);
    /* the other sum, of squares, is not wanted */
    op->base.backend->kernels->norm_sums(&plain, NULL, call->dy + from * w->Kx, NULL, to - from,
                                         w->Kx, sums, sums + w->Kx);
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    weights_op *op = (weights_op *)base;
    const cpu_wino *w = &op->wino;
    weights_call call = {.op = op,
                         .x = io->in[0],
                         .dy = io->in[1],
                         .dw = io->out[0],
                         .db = op->bias ? io->out[1] : NULL,
                         .v = io->scratch};
    call.u = call.v + op->x_floats;
    call.sums = call.u + op->dy_floats;
    call.bias = call.sums + op->sum_floats;
    call.work = call.bias + (op->bias ? BIAS_PARTS * 2 * w->Kx : 0);
    for (call.g = 0; call.g < w->group; call.g++)
        for (int64_t i = 0; i < op->parts; i++) {
            call.k0 = i * op->part, call.k1 = cpu_min(w->K, call.k0 + op->part);
            for (int64_t b = 0; b < op->blocks; b++) {
                cpu_split(w->tiles, op->blocks, b, &call.from, &call.to);
                call.first = b == 0;
                call.x_ready = i > 0 && op->blocks == 1;
                cpu_for(base->backend, INPUT_TASKS, input_task, &call);
                cpu_for(base->backend, CPU_WINO_FREQ, product_task, &call);
            }
            cpu_for(base->backend, cpu_ceil(call.k1 - call.k0, ROWS), output_task, &call);
        }
    if (op->bias)
        cpu_for(base->backend, BIAS_PARTS, bias_task, &call);
    for (int64_t i = 0; op->bias && i < BIAS_PARTS; i++)
        base->backend->kernels->axpby(call.db, call.bias + i * 2 * w->Kx, 1,
                                      op->add_bias || i > 0, w->Kx);
    return DN_OK;
}

static void plan(weights_op *op, dn_op_info *info)
{
    const cpu_wino *w = &op->wino;
    int64_t nr = op->base.backend->kernels->nr, per;
    op->panels = cpu_ceil(w->C, nr);
    op->ld = op->panels * nr;
    op->parts = cpu_ceil(w->K, cpu_max(ROWS, FLOATS / (CPU_WINO_FREQ * op->ld)));
    op->part = cpu_min(w->K, cpu_ceil(cpu_ceil(w->K, op->parts), ROWS) * ROWS);
    op->parts = cpu_ceil(w->K, op->part);
    op->dy_ld = ((op->part + 15) & ~(int64_t)15) + 16;
    per = CPU_WINO_FREQ * (op->ld + op->dy_ld);
    op->blocks = cpu_ceil(w->tiles, cpu_max(16, cpu_min(TILES_MOST, FLOATS / per)));
    op->most = cpu_ceil(w->tiles, op->blocks);
    op->x_floats = CPU_WINO_FREQ * cpu_wino_step(op->most * op->ld);
    op->dy_floats = CPU_WINO_FREQ * cpu_wino_step(op->most * op->dy_ld);
    op->sum_floats = CPU_WINO_FREQ * cpu_wino_step(op->part * op->ld);
    op->worker_floats = cpu_max(w->taps * w->taps * w->C, cpu_max(w->C, w->Kx));
    op->worker_floats = (op->worker_floats + 31) & ~(int64_t)15;
    info->scratch = (size_t)(op->x_floats + op->dy_floats + op->sum_floats +
                             (op->bias ? BIAS_PARTS * 2 * w->Kx : 0) +
                             op->base.backend->host.num_threads * op->worker_floats) *
                    4;
}

dn_status cpu_wino_weights_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                  dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_wino wino;
    if (!cpu_wino_init(&wino, backend, desc, info))
        return DN_DECLINED;
    weights_op *op = cpu_op_new(backend, sizeof *op, weights_run, info, "cpu:winograd");
    if (!op)
        return DN_E_NOMEM;
    op->wino = wino;
    op->bias = cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    plan(op, info);
    *out = &op->base;
    return DN_OK;
}
