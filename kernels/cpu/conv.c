/* SPDX-License-Identifier: BSD-2-Clause
 * conv.c: convolution as one multiplication whose B is packed straight from the prepared image.
 * Serves CONV, and CONV_BWD_DATA with stride 1, which is the convolution of dy, padded the
 * other way round, with the flipped kernel. Images go in chunks to bound the scratch. */
#include "conv.h"

enum {
    CHUNK_FLOATS = 1 << 20,
    CHUNK_PANELS = 8192,
    KEPT_FLOATS = 100000 /* of constant w: more is packed while it comes from memory */
};

typedef struct conv_op {
    dn_op base;
    cpu_geo geo;
    cpu_mul mul[2]; /* for chunks of `images`, and of one image less */
    int64_t chunks, images;
    int64_t tasks_m, tasks_n;
    int64_t a_floats, x_floats, work_floats; /* packed w of a group, prepared chunk, worker */
    bool flipped;                            /* w: (C of y.., C of x.., R, S), read backwards */
    bool keep;                               /* packed w */
    cpu_end end;
} conv_op;

typedef struct conv_call {
    const conv_op *op;
    const float *x, *w, *bias;
    float *y, *packed, *prepared, *work;
    const cpu_mul *mul;
    int64_t images; /* of this chunk */
} conv_call;

/* ---- packing ----------------------------------------------------------------------------- */

static void pack_flipped(const cpu_mul *mul, int64_t i, float *packed, const float *w,
                         int64_t row, int64_t outputs)
{
    int64_t r0, r1;
    cpu_mul_rows(mul, i, &r0, &r1);
    for (int64_t kb = 0; kb < mul->k_blocks; kb++) {
        int64_t k0, k1;
        cpu_split(mul->k, mul->k_blocks, kb, &k0, &k1);
        float *out = cpu_mul_a_at(mul, packed, i, kb);
        while (k0 < k1) { /* one channel of dy at a time */
            int64_t tap = k0 % row, len = cpu_min(row - tap, k1 - k0);
            const float *from = w + (k0 / row * outputs + r0) * row + row - 1 - tap;
            mul->ker->pack_a(out, (int32_t)(r1 - r0), len, from, row, -1, 1.0f);
            out += len * (r1 - r0);
            k0 += len;
        }
    }
}

static void pack_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *call = arg;
    const conv_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_mul *mul = &op->mul[0];
    int64_t g = task / mul->row_panels, i = task % mul->row_panels, taps = geo->R * geo->S;
    float *packed = call->packed + g * op->a_floats;
    const float *w = call->w + g * mul->m * mul->k;
    (void)worker;
    if (!op->flipped)
        cpu_mul_pack_a(mul, i, packed, w, mul->k, 1, 1.0f);
    else if (taps == 1)
        cpu_mul_pack_a(mul, i, packed, w, 1, mul->m, 1.0f);
    else
        pack_flipped(mul, i, packed, w, taps, mul->m);
}

static void prepare_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *call = arg;
    const cpu_geo *geo = &call->op->geo;
    int64_t planes = call->images * geo->C, from, to;
    (void)worker;
    cpu_split(planes, cpu_tasks_for(planes * geo->plane), task, &from, &to);
    for (int64_t i = from; i < to; i++)
        cpu_geo_prepare(geo, call->prepared + i * geo->plane, call->x + i * geo->H * geo->W);
}

/* ---- run --------------------------------------------------------------------------------- */

static void conv_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *call = arg;
    const conv_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_mul *mul = call->mul;
    int64_t per = op->tasks_m * op->tasks_n, g = task / per, rows[2], cols[2];
    int64_t plane = geo->ready ? geo->H * geo->W : geo->plane;
    cpu_split(mul->row_panels, op->tasks_m, task % op->tasks_m, &rows[0], &rows[1]);
    cpu_split(mul->col_panels, op->tasks_n, task % per / op->tasks_m, &cols[0], &cols[1]);
    cpu_end end = op->end;
    end.bias_m = call->bias ? call->bias + g * geo->Kg : NULL;
    const float *x = (geo->ready ? call->x : call->prepared) + g * geo->Cg * plane;
    cpu_mul_run(mul, call->packed + g * op->a_floats, x,
                call->y + g * geo->Kg * geo->P * geo->Q, &end, rows, cols,
                call->work + worker * op->work_floats);
}

static void pack(conv_call *call)
{
    const conv_op *op = call->op;
    int64_t packs = op->geo.group * op->mul[0].row_panels;
    if (op->mul[0].m * op->mul[0].k * op->geo.group < 32768)
        for (int64_t i = 0; i < packs; i++)
            pack_task(call, i, 0);
    else
        cpu_for(op->base.backend, packs, pack_task, call);
}

static dn_status conv_prepare(dn_op *base, const dn_op_io *io)
{
    conv_call call = {.op = (conv_op *)base, .w = io->in[1], .packed = io->keep};
    pack(&call);
    return DN_OK;
}

static dn_status conv_run(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    const cpu_geo *geo = &op->geo;
    const dn_backend *backend = base->backend;
    float *scratch = io->scratch;
    conv_call call = {.op = op,
                      .w = io->in[1],
                      .bias = cpu_in(base, io, 2),
                      .packed = op->keep ? io->keep : scratch,
                      .prepared = scratch + (op->keep ? 0 : geo->group * op->a_floats)};
    call.work = call.prepared + op->x_floats;
    if (!op->keep)
        pack(&call);
    for (int64_t i = 0; i < op->chunks; i++) {
        int64_t n0, n1;
        cpu_split(geo->N, op->chunks, i, &n0, &n1);
        call.images = n1 - n0;
        call.mul = &op->mul[call.images != op->images];
        call.x = (const float *)io->in[0] + n0 * geo->C * geo->H * geo->W;
        call.y = (float *)io->out[0] + n0 * geo->K * geo->P * geo->Q;
        if (!geo->ready)
            cpu_for(backend, cpu_tasks_for(call.images * geo->C * geo->plane), prepare_task,
                    &call);
        cpu_for(backend, geo->group * op->tasks_m * op->tasks_n, conv_task, &call);
    }
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

static bool plan_mul(conv_op *op, cpu_mul *mul, const int64_t *b_row, int64_t images)
{
    const cpu_geo *geo = &op->geo;
    int64_t plane = geo->ready ? geo->H * geo->W : geo->plane;
    *mul = (cpu_mul){.ker = op->base.backend->kernels,
                     .m = geo->Kg,
                     .n = images * geo->P * geo->Q,
                     .k = geo->Cg * geo->R * geo->S,
                     .b_row = b_row,
                     .exact = geo->ready,
                     .ldc = geo->P * geo->Q};
    if (!cpu_geo_runs(geo, &op->base, mul, images, geo->C * plane,
                      geo->ready ? geo->W : geo->wp, geo->K * geo->P * geo->Q, geo->Q))
        return false;
    cpu_mul_plan(mul);
    return true;
}

static bool plan_tables(conv_op *op)
{
    const cpu_geo *geo = &op->geo;
    int64_t plane = geo->ready ? geo->H * geo->W : geo->plane, taps = geo->R * geo->S;
    int64_t *row = cpu_op_table(&op->base, (size_t)(geo->Cg * taps), sizeof *row);
    if (!row)
        return false;
    for (int64_t i = 0; i < geo->Cg * taps; i++)
        row[i] = i / taps * plane +
                 (geo->ready ? 0 : cpu_geo_tap(geo, i % taps / geo->S, i % geo->S));
    int64_t images = geo->ready ? geo->N : cpu_max(1, CHUNK_FLOATS / (geo->C * geo->plane));
    images = cpu_min(images,
                     CHUNK_PANELS * (int64_t)op->base.backend->kernels->nr / (geo->P * geo->Q));
    op->chunks = cpu_ceil(geo->N, cpu_max(1, cpu_min(geo->N, images)));
    op->images = cpu_ceil(geo->N, op->chunks);
    if (!plan_mul(op, &op->mul[0], row, op->images))
        return false;
    return geo->N % op->chunks == 0 || plan_mul(op, &op->mul[1], row, op->images - 1);
}

static void plan_scratch(conv_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    const cpu_mul *mul = &op->mul[0];
    int64_t work = mul->m * mul->n * mul->k;
    int64_t tasks = cpu_max(1, cpu_min(64, (work + (1 << 19)) >> 20));
    int64_t least = op->images > 1 ? mul[geo->N % op->chunks != 0].col_panels : mul->col_panels;
    op->tasks_n = cpu_min(least, tasks);
    op->tasks_m = cpu_max(1, cpu_min(mul->row_panels, tasks / op->tasks_n));
    op->a_floats = (int64_t)cpu_round64((size_t)cpu_mul_a_size(mul) * 4) / 4;
    op->work_floats = (int64_t)cpu_round64((size_t)cpu_mul_work_size(mul) * 4) / 4;
    int64_t slack = 2 * mul->ker->nr;
    op->x_floats = geo->ready ? 0 : op->images * geo->C * geo->plane + slack;
    op->x_floats = (int64_t)cpu_round64((size_t)op->x_floats * 4) / 4;
    size_t packed = (size_t)(geo->group * op->a_floats) * 4;
    info->unread = op->keep ? 2 : 0;
    info->keep = op->keep ? packed : 0;
    info->scratch =
        (op->keep ? 0 : packed) +
        (size_t)(op->x_floats + op->base.backend->host.num_threads * op->work_floats) * 4;
}

static dn_status create(dn_backend *backend, const dn_op_desc *desc, const cpu_geo *geo,
                        bool flipped, const char *name, dn_op **out, dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (args->activation != DN_FN_NONE && args->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    conv_op *op = cpu_op_new(backend, sizeof *op, conv_run, info, name);
    if (!op)
        return DN_E_NOMEM;
    op->geo = *geo;
    op->flipped = flipped;
    op->keep = desc->constant & 2 && geo->K * geo->Cg * geo->R * geo->S <= KEPT_FLOATS;
    if (op->keep)
        op->base.prepare = conv_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan_tables(op)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    plan_scratch(op, info);
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_conv_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    cpu_geo geo;
    if (!cpu_geo_init(&geo, desc->args, &desc->inputs[0].shape, &desc->inputs[1].shape,
                      &desc->outputs[0].shape, info))
        return DN_DECLINED;
    return create(backend, desc, &geo, false, geo.ready ? "cpu:1x1" : "cpu:implicit gemm", out,
                  info);
}

/* dx as a convolution of dy. Worth it unless the padding around dy is a large part of it. */
dn_status cpu_conv_bwd_data_full_create(dn_backend *backend, const dn_op_desc *desc,
                                        dn_op **out, dn_op_info *info)
{
    cpu_geo f, geo;
    if (!cpu_geo_init(&f, desc->args, &desc->outputs[0].shape, &desc->inputs[1].shape,
                      &desc->inputs[0].shape, info))
        return DN_DECLINED;
    geo = f;
    geo.C = f.K, geo.K = f.C, geo.Cg = f.Kg, geo.Kg = f.Cg;
    geo.H = f.P, geo.W = f.Q, geo.P = f.H, geo.Q = f.W;
    geo.ph = (f.R - 1) * f.dh - f.ph, geo.pw = (f.S - 1) * f.dw - f.pw;
    if (f.sh != 1 || f.sw != 1 || geo.ph < 0 || geo.pw < 0 ||
        geo.P * geo.Q * 3 > geo.H * geo.W * 4)
        return cpu_decline(info, "backward data is not a stride-1 convolution of its size");
    cpu_geo_plan(&geo);
    return create(backend, desc, &geo, true, geo.ready ? "cpu:1x1" : "cpu:implicit gemm", out,
                  info);
}
