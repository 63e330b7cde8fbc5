/* SPDX-License-Identifier: BSD-2-Clause
 * depthwise.c: convolution with one channel a group, in its three directions. Bound by memory,
 * so a task is a plane (or, for weights, a channel of all images) prepared and used at once. */
#include "conv.h"

#include <string.h>

typedef struct dw_op {
    dn_op base;
    cpu_geo geo; /* of the convolution that runs: dy's, when backward data is one */
    int32_t kind;
    bool flipped; /* backward data as a convolution of dy */
    int64_t *tap; /* offsets in a prepared plane */
    int64_t worker_floats;
    bool bias, add_bias;
    cpu_end end;
} dw_op;

typedef struct dw_call {
    const dw_op *op;
    const float *x, *w, *bias;
    float *y, *db, *work;
} dw_call;

static void forward_task(void *arg, int64_t task, int32_t worker)
{
    const dw_call *call = arg;
    const dw_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t c = task % geo->C, taps = geo->R * geo->S;
    float *plane = call->work + worker * op->worker_floats, *flip = plane + geo->plane + 64;
    float *y = call->y + task * geo->P * geo->Q;
    for (int64_t t = 0; t < taps; t++)
        flip[t] = call->w[c * taps + (op->flipped ? taps - 1 - t : t)];
    cpu_geo_prepare(geo, plane, call->x + task * geo->H * geo->W);
    float bias = call->bias ? call->bias[c] : 0;
    if (geo->Q >= 2 * ker->vl || op->end.add) {
        for (int64_t p = 0; p < geo->P; p++)
            ker->dw_row(y + p * geo->Q, plane + p * geo->wp, flip, op->tap, taps, geo->Q, bias,
                        &op->end);
        return;
    }
    /* short rows: the plane as one row, what hangs over between rows is dropped */
    float *wide = flip + taps;
    ker->dw_row(wide, plane, flip, op->tap, taps, (geo->P - 1) * geo->wp + geo->Q, bias,
                &op->end);
    for (int64_t p = 0; p < geo->P; p++)
        memcpy(y + p * geo->Q, wide + p * geo->wp, (size_t)geo->Q * sizeof(float));
}

static void scatter_task(void *arg, int64_t task, int32_t worker)
{
    const dw_call *call = arg;
    const dw_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t c = task % geo->C, taps = geo->R * geo->S;
    float *plane = call->work + worker * op->worker_floats;
    const float *dy = call->x + task * geo->P * geo->Q;
    memset(plane, 0, (size_t)geo->plane * sizeof(float));
    for (int64_t t = 0; t < taps; t++)
        for (int64_t p = 0; p < geo->P; p++)
            ker->axpby(plane + op->tap[t] + p * geo->wp, dy + p * geo->Q, call->w[c * taps + t],
                       true, geo->Q);
    cpu_geo_restore(geo, call->y + task * geo->H * geo->W, plane,
                    call->bias ? call->bias[c] : 0, &op->end);
}

static void weights_task(void *arg, int64_t c, int32_t worker)
{
    const dw_call *call = arg;
    const dw_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = geo->R * geo->S;
    float *plane = call->work + worker * op->worker_floats, *dw = call->y + c * taps, sum = 0;
    if (!op->end.add)
        memset(dw, 0, (size_t)taps * sizeof(float));
    for (int64_t n = 0; n < geo->N; n++) {
        const float *dy = call->w + (n * geo->C + c) * geo->P * geo->Q;
        cpu_geo_prepare(geo, plane, call->x + (n * geo->C + c) * geo->H * geo->W);
        ker->dw_dot(dw, plane, dy, op->tap, taps, geo->P, geo->Q, geo->wp, geo->Q);
        if (op->bias)
            sum += ker->reduce(DN_REDUCE_SUM, dy, NULL, geo->P * geo->Q);
    }
    if (op->bias)
        call->db[c] = op->add_bias ? call->db[c] + sum : sum;
}

static dn_status dw_run(dn_op *base, const dn_op_io *io)
{
    dw_op *op = (dw_op *)base;
    const cpu_geo *geo = &op->geo;
    bool weights = op->kind == DN_OP_CONV_BWD_WEIGHTS;
    dw_call call = {op,         io->in[0],
                    io->in[1],  !weights && op->bias ? io->in[2] : NULL,
                    io->out[0], weights && op->bias ? io->out[1] : NULL,
                    io->scratch};
    bool scatter = op->kind == DN_OP_CONV_BWD_DATA && !op->flipped;
    cpu_for(base->backend, weights ? geo->C : geo->N * geo->C,
            weights   ? weights_task
            : scatter ? scatter_task
                      : forward_task,
            &call);
    return DN_OK;
}

/* Backward data with stride 1 is the convolution of dy with the flipped kernel. */
static void turn_round(dw_op *op)
{
    cpu_geo *geo = &op->geo, f = *geo;
    int64_t ph = (f.R - 1) * f.dh - f.ph, pw = (f.S - 1) * f.dw - f.pw;
    if (op->kind != DN_OP_CONV_BWD_DATA || f.sh != 1 || f.sw != 1 || ph < 0 || pw < 0)
        return;
    op->flipped = true;
    geo->H = f.P, geo->W = f.Q, geo->P = f.H, geo->Q = f.W;
    geo->ph = ph, geo->pw = pw;
}

dn_status cpu_depthwise_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    bool data = desc->kind == DN_OP_CONV_BWD_DATA,
         weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    cpu_geo geo;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (!cpu_geo_init(&geo, args, data ? &desc->outputs[0].shape : &desc->inputs[0].shape,
                      weights ? &desc->outputs[0].shape : &desc->inputs[1].shape,
                      weights ? &desc->inputs[1].shape
                      : data  ? &desc->inputs[0].shape
                              : &desc->outputs[0].shape,
                      info))
        return DN_DECLINED;
    if (geo.Cg != 1 || geo.Kg != 1)
        return cpu_decline(info, "not depthwise");
    if (args->activation != DN_FN_NONE && args->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    dw_op *op = cpu_op_new(backend, sizeof *op, dw_run, info, "cpu:depthwise");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->kind = desc->kind;
    op->bias = weights ? cpu_present(desc->outputs, desc->num_outputs, 1)
                       : cpu_present(desc->inputs, desc->num_inputs, 2);
    op->add_bias = args->base.accumulate & 2;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = !weights && args->activation == DN_FN_RELU};
    turn_round(op);
    cpu_geo_plan(&op->geo);
    op->tap = cpu_op_table(&op->base, (size_t)(geo.R * geo.S), sizeof *op->tap);
    if (!op->tap) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    for (int64_t t = 0; t < geo.R * geo.S; t++)
        op->tap[t] = cpu_geo_tap(&op->geo, t / geo.S, t % geo.S);
    size_t floats = (size_t)(op->geo.plane + 64 + geo.R * geo.S + op->geo.P * op->geo.wp);
    op->worker_floats = (int64_t)cpu_round64(floats * 4) / 4;
    info->scratch = (size_t)(op->worker_floats * backend->host.num_threads) * 4;
    *out = &op->base;
    return DN_OK;
}
