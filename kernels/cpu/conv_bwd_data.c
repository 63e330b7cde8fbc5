/* SPDX-License-Identifier: BSD-2-Clause
 * conv_bwd_data.c: dx of any stride: the rows of w^T dy are added into a prepared image, a task
 * for each image and block of channels, and the prepared image is cut and merged into dx. */
#include "conv.h"

#include <string.h>

enum { BLOCK_FLOATS = 1 << 17 }; /* of prepared image: half of a second-level cache */

typedef struct back_op {
    dn_op base;
    cpu_geo geo;
    cpu_mul mul[2]; /* for blocks of `channels`, and of one less */
    int64_t blocks, channels;
    int64_t a_floats, x_floats, work_floats;
    cpu_end end;
} back_op;

typedef struct back_call {
    const back_op *op;
    const float *dy, *w, *bias;
    float *dx, *packed, *work;
} back_call;

static const cpu_mul *block_of(const back_op *op, int64_t block, int64_t *c0, int64_t *c1)
{
    cpu_split(op->geo.Cg, op->blocks, block, c0, c1);
    return &op->mul[*c1 - *c0 != op->channels];
}

/* Row (tap, c) of w^T, tap by tap: neighbouring rows add to different channels, so no load
 * waits for the store before it. */
static void pack_task(void *arg, int64_t task, int32_t worker)
{
    const back_call *call = arg;
    const back_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t taps = geo->R * geo->S, c0, c1;
    const cpu_mul *mul = block_of(op, task % op->blocks, &c0, &c1);
    const float *w = call->w + (task / op->blocks * geo->Kg * geo->Cg + c0) * taps;
    float *packed = call->packed + task * op->a_floats;
    (void)worker;
    for (int64_t kb = 0; kb < mul->k_blocks; kb++) {
        int64_t k0, k1;
        cpu_split(mul->k, mul->k_blocks, kb, &k0, &k1);
        for (int64_t i = 0; i < mul->row_panels; i++) {
            float *out = cpu_mul_a_at(mul, packed, i, kb);
            int64_t r0, r1;
            cpu_mul_rows(mul, i, &r0, &r1);
            for (int64_t k = k0; k < k1; k++)
                for (int64_t r = r0; r < r1; r++)
                    *out++ = w[k * geo->Cg * taps + r % (c1 - c0) * taps + r / (c1 - c0)];
        }
    }
}

static void back_task(void *arg, int64_t task, int32_t worker)
{
    const back_call *call = arg;
    const back_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t per = geo->group * op->blocks, n = task / per, piece = task % per, c0, c1;
    int64_t g = piece / op->blocks;
    const cpu_mul *mul = block_of(op, piece % op->blocks, &c0, &c1);
    float *prepared = call->work + worker * (op->x_floats + op->work_floats);
    const cpu_end add = {.alpha = 1, .add = true};
    int64_t rows[2] = {0, mul->row_panels}, cols[2] = {0, mul->col_panels};
    memset(prepared, 0, (size_t)((c1 - c0) * geo->plane) * sizeof(float));
    cpu_mul_run(mul, call->packed + piece * op->a_floats,
                call->dy + (n * geo->K + g * geo->Kg) * geo->P * geo->Q, prepared, &add, rows,
                cols, prepared + op->x_floats);
    for (int64_t c = c0; c < c1; c++) {
        int64_t channel = g * geo->Cg + c;
        cpu_geo_restore(geo, call->dx + (n * geo->C + channel) * geo->H * geo->W,
                        prepared + (c - c0) * geo->plane, call->bias ? call->bias[channel] : 0,
                        &op->end);
    }
}

static dn_status back_run(dn_op *base, const dn_op_io *io)
{
    back_op *op = (back_op *)base;
    const cpu_geo *geo = &op->geo;
    int64_t pieces = geo->group * op->blocks;
    back_call call = {op,
                      io->in[0],
                      io->in[1],
                      cpu_in(base, io, 2),
                      io->out[0],
                      io->scratch,
                      (float *)io->scratch + pieces * op->a_floats};
    cpu_for(base->backend, pieces, pack_task, &call);
    cpu_for(base->backend, geo->N * pieces, back_task, &call);
    return DN_OK;
}

static bool plan_mul(back_op *op, cpu_mul *mul, int64_t channels)
{
    const cpu_geo *geo = &op->geo;
    int64_t taps = geo->R * geo->S;
    int64_t *row = cpu_op_table(&op->base, (size_t)(channels * taps), sizeof *row);
    if (!row)
        return false;
    for (int64_t i = 0; i < channels * taps; i++)
        row[i] = i % channels * geo->plane +
                 cpu_geo_tap(geo, i / channels / geo->S, i / channels % geo->S);
    *mul = (cpu_mul){.ker = op->base.backend->kernels,
                     .m = channels * taps,
                     .n = geo->P * geo->Q,
                     .k = geo->Kg,
                     .ldb = geo->P * geo->Q,
                     .exact = true,
                     .c_row = row};
    if (!cpu_geo_runs(geo, &op->base, mul, 1, 0, geo->Q, 0, geo->wp))
        return false;
    cpu_mul_plan(mul);
    return true;
}

static bool plan(back_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t blocks = cpu_max(1, cpu_ceil(geo->Cg * geo->plane, BLOCK_FLOATS));
    if (geo->N * geo->group * blocks < 8)
        blocks = cpu_ceil(8, geo->N * geo->group);
    op->blocks = cpu_min(geo->Cg, blocks);
    op->channels = cpu_ceil(geo->Cg, op->blocks);
    if (!plan_mul(op, &op->mul[0], op->channels))
        return false;
    if (geo->Cg % op->blocks && !plan_mul(op, &op->mul[1], op->channels - 1))
        return false;
    const cpu_mul *mul = &op->mul[0];
    op->a_floats = (int64_t)cpu_round64((size_t)cpu_mul_a_size(mul) * 4) / 4;
    op->work_floats = (int64_t)cpu_round64((size_t)cpu_mul_work_size(mul) * 4) / 4;
    op->x_floats = (int64_t)cpu_round64((size_t)(op->channels * geo->plane + 64) * 4) / 4;
    int64_t per_worker = op->x_floats + op->work_floats;
    info->scratch = (size_t)(geo->group * op->blocks * op->a_floats +
                             op->base.backend->host.num_threads * per_worker) *
                    4;
    return true;
}

dn_status cpu_conv_bwd_data_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                   dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (!cpu_geo_init(&geo, args, &desc->outputs[0].shape, &desc->inputs[1].shape,
                      &desc->inputs[0].shape, info))
        return DN_DECLINED;
    if (args->activation != DN_FN_NONE && args->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    back_op *op = cpu_op_new(backend, sizeof *op, back_run, info, "cpu:gemm+col2im");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
