/* SPDX-License-Identifier: BSD-2-Clause
 * norm.c: BATCH_NORM and NORM_SCALE, forward and backward. Where channels are planes, a task is
 * some channels, read again from the cache for each pass. Where they lie side by side (inner 1:
 * channels last), a task is a band of rows with sums of its own, which are added in order. */
#include "cpu.h"

#include <math.h>
#include <string.h>

enum { FIRST_ROWS = 16, MAX_BANDS = 64, MAX_PARTS = 64 };

typedef struct norm_op {
    dn_op base;
    int64_t outer, dim, inner, tasks, bands, band_floats;
    double eps, fraction;
    bool global, scaled, relu, rows, add, add_gamma, add_beta;
    float slope;
} norm_op;

typedef struct norm_call {
    const norm_op *op;
    const float *x, *y_in, *dy; /* y_in: what the activation's gradient is known from */
    const float *gamma, *beta, *mean_in, *inv_in; /* beta: forward alone */
    const float *y_beta;                          /* backward: y is made again with it */
    const float *given; /* moments, or sums, that somebody else has made; or NULL */
    float *y;           /* dx */
    float *mean, *inv_std, *run_mean, *run_var, *dgamma, *dbeta;
    double share;            /* of running values: 1 / factor */
    float *constants, *sums; /* rows: 4 of each channel; 2 of each, of each band */
} norm_call;

typedef struct channel { /* what apply needs */
    float mean, a, b, c;
} channel;

/* ---- one channel's numbers --------------------------------------------------------------- */

/* From sum and square of x - centre (training), or what is given, or the running values. */
static channel forward_channel(const norm_call *call, int64_t d, double centre, double sum,
                               double square)
{
    const norm_op *op = call->op;
    double m = (double)(op->outer * op->inner), mean, var;
    if (op->global) {
        mean = call->run_mean[d] * call->share;
        var = call->run_var[d] * call->share;
    } else {
        mean = call->given ? sum : centre + sum / m;
        var = call->given ? square : cpu_variance(square / m - sum / m * (sum / m));
        call->run_mean[d] = (float)(op->fraction * call->run_mean[d] + mean);
        call->run_var[d] =
            (float)(op->fraction * call->run_var[d] + var * (m > 1 ? m / (m - 1) : 1));
    }
    call->mean[d] = (float)mean;
    call->inv_std[d] = (float)(1 / sqrt(var + op->eps));
    float gamma = call->gamma ? call->gamma[d] : 1;
    return (channel){(float)mean, gamma * call->inv_std[d], call->beta ? call->beta[d] : 0, 0};
}

/* From the sums of dz and dz (x - mean). BATCH_NORM has y, which is its own n, in place of x.
 */
static channel backward_channel(const norm_call *call, int64_t d, double sum, double dot)
{
    const norm_op *op = call->op;
    double m = (double)(op->outer * op->inner), inv = call->inv_in[d];
    double scale = op->scaled ? inv : 1, a = inv * (call->gamma ? call->gamma[d] : 1);
    if (call->dgamma)
        call->dgamma[d] = (float)((op->add_gamma ? call->dgamma[d] : 0) + dot * scale);
    if (call->dbeta)
        call->dbeta[d] = (float)((op->add_beta ? call->dbeta[d] : 0) + sum);
    float mean = call->mean_in ? call->mean_in[d] : 0;
    if (op->global)
        return (channel){mean, (float)a, 0, 0};
    return (channel){mean, (float)a, (float)(-a * scale * scale * dot / m),
                     (float)(-a * sum / m)};
}

static channel channel_of(const norm_call *call, int64_t d, double centre, double sum,
                          double square)
{
    return call->dy ? backward_channel(call, d, sum, square)
                    : forward_channel(call, d, centre, sum, square);
}

/* ---- planes ------------------------------------------------------------------------------ */

/* Sums over all planes of channel d about `centre`: floats in a plane, doubles across. */
static void sum_planes(const norm_call *call, const float *dy, int64_t d, float centre,
                       double *sum, double *square)
{
    const norm_op *op = call->op;
    const float a = call->y_beta ? call->gamma[d] * call->inv_in[d] : 0;
    const cpu_norm k = {.mean = &centre,
                        .a = &a,
                        .beta = call->y_beta ? call->y_beta + d : NULL,
                        .slope = op->slope,
                        .relu = op->relu};
    *sum = *square = 0;
    for (int64_t o = 0; o < op->outer; o++) {
        int64_t at = (o * op->dim + d) * op->inner;
        float s, q;
        op->base.backend->kernels->norm_sums(&k, dy ? dy + at : NULL, call->x + at,
                                             call->y_in ? call->y_in + at : NULL, 1, op->inner,
                                             &s, &q);
        *sum += s;
        *square += q;
    }
}

static channel plane_channel(const norm_call *call, int64_t d)
{
    const norm_op *op = call->op;
    double sum = 0, square = 0, m = (double)(op->outer * op->inner);
    float centre = 0;
    if (call->given) {
        sum = call->given[d], square = call->given[op->dim + d];
    } else if (call->dy) {
        if (!op->global || call->dgamma || call->dbeta)
            sum_planes(call, call->dy, d, call->mean_in ? call->mean_in[d] : 0, &sum, &square);
    } else if (!op->global) {
        for (int64_t o = 0; o < op->outer; o++)
            sum += op->base.backend->kernels->reduce(
                DN_REDUCE_SUM, call->x + (o * op->dim + d) * op->inner, NULL, op->inner);
        centre = (float)(sum / m);
        sum_planes(call, NULL, d, centre, &sum, &square);
    }
    return channel_of(call, d, centre, sum, square);
}

/* Backward with global statistics, x serves the activation alone. */
static bool wants_x(const norm_call *call)
{
    return !call->op->global || call->y_beta;
}

static void plane_task(void *arg, int64_t task, int32_t worker)
{
    const norm_call *call = arg;
    const norm_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to;
    (void)worker;
    cpu_split(op->dim, op->tasks, task, &from, &to);
    for (int64_t d = from; d < to; d++) {
        channel c = plane_channel(call, d);
        const cpu_norm k = {
            &c.mean,   &c.a,  &c.b,     &c.c,   call->y_beta ? call->y_beta + d : NULL,
            op->slope, false, op->relu, op->add};
        for (int64_t o = 0; call->y && o < op->outer; o++) {
            int64_t at = (o * op->dim + d) * op->inner;
            if (call->dy)
                ker->norm_bwd(&k, call->y + at, call->dy + at,
                              wants_x(call) ? call->x + at : NULL,
                              call->y_in ? call->y_in + at : NULL, 1, op->inner);
            else
                ker->norm(&k, call->y + at, call->x + at, 1, op->inner);
        }
    }
}

/* ---- rows of channels -------------------------------------------------------------------- */

static cpu_norm row_constants(const norm_call *call)
{
    const norm_op *op = call->op;
    const float *k = call->constants;
    return (cpu_norm){k,         k + op->dim, k + 2 * op->dim, k + 3 * op->dim, call->y_beta,
                      op->slope, true,        op->relu,        op->add};
}

/* A worker takes its part of the bands from the far end, which it wrote last; what it reads
 * last here, the first, is what apply_task begins with. */
static void sum_task(void *arg, int64_t task, int32_t worker)
{
    const norm_call *call = arg;
    const norm_op *op = call->op;
    const cpu_norm k = row_constants(call);
    int64_t T = cpu_min(op->base.backend->host.num_threads, op->bands);
    int64_t part = ((task + 1) * T - 1) / op->bands; /* as the tasks are dealt out */
    int64_t band = op->bands * part / T + op->bands * (part + 1) / T - 1 - task;
    float *sum = call->sums + band * op->band_floats;
    int64_t from, to, at;
    (void)worker;
    cpu_split(op->outer, op->bands, band, &from, &to);
    at = from * op->dim;
    memset(sum, 0, (size_t)(2 * op->dim) * sizeof(float));
    op->base.backend->kernels->norm_sums(&k, call->dy ? call->dy + at : NULL, call->x + at,
                                         call->y_in ? call->y_in + at : NULL, to - from,
                                         op->dim, sum, sum + op->dim);
}

static void apply_task(void *arg, int64_t task, int32_t worker)
{
    const norm_call *call = arg;
    const norm_op *op = call->op;
    const cpu_norm k = row_constants(call);
    int64_t from, to, at;
    (void)worker;
    cpu_split(op->outer, op->tasks, task, &from, &to);
    at = from * op->dim;
    if (call->dy)
        op->base.backend->kernels->norm_bwd(
            &k, call->y + at, call->dy + at, wants_x(call) ? call->x + at : NULL,
            call->y_in ? call->y_in + at : NULL, to - from, op->dim);
    else
        op->base.backend->kernels->norm(&k, call->y + at, call->x + at, to - from, op->dim);
}

/* The centre of the sums: BWD's mean, else the mean of the first rows, near enough that
 * nothing cancels. */
static void choose_centre(const norm_call *call)
{
    const norm_op *op = call->op;
    int64_t rows = cpu_min(FIRST_ROWS, op->outer);
    size_t bytes = (size_t)op->dim * sizeof(float);
    for (int64_t d = 0; call->y_beta && d < op->dim; d++)
        call->constants[op->dim + d] = call->gamma[d] * call->inv_in[d];
    if (call->mean_in)
        memcpy(call->constants, call->mean_in, bytes);
    else if (call->dy || call->given)
        memset(call->constants, 0, bytes);
    else
        for (int64_t r = 0; r < rows; r++)
            op->base.backend->kernels->axpby(call->constants, call->x + r * op->dim,
                                             1.0f / (float)rows, r > 0, op->dim);
}

static void row_channels(const norm_call *call)
{
    const norm_op *op = call->op;
    const float *sums = call->given ? call->given : call->sums;
    float *k = call->constants;
    for (int64_t i = 1; !call->given && i < op->bands; i++)
        op->base.backend->kernels->axpby(call->sums, call->sums + i * op->band_floats, 1, true,
                                         2 * op->dim);
    for (int64_t d = 0; d < op->dim; d++) {
        double sum = sums[d], square = sums[op->dim + d];
        channel c = channel_of(call, d, k[d], sum, square);
        k[d] = c.mean;
        k[op->dim + d] = c.a;
        k[2 * op->dim + d] = c.b;
        k[3 * op->dim + d] = c.c;
    }
}

static void run(norm_call *call, const dn_op_io *io)
{
    const norm_op *op = call->op;
    if (!op->rows) {
        cpu_for(op->base.backend, op->tasks, plane_task, call);
        return;
    }
    call->constants = io->scratch;
    call->sums = call->constants + 4 * op->dim;
    choose_centre(call);
    if (!call->given && (!op->global || call->dgamma || call->dbeta))
        cpu_for(op->base.backend, op->bands, sum_task, call);
    else if (!call->given)
        memset(call->sums, 0, (size_t)(op->bands * op->band_floats) * sizeof(float));
    row_channels(call);
    if (call->y)
        cpu_for(op->base.backend, op->tasks, apply_task, call);
}

/* Two sets of rows, n and m: their squares and n m / (n + m) times the squared distance of
 * their means. */
void cpu_moments(const cpu_kernels *ker, float *moments, const float *parts,
                 int64_t part_floats, int64_t count, int64_t dim)
{
    cpu_share share[MAX_PARTS];
    double all = 0;
    for (int64_t i = 0; i < count; i++) {
        double m = parts[i * part_floats + 3 * dim], sum = all + m;
        share[i] = (cpu_share){(float)(1 / m), (float)(m / sum), (float)(all * m / sum)};
        all = sum;
    }
    ker->moments(moments, parts, part_floats, share, count, dim);
    for (int64_t d = 0; d < dim; d++)
        moments[dim + d] = (float)cpu_variance(moments[dim + d] / all);
}

/* ---- run, create ------------------------------------------------------------------------- */

static dn_status norm_run(dn_op *base, const dn_op_io *io)
{
    norm_op *op = (norm_op *)base;
    float *const *out = (float *const *)io->out, *factor = out[5];
    norm_call call = {.op = op,
                      .x = io->in[0],
                      .gamma = op->scaled ? io->in[1] : NULL,
                      .beta = op->scaled ? io->in[2] : NULL,
                      .given = op->scaled ? cpu_in(base, io, 3) : NULL,
                      .y = out[0], /* NULL: statistics alone */
                      .mean = out[1],
                      .inv_std = out[2],
                      .run_mean = out[3],
                      .run_var = out[4],
                      .share = *factor == 0 ? 0 : 1 / (double)*factor};
    run(&call, io);
    if (!op->global)
        *factor = (float)(op->fraction * *factor + 1);
    return DN_OK;
}

static dn_status norm_bwd_run(dn_op *base, const dn_op_io *io)
{
    norm_op *op = (norm_op *)base;
    norm_call call = {.op = op, .x = io->in[0], .y = io->out[0]};
    if (op->scaled) {
        call.y_in = op->relu ? cpu_in(base, io, 1) : NULL;
        call.mean_in = io->in[2];
        call.inv_in = io->in[3];
        call.gamma = io->in[4];
        call.dy = io->in[5];
        call.y_beta = op->relu && !call.y_in ? cpu_in(base, io, 6) : NULL;
        call.given = cpu_in(base, io, 7);
        call.dgamma = cpu_out(base, io, 1);
        call.dbeta = cpu_out(base, io, 2);
    } else {
        call.inv_in = io->in[1];
        call.dy = io->in[2];
    }
    run(&call, io);
    return DN_OK;
}

static void plan(norm_op *op, dn_op_info *info)
{
    int64_t count = op->outer * op->dim * op->inner;
    op->rows = op->inner == 1;
    if (op->rows) {
        op->tasks = cpu_min(op->outer, cpu_tasks_for(count));
        op->bands = cpu_min(op->tasks, MAX_BANDS);
        op->band_floats = (2 * op->dim + 15) & ~(int64_t)15;
        info->scratch = (size_t)(4 * op->dim + op->bands * op->band_floats) * 4;
    } else {
        op->tasks = cpu_min(op->dim, cpu_tasks_for(count));
    }
}

static dn_status create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info, dn_status (*run_fn)(dn_op *, const dn_op_io *))
{
    bool scaled = desc->kind == DN_OP_NORM_SCALE || desc->kind == DN_OP_NORM_SCALE_BWD;
    const dn_args_batch_norm *bn = desc->args;
    const dn_args_norm_scale *ns = desc->args;
    int64_t inner = scaled ? ns->inner : bn->inner;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (scaled && ns->activation != DN_FN_NONE && ns->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    if (inner < 4 && inner != 1)
        return cpu_decline(info, "channels are neither rows nor planes");
    if ((scaled ? ns->outer : bn->outer) < 1 || (scaled ? ns->dim : bn->dim) < 1)
        return cpu_decline(info, "empty");
    norm_op *op = cpu_op_new(backend, sizeof *op, run_fn, info, "cpu:norm");
    if (!op)
        return DN_E_NOMEM;
    uint32_t accumulate = scaled ? ns->base.accumulate : bn->base.accumulate;
    op->outer = scaled ? ns->outer : bn->outer;
    op->dim = scaled ? ns->dim : bn->dim;
    op->inner = inner;
    op->eps = scaled ? ns->eps : bn->eps;
    op->fraction = scaled ? ns->fraction : bn->fraction;
    op->global = scaled ? ns->use_global : bn->use_global;
    op->scaled = scaled;
    op->relu = scaled && ns->activation == DN_FN_RELU;
    op->slope = op->relu ? (float)ns->activation_a : 0;
    op->add = accumulate & 1;
    op->add_gamma = accumulate & 2;
    op->add_beta = accumulate & 4;
    plan(op, info);
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_norm_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    return create(backend, desc, out, info, norm_run);
}

dn_status cpu_norm_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    return create(backend, desc, out, info, norm_bwd_run);
}
