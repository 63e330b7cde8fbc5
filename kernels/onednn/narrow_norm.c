/* SPDX-License-Identifier: BSD-2-Clause
 * narrow_norm.c: NORM_SCALE and its gradient over rows of channels in bf16; statistics,
 * factors and their gradients are f32. A task is a band of rows with sums of its own, which are
 * added in order. */
#include "narrow.h"

#include <math.h>
#include <string.h>

enum { FIRST_ROWS = 16, MAX_BANDS = 64 };

typedef struct norm_op {
    dn_op base;
    int64_t outer, dim, tasks, bands, band_floats;
    double eps, fraction;
    bool global, relu, add, add_gamma, add_beta;
    bool has_y, has_gamma, has_beta; /* backward */
    float slope;
} norm_op;

typedef struct norm_call {
    const norm_op *op;
    const one_bf16 *x, *y_in, *dy; /* dy: backward alone */
    const float *gamma, *beta, *mean_in, *inv_in;
    const float *y_beta; /* backward: y is made again with it */
    one_bf16 *y;         /* dx */
    float *mean, *inv_std, *run_mean, *run_var, *dgamma, *dbeta;
    double share;            /* of running values: 1 / factor */
    float *constants, *sums; /* 4 of each channel; 2 of each, of each band */
} norm_call;

static nk_norm constants_of(const norm_call *call)
{
    const norm_op *op = call->op;
    const float *k = call->constants;
    return (nk_norm){k,         k + op->dim, k + 2 * op->dim, k + 3 * op->dim, call->y_beta,
                     op->slope, op->relu,    op->add};
}

static dnnl_status_t sum_task(void *arg, int64_t task, int32_t worker)
{
    const norm_call *call = arg;
    const norm_op *op = call->op;
    const nk_norm k = constants_of(call);
    float *sum = call->sums + task * op->band_floats;
    int64_t from, to, at;
    (void)worker;
    one_split(op->outer, op->bands, task, &from, &to);
    at = from * op->dim;
    memset(sum, 0, (size_t)(2 * op->dim) * sizeof(float));
    nk_norm_sums(&k, sum, sum + op->dim, call->dy ? call->dy + at : NULL, call->x + at,
                 call->y_in ? call->y_in + at : NULL, to - from, op->dim);
    return dnnl_success;
}

static dnnl_status_t apply_task(void *arg, int64_t task, int32_t worker)
{
    const norm_call *call = arg;
    const norm_op *op = call->op;
    const nk_norm k = constants_of(call);
    int64_t from, to, at;
    (void)worker;
    one_split(op->outer, op->tasks, task, &from, &to);
    at = from * op->dim;
    if (call->dy)
        nk_norm_bwd(&k, call->y + at, call->dy + at,
                    op->global && !call->y_beta ? NULL : call->x + at,
                    call->y_in ? call->y_in + at : NULL, to - from, op->dim);
    else
        nk_norm_apply(&k, call->y + at, call->x + at, to - from, op->dim);
    return dnnl_success;
}

/* The centre of the sums: the mean where it is known, else that of the first rows, near enough
 * that nothing cancels. */
static void choose_centre(const norm_call *call)
{
    const norm_op *op = call->op;
    float *centre = call->constants, *skip = call->sums;
    int64_t rows = one_min(FIRST_ROWS, op->outer);
    for (int64_t d = 0; call->y_beta && d < op->dim; d++)
        centre[op->dim + d] = call->gamma[d] * call->inv_in[d];
    if (call->dy) {
        memcpy(centre, call->mean_in, (size_t)op->dim * sizeof(float));
        return;
    }
    memset(centre, 0, (size_t)op->dim * sizeof(float));
    memset(skip, 0, (size_t)(2 * op->dim) * sizeof(float));
    const nk_norm k = constants_of(call);
    nk_norm_sums(&k, skip, skip + op->dim, NULL, call->x, NULL, rows, op->dim);
    for (int64_t d = 0; d < op->dim; d++)
        centre[d] = skip[d] / (float)rows;
}

static void forward_channel(const norm_call *call, int64_t d, double sum, double square)
{
    const norm_op *op = call->op;
    float *k = call->constants;
    double m = (double)op->outer, mean = call->run_mean[d] * call->share;
    double var = call->run_var[d] * call->share;
    if (!op->global) {
        mean = k[d] + sum / m;
        var = square / m - sum / m * (sum / m);
        var = var < 0 ? 0 : var; /* a NaN stays */
        call->run_mean[d] = (float)(op->fraction * call->run_mean[d] + mean);
        call->run_var[d] =
            (float)(op->fraction * call->run_var[d] + var * (m > 1 ? m / (m - 1) : 1));
    }
    call->mean[d] = (float)mean;
    call->inv_std[d] = (float)(1 / sqrt(var + op->eps));
    k[d] = (float)mean;
    k[op->dim + d] = call->gamma[d] * call->inv_std[d];
    k[2 * op->dim + d] = call->beta[d];
}

/* From the sums of dz and dz (x - mean). */
static void backward_channel(const norm_call *call, int64_t d, double sum, double dot)
{
    const norm_op *op = call->op;
    float *k = call->constants;
    double m = (double)op->outer, inv = call->inv_in[d], a = inv * call->gamma[d];
    if (call->dgamma)
        call->dgamma[d] = (float)((op->add_gamma ? call->dgamma[d] : 0) + dot * inv);
    if (call->dbeta)
        call->dbeta[d] = (float)((op->add_beta ? call->dbeta[d] : 0) + sum);
    k[op->dim + d] = (float)a;
    k[2 * op->dim + d] = op->global ? 0 : (float)(-a * inv * inv * dot / m);
    k[3 * op->dim + d] = op->global ? 0 : (float)(-a * sum / m);
}

static void all_channels(const norm_call *call)
{
    const norm_op *op = call->op;
    for (int64_t d = 0; d < op->dim; d++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < op->bands; i++) {
            sum += call->sums[i * op->band_floats + d];
            square += call->sums[i * op->band_floats + op->dim + d];
        }
        (call->dy ? backward_channel : forward_channel)(call, d, sum, square);
    }
}

static dn_status run(norm_call *call, const dn_op_io *io)
{
    const norm_op *op = call->op;
    dn_status st = DN_OK;
    call->constants = io->scratch;
    call->sums = call->constants + 4 * op->dim;
    choose_centre(call);
    if (!op->global || call->dgamma || call->dbeta)
        st = one_for(op->base.backend, op->bands, sum_task, call);
    else
        memset(call->sums, 0, (size_t)(op->bands * op->band_floats) * sizeof(float));
    if (st)
        return st;
    all_channels(call);
    return one_for(op->base.backend, op->tasks, apply_task, call);
}

static dn_status norm_run(dn_op *base, const dn_op_io *io)
{
    norm_op *op = (norm_op *)base;
    float *const *out = (float *const *)io->out, *factor = out[5];
    norm_call call = {.op = op,
                      .x = io->in[0],
                      .gamma = io->in[1],
                      .beta = io->in[2],
                      .y = io->out[0],
                      .mean = out[1],
                      .inv_std = out[2],
                      .run_mean = out[3],
                      .run_var = out[4],
                      .share = *factor == 0 ? 0 : 1 / (double)*factor};
    dn_status st = run(&call, io);
    if (!st && !op->global)
        *factor = (float)(op->fraction * *factor + 1);
    return st;
}

static dn_status norm_bwd_run(dn_op *base, const dn_op_io *io)
{
    norm_op *op = (norm_op *)base;
    norm_call call = {.op = op,
                      .x = io->in[0],
                      .y_in = op->relu && op->has_y ? io->in[1] : NULL,
                      .mean_in = io->in[2],
                      .inv_in = io->in[3],
                      .gamma = io->in[4],
                      .dy = io->in[5],
                      .y = io->out[0]};
    call.y_beta = op->relu && !op->has_y ? io->in[6] : NULL;
    call.dgamma = op->has_gamma ? io->out[1] : NULL;
    call.dbeta = op->has_beta ? io->out[2] : NULL;
    return run(&call, io);
}

static dn_status create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info, uint32_t narrow,
                        dn_status (*run_fn)(dn_op *, const dn_op_io *))
{
    const dn_args_norm_scale *a = desc->args;
    if (!one_is_narrow(backend, desc) || !one_narrow_fits(desc, narrow, DN_LAYOUT_PLAIN))
        return one_decline(info, "activations are not bf16");
    if (a->inner != 1 || a->outer < 1 || a->dim < 1 || desc->outputs[0].dtype < 0 ||
        (a->activation != DN_FN_NONE && a->activation != DN_FN_RELU) ||
        one_present(desc->inputs, desc->num_inputs, desc->kind == DN_OP_NORM_SCALE ? 3 : 7))
        return one_decline(info,
                           "not over rows of channels, activation other than ReLU, or sums");
    norm_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = run_fn;
    op->outer = a->outer;
    op->dim = a->dim;
    op->eps = a->eps;
    op->fraction = a->fraction;
    op->global = a->use_global;
    op->relu = a->activation == DN_FN_RELU;
    op->slope = op->relu ? (float)a->activation_a : 0;
    op->add = a->base.accumulate & 1;
    op->add_gamma = a->base.accumulate & 2;
    op->add_beta = a->base.accumulate & 4;
    op->has_y = one_present(desc->inputs, desc->num_inputs, 1);
    op->has_gamma = one_present(desc->outputs, desc->num_outputs, 1);
    op->has_beta = one_present(desc->outputs, desc->num_outputs, 2);
    op->tasks = one_min(op->outer, one_tasks(op->outer * op->dim));
    op->bands = one_min(op->tasks, MAX_BANDS);
    op->band_floats = (2 * op->dim + 15) & ~(int64_t)15;
    info->scratch = (size_t)(4 * op->dim + op->bands * op->band_floats) * sizeof(float);
    one_narrow_info(desc, info, "norm");
    *out = &op->base;
    return DN_OK;
}

dn_status one_narrow_norm(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    return create(backend, desc, out, info, 1 | 1u << 16, norm_run);
}

dn_status one_narrow_norm_bwd(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    return create(backend, desc, out, info, 1 | 2 | 32 | 1u << 16, norm_bwd_run);
}
