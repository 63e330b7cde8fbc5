/* SPDX-License-Identifier: BSD-2-Clause
 * wino_planes.c: the gradients of a 5x5 convolution in planes by Winograd, with images as the
 * lanes of vectors, so that channels may be few and odd. A tile is 4x4 of dy and 8x8 of x: 64
 * products for 400, and no overlap in dy. dx: the tiles' full products, added up where they
 * overlap. Forward is dft_planes.c's, for direct sums' error is an eighth. */
#include "wino.h"

#include <string.h>

enum {
    TILE = 4,
    PATCH = 8,
    FREQ = PATCH * PATCH,
    TAPS = 25,
    AT_ONE = 3 * PATCH + 3, /* the frequency of the points 1 and 1 */
    PARTS = 4,
    APART = 8,            /* lines of the cache */
    TEAM = 16,            /* images, dw: its sums are in their order, whatever the vectors */
    MOST_FLOATS = 1 << 22 /* of a place in the scratch: larger planes are for chunks */
};

typedef struct planes_op {
    dn_op base;
    cpu_geo geo;
    int64_t rows, cols;    /* tiles of a plane of dy */
    int64_t teams, vl;     /* images: vl in a team; dw: TEAM */
    int64_t tasks;         /* dx: groups' teams; dw: parts */
    int64_t panels, parts; /* dw: of dy's channels; of teams' rows of tiles */
    int64_t *dy_at, *x_at; /* of a row of tiles, in their strips; dx: of all, in a plane */
    int64_t *w_at;         /* dx: taps of w */
    int64_t *ready; /* dx, in this run: 1 + the group whose w a place has, APART from others */
    int64_t v_step, m_step; /* from frequency to frequency; m: of w in dx, of sums in dw */
    int64_t part_floats, panel, strip, plane, v_at, worker_floats; /* dw: panel: its sums */
    bool bias, add, add_bias;
} planes_op;

typedef struct planes_call {
    const planes_op *op;
    const float *x, *dy, *w;
    float *dx, *dw, *m, *work;
    int64_t g; /* dw: group */
} planes_call;

/* ---- strips ------------------------------------------------------------------------------ */

static void lay(const planes_op *op, float *strip, const float *x, int64_t ld, int64_t lanes,
                int64_t h, int64_t rows, int64_t H, int64_t W)
{
    cpu_geo_lay(op->base.backend->kernels, strip, x, ld, lanes, h, rows, H, W,
                strip + op->strip);
}

/* The strip in a place of the scratch, and the zeros after it. */
static float *strip_of(const planes_call *call, int64_t place)
{
    float *at = call->work + place * call->op->worker_floats;
    memset(at + call->op->strip, 0, (size_t)(call->op->v_at - call->op->strip) * sizeof(float));
    return at;
}

/* ---- to the data ------------------------------------------------------------------------- */

/* w of a group, vl pairs of channels at a time. Every worker has its own: read from another
 * core it would take longer. */
static void transform_w(const planes_call *call, int64_t g, float *m, float *taps)
{
    const planes_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *at[16];
    int64_t pairs = op->geo.Kg * op->geo.Cg;
    for (int64_t first = 0; first < pairs; first += op->vl) {
        for (int64_t i = 0; i < op->vl; i++)
            at[i] = call->w + (g * pairs + cpu_min(first + i, pairs - 1)) * TAPS;
        ker->pack_pointers(taps, (int32_t)op->vl, TAPS, at);
        ker->wino8_values(5, m + first, op->m_step, taps, op->w_at);
    }
}

/* A team's images, of one group. */
static void data_task(void *arg, int64_t task, int32_t worker)
{
    const planes_call *call = arg;
    const planes_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_end end = {.alpha = 1};
    int64_t g = task / op->teams, team = task % op->teams, n = team * op->vl, nr = ker->nr;
    int64_t sum_step = cpu_wino_step(geo->Cg * nr), image = geo->H * geo->W;
    int64_t place = cpu_place(op->base.backend, op->tasks, task, worker);
    float *strip = strip_of(call, place), *v = strip + op->v_at;
    float *sums = v + FREQ * op->v_step, *planes = sums + FREQ * sum_step;
    const float *dy = call->dy + (n * geo->K + g * geo->Kg) * geo->P * geo->Q;
    float *m = planes + geo->Cg * op->plane;
    int64_t *ready = op->ready + place * APART;
    if (*ready != g + 1)
        transform_w(call, g, m, strip);
    *ready = g + 1;
    memset(planes, 0, (size_t)(geo->Cg * op->plane) * sizeof(float));
    for (int64_t r = 0; r < op->rows; r++) {
        for (int64_t k = 0; k < geo->Kg; k++) {
            lay(op, strip, dy + k * geo->P * geo->Q, geo->K * geo->P * geo->Q, geo->N - n,
                r * TILE, TILE, geo->P, geo->Q);
            for (int64_t t = 0; t < op->cols; t++)
                ker->wino8_values(TILE, v + (t / 2 * geo->Kg + k) * nr + t % 2 * op->vl,
                                  op->v_step, strip, op->dy_at + t * TILE * TILE);
        }
        for (int64_t t = 0; t < op->cols; t += 2) {
            int32_t vectors = t + 1 < op->cols ? 2 : 1;
            for (int64_t f = 0; f < FREQ; f++)
                ker->rows(vectors, geo->Cg, geo->Kg, m + f * op->m_step, 1, geo->Cg,
                          v + f * op->v_step + t / 2 * geo->Kg * nr, sums + f * sum_step, nr,
                          &end);
            for (int64_t c = 0; c < geo->Cg; c++)
                for (int32_t j = 0; j < vectors; j++)
                    ker->wino8_add(planes + c * op->plane,
                                   op->x_at + (r * op->cols + t + j) * FREQ,
                                   sums + c * nr + j * op->vl, sum_step);
        }
    }
    for (int64_t c = 0; c < geo->Cg; c++)
        ker->turn_rows(call->dx + (n * geo->C + g * geo->Cg + c) * image, geo->C * image,
                       planes + c * op->plane, op->vl, image, cpu_min(op->vl, geo->N - n),
                       op->add);
}

static dn_status data_run(dn_op *base, const dn_op_io *io)
{
    planes_op *op = (planes_op *)base;
    planes_call call = {
        .op = op, .dy = io->in[0], .w = io->in[1], .dx = io->out[0], .work = io->scratch};
    memset(op->ready, 0,
           (size_t)(cpu_places(base->backend, op->tasks) * APART) * sizeof *op->ready);
    cpu_for(base->backend, op->tasks, data_task, &call);
    return DN_OK;
}

/* ---- to the weights ---------------------------------------------------------------------- */

/* Row r of tiles of a team's x: (frequency, channel, tile and image). */
static void transform_x(const planes_call *call, float *strip, float *v, int64_t team,
                        int64_t r)
{
    const planes_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t plane = geo->H * geo->W;
    for (int64_t c = 0; c < geo->Cg; c++, v += op->cols * TEAM)
        for (int64_t i = 0; i < TEAM; i += op->vl) {
            int64_t n = team * TEAM + i;
            lay(op, strip, call->x + (n * geo->C + call->g * geo->Cg + c) * plane,
                geo->C * plane, geo->N - n, r * TILE - geo->ph, PATCH, geo->H, geo->W);
            for (int64_t t = 0; t < op->cols; t++)
                op->base.backend->kernels->wino8_in(v + t * TEAM + i, op->v_step, strip,
                                                    op->x_at + t * FREQ);
        }
}

/* The same of channels [k0, k0 + nr) of dy, as lanes: (frequency, tile and image, channel). */
static void transform_dy(const planes_call *call, float *strip, float *v, int64_t k0,
                         int64_t team, int64_t r)
{
    const planes_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t vl = op->vl, plane = geo->P * geo->Q;
    const float *dy = call->dy + (team * TEAM * geo->K + call->g * geo->Kg + k0) * plane;
    for (int64_t n = 0; n < TEAM; n++, dy += geo->K * plane)
        for (int64_t k = 0; k < ker->nr; k += vl) {
            int64_t left = team * TEAM + n < geo->N ? geo->Kg - k0 - k : 0;
            lay(op, strip, dy + k * plane, plane, left, r * TILE, TILE, geo->P, geo->Q);
            for (int64_t t = 0; t < op->cols; t++)
                ker->wino8_values(TILE, v + (t * TEAM + n) * ker->nr + k, op->v_step, strip,
                                  op->dy_at + t * TILE * TILE);
        }
}

/* Of a part: the taps of panel j's channels and one of x, vl channels after the other. */
static float *taps_of(const planes_call *call, int64_t part, int64_t j, int64_t c)
{
    const planes_op *op = call->op;
    return call->m + part * op->part_floats + (j * op->geo.Cg + c) * 2 * TAPS * op->vl;
}

/* Its sums of dy. */
static float *bias_of(const planes_call *call, int64_t part, int64_t j)
{
    return taps_of(call, part, call->op->panels, 0) + j * call->op->base.backend->kernels->nr;
}

/* Some rows of tiles, into sums of this worker, a panel of dy's channels after the other; then
 * taps from them, which are fewer for other cores to read. */
static void part_task(void *arg, int64_t part, int32_t worker)
{
    const planes_call *call = arg;
    const planes_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to, C = op->geo.Cg, depth = op->cols * TEAM, nr = ker->nr;
    int64_t place = cpu_place(op->base.backend, op->tasks, part, worker);
    float *strip = strip_of(call, place), *v = strip + op->v_at, *dy = v + C * depth;
    float *sums = v + FREQ * op->v_step;
    const cpu_norm plain = {.mean = strip + op->strip, .rows = true};
    cpu_split(op->teams * op->rows, op->parts, part, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const cpu_end end = {.alpha = 1, .add = i > from};
        transform_x(call, strip, v, i / op->rows, i % op->rows);
        for (int64_t j = 0; j < op->panels; j++) {
            float *sum = sums + j * op->panel, *bias = sum + FREQ * op->m_step;
            transform_dy(call, strip, dy, j * nr, i / op->rows, i % op->rows);
            for (int64_t f = 0; f < FREQ; f++)
                ker->rows(2, C, depth, v + f * op->v_step, depth, 1, dy + f * op->v_step,
                          sum + f * op->m_step, nr, &end);
            /* the value at (1, 1) is the sum of a tile; that of squares is not wanted */
            if (i == from)
                memset(bias, 0, (size_t)(2 * nr) * sizeof(float));
            ker->norm_sums(&plain, NULL, dy + AT_ONE * op->v_step, NULL, depth, nr, bias,
                           bias + nr);
        }
    }
    for (int64_t j = 0; j < op->panels; j++, sums += op->panel) {
        for (int64_t i = 0; i < 2 * C; i++)
            ker->wino8_taps(taps_of(call, part, j, i / 2) + i % 2 * TAPS * op->vl,
                            sums + i * op->vl, op->m_step);
        memcpy(bias_of(call, part, j), sums + FREQ * op->m_step, (size_t)nr * sizeof(float));
    }
}

/* A panel and a channel of x: the parts' sum. */
static void taps_task(void *arg, int64_t task, int32_t worker)
{
    const planes_call *call = arg;
    const planes_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t j = task / geo->Cg, c = task % geo->Cg, nr = ker->nr, vl = op->vl;
    float *taps = taps_of(call, 0, j, c);
    (void)worker;
    for (int64_t i = 1; i < op->parts; i++)
        ker->axpby(taps, taps_of(call, i, j, c), 1, true, 2 * TAPS * vl);
    for (int64_t k = j * nr; k < cpu_min(geo->Kg, (j + 1) * nr); k += vl, taps += TAPS * vl)
        ker->turn_rows(call->dw + ((call->g * geo->Kg + k) * geo->Cg + c) * TAPS,
                       geo->Cg * TAPS, taps, vl, TAPS, cpu_min(vl, geo->Kg - k), op->add);
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    planes_op *op = (planes_op *)base;
    const cpu_geo *geo = &op->geo;
    int64_t nr = base->backend->kernels->nr, tasks = op->parts * op->panels;
    planes_call call = {
        .op = op, .x = io->in[0], .dy = io->in[1], .dw = io->out[0], .m = io->scratch};
    call.work = call.m + op->parts * op->part_floats;
    for (call.g = 0; call.g < geo->group; call.g++) {
        cpu_for(base->backend, op->tasks, part_task, &call);
        cpu_for(base->backend, op->panels * geo->Cg, taps_task, &call);
        for (int64_t i = 0; op->bias && i < tasks; i++)
            base->backend->kernels->axpby(
                (float *)io->out[1] + call.g * geo->Kg + i % op->panels * nr,
                bias_of(&call, i / op->panels, i % op->panels), 1,
                op->add_bias || i >= op->panels, cpu_min(nr, geo->Kg - i % op->panels * nr));
    }
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Nanoseconds on one thread, fitted to LeNet's and CIFAR-quick's shapes on a Zen 4 core
 * (AVX-512): products at 106 GFLOP/s (rows beyond a multiple of four at half of it), a lane of
 * a tile of dy, x or dx, and to the weights the sums of each row of tiles. */
static double cost_of(const planes_op *op, bool weights)
{
    const cpu_geo *geo = &op->geo;
    double C = (double)geo->Cg, rows = (double)(geo->Cg + geo->Cg % 4);
    double K = (double)(weights ? cpu_ceil(geo->Kg, 2 * TEAM) * 2 * TEAM : geo->Kg);
    double strips = (double)(geo->group * cpu_ceil(geo->N, TEAM) * op->rows);
    double lanes = strips * (double)(op->cols * TEAM);
    double ns = lanes * (FREQ * 2 * rows * K / 106 + 9 * K + 16 * C) +
                (weights ? strips * FREQ / 5 : 8) * C * K;
    return ns;
}

static bool plan_tables(planes_op *op, bool weights)
{
    const cpu_geo *geo = &op->geo;
    int64_t vl = op->vl, rows = weights ? 1 : op->rows;
    int64_t *at = cpu_op_table(
        &op->base, (size_t)(TAPS + op->cols * (TILE * TILE + rows * FREQ)), sizeof *at);
    size_t ready = (size_t)(cpu_places(op->base.backend, op->tasks) * APART);
    op->ready = at ? cpu_op_table(&op->base, ready, sizeof *op->ready) : NULL;
    if (!op->ready)
        return false;
    op->w_at = at;
    op->dy_at = at = cpu_geo_tile(at, 5, 0, 0, 5, 5, vl);
    for (int64_t t = 0; t < op->cols; t++)
        at = cpu_geo_tile(at, TILE, 0, t * TILE, TILE, geo->Q, vl);
    op->x_at = at;
    for (int64_t t = 0; t < rows * op->cols; t++)
        at = cpu_geo_tile(at, PATCH, weights ? 0 : t / op->cols * TILE - geo->ph,
                          t % op->cols * TILE - geo->pw, weights ? PATCH : geo->H, geo->W, vl);
    return true;
}

/* The scratch, in bytes. */
static size_t plan(planes_op *op, bool weights)
{
    const cpu_geo *geo = &op->geo;
    int64_t vl = op->vl, nr = 2 * vl, ends = PATCH * cpu_max(geo->W, geo->Q), scratch;
    op->panels = cpu_ceil(geo->Kg, nr);
    op->strip = ends * vl + vl;
    op->v_at = (op->strip + ends + nr + 15) & ~(int64_t)15;
    op->plane = (geo->H * geo->W + 1) * vl;
    op->v_step = cpu_wino_step(weights ? (geo->Cg + nr) * op->cols * TEAM
                                       : cpu_ceil(op->cols, 2) * geo->Kg * nr);
    op->m_step = cpu_wino_step(geo->Cg * (weights ? nr : geo->Kg) + vl);
    op->panel = FREQ * op->m_step + 2 * nr;
    op->part_floats = cpu_wino_step(op->panels * (geo->Cg * 2 * TAPS * vl + nr));
    op->worker_floats = op->v_at + FREQ * op->v_step;
    op->worker_floats +=
        weights ? op->panels * op->panel
                : FREQ * (cpu_wino_step(geo->Cg * nr) + op->m_step) + geo->Cg * op->plane;
    scratch = (weights ? op->parts * op->part_floats : 0) +
              cpu_places(op->base.backend, op->tasks) * op->worker_floats;
    return (size_t)scratch * sizeof(float);
}

static dn_status create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info, bool weights)
{
    const dn_args_conv *args = desc->args;
    const dn_operand *x = weights ? &desc->inputs[0] : &desc->outputs[0];
    const dn_operand *w = weights ? &desc->outputs[0] : &desc->inputs[1];
    const dn_operand *dy = &desc->inputs[weights ? 1 : 0];
    cpu_geo geo;
    if (!cpu_geo_init(&geo, args, &x->shape, &w->shape, &dy->shape, info))
        return DN_DECLINED;
    if (!cpu_all_f32(desc) || geo.R != 5 || geo.S != 5 || geo.sh != 1 || geo.sw != 1 ||
        geo.dh != 1 || geo.dw != 1 || args->activation != DN_FN_NONE ||
        (!weights && cpu_present(desc->inputs, desc->num_inputs, 2)))
        return cpu_decline(info, "Winograd in planes is for gradients of 5x5");
    planes_op *op = cpu_op_new(backend, sizeof *op, weights ? weights_run : data_run, info,
                               "cpu:winograd planes");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->teams = cpu_ceil(geo.N, weights ? TEAM : backend->kernels->vl);
    op->rows = cpu_ceil(geo.P, TILE), op->cols = cpu_ceil(geo.Q, TILE);
    op->parts = cpu_min(PARTS, op->teams * op->rows);
    op->tasks = weights ? op->parts : geo.group * op->teams;
    op->bias = weights && cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    double cost = cost_of(op, weights);
    op->vl = TEAM; /* AVX2 chooses as AVX-512 does */
    plan(op, weights);
    bool worth =
        op->worker_floats <= MOST_FLOATS &&
        cost < 0.9 * cpu_cost(backend, desc, weights ? "cpu:dot" : "cpu:implicit gemm");
    op->vl = backend->kernels->vl;
    size_t scratch = plan(op, weights);
    if (!worth || !plan_tables(op, weights)) {
        cpu_op_free(&op->base);
        return worth ? DN_E_NOMEM
                     : cpu_decline(info, "Winograd's tiles are too few, too many or too empty");
    }
    info->scratch = scratch;
    info->cost = cost;
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_wino_planes_data_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                      dn_op_info *info)
{
    return create(backend, desc, out, info, false);
}

dn_status cpu_wino_planes_weights_create(dn_backend *backend, const dn_op_desc *desc,
                                         dn_op **out, dn_op_info *info)
{
    return create(backend, desc, out, info, true);
}
