/* SPDX-License-Identifier: BSD-2-Clause
 * conv_masked.c: dw of a convolution whose y went through MAX pooling alone: dy is the pooled
 * gradient, and the mask says where in y's plane each element belongs. Every one adds its
 * window of x to the dw of its channel, which stays in registers: of y's gradient only what is
 * not 0 is multiplied. For windows of one vector a row and planes that the first cache holds:
 * LeNet's first layer, and those of CIFAR's nets. */
#include "conv.h"

#include <string.h>

enum {
    PARTS = 16,
    MOST_PIXELS = 6000,
    MOST_SUMS = 1 << 16,
    WINDOW = CPU_MASKED_ROWS * CPU_MASKED_LANES
};

typedef struct masked_op {
    dn_op base;
    cpu_geo geo;
    cpu_masked at;
    int64_t plane; /* floats of a padded one, and of what is read too much */
    int64_t parts, part_floats;
    bool bias, add, add_bias;
} masked_op;

typedef struct masked_call {
    const masked_op *op;
    const dn_op_io *io;
    float *sums, *images; /* of all parts, of all workers */
} masked_call;

static void add_image(const masked_call *call, int64_t n, float *image, float *sums)
{
    const masked_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const float *x = (const float *)call->io->in[0] + n * geo->C * geo->H * geo->W;
    const float *dy = (const float *)call->io->in[1] + n * geo->K * op->at.count;
    const int32_t *mask = (const int32_t *)call->io->in[7] + n * geo->K * op->at.count;
    for (int64_t c = 0; c < geo->C; c++)
        cpu_geo_prepare(geo, image + c * op->plane, x + c * geo->H * geo->W);
    float *bias = sums + geo->K * geo->Cg * WINDOW;
    for (int64_t k = 0; k < geo->K; k++, dy += op->at.count, mask += op->at.count)
        for (int64_t c = 0; c < geo->Cg; c++, sums += WINDOW)
            op->base.backend->kernels->masked(&op->at, sums, c ? NULL : bias + k,
                                              image + (k / geo->Kg * geo->Cg + c) * op->plane,
                                              dy, mask);
}

static void masked_task(void *arg, int64_t part, int32_t worker)
{
    const masked_call *call = arg;
    const masked_op *op = call->op;
    float *sums = call->sums + part * op->part_floats;
    float *image = call->images + worker * op->geo.C * op->plane;
    int64_t from, to;
    cpu_split(op->geo.N, op->parts, part, &from, &to);
    memset(image, 0, (size_t)(op->geo.C * op->plane) * sizeof(float));
    memset(sums, 0, (size_t)op->part_floats * sizeof(float));
    for (int64_t n = from; n < to; n++)
        add_image(call, n, image, sums);
}

static dn_status masked_run(dn_op *base, const dn_op_io *io)
{
    masked_op *op = (masked_op *)base;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = base->backend->kernels;
    float *sums = io->scratch, *dw = io->out[0];
    masked_call call = {op, io, sums, sums + op->parts * op->part_floats};
    cpu_for(base->backend, op->parts, masked_task, &call);
    for (int64_t i = 1; i < op->parts; i++)
        ker->axpby(sums, sums + i * op->part_floats, 1.0f, true, op->part_floats);
    for (int64_t i = 0; i < geo->K * geo->Cg * geo->R; i++, dw += geo->S)
        ker->axpby(dw, sums + i / geo->R * WINDOW + i % geo->R * CPU_MASKED_LANES, 1.0f,
                   op->add, geo->S);
    if (op->bias)
        ker->axpby(io->out[1], sums + geo->K * geo->Cg * WINDOW, 1.0f, op->add_bias, geo->K);
    return DN_OK;
}

/* The geometry becomes that of a stride of 1: windows begin where `place` says. */
static bool plan(masked_op *op, dn_op_info *info)
{
    cpu_geo *geo = &op->geo;
    int64_t wide = geo->W + 2 * geo->pw, high = geo->H + 2 * geo->ph;
    int64_t P = (high - geo->R) / geo->sh + 1, Q = (wide - geo->S) / geo->sw + 1;
    int32_t *place = cpu_op_table(&op->base, (size_t)(P * Q), sizeof *place);
    if (!place)
        return false;
    op->at = (cpu_masked){place, P * Q, geo->P * geo->Q, wide};
    for (int64_t q = 0; q < P * Q; q++)
        place[q] = (int32_t)(q / Q * geo->sh * wide + q % Q * geo->sw);
    geo->P = high - geo->R + 1, geo->Q = wide - geo->S + 1;
    geo->sh = geo->sw = 1;
    cpu_geo_plan(geo);
    op->plane = geo->plane + CPU_MASKED_ROWS * wide + CPU_MASKED_LANES;
    op->part_floats = (geo->K * (geo->Cg * WINDOW + 1) + 15) & ~(int64_t)15;
    op->parts = cpu_min(PARTS, geo->N);
    info->scratch = (size_t)(op->parts * op->part_floats +
                             op->base.backend->host.num_threads * geo->C * op->plane) *
                    4;
    info->cost = 1.8 * (double)(geo->N * geo->K * geo->Cg * op->at.count) +
                 0.2 * (double)(geo->N * geo->C * op->plane + op->parts * op->part_floats);
    return true;
}

dn_status cpu_conv_masked_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                 dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_present(desc->inputs, desc->num_inputs, 7) || cpu_conv_normalises(desc) ||
        desc->num_outputs > 2 || !cpu_all_f32(desc))
        return cpu_decline(info, "not a mask alone in f32");
    if (!cpu_geo_init(&geo, args, &desc->inputs[0].shape, &desc->outputs[0].shape,
                      &desc->inputs[1].shape, info))
        return DN_DECLINED;
    double pixels = (double)(geo.H + 2 * geo.ph) * (double)(geo.W + 2 * geo.pw);
    if (pixels > MOST_PIXELS || geo.K * geo.Cg > MOST_SUMS / WINDOW ||
        geo.R > CPU_MASKED_ROWS || geo.S > CPU_MASKED_LANES || geo.dh * geo.dw > 1 ||
        geo.H + 2 * geo.ph < geo.R || geo.W + 2 * geo.pw < geo.S)
        return cpu_decline(info, "large windows or planes");
    masked_op *op = cpu_op_new(backend, sizeof *op, masked_run, info, "cpu:masked");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->bias = cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    if (!plan(op, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    *out = &op->base;
    return DN_OK;
}
