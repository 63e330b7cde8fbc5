/* SPDX-License-Identifier: BSD-2-Clause
 * conv.c: CONV and CONV_BWD_DATA. Weights are packed into the form the primitive asks for, once
 * where they are constant, else in every run. oneDNN cannot add to a gradient: where that is
 * asked for, a piece goes into its worker's scratch and is added from there. */
#include "onednn.h"

#include <stdio.h>

typedef struct conv_op {
    dn_op base;
    one_geo geo;
    one_cuts cuts;
    one_prim prim[ONE_CUTS];
    one_pack pack;
    int32_t kind, made;
    bool bias, constant, add_after;
    size_t packed_bytes, temp_bytes, lane_bytes; /* lane: temp and scratch of one worker */
} conv_op;

typedef struct conv_call {
    conv_op *op;
    char *in, *out, *lanes;
    void *weights, *bias;
} conv_call;

/* ---- run --------------------------------------------------------------------------------- */

static void add_f32(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static dnnl_status_t conv_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *c = arg;
    conv_op *op = c->op;
    const one_geo *g = &op->geo;
    const one_piece *piece = &op->cuts.piece[task];
    const one_cut *cut = &op->cuts.cut[piece->cut];
    int64_t size = g->type == dnnl_bf16 ? 2 : 4;
    int64_t x = ((piece->image * g->H + piece->h) * g->W * g->C) * size;
    int64_t y = ((piece->image * g->P + piece->p) * g->Q * g->K) * size;
    bool forward = op->kind == DN_OP_CONV;
    char *lane = c->lanes + (size_t)worker * op->lane_bytes;
    char *out = c->out + (forward ? y : x);
    void *data[] = {c->in + (forward ? x : y), c->weights, op->add_after ? lane : out, c->bias};
    dnnl_status_t st =
        one_prim_run(&op->prim[piece->cut], worker, data, lane + op->temp_bytes);
    if (!st && op->add_after)
        add_f32((float *)out, (float *)lane, cut->images * cut->h * g->W * g->C);
    return st;
}

static dn_status conv_run(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    char *scratch = io->scratch;
    conv_call call = {.op = op,
                      .in = io->in[0],
                      .out = io->out[0],
                      .weights = op->constant ? io->keep : scratch,
                      .bias = op->bias ? io->in[2] : NULL,
                      .lanes = scratch + (op->constant ? 0 : op->packed_bytes)};
    if (!op->constant) {
        dn_status st = one_pack_run(&op->pack, io->in[1], scratch, call.lanes);
        if (st)
            return st;
    }
    return one_for(base->backend, op->cuts.pieces, conv_task, &call);
}

static dn_status conv_prepare(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    return one_pack_run(&op->pack, io->in[1], io->keep, io->scratch);
}

static void conv_release(dn_op *base)
{
    conv_op *op = (conv_op *)base;
    for (int32_t i = 0; i < op->made; i++)
        one_prim_free(&op->prim[i]);
    one_pack_free(&op->pack);
    one_free(base->backend, op->cuts.piece);
}

/* ---- create ------------------------------------------------------------------------------ */

static dn_status make_prims(conv_op *op, const dn_args_conv *args, dn_op_info *info)
{
    const dn_backend *backend = op->base.backend;
    bool forward = op->kind == DN_OP_CONV;
    const int arg_forward[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    const int arg_data[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
    dnnl_primitive_attr_t attr;
    dnnl_status_t status = one_attributes(&attr, forward && (args->base.accumulate & 1),
                                          args->activation, args->activation_a);
    dn_status st = one_result(backend, status, info);
    if (st)
        return st;
    for (int32_t i = 0; i < op->cuts.cuts && !st; i++) {
        dnnl_primitive_desc_t desc;
        one_md w = i ? one_prim_md(&op->prim[0], DNNL_ARG_WEIGHTS) : NULL;
        status = one_geo_desc(&desc, backend, &op->geo, &op->cuts.cut[i], op->kind, op->bias, w,
                              attr);
        st = one_result(backend, status, info);
        if (!st)
            st = one_prim_init(&op->prim[i], backend, desc, forward ? arg_forward : arg_data,
                               forward && op->bias ? 4 : 3, info);
        op->made += !st;
    }
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static dn_status make_pack(conv_op *op, dn_op_info *info)
{
    one_desc plain;
    int axes;
    dnnl_dim_t dims[5];
    dnnl_status_t status = one_geo_weights(&plain, &op->geo, &axes, dims);
    dn_status st = one_result(op->base.backend, status, info);
    if (st)
        return st;
    st = one_pack_init(&op->pack, op->base.backend, one_view(&plain),
                       one_prim_md(&op->prim[0], DNNL_ARG_WEIGHTS), axes, dims, false, info);
    one_desc_free(&plain);
    return st;
}

static void plan_memory(conv_op *op, dn_op_info *info)
{
    const one_geo *g = &op->geo;
    size_t most = op->pack.scratch;
    for (int32_t i = 0; i < op->made; i++) {
        const one_cut *cut = &op->cuts.cut[i];
        size_t temp = (size_t)(cut->images * cut->h * g->W * g->C) * sizeof(float);
        if (op->add_after && one_round(temp) > op->temp_bytes)
            op->temp_bytes = one_round(temp);
        most = op->prim[i].scratch > most ? op->prim[i].scratch : most;
    }
    op->packed_bytes = one_round(op->pack.to_bytes);
    op->lane_bytes = op->temp_bytes + one_round(most);
    info->scratch = op->lane_bytes * (size_t)op->base.backend->num_streams;
    if (op->constant)
        info->keep = op->packed_bytes;
    else
        info->scratch += op->packed_bytes;
}

static void describe(const conv_op *op, dn_op_info *info)
{
    const one_geo *g = &op->geo;
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s",
             one_desc_name(op->prim[0].desc));
    info->cost = one_geo_cost(op->base.backend, g, op->kind) + 1e3 * (double)op->cuts.pieces;
    if (!op->constant)
        info->cost += (double)op->packed_bytes / 5;
}

static dn_status make(conv_op *op, const dn_args_conv *args, dn_op_info *info)
{
    const one_geo *g = &op->geo;
    bool forward = op->kind == DN_OP_CONV;
    /* Strips of rows read all weights again: only where those are small beside the images. */
    bool rows = forward && g->K / g->group * g->C * g->R * g->S < 4 * g->C * g->H * g->W;
    int64_t most = one_geo_pieces(g);
    dn_status st = one_cuts_init(&op->cuts, op->base.backend, g, most, rows);
    if (!st)
        st = make_prims(op, args, info);
    if (st == DN_DECLINED && op->cuts.pieces > g->N) { /* strips want other weights */
        conv_release(&op->base);
        op->made = 0;
        st = one_cuts_init(&op->cuts, op->base.backend, g, most, false);
        if (!st)
            st = make_prims(op, args, info);
    }
    return st ? st : make_pack(op, info);
}

dn_status one_conv_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                      dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    one_geo geo;
    if (!one_geo_init(&geo, backend, desc, info))
        return DN_DECLINED;
    bool forward = desc->kind == DN_OP_CONV;
    bool bias = desc->num_inputs > 2 && desc->inputs[2].dtype >= 0;
    bool add = args->base.accumulate & 1;
    if (forward ? !one_has_activation(args->activation)
                : args->activation != DN_FN_NONE || bias || (add && geo.type == dnnl_bf16))
        return one_decline(info, "bias, activation or sum that oneDNN does not offer");
    conv_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = conv_run;
    op->base.release = conv_release;
    op->geo = geo;
    op->kind = desc->kind;
    op->bias = bias;
    op->constant = desc->constant >> 1 & 1;
    op->base.prepare = op->constant ? conv_prepare : NULL;
    op->add_after = add && !forward;
    dn_status st = make(op, args, info);
    if (st) {
        one_op_free(&op->base);
        return st;
    }
    plan_memory(op, info);
    describe(op, info);
    *out = &op->base;
    return DN_OK;
}
