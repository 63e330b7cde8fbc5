/* SPDX-License-Identifier: BSD-2-Clause
 * wino_weights.c: dw of Winograd's convolution in NHWC: the tile of x (6x6) times that of dy
 * (4x4 for 3x3 taps), summed over tiles frequency by frequency, then brought back to taps.
 * Where sums outweigh tiles, a task is 32 channels of dy and 32 of x, whose sums never leave
 * its worker's second cache; elsewhere it is a frequency, whose tiles one worker alone reads.
 * Sums are in the order of the tiles. */
#include "wino.h"

#include <string.h>

enum {
    FLOATS = 2 << 20, /* of all frequencies' sums, and of transformed tiles */
    TILES_MOST = 256, /* at a time */
    BIAS_PARTS = 8
};

typedef struct weights_op {
    dn_op base;
    cpu_wino wino;
    int64_t panels, wide; /* of 32 channels of x: of all frames, of one */
    int64_t blocks, most; /* of tiles */
    int64_t parts, part;  /* of dy's channels */
    int64_t sum_step;     /* from frequency to frequency of a task's sums */
    int64_t x_floats, dy_floats, sum_floats, worker_floats;
    int64_t taps_floats;
    bool by_frequency, bias, add, add_bias;
} weights_op;

typedef struct weights_call {
    const weights_op *op;
    const float *x, *dy;
    float *dw, *db, *v, *u, *sums, *bias, *work;
    int64_t g, k0, k1, from, to; /* group, channels of dy, tiles */
    bool x_ready, first, last;
} weights_call;

/* Transformed tiles lie by panel of channels, then by frequency. */
static int64_t tiles_step(const weights_call *call)
{
    return cpu_wino_step((call->to - call->from) * call->op->base.backend->kernels->nr);
}

enum { INPUT_TASKS = 16 };

static void input_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t tiles = call->to - call->from, t0, t1;
    int64_t step = tiles_step(call), panel = CPU_WINO_FREQ * step;
    float *zeros = call->work + worker * op->worker_floats;
    const float *at[CPU_WINO_FREQ];
    memset(zeros, 0, (size_t)cpu_max(w->C, w->K) * sizeof(float));
    cpu_split(tiles, INPUT_TASKS, task, &t0, &t1);
    for (int64_t t = t0; t < t1; t++) {
        cpu_wino_patch(w, at, call->dy + call->g * w->K, true, call->from + t, 0, 0, 0, zeros);
        for (int64_t k = call->k0, j = 0; k < call->k1; k += ker->nr, j++)
            ker->wino_values((int32_t)w->size, false, call->u + j * panel + t * ker->nr, step,
                             at, k, cpu_min(ker->nr, call->k1 - k));
        if (call->x_ready)
            continue;
        for (int64_t j = 0; j < op->panels; j++) {
            int64_t col = j % op->wide * ker->nr;
            if (col == 0)
                cpu_wino_look(w, at, call->x + call->g * w->C, call->from + t, j / op->wide, 0,
                              zeros);
            ker->wino_in(false, call->v + j * panel + t * ker->nr, step, at, col,
                         cpu_min(ker->nr, w->C - col));
        }
    }
}

static int64_t product_tasks(const weights_call *call)
{
    return cpu_ceil(call->k1 - call->k0, call->op->base.backend->kernels->nr) *
           call->op->panels;
}

/* Taps of phase e of x, `cols` of them side by side, to their places in dw. */
static void spread_taps(const cpu_wino *w, float *dw, int64_t e, const float *taps, int64_t ld,
                        int64_t cols, bool add)
{
    for (int64_t t = 0; t < w->taps * w->taps; t++) {
        int64_t r = t / w->taps * w->in + e / w->in, s = t % w->taps * w->in + e % w->in;
        float *to = dw + r * w->kernel + s;
        for (int64_t c = 0; c < cols && r < w->kernel && s < w->kernel; c++)
            to[c * w->area] = taps[t * ld + c] + (add ? to[c * w->area] : 0);
    }
}

static void write_taps(const weights_call *call, int64_t task, const float *sums, float *taps)
{
    const weights_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t k = call->k0 + task / op->panels * ker->nr, n = cpu_min(ker->nr, call->k1 - k);
    int64_t j = task % op->panels, c = j % op->wide * ker->nr;
    int64_t area = w->taps * w->taps, cols = cpu_min(ker->nr, w->C - c), e = j / op->wide;
    const cpu_end nothing = {0};
    float *at[25];
    for (int64_t t = 0; t < area; t++)
        at[t] = taps + t * ker->nr;
    for (int64_t i = 0; i < n; i++) {
        ker->wino_out((int32_t)w->taps, false, at, sums + i * ker->nr, op->sum_step, cols,
                      &nothing);
        float *dw = call->dw + ((call->g * w->K + k + i) * w->C + c) * w->area;
        if (w->in > 1)
            spread_taps(w, dw, e, taps, ker->nr, cols, op->add);
        else
            ker->turn_rows(dw + e * area, w->area, taps, ker->nr, area, cols, op->add);
    }
}

static float *sums_of(const weights_call *call, int64_t task)
{
    return call->sums + task * CPU_WINO_FREQ * call->op->sum_step;
}

/* Frequency f of panel i of dy and j of x. */
static void multiply(const weights_call *call, int64_t i, int64_t j, int64_t f, float *sums)
{
    const weights_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t nr = ker->nr, step = tiles_step(call);
    const cpu_end end = {.alpha = 1, .add = !call->first};
    ker->rows(op->wino.C - j % op->wide * nr <= ker->vl ? 1 : 2,
              cpu_min(nr, call->k1 - call->k0 - i * nr), call->to - call->from,
              call->u + (i * CPU_WINO_FREQ + f) * step, 1, nr,
              call->v + (j * CPU_WINO_FREQ + f) * step, sums + f * op->sum_step, nr, &end);
}

static void frequency_task(void *arg, int64_t f, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    int64_t tasks = product_tasks(call);
    (void)worker;
    for (int64_t i = 0; i < tasks; i++)
        multiply(call, i / op->panels, i % op->panels, f, sums_of(call, i));
}

static void taps_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    write_taps(call, task, sums_of(call, task), call->work + worker * call->op->worker_floats);
}

static void channels_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    float *taps = call->work + worker * op->worker_floats;
    float *sums = op->blocks > 1 ? sums_of(call, task) : taps + op->taps_floats;
    for (int64_t f = 0; f < CPU_WINO_FREQ; f++)
        multiply(call, task / op->panels, task % op->panels, f, sums);
    if (call->last)
        write_taps(call, task, sums, taps);
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
    cpu_split(w->N * w->T * w->P * w->Q, BIAS_PARTS, task, &from, &to);
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
                call.last = b == op->blocks - 1;
                call.x_ready = i > 0 && op->blocks == 1;
                cpu_for(base->backend, INPUT_TASKS, input_task, &call);
                if (op->by_frequency)
                    cpu_for(base->backend, CPU_WINO_FREQ, frequency_task, &call);
                else
                    cpu_for(base->backend, product_tasks(&call), channels_task, &call);
            }
            if (op->by_frequency)
                cpu_for(base->backend, product_tasks(&call), taps_task, &call);
        }
    if (op->bias)
        cpu_for(base->backend, BIAS_PARTS, bias_task, &call);
    for (int64_t i = 0; op->bias && i < BIAS_PARTS; i++)
        base->backend->kernels->axpby(call.db, call.bias + i * 2 * w->Kx, 1,
                                      op->add_bias || i > 0, w->Kx);
    return DN_OK;
}

static int64_t blocks_of(const cpu_wino *w, int64_t channels)
{
    int64_t fit = FLOATS / (CPU_WINO_FREQ * channels);
    return cpu_ceil(w->tiles, cpu_max(16, cpu_min(TILES_MOST, fit)));
}

static void plan(weights_op *op, dn_op_info *info)
{
    const cpu_wino *w = &op->wino;
    int64_t nr = op->base.backend->kernels->nr, area = w->taps * w->taps;
    op->wide = cpu_ceil(w->C, nr);
    op->panels = w->E * op->wide;
    int64_t wide = op->panels * nr;
    op->sum_step = cpu_wino_step(nr * nr);
    op->taps_floats = area * nr;
    op->by_frequency = w->tiles * (w->C * w->E + w->K) > 2 * w->C * w->E * w->K;
    op->part = cpu_ceil(w->K, nr) * nr;
    op->blocks = blocks_of(w, wide + op->part);
    bool shared = op->by_frequency || op->blocks > 1;
    if (shared) {
        op->parts = cpu_ceil(op->part * wide, FLOATS / CPU_WINO_FREQ);
        op->part = cpu_ceil(cpu_ceil(w->K, op->parts), nr) * nr;
        op->blocks = blocks_of(w, wide + op->part);
    }
    op->parts = cpu_ceil(w->K, op->part);
    op->most = cpu_ceil(w->tiles, op->blocks);
    int64_t panel = CPU_WINO_FREQ * cpu_wino_step(op->most * nr);
    int64_t sums = CPU_WINO_FREQ * op->sum_step;
    op->x_floats = op->panels * panel;
    op->dy_floats = op->part / nr * panel;
    op->sum_floats = shared ? op->panels * (op->part / nr) * sums : 0;
    op->worker_floats = cpu_max(op->taps_floats + sums, cpu_max(w->C, w->Kx));
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
