/* SPDX-License-Identifier: BSD-2-Clause
 * wino.c: Winograd's convolution in NHWC, forward and backward to the data: 36 products of
 * (tiles x C) and (C x K). Constant weights of few tiles are kept with outputs as lanes, but
 * not transformed: four times as large, they take as long to read as to make. */
#include "wino.h"

#include <string.h>

/* Few channels: all weights are transformed once, and a task does some tiles from input to
 * output. Many: inputs are transformed first, and a task does some tiles of 32 outputs, with
 * weights that never leave the second cache.
 * What one worker makes and all read passes from core to core, which can take longer than to
 * make it: inputs of few tiles, and few weights, each worker makes for itself.
 * Largest error on ResNet-50's, GoogLeNet's and AlexNet's shapes: 1e-6 to 4e-6 of the largest
 * output where direct sums have 3e-7 to 1e-6; root mean square, 64 channels of 3x3 and 48 of
 * 5x5: 2.3 and 1.4 times theirs. */
enum {
    TILES_MOST = 64,          /* of a task, that its products stay in the second cache */
    LOCAL_FLOATS = 150000,    /* transformed inputs of a task */
    WEIGHTS_FLOATS = 1 << 20, /* all transformed weights, to be made once */
    OWN_FLOATS = 1 << 18,     /* the same, to be made by each worker */
    WAVE_FLOATS = 2 << 20,    /* transformed inputs that tasks share */
    DEPTH = 64,               /* channels of weights transformed at a time */
    UNIT = 16,                /* of which so many are read at a time */
    AHEAD = 6                 /* and of kept ones asked for so far ahead */
};

typedef struct wino_op {
    dn_op base;
    cpu_wino wino;
    bool flipped, local, keep, own; /* own: what tasks share, each worker makes for itself */
    bool turned; /* all weights first, for the phases of y: in scratch unless they are kept */
    int64_t panels, blocks, block, wave; /* blocks of at most `block` tiles, `wave` at a time */
    int64_t ld;                          /* transformed inputs: from tile to tile */
    int64_t turned_floats, shared_floats, worker_floats, own_floats;
    int64_t groups;     /* phase by phase */
    int64_t *at, *next; /* of a tap in a panel of weights, for each phase */
    int64_t fetch;      /* channels whose weights are read together */
    int64_t area;       /* taps of all frames */
    int64_t depth;      /* channels of all frames; of them at most `piece` at a time */
    int64_t piece;
    cpu_end end;
} wino_op;

typedef struct wino_call {
    const wino_op *op;
    const float *x, *w, *bias;
    float *y, *shared, *work, *kept;
    int64_t g, first; /* shared: group, and first block of this wave */
} wino_call;

typedef struct space { /* a worker's */
    float *zeros, *trash, *taps, *sums, *input, *weights, *own;
    int64_t *made; /* own: group + 1 of what it holds */
} space;

/* ---- geometry ---------------------------------------------------------------------------- */

typedef struct corner { /* of a piece's outputs */
    int64_t n, h, w;
} corner;

static corner corner_of(const cpu_wino *w, int64_t piece)
{
    int64_t i = piece / w->cols % w->rows, j = piece % w->cols;
    return (corner){piece / (w->rows * w->cols), i / w->dh * w->dh * w->tall + i % w->dh,
                    j / w->dw * w->dw * w->wide + j % w->dw};
}

/* That weights have: those of a line, one. */
static int64_t weight_freqs(const cpu_wino *w)
{
    return w->pieces > 1 ? 6 : CPU_WINO_FREQ;
}

/* Pieces along an axis of P outputs: d for every d * size of them, as many as begin there. */
static int64_t tiles_along(int64_t P, int64_t d, int64_t size)
{
    int64_t before = (P - 1) / (d * size);
    return before * d + cpu_min(d, P - before * d * size);
}

/* The frame that a piece of frame n (of all) sees as its e'th; NULL: none. */
static const float *frame_of(const cpu_wino *w, const float *x, int64_t n, int64_t e)
{
    int64_t d = n % w->T * w->sd + e * w->dd - w->pd;
    return d < 0 || d >= w->D ? NULL : x + (n / w->T * w->D + d) * w->H * w->W * w->Cx;
}

void cpu_wino_patch(const cpu_wino *wino, const float **at, const float *images, bool of_y,
                    int64_t tile, int64_t e, int64_t h, int64_t w, const float *outside)
{
    int64_t n = of_y ? wino->size : 6, stride = of_y ? wino->out : wino->in;
    int64_t H = of_y ? wino->P : wino->H, W = of_y ? wino->Q : wino->W;
    int64_t C = of_y ? wino->Kx : wino->Cx, frames = wino->N * wino->T;
    for (int64_t i = 0; i < wino->pieces; i++) {
        corner c = corner_of(wino, tile * wino->pieces + i);
        const float *image = c.n >= frames ? NULL
                             : of_y        ? images + c.n * H * W * C
                                           : frame_of(wino, images, c.n, e);
        for (int64_t l = 0; l < (wino->pieces > 1 ? 1 : n); l++)
            for (int64_t j = 0; j < n; j++) {
                int64_t y = (c.h + l * wino->dh + j * wino->on_h) * stride + h;
                int64_t x = (c.w + j * wino->on_w) * stride + w;
                bool in = image && y >= 0 && y < H && x >= 0 && x < W;
                *at++ = in ? image + (y * W + x) * C : outside;
            }
    }
}

/* Of a phase (a, b) of y the first output's first tap lies (a + lead) / stride further on. */
void cpu_wino_look(const cpu_wino *w, const float **at, const float *x, int64_t tile, int64_t e,
                   int64_t phase, const float *zeros)
{
    int64_t h = (phase / w->out + w->lead_h) / w->out - w->pad_h;
    int64_t col = (phase % w->out + w->lead_w) / w->out - w->pad_w;
    if (w->in > 1)
        h += e / w->in, col += e % w->in;
    cpu_wino_patch(w, at, x, false, tile, e, h, col, zeros);
}

/* Nanoseconds on one thread, fitted to ResNet-50's, AlexNet's and GoogLeNet's shapes on a Zen 4
 * core (AVX-512): products at 100 GFLOP/s, and 16 channels of a tile in and out, of weights for
 * every TILES_MOST tiles, kept or not. To the weights: 92 GFLOP/s, and 16 channels of sums
 * out. */
static double cost_of(const cpu_wino *w, int32_t isa, bool weights, bool kept)
{
    double channels = (double)(w->C * w->E);
    double C = (double)(cpu_ceil(w->C, 16) * w->E), K = (double)cpu_ceil(w->K, 16);
    double C32 = (double)(cpu_ceil(w->C, 32) * w->E) * 2, K32 = (double)cpu_ceil(w->K, 32) * 2;
    double tiles = (double)w->tiles, flops = tiles * CPU_WINO_FREQ * 16 * 2, ns;
    if (weights)
        ns = flops * C32 * (double)w->K / 92 + tiles * 150 * (C + K) + 250 * C * (double)w->K;
    else
        ns = flops * channels * K32 / 100 + tiles * (140 * C + 40 * (double)w->size * K) +
             (kept || w->pieces > 1 ? 75 : 125) * channels * K *
                 (double)cpu_ceil(w->tiles, TILES_MOST);
    return ns * (double)(w->group * w->phases) * (isa == CPU_PLAIN ? 10 : 1);
}

/* For more tiles, making weights is little beside using them. */
static bool keeps(const cpu_wino *w, const dn_op_desc *desc)
{
    return desc->kind == DN_OP_CONV && desc->constant & 2 && w->tiles <= TILES_MOST;
}

bool cpu_wino_init(cpu_wino *wino, const dn_backend *backend, const dn_op_desc *desc,
                   dn_op_info *info)
{
    cpu_geo f;
    bool back = desc->kind == DN_OP_CONV_BWD_DATA;
    if (!cpu_conv_nhwc_geo(&f, desc, 0, info))
        return false;
    int64_t stride = f.sh, taps = cpu_ceil(cpu_max(f.R, f.S), stride), size = 7 - taps;
    bool flat = f.R != f.S, down = flat && f.S == 1; /* along h */
    if ((flat && (cpu_min(f.R, f.S) > 1 || f.frames || stride > 1 ||
                  desc->kind == DN_OP_CONV_BWD_WEIGHTS)) ||
        taps < 2 || taps > 5 || f.sh != f.sw || f.Cg < 32 || f.Kg < 32 ||
        (stride > 1 && (f.frames || f.dh > 1 || f.dw > 1)) || (back && f.sd != 1)) {
        cpu_decline(info,
                    "Winograd takes 2 to 5 taps, a line or square, and 32 channels or more");
        return false;
    }
    *wino = (cpu_wino){.N = f.N,
                       .D = back ? f.T : f.D,
                       .T = back ? f.D : f.T,
                       .E = f.E,
                       .sd = f.sd,
                       .pd = back ? (f.E - 1) * f.dd - f.pd : f.pd,
                       .dd = f.dd,
                       .H = back ? f.P : f.H,
                       .W = back ? f.Q : f.W,
                       .P = back ? f.H : f.P,
                       .Q = back ? f.W : f.Q,
                       .Cx = back ? f.K : f.C,
                       .Kx = back ? f.C : f.K,
                       .C = back ? f.Kg : f.Cg,
                       .K = back ? f.Cg : f.Kg,
                       .group = f.group,
                       .taps = taps,
                       .size = size,
                       .pieces = flat ? 6 : 1,
                       .count = flat ? taps : taps * taps,
                       .tall = f.R > 1 ? size : 1,
                       .wide = f.S > 1 ? size : 1,
                       .on_h = down ? f.dh : 0,
                       .on_w = down ? 0 : f.dw,
                       .kernel = f.R,
                       .area = f.E * f.R * f.S,
                       .in = back ? 1 : stride,
                       .out = back ? stride : 1,
                       .phases = back ? stride * stride : 1,
                       .lead_h = back ? f.ph : 0,
                       .lead_w = back ? f.pw : 0,
                       .pad_h = !back     ? f.ph
                                : f.R > 1 ? (taps - 1) * f.dh
                                          : 0,
                       .pad_w = !back     ? f.pw
                                : f.S > 1 ? (taps - 1) * f.dw
                                          : 0,
                       .dh = f.dh,
                       .dw = f.dw};
    if (wino->in > 1) /* phases of x are summed as frames are, but lie in the same */
        wino->E = stride * stride, wino->dd = 0;
    wino->rows = tiles_along(cpu_ceil(wino->P, wino->out), wino->dh, wino->tall);
    wino->cols = tiles_along(cpu_ceil(wino->Q, wino->out), wino->dw, wino->wide);
    wino->tiles = cpu_ceil(wino->N * wino->T * wino->rows * wino->cols, wino->pieces);
    double cost =
        cost_of(wino, backend->isa, desc->kind == DN_OP_CONV_BWD_WEIGHTS, keeps(wino, desc));
    if (cost > 0.85 * cpu_cost(backend, desc, "cpu:rows") * cpu_geo_seen(&f, back)) {
        cpu_decline(info, "Winograd's tiles are too few or too empty");
        return false;
    }
    info->cost = cost;
    return true;
}

/* ---- pieces of work ---------------------------------------------------------------------- */

static space space_of(const wino_call *call, int32_t worker)
{
    const wino_op *op = call->op;
    int64_t nr = op->base.backend->kernels->nr, zeros = (op->wino.C + 15) & ~(int64_t)15;
    float *from = call->work + worker * op->worker_floats, *at = from + 16;
    space s = {.zeros = at, .trash = at + zeros, .made = (int64_t *)from};
    s.own = from + op->worker_floats - op->own_floats;
    s.taps = s.trash + nr;
    s.sums = s.taps + op->fetch * op->area * nr;
    s.input = s.weights = s.sums + CPU_WINO_FREQ * cpu_wino_step(op->block * nr);
    memset(at, 0, (size_t)(s.sums - at) * sizeof(float));
    return s;
}

void cpu_wino_fetch(const float *const *at, int64_t n, int64_t first, int64_t channels)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = first; j < n; j++)
            for (int64_t c = 0; c < channels; c += 16)
                __builtin_prefetch(at[i * n + j] + c);
}

/* Inputs of a tile, of one frame. */
static void look(const wino_call *call, int64_t g, int64_t tile, int64_t e, const float **at,
                 const float *zeros)
{
    const cpu_wino *w = &call->op->wino;
    cpu_wino_look(w, at, call->x + g % w->group * w->C, tile, e, g / w->group, zeros);
}

/* Tiles [from, to) of group g, the first at v: of UNIT channels all frames after each other,
 * then of the next. */
static void transform_input(const wino_call *call, int64_t g, int64_t from, int64_t to,
                            float *v, int64_t step, const float *zeros)
{
    const cpu_wino *w = &call->op->wino;
    const float *at[2][CPU_WINO_FREQ];
    int64_t E = w->E, unit = E > 1 ? UNIT : w->C;
    if (from < to)
        look(call, g, from, 0, at[0], zeros);
    for (int64_t t = 0; t < (to - from) * E; t++) {
        int64_t next = t + 1;
        if (next < (to - from) * E) {
            look(call, g, from + next / E, next % E, at[next & 1], zeros);
            cpu_wino_fetch(at[next & 1], 6, w->dw > 1 ? 0 : 6 - w->size, w->C);
        }
        float *out = v + t / E * call->op->ld;
        for (int64_t c = 0, n; c < w->C; c += n) {
            n = cpu_min(unit, w->C - c);
            call->op->base.backend->kernels->wino_in(w->pieces > 1, out + c * E + t % E * n,
                                                     step, at[t & 1], c, n);
        }
    }
}

/* Channels [c, c + n) of panel j of group g: outputs become lanes. */
static void turn_weights(const wino_call *call, int64_t g, int64_t j, int64_t c, int64_t n,
                         float *taps)
{
    const wino_op *op = call->op;
    const cpu_wino *w = &op->wino;
    int64_t nr = op->base.backend->kernels->nr, area = w->area, phase = g / w->group;
    int64_t ld = op->flipped ? area : w->C * area, move = op->flipped ? w->K * area : area;
    const float *from = call->w + (g % w->group * w->C * w->K + j * nr * (ld / area)) * area;
    if (w->phases > 1 && !op->turned) /* another one may have had taps where this has none */
        memset(taps, 0, (size_t)(n * op->area * nr) * sizeof(float));
    op->base.backend->kernels->pack_weights(taps, cpu_min(nr, w->K - j * nr), n * area,
                                            from + c * move, ld,
                                            op->at + phase * op->fetch * area, op->next, 0);
}

static float *kept_at(const wino_call *call, int64_t g, int64_t j, int64_t c)
{
    const cpu_wino *w = &call->op->wino;
    return call->kept + ((g * call->op->panels + j) * w->C + c) * call->op->area *
                            call->op->base.backend->kernels->nr;
}

/* Channels [c0, c1) of panel j of group g, as inputs lie. */
static void transform_weights(const wino_call *call, int64_t g, int64_t j, int64_t c0,
                              int64_t c1, float *out, int64_t step, float *taps)
{
    const wino_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t area = op->wino.count, E = op->wino.E;
    const float *at[25];
    for (int64_t c = c0, n; c < c1; c += n) {
        n = cpu_min(op->fetch, c1 - c);
        if (op->turned)
            taps = kept_at(call, g, j, c);
        else
            turn_weights(call, g, j, c, n, taps);
        int64_t first = c / UNIT * UNIT, unit = cpu_min(UNIT, op->wino.C - first);
        for (int64_t i = 0; i < n * E; i++) {
            for (int64_t t = 0; t < area; t++) {
                at[t] = taps + (i * area + t) * ker->nr;
                for (int64_t v = 0; op->turned && v < ker->nr; v += 16)
                    __builtin_prefetch(at[t] + v + AHEAD * area * ker->nr);
            }
            int64_t place = (first - c0) * E + i % E * unit + c - first + i / E;
            ker->wino_values((int32_t)op->wino.taps, op->wino.pieces > 1, out + place * ker->nr,
                             step, at, 0, ker->nr);
        }
    }
}

/* `tiles` tiles of every frequency, of `len` channels, for panel j. */
static void multiply(const wino_op *op, int64_t j, int64_t tiles, int64_t len, const float *v,
                     int64_t v_step, const float *u, int64_t u_step, float *sums, bool add)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_end end = {.alpha = 1, .add = add};
    int32_t vectors = op->wino.K - j * ker->nr <= ker->vl ? 1 : 2;
    for (int64_t f = 0; f < CPU_WINO_FREQ; f++)
        ker->rows(vectors, tiles, len, v + f * v_step, op->ld, 1,
                  u + f % weight_freqs(&op->wino) * u_step,
                  sums + f * cpu_wino_step(tiles * ker->nr), ker->nr, &end);
}

static void transform_output(const wino_call *call, const space *s, int64_t g, int64_t j,
                             int64_t from, int64_t to)
{
    const wino_op *op = call->op;
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t phase = g / w->group;
    int64_t col = g % w->group * w->K + j * ker->nr, n = cpu_min(ker->nr, w->K - j * ker->nr);
    const float *at[2][CPU_WINO_FREQ];
    cpu_end end = op->end;
    end.bias_n = call->bias ? call->bias + col : NULL;
    for (int64_t t = from; t <= to; t++) {
        if (t < to) {
            cpu_wino_patch(w, at[t & 1], call->y + col, true, t, 0, phase / w->out,
                           phase % w->out, s->trash);
            cpu_wino_fetch(at[t & 1], w->size, 0, n);
        }
        if (t > from)
            ker->wino_out((int32_t)w->size, w->pieces > 1, (float *const *)at[(t - 1) & 1],
                          s->sums + (t - 1 - from) * ker->nr,
                          cpu_wino_step((to - from) * ker->nr), n, &end);
    }
}

/* ---- few channels ------------------------------------------------------------------------ */

static void make_weights(const wino_call *call, int64_t i, const space *s, float *all)
{
    const wino_op *op = call->op;
    int64_t step = cpu_wino_step(op->depth * op->base.backend->kernels->nr);
    transform_weights(call, i / op->panels, i % op->panels, 0, op->wino.C,
                      all + i * weight_freqs(&op->wino) * step, step, s->taps);
}

static void weights_task(void *arg, int64_t task, int32_t worker)
{
    const wino_call *call = arg;
    space s = space_of(call, worker);
    make_weights(call, task, &s, call->shared);
}

static void local_task(void *arg, int64_t task, int32_t worker)
{
    const wino_call *call = arg;
    const wino_op *op = call->op;
    int64_t nr = op->base.backend->kernels->nr, from, to;
    int64_t g = task / op->blocks;
    space s = space_of(call, worker);
    cpu_split(op->wino.tiles, op->blocks, task % op->blocks, &from, &to);
    int64_t step = cpu_wino_step((to - from) * op->ld), u_step = cpu_wino_step(op->depth * nr);
    for (int64_t i = 0; op->own && !*s.made && i < op->groups * op->panels; i++)
        make_weights(call, i, &s, s.own);
    *s.made = 1;
    transform_input(call, g, from, to, s.input, step, s.zeros);
    for (int64_t j = 0; j < op->panels; j++) {
        const float *u = (op->own ? s.own : call->shared) +
                         (g * op->panels + j) * weight_freqs(&op->wino) * u_step;
        multiply(op, j, to - from, op->depth, s.input, step, u, u_step, s.sums, false);
        transform_output(call, &s, g, j, from, to);
    }
}

/* ---- many channels ----------------------------------------------------------------------- */

enum { INPUT_PARTS = 4 }; /* of a block */

static void input_task(void *arg, int64_t task, int32_t worker)
{
    const wino_call *call = arg;
    const wino_op *op = call->op;
    int64_t b = task / INPUT_PARTS, from, to, p0, p1;
    space s = space_of(call, worker);
    cpu_split(op->wino.tiles, op->blocks, call->first + b, &from, &to);
    cpu_split(to - from, INPUT_PARTS, task % INPUT_PARTS, &p0, &p1);
    float *v = call->shared + b * CPU_WINO_FREQ * cpu_wino_step(op->block * op->ld);
    transform_input(call, call->g, from + p0, from + p1, v + p0 * op->ld,
                    cpu_wino_step(op->block * op->ld), s.zeros);
}

static void shared_task(void *arg, int64_t task, int32_t worker)
{
    const wino_call *call = arg;
    const wino_op *op = call->op;
    int64_t b = task / op->panels, j = task % op->panels, from, to;
    int64_t nr = op->base.backend->kernels->nr, C = op->wino.C, E = op->wino.E;
    int64_t units = cpu_ceil(C, UNIT), pieces = cpu_ceil(units * UNIT * E, op->piece);
    space s = space_of(call, worker);
    const float *v =
        op->own ? s.own : call->shared + b * CPU_WINO_FREQ * cpu_wino_step(op->block * op->ld);
    cpu_split(op->wino.tiles, op->blocks, call->first + b, &from, &to);
    if (op->own && *s.made != call->g + 1)
        transform_input(call, call->g, from, to, s.own, cpu_wino_step(op->block * op->ld),
                        s.zeros);
    *s.made = call->g + 1;
    for (int64_t p = 0, c0, c1; p < pieces; p++) {
        cpu_split(units, pieces, p, &c0, &c1);
        c0 *= UNIT, c1 = cpu_min(C, c1 * UNIT);
        int64_t step = cpu_wino_step((c1 - c0) * E * nr);
        transform_weights(call, call->g, j, c0, c1, s.weights, step, s.taps);
        multiply(op, j, to - from, (c1 - c0) * E, v + c0 * E, cpu_wino_step(op->block * op->ld),
                 s.weights, step, s.sums, p > 0);
    }
    transform_output(call, &s, call->g, j, from, to);
}

static void keep_task(void *arg, int64_t task, int32_t worker)
{
    const wino_call *call = arg;
    const wino_op *op = call->op;
    int64_t g = task / op->panels, j = task % op->panels, n;
    (void)worker;
    for (int64_t p = g; p < op->groups; p += op->wino.group) {
        float *kept = kept_at(call, p, j, 0);
        memset(kept, 0, (size_t)(kept_at(call, p, j + 1, 0) - kept) * sizeof(float));
    }
    for (int64_t c = 0; c < op->wino.C; c += n) {
        n = cpu_min(op->fetch, op->wino.C - c);
        turn_weights(call, g, j, c, n, kept_at(call, g, j, c));
    }
}

static dn_status wino_prepare(dn_op *base, const dn_op_io *io)
{
    wino_op *op = (wino_op *)base;
    wino_call call = {.op = op, .w = io->in[1], .kept = io->keep};
    cpu_for(base->backend, op->wino.group * op->panels, keep_task, &call);
    return DN_OK;
}

static dn_status wino_run(dn_op *base, const dn_op_io *io)
{
    wino_op *op = (wino_op *)base;
    wino_call call = {.op = op,
                      .x = io->in[0],
                      .w = io->in[1],
                      .bias = cpu_in(base, io, 2),
                      .y = io->out[0],
                      .shared = (float *)io->scratch + op->turned_floats,
                      .kept = op->keep ? io->keep : io->scratch};
    call.work = call.shared + op->shared_floats;
    for (int32_t i = 0; i < base->backend->host.num_threads; i++)
        *(int64_t *)(call.work + i * op->worker_floats) = 0;
    if (op->turned && !op->keep)
        cpu_for(base->backend, op->wino.group * op->panels, keep_task, &call);
    if (op->local) {
        if (!op->own)
            cpu_for(base->backend, op->groups * op->panels, weights_task, &call);
        cpu_for(base->backend, op->groups * op->blocks, local_task, &call);
        return DN_OK;
    }
    for (call.g = 0; call.g < op->groups; call.g++)
        for (call.first = 0; call.first < op->blocks; call.first += op->wave) {
            int64_t blocks = cpu_min(op->wave, op->blocks - call.first);
            if (!op->own)
                cpu_for(base->backend, blocks * INPUT_PARTS, input_task, &call);
            cpu_for(base->backend, blocks * op->panels, shared_task, &call);
        }
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Where a tap of w is among those of a tile in this phase of y, or -1, which is trash: of
 * another. */
static int64_t place_of(const wino_op *op, int64_t phase, int64_t tap)
{
    const cpu_wino *w = &op->wino;
    int64_t r = tap / w->kernel, s = tap % w->kernel, taps = w->taps;
    if (w->in == 1 && w->out == 1)
        return op->flipped ? w->area - 1 - tap : tap;
    if (w->in > 1)
        return (r % w->in * w->in + s % w->in) * taps * taps + r / w->in * taps + s / w->in;
    r -= (phase / w->out + w->lead_h) % w->out;
    s -= (phase % w->out + w->lead_w) % w->out;
    if (r % w->out || s % w->out) /* of a negative one, too */
        return -1;
    return taps * taps - 1 - (r / w->out * taps + s / w->out);
}

/* Of turned weights one table is all phases'. */
static bool plan_places(wino_op *op)
{
    const cpu_wino *w = &op->wino;
    int64_t nr = op->base.backend->kernels->nr, taps = op->fetch * w->area;
    op->at = cpu_op_table(&op->base, (size_t)(w->phases * taps), sizeof *op->at);
    op->next = cpu_op_table(&op->base, (size_t)taps, sizeof *op->next);
    if (!op->at || !op->next)
        return false;
    for (int64_t i = 0; i < w->phases * taps; i++) {
        int64_t phase = i / taps, to = place_of(op, phase, i % w->area);
        int64_t in = op->turned ? phase * w->group * op->panels * w->C : 0;
        int64_t *at = op->at + (op->turned ? i % taps : i);
        if (to >= 0)
            *at = ((in + i % taps / w->area) * op->area + to) * nr;
        else if (!op->turned)
            *at = -nr;
    }
    return true;
}

static bool plan(wino_op *op, bool constant, dn_op_info *info)
{
    const cpu_wino *w = &op->wino;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t most = TILES_MOST, area = w->E * w->count;
    op->area = area;
    op->groups = w->group * w->phases;
    op->piece = cpu_max(1, DEPTH / UNIT / w->E) * UNIT * w->E;
    op->panels = cpu_ceil(w->K, ker->nr);
    /* whole vectors, and another set of the first cache for every tile */
    op->depth = w->C * w->E;
    op->ld = ((op->depth + 15) & ~(int64_t)15) + 16;
    int64_t weights =
        op->groups * op->panels * weight_freqs(w) * cpu_wino_step(op->depth * ker->nr);
    bool few = w->tiles <= TILES_MOST && op->panels >= 4;
    op->local = !few && (weights <= WEIGHTS_FLOATS || op->panels < 4);
    op->own = few || weights <= OWN_FLOATS;
    if (op->local) {
        most = cpu_max(16, cpu_min(most, LOCAL_FLOATS / (CPU_WINO_FREQ * op->ld)));
        most =
            cpu_min(most, cpu_max(8, w->tiles * op->groups / 8)); /* enough for some workers */
    }
    op->blocks = cpu_ceil(w->tiles, most);
    op->blocks += op->local && op->blocks > 1 ? op->blocks & 1 : 0; /* two workers' halves */
    op->block = cpu_ceil(w->tiles, op->blocks);
    int64_t input = CPU_WINO_FREQ * cpu_wino_step(op->block * op->ld);
    op->wave = cpu_max(1, cpu_min(op->blocks, WAVE_FLOATS / input));
    int64_t shared = op->local ? weights : op->wave * input;
    op->shared_floats = op->own ? 0 : shared;
    op->own_floats = op->own ? (shared + 15) & ~(int64_t)15 : 0;
    int64_t own = op->local ? input : weight_freqs(w) * cpu_wino_step(op->piece * ker->nr);
    op->fetch = op->flipped ? 1 : UNIT;
    op->worker_floats = ((w->C + 15) & ~(int64_t)15) + (1 + op->fetch * area) * ker->nr +
                        CPU_WINO_FREQ * cpu_wino_step(op->block * ker->nr) + own;
    op->worker_floats = ((op->worker_floats + 15) & ~(int64_t)15) + 16 + op->own_floats;
    op->turned = op->keep || (w->phases > 1 && !op->local);
    if (!plan_places(op))
        return false;
    int64_t turned = op->turned ? op->groups * op->panels * w->C * area * ker->nr : 0;
    op->keep = op->keep || (op->turned && constant);
    op->turned_floats = op->keep ? 0 : (turned + 15) & ~(int64_t)15;
    op->base.prepare = op->keep ? wino_prepare : NULL;
    info->keep = op->keep ? (size_t)turned * sizeof(float) : 0;
    info->unread = op->keep ? 2 : 0;
    info->scratch = (size_t)(op->turned_floats + op->shared_floats +
                             op->base.backend->host.num_threads * op->worker_floats) *
                    4;
    return true;
}

dn_status cpu_wino_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_wino wino;
    if (!cpu_wino_init(&wino, backend, desc, info))
        return DN_DECLINED;
    wino_op *op = cpu_op_new(backend, sizeof *op, wino_run, info, "cpu:winograd");
    if (!op)
        return DN_E_NOMEM;
    op->wino = wino;
    op->flipped = desc->kind == DN_OP_CONV_BWD_DATA;
    op->keep = keeps(&wino, desc);
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, desc->constant & 2, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
