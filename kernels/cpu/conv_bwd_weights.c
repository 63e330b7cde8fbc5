/* SPDX-License-Identifier: BSD-2-Clause
 * conv_bwd_weights.c: dw = dy times the image's taps, both contiguous along the output's
 * pixels, so rows by rows with `dot`. A task is a block of input channels and a group of
 * images; groups, if the shape asks for several, leave partial sums added in order. */
#include "conv.h"

#include <string.h>

enum { DEPTH_FLOATS = 160 << 10, ROWS_WANTED = 32, TASKS_WANTED = 16 };

typedef struct weights_op {
    dn_op base;
    cpu_geo geo;
    int64_t blocks, channels;    /* of a group's input channels, largest block */
    int64_t parts;               /* groups of images */
    int64_t images, lines;       /* of one chunk: images, and output rows of each */
    int64_t dw_floats, worker_floats, rows_at;
    bool bias, add, add_bias;
} weights_op;

typedef struct weights_call {
    const weights_op *op;
    const float *x, *dy;
    float *dw, *db, *partial, *work;
} weights_call;

/* What one task works on, and its current chunk. */
typedef struct piece {
    int64_t g, c0, c1;           /* group, channels of it */
    int64_t n0, n1, p0, p1;      /* images, output rows */
    const float *rows;           /* (images, taps of channels, pixels), or the image itself */
    int64_t row_ld, row_image;
    float *dw, *db;
    bool add, add_bias;
} piece;

static void fill_rows(const weights_op *op, piece *at, const float *x, float *planes,
                      float *rows)
{
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t pixels = (at->p1 - at->p0) * geo->Q, taps = geo->R * geo->S;
    int64_t channels = at->c1 - at->c0, image = geo->H * geo->W;
    at->row_ld = pixels;
    at->row_image = channels * taps * pixels;
    at->rows = rows;
    for (int64_t n = at->n0; n < at->n1; n++)
        for (int64_t c = at->c0; c < at->c1; c++) {
            cpu_geo_prepare(geo, planes, x + (n * geo->C + at->g * geo->Cg + c) * image);
            for (int64_t t = 0; t < taps; t++, rows += pixels)
                ker->gather_rows(rows,
                                 planes + cpu_geo_tap(geo, t / geo->S, t % geo->S) +
                                     at->p0 * geo->wp,
                                 at->p1 - at->p0, geo->Q, geo->wp);
        }
}

static void multiply(const weights_op *op, const piece *at, const float *dy)
{
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = geo->R * geo->S, columns = (at->c1 - at->c0) * taps;
    int64_t pixels = geo->P * geo->Q, len = (at->p1 - at->p0) * geo->Q;
    int64_t wide = cpu_ceil(columns, ker->dot_n), tall = cpu_ceil(geo->Kg, ker->dot_m);
    const float *a = dy + (at->n0 * geo->K + at->g * geo->Kg) * pixels + at->p0 * geo->Q;
    const cpu_end end = {.alpha = 1, .add = at->add};
    for (int64_t j = 0; j < wide; j++)
        for (int64_t i = 0; i < tall; i++) {
            int64_t m0, m1, j0, j1;
            cpu_split(geo->Kg, tall, i, &m0, &m1);
            cpu_split(columns, wide, j, &j0, &j1);
            ker->dot((int32_t)(m1 - m0), (int32_t)(j1 - j0), at->n1 - at->n0, len,
                     a + m0 * pixels, pixels, geo->K * pixels, at->rows + j0 * at->row_ld,
                     at->row_ld, at->row_image,
                     at->dw + ((at->g * geo->Kg + m0) * geo->Cg + at->c0) * taps + j0,
                     geo->Cg * taps, &end);
        }
    if (!op->bias || at->c0) return;
    for (int64_t k = 0; k < geo->Kg; k++) {
        float sum = 0, *db = at->db + at->g * geo->Kg + k;
        for (int64_t n = 0; n < at->n1 - at->n0; n++)
            sum += ker->reduce(DN_REDUCE_SUM, a + (n * geo->K + k) * pixels, NULL, len);
        *db = at->add_bias ? *db + sum : sum;
    }
}

static void weights_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t part = task / (geo->group * op->blocks), block = task % (geo->group * op->blocks);
    float *planes = call->work + worker * op->worker_floats, *own = call->partial;
    piece at = {.g = block / op->blocks, .dw = call->dw, .db = call->db, .add = op->add,
                .add_bias = op->add_bias};
    int64_t from, to;
    if (op->parts > 1) {
        at.dw = own + part * op->dw_floats;
        at.db = at.dw + geo->K * geo->Cg * geo->R * geo->S;
        at.add = at.add_bias = false;
    }
    cpu_split(geo->Cg, op->blocks, block % op->blocks, &at.c0, &at.c1);
    cpu_split(geo->N, op->parts, part, &from, &to);
    for (at.n0 = from; at.n0 < to; at.n0 = at.n1) {
        at.n1 = cpu_min(to, at.n0 + op->images);
        for (at.p0 = 0; at.p0 < geo->P; at.p0 = at.p1) {
            at.p1 = cpu_min(geo->P, at.p0 + op->lines);
            if (geo->ready) {
                int64_t image = geo->H * geo->W;
                at.rows = call->x + (at.n0 * geo->C + at.g * geo->Cg + at.c0) * image +
                          at.p0 * geo->W;
                at.row_ld = image;
                at.row_image = geo->C * image;
            } else {
                fill_rows(op, &at, call->x, planes, planes + op->rows_at);
            }
            multiply(op, &at, call->dy);
            at.add = at.add_bias = true;
        }
    }
}

static void sum_parts(const weights_call *call, float *out, int64_t offset, int64_t n, bool add)
{
    const weights_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    for (int64_t i = 0; i < op->parts; i++)
        ker->axpby(out, call->partial + i * op->dw_floats + offset, 1.0f, add || i > 0, n);
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    weights_op *op = (weights_op *)base;
    const cpu_geo *geo = &op->geo;
    int64_t count = geo->K * geo->Cg * geo->R * geo->S;
    weights_call call = {op, io->in[0], io->in[1], io->out[0], op->bias ? io->out[1] : NULL,
                         io->scratch, (float *)io->scratch};
    if (op->parts > 1) call.work += op->parts * op->dw_floats;
    cpu_for(base->backend, op->parts * geo->group * op->blocks, weights_task, &call);
    if (op->parts > 1) {
        sum_parts(&call, call.dw, 0, count, op->add);
        if (op->bias) sum_parts(&call, call.db, count, geo->K, op->add_bias);
    }
    return DN_OK;
}

static void plan(weights_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t taps = geo->R * geo->S, pixels = geo->P * geo->Q;
    op->channels = cpu_min(geo->Cg, cpu_max(1, ROWS_WANTED / taps));
    op->blocks = cpu_ceil(geo->Cg, op->channels);
    op->channels = cpu_ceil(geo->Cg, op->blocks);
    int64_t tasks = geo->group * op->blocks, work = geo->N * geo->K * geo->Cg * taps * pixels;
    op->parts = tasks >= TASKS_WANTED / 2 ? 1 : cpu_ceil(TASKS_WANTED, tasks);
    op->parts = cpu_max(1, cpu_min(cpu_min(geo->N, op->parts), work >> 20));
    int64_t depth = cpu_max(256, DEPTH_FLOATS / (geo->Kg + op->channels * taps));
    op->images = cpu_max(1, cpu_min(cpu_ceil(geo->N, op->parts), depth / pixels));
    op->lines = op->images > 1 ? geo->P : cpu_min(geo->P, cpu_max(1, depth / geo->Q));
    op->lines = cpu_ceil(geo->P, cpu_ceil(geo->P, op->lines));
    op->dw_floats = (int64_t)cpu_round64((size_t)(geo->K * (geo->Cg * taps + 1)) * 4) / 4;
    op->rows_at = (int64_t)cpu_round64((size_t)(geo->plane + 64) * 4) / 4;
    int64_t rows = op->images * op->channels * taps * op->lines * geo->Q + 64;
    op->worker_floats =
        geo->ready ? 0 : op->rows_at + (int64_t)cpu_round64((size_t)rows * 4) / 4;
    info->scratch = (size_t)((op->parts > 1 ? op->parts * op->dw_floats : 0) +
                             op->base.backend->host.num_threads * op->worker_floats) * 4;
}

dn_status cpu_conv_bwd_weights_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                      dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_all_f32(desc)) return cpu_decline(info, "operands are not plain f32");
    if (!cpu_geo_init(&geo, args, &desc->inputs[0].shape, &desc->outputs[0].shape,
                      &desc->inputs[1].shape, info))
        return DN_DECLINED;
    weights_op *op = cpu_op_new(backend, sizeof *op, weights_run, info, "cpu:dot");
    if (!op) return DN_E_NOMEM;
    op->geo = geo;
    op->bias = cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    plan(op, info);
    *out = &op->base;
    return DN_OK;
}
