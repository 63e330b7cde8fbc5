/* SPDX-License-Identifier: BSD-2-Clause
 * conv_scatter.c: dx of a convolution in NHWC, any stride: rows of dy times all taps, and what
 * a tap makes is added to its pixel of dx. No product is of padding or between the pixels of a
 * stride, and all taps' channels lie side by side, few as they may be: where pixels of dx have
 * few channels or a stride above 2, or see few taps, this is faster than a product for each. A
 * task is some rows of an image's dx, added to in the order of dy's rows.
 * Where dx has one channel and no stride, taps are rows and pixels columns, so that what a tap
 * makes lies side by side; forward to one channel, x is this dy, and taps are the last first.
 */
#include "conv_nhwc.h"

#include <string.h>

enum {
    COLUMNS = 1024,         /* of products made at a time, or one row of taps */
    FLOATS = 1 << 15,       /* the same, of some rows of dy: in the second cache */
    HEAVY = 1 << 18,        /* weights that are not, and ... */
    HEAVY_FLOATS = 1 << 19, /* ... what is made then */
    PIECE = 1024,           /* of k */
    TASKS_WANTED = 8,
    PACK_ROWS = 16 /* channels of dy whose weights a task packs */
};

typedef struct scatter_op {
    dn_op base;
    cpu_geo geo;
    int64_t rows, blocks;        /* rows of dy at a time; parts of an image */
    int64_t chunk, chunks;       /* rows of taps at a time */
    int64_t columns, panels, ld; /* of a chunk */
    int64_t taps;                /* of a pixel before the next one's */
    int64_t tap, pixel;          /* floats from tap to tap of what is made, and pixels */
    int64_t group_floats, packed_floats, worker_floats;
    bool keep, forward;
    bool one; /* channel of dx, no stride: pixels are columns */
    cpu_end end;
} scatter_op;

typedef struct scatter_call {
    const scatter_op *op;
    const float *dy, *w, *bias;
    float *dx, *packed, *work;
} scatter_call;

/* ---- weights ----------------------------------------------------------------------------- */

/* Packed by chunk of rows of taps, panel, channel of dy. */
static void pack_task(void *arg, int64_t task, int32_t worker)
{
    const scatter_call *call = arg;
    const scatter_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = geo->R * geo->S, all = taps * geo->Cg, nr = ker->nr, from, to;
    float *row = call->work + worker * op->worker_floats;
    cpu_split(geo->K, cpu_ceil(geo->K, PACK_ROWS), task, &from, &to);
    for (int64_t k = from; k < to; k++) {
        float *out = call->packed + k / geo->Kg * op->group_floats + k % geo->Kg * nr;
        ker->turn_rows(row, geo->Cg, call->w + k * all, taps, geo->Cg, taps, false);
        for (int64_t at = 0; at < all; at += op->columns)
            for (int64_t j = 0; j < op->panels; j++, out += geo->Kg * nr) {
                int64_t n = cpu_min(nr, cpu_min(op->columns, all - at) - j * nr);
                n = cpu_max(0, n);
                memcpy(out, row + at + j * nr, (size_t)n * sizeof(float));
                memset(out + n, 0, (size_t)(nr - n) * sizeof(float));
            }
    }
}

/* ---- rows of dx -------------------------------------------------------------------------- */

/* Rows [from, to) of dx before any tap, or after all. */
static void begin_rows(const scatter_call *call, float *dx, int64_t from, int64_t to)
{
    const scatter_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t row = geo->W * geo->C, pixels = geo->W * (op->end.add ? to - from : 1);
    float *at = dx + from * row;
    if (to <= from)
        return;
    if (!op->end.add)
        memset(at, 0, (size_t)((call->bias ? 1 : to - from) * row) * sizeof(float));
    if (!call->bias)
        return;
    op->base.backend->kernels->add_rows(at, geo->C, call->bias, 0, pixels, geo->C);
    for (int64_t i = from + 1; i < to && !op->end.add; i++)
        memcpy(dx + i * row, at, (size_t)row * sizeof(float));
}

static void end_rows(const scatter_call *call, float *dx, int64_t from, int64_t to)
{
    const scatter_op *op = call->op;
    const cpu_unary relu = {DN_FN_RELU, op->end.slope, 0, 0};
    int64_t row = op->geo.W * op->geo.C;
    if (op->end.relu && to > from)
        op->base.backend->kernels->unary(&relu, dx + from * row, dx + from * row, false,
                                         (to - from) * row);
}

/* What row r of taps makes of a row of dy, at t, to a row of dx: some taps at a time, that
 * those of a pixel end where the next one's begin. */
static void add_taps(const scatter_op *op, float *dx, const float *t)
{
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    for (int64_t s = 0, m, from, to; s < geo->S; s += m) {
        int64_t w = s * geo->dw - geo->pw, step = geo->sw * geo->C;
        m = cpu_min(op->taps, geo->S - s);
        cpu_inside(w, geo->sw, geo->W - m + 1, geo->Q, &from, &to);
        ker->add_rows(dx + w * geo->C + from * step, step, t + from * op->pixel, op->pixel,
                      op->one ? to > from : to - from, op->one ? to - from : m * geo->Cg);
        for (int64_t q = 0; q < geo->Q && m > 1; q++) { /* partly outside */
            q = q == from ? to : q;
            int64_t at = w + q * geo->sw, t0 = cpu_max(0, -at), t1 = cpu_min(m, geo->W - at);
            if (q < geo->Q && t1 > t0)
                ker->add_rows(dx + (at + t0) * geo->C, 0, t + q * op->ld + t0 * geo->C, 0, 1,
                              (t1 - t0) * geo->C);
        }
        t += m * op->tap;
    }
}

/* All taps of `count` pixels of dy, nr of them at a time turned into a panel. */
static void multiply_columns(const scatter_call *call, const float *dy, int64_t count,
                             float *out)
{
    const scatter_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t K = op->geo.K, taps = op->geo.R * op->geo.S;
    float *panel = out + taps * op->ld;
    const cpu_end end = {.alpha = 1};
    for (int64_t i = 0; i < count; i += ker->nr) {
        ker->pack_trans(panel, K, dy + i * K, K, cpu_min(ker->nr, count - i));
        ker->rows(2, taps, K, call->packed, K, 1, panel, out + i, op->ld, &end);
    }
}

/* Chunk i of group g of `count` pixels of dy. */
static void multiply(const scatter_call *call, int64_t g, int64_t i, const float *dy,
                     int64_t count, float *out)
{
    const scatter_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *w = call->packed + g * op->group_floats + i * op->panels * geo->Kg * ker->nr;
    if (op->one) {
        multiply_columns(call, dy, count, out);
        return;
    }
    int64_t columns = cpu_min(op->columns, (geo->R - i * op->chunk) * geo->S * geo->Cg);
    for (int64_t j = 0; j * ker->nr < columns; j++, w += geo->Kg * ker->nr)
        for (int64_t k = 0; k < geo->Kg; k += PIECE) {
            const cpu_end end = {.alpha = 1, .add = k > 0};
            ker->rows(columns - j * ker->nr <= ker->vl ? 1 : 2, count,
                      cpu_min(PIECE, geo->Kg - k), dy + k, geo->K, 1, w + k * ker->nr,
                      out + j * ker->nr, op->ld, &end);
        }
}

static void scatter_task(void *arg, int64_t task, int32_t worker)
{
    const scatter_call *call = arg;
    const scatter_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t n = task / op->blocks, h0, h1, begun, ended, p1;
    float *dx = call->dx + n * geo->H * geo->W * geo->C;
    float *made = call->work + worker * op->worker_floats;
    cpu_split(geo->H, op->blocks, task % op->blocks, &h0, &h1);
    begun = ended = h0;
    int64_t reach = (geo->R - 1) * geo->dh;
    int64_t p0 = cpu_max(0, cpu_ceil(cpu_max(0, h0 + geo->ph - reach), geo->sh));
    int64_t last = cpu_min(geo->P, (h1 - 1 + geo->ph) / geo->sh + 1);
    for (int64_t p = p0; p < last; p = p1) {
        p1 = cpu_min(last, p + op->rows);
        int64_t next = cpu_min(h1, (p1 - 1) * geo->sh - geo->ph + reach + 1);
        begin_rows(call, dx, begun, next);
        begun = cpu_max(begun, next);
        const float *dy = call->dy + (n * geo->P + p) * geo->Q * geo->K;
        for (int64_t t = 0; t < geo->group * op->chunks; t++) {
            int64_t g = t / op->chunks, r0 = t % op->chunks * op->chunk;
            int64_t r1 = cpu_min(geo->R, r0 + op->chunk);
            int64_t i0 = cpu_ceil(h0 + geo->ph - (r1 - 1) * geo->dh, geo->sh);
            int64_t i1 = (h1 - 1 + geo->ph - r0 * geo->dh) / geo->sh + 1;
            i0 = cpu_max(p, i0), i1 = cpu_max(i0, cpu_min(p1, i1));
            multiply(call, g, t % op->chunks, dy + (i0 - p) * geo->Q * geo->K + g * geo->Kg,
                     (i1 - i0) * geo->Q, made);
            for (int64_t i = i0; i < i1; i++)
                for (int64_t r = r0; r < r1; r++) {
                    int64_t h = i * geo->sh - geo->ph + r * geo->dh;
                    if (h >= h0 && h < h1)
                        add_taps(op, dx + h * geo->W * geo->C + g * geo->Cg,
                                 made + (i - i0) * geo->Q * op->pixel +
                                     (r - r0) * geo->S * op->tap);
                }
        }
        next = cpu_min(begun, p1 * geo->sh - geo->ph);
        end_rows(call, dx, ended, next);
        ended = cpu_max(ended, next);
    }
    begin_rows(call, dx, begun, h1);
    end_rows(call, dx, ended, h1);
}

/* ---- run --------------------------------------------------------------------------------- */

/* One channel: (taps, channels of dy), forward from the last tap on. */
static void pack(const scatter_call *call)
{
    const dn_op *base = &call->op->base;
    int64_t K = call->op->geo.K, taps = call->op->columns;
    if (call->op->one)
        base->backend->kernels->turn_rows(
            call->packed + (call->op->forward ? (taps - 1) * K : 0), call->op->forward ? -K : K,
            call->w, taps, K, taps, false);
    else
        cpu_for(base->backend, cpu_ceil(K, PACK_ROWS), pack_task, (void *)call);
}

static dn_status scatter_prepare(dn_op *base, const dn_op_io *io)
{
    scatter_call call = {
        .op = (scatter_op *)base, .w = io->in[1], .packed = io->keep, .work = io->scratch};
    pack(&call);
    return DN_OK;
}

static dn_status scatter_run(dn_op *base, const dn_op_io *io)
{
    const scatter_op *op = (const scatter_op *)base;
    scatter_call call = {.op = op,
                         .dy = io->in[0],
                         .w = io->in[1],
                         .bias = cpu_in(base, io, 2),
                         .dx = io->out[0],
                         .packed = op->keep ? io->keep : io->scratch};
    call.work = (float *)io->scratch + (op->keep ? 0 : op->packed_floats);
    if (!op->keep)
        pack(&call);
    cpu_for(base->backend, op->geo.N * op->blocks, scatter_task, &call);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Nanoseconds on one thread: products at 95 GFLOP/s of whole vectors, and adding. `direct`: the
 * same of a product for each pixel and tap, vectors of outputs whole. */
static double cost_of(const scatter_op *op, double *direct)
{
    const cpu_geo *g = &op->geo;
    double pixels = (double)(g->N * g->P * g->Q * g->group), k = (double)g->Kg;
    double columns =
        (double)((op->chunks - 1) * op->columns +
                 16 * cpu_ceil(g->R * g->S * g->Cg - (op->chunks - 1) * op->columns, 16));
    double runs = (double)(g->R * cpu_ceil(g->S, op->taps)),
           weights = (double)(g->K * g->R * g->S) * g->Cg;
    double taps = (double)op->columns, rate = g->Cg < 32 ? 85 : 95;
    *direct = 2 * (double)(g->N * g->H * g->W * g->group) / (double)(g->sh * g->sw) *
              (double)(g->R * g->S * 16 * cpu_ceil(g->Cg, 16)) * k / rate;
    if (op->one)
        return pixels * (taps * k / 40 + (taps + k) * 0.1);
    return pixels * (2 * columns * k / 95 + runs * 3 + columns * 0.15) +
           (op->keep ? 0 : weights * 0.8);
}

static void plan(scatter_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t nr = op->base.backend->kernels->nr, row = geo->S * geo->Cg;
    op->taps = geo->group == 1 && geo->dw == 1 ? cpu_min(geo->S, geo->sw) : 1;
    op->chunk = cpu_min(geo->R, cpu_max(1, COLUMNS / row));
    op->chunks = cpu_ceil(geo->R, op->chunk);
    op->columns = op->chunk * row;
    op->panels = cpu_ceil(op->columns, nr);
    op->ld = op->panels * nr;
    bool heavy = geo->K * geo->R * row > HEAVY; /* read once more by each piece */
    op->rows = (heavy ? HEAVY_FLOATS : FLOATS) / (op->ld * geo->Q);
    op->rows = cpu_max(1, cpu_min(geo->P, op->rows));
    op->blocks = cpu_min(cpu_ceil(TASKS_WANTED, geo->N), cpu_ceil(geo->H, 2 * geo->R));
    op->group_floats = op->chunks * op->panels * nr * geo->Kg;
    op->packed_floats = geo->group * op->group_floats;
    op->worker_floats = cpu_max(op->rows * geo->Q * op->ld, geo->R * row);
    if (op->one) { /* an odd number of panels: no columns pages apart */
        op->ld = (cpu_ceil(op->rows * geo->Q, nr) | 1) * nr;
        op->worker_floats = op->columns * op->ld + geo->K * nr;
    }
    op->tap = op->one ? op->ld : geo->Cg, op->pixel = op->one ? 1 : op->ld;
    op->worker_floats = (op->worker_floats + 31) & ~(int64_t)15;
    info->keep = op->keep ? (size_t)op->packed_floats * sizeof(float) : 0;
    info->unread = op->keep ? 2 : 0;
    info->scratch = (size_t)((op->keep ? 0 : op->packed_floats) +
                             op->base.backend->host.num_threads * op->worker_floats) *
                    sizeof(float);
}

/* Forward without a stride as backward: x is dy, y is dx. */
static void turn(cpu_geo *geo)
{
    const cpu_geo f = *geo;
    geo->H = f.P, geo->W = f.Q, geo->P = f.H, geo->Q = f.W;
    geo->C = f.K, geo->K = f.C, geo->Cg = f.Kg, geo->Kg = f.Cg;
    geo->ph = (f.R - 1) * f.dh - f.ph, geo->pw = (f.S - 1) * f.dw - f.pw;
}

dn_status cpu_conv_scatter_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                  dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    double direct;
    if (!cpu_conv_nhwc_geo(&geo, desc, 0, info))
        return DN_DECLINED;
    bool forward = desc->kind == DN_OP_CONV;
    if (forward)
        turn(&geo);
    bool one = geo.C == 1 && geo.sh * geo.sw == 1 && geo.R * geo.S <= COLUMNS;
    if (geo.frames || geo.ready || (forward && (!one || geo.ph < 0 || geo.pw < 0)))
        return cpu_decline(info, "frames, 1x1, or forward to several channels");
    scatter_op *op = cpu_op_new(backend, sizeof *op, scatter_run, info, "cpu:rows+col2im");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo, op->forward = forward, op->one = one;
    op->keep = desc->constant & 2;
    op->base.prepare = op->keep ? scatter_prepare : NULL;
    op->end = (cpu_end){.slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    plan(op, info);
    info->cost = cost_of(op, &direct) * (backend->isa == CPU_PLAIN ? 10 : 1);
    if (geo.sh * geo.sw <= 4 &&
        info->cost > 0.9 * direct * (backend->isa == CPU_PLAIN ? 10 : 1)) {
        cpu_op_free(&op->base);
        info->cost = 0, info->keep = info->unread = 0;
        return cpu_decline(info, "a product for each tap is expected to be faster");
    }
    *out = &op->base;
    return DN_OK;
}
