/* SPDX-License-Identifier: BSD-2-Clause
 * norm.c: BATCH_NORM, a task a channel of all images, and LRN across channels, a task a strip
 * of positions of one image. */
#include "cpu.h"

#include <math.h>

typedef struct bn_op {
    dn_op base;
    dn_args_batch_norm a;
} bn_op;

typedef struct bn_call {
    const bn_op *op;
    const dn_op_io *io;
} bn_call;

/* Mean and biased variance of channel d: sums of floats within a plane, of doubles across. */
static void statistics(const bn_op *op, const float *x, int64_t d, double *mean, double *var)
{
    const dn_args_batch_norm *a = &op->a;
    const cpu_kernels *ker = op->base.backend->kernels;
    double m = (double)(a->outer * a->inner), sum = 0, off = 0, square = 0;
    for (int64_t o = 0; o < a->outer; o++)
        sum += ker->reduce(DN_REDUCE_SUM, x + (o * a->dim + d) * a->inner, NULL, a->inner);
    float centre = (float)(sum / m);
    for (int64_t o = 0; o < a->outer; o++) {
        float part[2];
        ker->moments(x + (o * a->dim + d) * a->inner, centre, a->inner, part);
        off += part[0];
        square += part[1];
    }
    *mean = centre + off / m;
    *var = square / m - off / m * (off / m);
    if (*var < 0)
        *var = 0;
}

static void bn_task(void *arg, int64_t d, int32_t worker)
{
    const bn_call *call = arg;
    const bn_op *op = call->op;
    const dn_args_batch_norm *a = &op->a;
    float *const *out = (float *const *)call->io->out;
    const float *x = call->io->in[0];
    double m = (double)(a->outer * a->inner), mean, var;
    double share = *out[5] == 0 ? 0 : 1 / (double)*out[5];
    (void)worker;
    if (a->use_global) {
        mean = out[3][d] * share;
        var = out[4][d] * share;
    } else {
        statistics(op, x, d, &mean, &var);
        out[3][d] = (float)(a->fraction * out[3][d] + mean);
        out[4][d] = (float)(a->fraction * out[4][d] + var * (m > 1 ? m / (m - 1) : 1));
    }
    out[1][d] = (float)mean;
    out[2][d] = (float)(1 / sqrt(var + a->eps));
    for (int64_t o = 0; o < a->outer; o++) {
        int64_t at = (o * a->dim + d) * a->inner;
        op->base.backend->kernels->affine(out[0] + at, x + at, out[2][d], out[1][d], a->inner);
    }
}

static dn_status bn_run(dn_op *base, const dn_op_io *io)
{
    bn_op *op = (bn_op *)base;
    bn_call call = {op, io};
    cpu_for(base->backend, op->a.dim, bn_task, &call);
    float *factor = io->out[5];
    if (!op->a.use_global)
        *factor = (float)(op->a.fraction * *factor + 1);
    return DN_OK;
}

static void bn_bwd_task(void *arg, int64_t d, int32_t worker)
{
    const bn_call *call = arg;
    const bn_op *op = call->op;
    const dn_args_batch_norm *a = &op->a;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *y = call->io->in[0], *inv_std = call->io->in[1], *dy = call->io->in[2];
    float *dx = call->io->out[0];
    double m = (double)(a->outer * a->inner), sum = 0, dot = 0;
    (void)worker;
    for (int64_t o = 0; o < a->outer && !a->use_global; o++) {
        int64_t at = (o * a->dim + d) * a->inner;
        sum += ker->reduce(DN_REDUCE_SUM, dy + at, NULL, a->inner);
        dot += ker->reduce(DN_REDUCE_DOT, dy + at, y + at, a->inner);
    }
    for (int64_t o = 0; o < a->outer; o++) {
        int64_t at = (o * a->dim + d) * a->inner;
        ker->bn_bwd(dx + at, dy + at, y + at, inv_std[d], (float)(-inv_std[d] * dot / m),
                    (float)(-inv_std[d] * sum / m), a->base.accumulate & 1, a->inner);
    }
}

static dn_status bn_bwd_run(dn_op *base, const dn_op_io *io)
{
    bn_op *op = (bn_op *)base;
    bn_call call = {op, io};
    cpu_for(base->backend, op->a.dim, bn_bwd_task, &call);
    return DN_OK;
}

static dn_status new_bn(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info, dn_status (*run)(dn_op *, const dn_op_io *))
{
    const dn_args_batch_norm *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->inner < 4)
        return cpu_decline(info, "channels are not contiguous runs");
    if (args->outer < 1 || args->dim < 1)
        return cpu_decline(info, "empty");
    bn_op *op = cpu_op_new(backend, sizeof *op, run, info, "cpu:batch norm");
    if (!op)
        return DN_E_NOMEM;
    op->a = *args;
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_batch_norm_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info)
{
    const dn_args_batch_norm *args = desc->args;
    if (args->base.accumulate)
        return cpu_decline(info, "accumulates");
    return new_bn(backend, desc, out, info, bn_run);
}

dn_status cpu_batch_norm_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                    dn_op_info *info)
{
    return new_bn(backend, desc, out, info, bn_bwd_run);
}

/* ---- LRN --------------------------------------------------------------------------------- */

enum { STRIP = 64 };

typedef struct lrn_op {
    dn_op base;
    dn_args_lrn a;
    int64_t N, C, inner, strips;
} lrn_op;

typedef struct lrn_call {
    const lrn_op *op;
    const dn_op_io *io;
} lrn_call;

static void lrn_task(void *arg, int64_t task, int32_t worker)
{
    const lrn_call *call = arg;
    const lrn_op *op = call->op;
    const dn_args_lrn *a = &op->a;
    float *const *out = (float *const *)call->io->out;
    int64_t at = task / op->strips * op->C * op->inner + task % op->strips * STRIP;
    int64_t n = cpu_min(STRIP, op->inner - task % op->strips * STRIP);
    (void)worker;
    op->base.backend->kernels->lrn(out[0] + at, out[1] + at,
                                   (const float *)call->io->in[0] + at, op->C, op->inner, n,
                                   a->size, (float)a->alpha, (float)a->beta, (float)a->k);
}

static void lrn_bwd_task(void *arg, int64_t task, int32_t worker)
{
    const lrn_call *call = arg;
    const lrn_op *op = call->op;
    const dn_args_lrn *a = &op->a;
    const float *const *in = (const float *const *)call->io->in;
    int64_t at = task / op->strips * op->C * op->inner + task % op->strips * STRIP;
    int64_t n = cpu_min(STRIP, op->inner - task % op->strips * STRIP);
    (void)worker;
    op->base.backend->kernels->lrn_bwd((float *)call->io->out[0] + at, in[0] + at, in[1] + at,
                                       in[2] + at, in[3] + at, op->C, op->inner, n, a->size,
                                       (float)a->alpha, (float)a->beta, a->base.accumulate & 1);
}

static dn_status lrn_run(dn_op *base, const dn_op_io *io)
{
    lrn_op *op = (lrn_op *)base;
    lrn_call call = {op, io};
    cpu_for(base->backend, op->N * op->strips, lrn_task, &call);
    return DN_OK;
}

static dn_status lrn_bwd_run(dn_op *base, const dn_op_io *io)
{
    lrn_op *op = (lrn_op *)base;
    lrn_call call = {op, io};
    cpu_for(base->backend, op->N * op->strips, lrn_bwd_task, &call);
    return DN_OK;
}

static dn_status new_lrn(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info, dn_status (*run)(dn_op *, const dn_op_io *))
{
    const dn_args_lrn *args = desc->args;
    const dn_shape *x = &desc->inputs[0].shape;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->region != DN_LRN_ACROSS || args->size < 1 || args->size > 15 ||
        args->size % 2 == 0 || x->axes < 2)
        return cpu_decline(info, "not across channels, or a window above 15");
    int64_t inner = 1;
    for (int32_t i = 2; i < x->axes; i++)
        inner *= x->dim[i];
    if (inner < 4)
        return cpu_decline(info, "channels are not contiguous runs");
    lrn_op *op = cpu_op_new(backend, sizeof *op, run, info, "cpu:lrn");
    if (!op)
        return DN_E_NOMEM;
    op->a = *args;
    op->N = x->dim[0];
    op->C = x->dim[1];
    op->inner = inner;
    op->strips = cpu_ceil(inner, STRIP);
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_lrn_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_args_lrn *args = desc->args;
    if (args->base.accumulate)
        return cpu_decline(info, "accumulates");
    return new_lrn(backend, desc, out, info, lrn_run);
}

dn_status cpu_lrn_bwd_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    return new_lrn(backend, desc, out, info, lrn_bwd_run);
}
