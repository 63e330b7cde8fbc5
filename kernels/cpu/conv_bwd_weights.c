/* SPDX-License-Identifier: BSD-2-Clause
 * conv_bwd_weights.c: dw = dy times the image's taps. Both are laid out as rows along the
 * output's pixels, in pieces that stay in the second cache (large planes of whole vectors are
 * rows as they lie), and multiplied rows by rows with `dot`. A task is a block of input
 * channels and, where those are few, a part of the pieces: parts leave partial sums that are
 * added in order. */
#include "conv.h"

#include <string.h>

enum {
    CHUNK_FLOATS = 1 << 20,   /* of dy laid out at a time */
    DEPTH_FLOATS = 192 << 10, /* of one piece, dy and taps */
    TALL_BLOCK = 20,          /* tiles of dy's channels */
    ROWS_WANTED = 32,
    TASKS_WANTED = 16
};

typedef struct weights_op {
    dn_op base;
    cpu_geo geo;
    int64_t blocks, channels; /* of a group's input channels; the largest block */
    int64_t parts;
    int64_t images, lines; /* of a piece: images, and output rows of each */
    int64_t bands;         /* pieces of one image; 1 if a piece has several images */
    int64_t pieces, chunk; /* in all, and of a chunk */
    int64_t depth;         /* floats from row to row of a piece */
    int64_t dy_floats, dw_floats, rows_at, worker_floats;
    bool direct; /* dy, and x of a 1x1, are used as they lie */
    bool bias, add, add_bias;
} weights_op;

typedef struct weights_call {
    const weights_op *op;
    const float *x, *dy;
    float *dw, *db, *rows, *partial, *work;
    int64_t first, count; /* pieces of this chunk */
} weights_call;

typedef struct piece { /* images [n0, n1), output rows [p0, p1) */
    int64_t n0, n1, p0, p1, len;
} piece;

static piece piece_at(const weights_op *op, int64_t i)
{
    const cpu_geo *geo = &op->geo;
    int64_t n0 = i / op->bands * op->images, p0 = i % op->bands * op->lines;
    piece at = {n0, cpu_min(geo->N, n0 + op->images), p0, cpu_min(geo->P, p0 + op->lines), 0};
    at.len = (at.n1 - at.n0) * (at.p1 - at.p0) * geo->Q;
    return at;
}

/* ---- laying out -------------------------------------------------------------------------- */

/* Output channel k of dy, for every piece of the chunk, and its part of db. */
static void dy_task(void *arg, int64_t k, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    float sum = 0;
    (void)worker;
    for (int64_t i = 0; i < call->count; i++) {
        piece at = piece_at(op, call->first + i);
        const float *dy = call->dy + ((at.n0 * geo->K + k) * geo->P + at.p0) * geo->Q;
        if (!op->direct) {
            float *row = call->rows + i * op->dy_floats + k * op->depth;
            int64_t pixels = (at.p1 - at.p0) * geo->Q;
            for (int64_t n = 0; n < at.n1 - at.n0; n++)
                memcpy(row + n * pixels, dy + n * geo->K * geo->P * geo->Q,
                       (size_t)pixels * sizeof(float));
            dy = row;
        }
        if (op->bias)
            sum += ker->reduce(DN_REDUCE_SUM, dy, NULL, at.len);
    }
    if (op->bias)
        call->db[k] = op->add_bias || call->first ? call->db[k] + sum : sum;
}

/* The taps of channels [c0, c1) of group g over a piece, a row each. */
static void fill_rows(const weights_call *call, const piece *at, int64_t channel, int64_t count,
                      float *planes, float *rows)
{
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = geo->R * geo->S, image = geo->H * geo->W, lines = at->p1 - at->p0;
    for (int64_t n = at->n0; n < at->n1; n++)
        for (int64_t c = 0; c < count; c++) {
            const float *x = call->x + (n * geo->C + channel + c) * image;
            float *out = rows + c * taps * op->depth + (n - at->n0) * lines * geo->Q;
            if (geo->ready) {
                memcpy(out, x + at->p0 * geo->W, (size_t)(lines * geo->Q) * sizeof(float));
                continue;
            }
            cpu_geo_prepare(geo, planes, x);
            for (int64_t t = 0; t < taps; t++, out += op->depth)
                ker->gather_rows(
                    out, planes + cpu_geo_tap(geo, t / geo->S, t % geo->S) + at->p0 * geo->wp,
                    lines, geo->Q, geo->wp);
        }
}

/* ---- multiplying ------------------------------------------------------------------------- */

typedef struct product { /* dw (Kg x columns) (+)= dy rows^T, along len */
    const float *dy, *rows;
    int64_t dy_ld, rows_ld, columns, len;
    float *dw;
    bool add;
} product;

static void multiply(const weights_op *op, const product *at)
{
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t wide = cpu_ceil(at->columns, ker->dot_n), tall = cpu_ceil(geo->Kg, ker->dot_m);
    int64_t ldc = geo->Cg * geo->R * geo->S;
    const cpu_end end = {.alpha = 1, .add = at->add};
    for (int64_t i0 = 0; i0 < tall; i0 += TALL_BLOCK) { /* its rows of dy stay in the cache */
        int64_t i1 = cpu_min(tall, i0 + TALL_BLOCK);
        for (int64_t t = 0; t < wide * (i1 - i0); t++) {
            int64_t m0, m1, j0, j1;
            cpu_split(at->columns, wide, t / (i1 - i0), &j0, &j1);
            cpu_split(geo->Kg, tall, i0 + t % (i1 - i0), &m0, &m1);
            ker->dot((int32_t)(m1 - m0), (int32_t)(j1 - j0), at->len, at->dy + m0 * at->dy_ld,
                     at->dy_ld, at->rows + j0 * at->rows_ld, at->rows_ld,
                     at->dw + m0 * ldc + j0, ldc, &end);
        }
    }
}

static void weights_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t blocks = geo->group * op->blocks, part = task / blocks, block = task % blocks;
    int64_t g = block / op->blocks, taps = geo->R * geo->S, c0, c1, from, to;
    float *planes = call->work + worker * op->worker_floats, *rows = planes + op->rows_at;
    bool own = op->parts > 1, add = call->first || (op->add && !own);
    float *dw = own ? call->partial + part * op->dw_floats : call->dw;
    cpu_split(geo->Cg, op->blocks, block % op->blocks, &c0, &c1);
    cpu_split(call->count, op->parts, part, &from, &to);
    dw += (g * geo->Kg * geo->Cg + c0) * taps;
    for (int64_t i = from; i < to; i++) {
        piece at = piece_at(op, call->first + i);
        product mul = {call->rows + i * op->dy_floats + g * geo->Kg * op->depth,
                       rows,
                       op->depth,
                       op->depth,
                       (c1 - c0) * taps,
                       at.len,
                       dw,
                       add || i > from};
        if (op->direct) {
            mul.dy_ld = geo->P * geo->Q;
            mul.dy = call->dy + (at.n0 * geo->K + g * geo->Kg) * mul.dy_ld + at.p0 * geo->Q;
        }
        if (op->direct && geo->ready) {
            mul.rows_ld = geo->P * geo->Q;
            mul.rows =
                call->x + (at.n0 * geo->C + g * geo->Cg + c0) * mul.rows_ld + at.p0 * geo->Q;
        } else {
            fill_rows(call, &at, g * geo->Cg + c0, c1 - c0, planes, rows);
        }
        multiply(op, &mul);
    }
    if (own && from == to && !call->first) /* a part without pieces */
        for (int64_t k = 0; k < geo->Kg; k++)
            memset(dw + k * geo->Cg * taps, 0, (size_t)((c1 - c0) * taps) * sizeof(float));
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    weights_op *op = (weights_op *)base;
    const cpu_geo *geo = &op->geo;
    const dn_backend *backend = base->backend;
    weights_call call = {.op = op,
                         .x = io->in[0],
                         .dy = io->in[1],
                         .dw = io->out[0],
                         .db = op->bias ? io->out[1] : NULL,
                         .rows = io->scratch};
    call.partial = call.rows + op->chunk * op->dy_floats;
    call.work = call.partial + (op->parts > 1 ? op->parts * op->dw_floats : 0);
    for (; call.first < op->pieces; call.first += op->chunk) {
        call.count = cpu_min(op->chunk, op->pieces - call.first);
        if (!op->direct || op->bias)
            cpu_for(backend, geo->K, dy_task, &call);
        cpu_for(backend, op->parts * geo->group * op->blocks, weights_task, &call);
    }
    for (int64_t i = 0; op->parts > 1 && i < op->parts; i++)
        backend->kernels->axpby(call.dw, call.partial + i * op->dw_floats, 1.0f,
                                op->add || i > 0, geo->K * geo->Cg * geo->R * geo->S);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

static void plan(weights_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t taps = geo->R * geo->S, pixels = geo->P * geo->Q;
    op->channels = cpu_min(geo->Cg, cpu_max(1, ROWS_WANTED / taps));
    op->blocks = cpu_ceil(geo->Cg, op->channels);
    op->channels = cpu_ceil(geo->Cg, op->blocks);
    int64_t rows = op->channels * taps,
            depth = DEPTH_FLOATS / (cpu_min(geo->Kg, 5 * TALL_BLOCK) + rows);
    depth = cpu_max(256, cpu_min(2048, depth));
    op->direct = pixels >= 448 && pixels % 16 == 0;
    op->images = op->direct ? 1 : cpu_max(1, cpu_min(geo->N, depth / pixels));
    op->images = cpu_ceil(geo->N, cpu_ceil(geo->N, op->images));
    op->lines = op->images > 1 ? geo->P : cpu_min(geo->P, cpu_max(1, depth / geo->Q));
    op->lines = cpu_ceil(geo->P, cpu_ceil(geo->P, op->lines));
    while (op->direct && op->lines * geo->Q % 16) /* pieces begin at whole vectors */
        op->lines++;
    op->bands = cpu_ceil(geo->P, op->lines);
    op->pieces = cpu_ceil(geo->N, op->images) * op->bands;
    /* gather_rows writes up to a vector too much: never into the next row */
    op->depth = (op->images * op->lines * geo->Q + 30) & ~(int64_t)15;
    op->dy_floats = op->direct ? 0 : geo->K * op->depth;
    op->chunk = op->direct ? op->pieces : CHUNK_FLOATS / op->dy_floats;
    op->chunk = cpu_max(1, cpu_min(op->pieces, op->chunk));
    int64_t tasks = geo->group * op->blocks, work = geo->N * geo->K * geo->Cg * taps * pixels;
    op->parts = tasks >= TASKS_WANTED / 2 ? 1 : cpu_ceil(TASKS_WANTED, tasks);
    op->parts = cpu_max(1, cpu_min(cpu_min(op->chunk, op->parts), work >> 20));
    op->dw_floats = (geo->K * geo->Cg * taps + 15) & ~(int64_t)15;
    op->rows_at = geo->ready ? 0 : (geo->plane + 64 + 15) & ~(int64_t)15;
    op->worker_floats = op->rows_at + rows * op->depth + 64;
    info->scratch =
        (size_t)(op->chunk * op->dy_floats + (op->parts > 1 ? op->parts * op->dw_floats : 0) +
                 op->base.backend->host.num_threads * op->worker_floats) *
        4;
}

dn_status cpu_conv_bwd_weights_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                      dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (!cpu_geo_init(&geo, args, &desc->inputs[0].shape, &desc->outputs[0].shape,
                      &desc->inputs[1].shape, info))
        return DN_DECLINED;
    weights_op *op = cpu_op_new(backend, sizeof *op, weights_run, info, "cpu:dot");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->bias = cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    plan(op, info);
    *out = &op->base;
    return DN_OK;
}
