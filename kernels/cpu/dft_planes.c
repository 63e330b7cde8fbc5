/* SPDX-License-Identifier: BSD-2-Clause
 * dft_planes.c: a 5x5 convolution in planes as products of Fourier transforms of 12x12 tiles,
 * each of 8x8 outputs: 284 multiplications for 1600, with about half of the rounding error of
 * direct sums. Images are the lanes of vectors, so that channels may be few and odd. A row of a
 * panel holds the real parts of its lanes and then the imaginary ones, and rows of a second
 * half i times them: a complex product is a real one of twice the depth. */
#include "conv.h"
#include "wino.h"

#include <string.h>

enum {
    KERNEL = 5,
    TAPS = KERNEL * KERNEL,
    TILE = 8,
    PATCH = 12,
    SLOTS =
        PATCH * PATCH / 2, /* a complex frequency each, or of the first REALS two real ones */
    REALS = 2,
    APART = 8,            /* lines of the cache */
    BLOCK = 32,           /* channels of y whose products stay in the second cache */
    MOST_FLOATS = 1 << 22 /* of a place in the scratch: larger planes are for chunks */
};

typedef struct dft_op {
    dn_op base;
    cpu_geo geo;
    int64_t rows, cols; /* tiles of a plane */
    int64_t teams, vl;  /* images: vl in a team */
    int64_t tasks;
    int64_t *x_at, *y_at; /* of a row of tiles, in their strips */
    int64_t *w_at;
    int64_t v_step, m_step, sum_step; /* from slot to slot: of a tile of x, of w, of products */
    int64_t zeros, strip, plane, worker_floats;
    int64_t *ready; /* in this run: 1 + the group whose w a place has, APART from each other */
    bool add;
    cpu_end end;
} dft_op;

typedef struct dft_call {
    const dft_op *op;
    const float *x, *w, *bias;
    float *y, *work;
} dft_call;

/* w of a group: vl pairs of channels at a time, in columns of y's channels. From the end, for
 * the last lanes write beyond their pairs. Every worker has its own: read from another core it
 * would take longer. */
static void transform_w(const dft_call *call, int64_t g, float *m, float *taps)
{
    const dft_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *at[16];
    int64_t pairs = geo->Kg * geo->Cg, vl = op->vl;
    for (int64_t first = (pairs - 1) / vl * vl; first >= 0; first -= vl) {
        for (int64_t i = 0; i < vl; i++) {
            int64_t p = cpu_min(first + i, pairs - 1), k = p % geo->Kg, c = p / geo->Kg;
            at[i] = call->w + ((g * geo->Kg + k) * geo->Cg + c) * TAPS;
        }
        ker->pack_pointers(taps, (int32_t)vl, TAPS, at);
        ker->dft_in(KERNEL, m + first, op->m_step, pairs, 0, taps, op->w_at);
    }
}

/* Products of a tile, for channels [k0, k0 + count) of y. */
static void multiply(const dft_op *op, const float *m, const float *v, float *sums, int64_t k0,
                     int64_t count)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_end plain = {.alpha = 1};
    int64_t C = op->geo.Cg, K = op->geo.Kg, nr = ker->nr;
    m += k0;
    for (int64_t f = 0; f < SLOTS; f++, m += op->m_step, v += op->v_step, sums += op->sum_step)
        if (f >= REALS)
            ker->rows(2, count, 2 * C, m, 1, K, v, sums, nr, &plain);
        else
            for (int64_t i = 0; i < 2; i++)
                ker->rows(1, count, C, m + i * C * K, 1, K, v + i * op->vl, sums + i * op->vl,
                          nr, &plain);
}

/* A team's images, of one group, a row of tiles at a time. */
static void images_task(void *arg, int64_t task, int32_t worker)
{
    const dft_call *call = arg;
    const dft_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t g = task / op->teams, n = task % op->teams * op->vl, nr = ker->nr;
    int64_t place = cpu_place(op->base.backend, op->tasks, task, worker);
    int64_t image = geo->H * geo->W, area = geo->P * geo->Q, left = geo->N - n;
    float *zeros = call->work + place * op->worker_floats, *strips = zeros + op->zeros;
    float *v = strips + geo->Cg * op->strip, *sums = v + SLOTS * op->v_step;
    float *planes = sums + SLOTS * op->sum_step, *m = planes + geo->Kg * op->plane;
    const float *x = call->x + (n * geo->C + g * geo->Cg) * image;
    float *y = call->y + (n * geo->K + g * geo->Kg) * area;
    int64_t *ready = op->ready + place * APART;
    if (*ready != g + 1)
        transform_w(call, g, m, strips);
    *ready = g + 1;
    memset(zeros, 0, (size_t)op->zeros * sizeof(float));
    for (int64_t r = 0; r < op->rows; r++) {
        for (int64_t t = 0; t < op->cols; t++) {
            for (int64_t c = 0; c < geo->Cg; c++) {
                float *strip = strips + c * op->strip;
                if (t == 0)
                    cpu_geo_lay(ker, strip, x + c * image, geo->C * image, left,
                                r * TILE - geo->ph, PATCH, geo->H, geo->W, zeros);
                ker->dft_in(PATCH, v + c * nr, op->v_step, op->vl, geo->Cg * nr, strip,
                            op->x_at + t * PATCH * PATCH);
            }
            for (int64_t k0 = 0; k0 < geo->Kg; k0 += BLOCK) {
                int64_t count = cpu_min(BLOCK, geo->Kg - k0);
                multiply(op, m, v, sums, k0, count);
                for (int64_t k = 0; k < count; k++)
                    ker->dft_out(planes + (k0 + k) * op->plane, op->y_at + t * TILE * TILE,
                                 sums + k * nr, op->sum_step,
                                 call->bias ? call->bias[g * geo->Kg + k0 + k] : 0, &op->end);
            }
        }
        for (int64_t k = 0; k < geo->Kg; k++)
            ker->turn_rows(
                y + k * area + r * TILE * geo->Q, geo->K * area, planes + k * op->plane, op->vl,
                cpu_min(TILE, geo->P - r * TILE) * geo->Q, cpu_min(op->vl, left), op->add);
    }
}

static dn_status run(dn_op *base, const dn_op_io *io)
{
    dft_op *op = (dft_op *)base;
    dft_call call = {.op = op,
                     .x = io->in[0],
                     .w = io->in[1],
                     .bias = cpu_in(base, io, 2),
                     .y = io->out[0],
                     .work = io->scratch};
    memset(op->ready, 0,
           (size_t)(cpu_places(base->backend, op->tasks) * APART) * sizeof *op->ready);
    cpu_for(base->backend, op->tasks, images_task, &call);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Nanoseconds on one thread, fitted to LeNet's and CIFAR-quick's shapes on a Zen 4 core
 * (AVX-512): products at 106 GFLOP/s (rows beyond a multiple of four at half of it), a lane of
 * a tile of x and y, a pair of channels. */
static double cost_of(const dft_op *op)
{
    const cpu_geo *geo = &op->geo;
    double C = (double)geo->Cg, K = (double)geo->Kg, rows = (double)(geo->Kg + geo->Kg % 4);
    double lanes = (double)(geo->group * cpu_ceil(geo->N, 16) * 16 * op->rows * op->cols);
    return lanes * (4 * SLOTS * 2 * C * rows / 106 + 70 * C + 40 * K) + 30 * C * K;
}

static bool plan_tables(dft_op *op)
{
    const cpu_geo *geo = &op->geo;
    size_t count = (size_t)(TAPS + op->cols * (PATCH * PATCH + TILE * TILE));
    size_t ready = (size_t)(cpu_places(op->base.backend, op->tasks) * APART);
    int64_t vl = op->vl, *at = cpu_op_table(&op->base, count, sizeof *at);
    op->ready = at ? cpu_op_table(&op->base, ready, sizeof *op->ready) : NULL;
    if (!op->ready)
        return false;
    op->w_at = at;
    for (int64_t i = TAPS - 1; i >= 0; i--) /* backwards: what is multiplied is a convolution */
        *at++ = i * vl;
    op->x_at = at;
    for (int64_t t = 0; t < op->cols; t++)
        at = cpu_geo_tile(at, PATCH, 0, t * TILE - geo->pw, PATCH, geo->W, vl);
    op->y_at = at;
    for (int64_t t = 0; t < op->cols; t++)
        at = cpu_geo_tile(at, TILE, 0, t * TILE, TILE, geo->Q, vl);
    return true;
}

/* The scratch, in bytes. */
static size_t plan(dft_op *op)
{
    const cpu_geo *geo = &op->geo;
    int64_t vl = op->vl, nr = 2 * vl;
    op->teams = cpu_ceil(geo->N, vl);
    op->tasks = geo->group * op->teams;
    op->zeros = (PATCH * geo->W + 15) & ~(int64_t)15;
    op->strip = (PATCH * geo->W + 1) * vl;
    op->plane = (TILE * geo->Q + 1) * vl;
    op->v_step = cpu_wino_step(2 * geo->Cg * nr);
    op->m_step = cpu_wino_step(2 * geo->Cg * geo->Kg + vl);
    op->sum_step = cpu_wino_step(cpu_min(BLOCK, geo->Kg) * nr);
    op->worker_floats = op->zeros + geo->Cg * op->strip + geo->Kg * op->plane +
                        SLOTS * (op->v_step + op->sum_step + op->m_step);
    return (size_t)(cpu_places(op->base.backend, op->tasks) * op->worker_floats) *
           sizeof(float);
}

dn_status cpu_dft_planes_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    bool relu = args->activation == DN_FN_RELU, add = args->base.accumulate & 1;
    cpu_geo geo;
    if (!cpu_geo_init(&geo, args, &desc->inputs[0].shape, &desc->inputs[1].shape,
                      &desc->outputs[0].shape, info))
        return DN_DECLINED;
    if (!cpu_all_f32(desc) || geo.R != KERNEL || geo.S != KERNEL || geo.sh != 1 ||
        geo.sw != 1 || geo.dh != 1 || geo.dw != 1 ||
        (args->activation != DN_FN_NONE && !relu) || (relu && add))
        return cpu_decline(info, "Fourier transforms are for 5x5, plain or with ReLU");
    dft_op *op = cpu_op_new(backend, sizeof *op, run, info, "cpu:dft planes");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->rows = cpu_ceil(geo.P, TILE), op->cols = cpu_ceil(geo.Q, TILE);
    op->end = (cpu_end){.slope = (float)args->activation_a, .relu = relu};
    op->add = add;
    double cost = cost_of(op);
    op->vl = 16; /* AVX2 chooses as AVX-512 does */
    plan(op);
    bool worth = op->worker_floats <= MOST_FLOATS &&
                 cost < 0.9 * cpu_cost(backend, desc, "cpu:implicit gemm");
    op->vl = backend->kernels->vl;
    size_t scratch = plan(op);
    if (!worth || !plan_tables(op)) {
        cpu_op_free(&op->base);
        return worth ? DN_E_NOMEM
                     : cpu_decline(info, "the tiles are too few, too many or too empty");
    }
    info->scratch = scratch;
    info->cost = cost;
    *out = &op->base;
    return DN_OK;
}
