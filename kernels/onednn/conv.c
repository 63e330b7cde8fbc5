/* SPDX-License-Identifier: BSD-2-Clause
 * conv.c: CONV and CONV_BWD_DATA. Weights are packed into the form the primitive asks for, once
 * where they are constant, else in every run. Where a piece is some channels of y it packs what
 * it needs of them by itself. */
#include "onednn.h"

#include <stdio.h>

#define HEAVY_STRIPS 4

typedef struct conv_op {
    dn_op base;
    one_geo geo;
    one_cuts cuts;
    one_stage stage[ONE_CUTS];
    one_pack pack;
    int32_t kind, made;
    bool bias, constant, channels;   /* channels: pieces are parts of those */
    size_t packed_bytes, lane_bytes; /* lane: the scratch of one worker */
} conv_op;

typedef struct conv_call {
    conv_op *op;
    char *in, *out, *lanes, *weights;
    float *bias;
} conv_call;

/* ---- run --------------------------------------------------------------------------------- */

static dnnl_status_t conv_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *c = arg;
    conv_op *op = c->op;
    const one_piece *piece = &op->cuts.piece[task];
    int64_t x = one_piece_x(&op->geo, piece), y = one_piece_y(&op->geo, piece);
    bool forward = op->kind == DN_OP_CONV;
    char *weights = c->weights;
    if (op->channels)
        weights += op->constant ? task * (int64_t)op->packed_bytes
                                : one_piece_w(&op->geo, piece) * (int64_t)sizeof(float);
    void *data[] = {c->in + (forward ? x : y), weights, c->out + (forward ? y : x),
                    c->bias ? c->bias + piece->k : NULL};
    return one_stage_run(&op->stage[piece->cut], worker, data,
                         c->lanes + (size_t)worker * op->lane_bytes);
}

/* All that is wanted of the weights is made here, and not by the pieces. */
static bool packs_all(const conv_op *op)
{
    return !op->constant && !op->channels;
}

static dn_status conv_run(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    char *scratch = io->scratch;
    conv_call call = {.op = op,
                      .in = io->in[0],
                      .out = io->out[0],
                      .weights = op->constant   ? io->keep
                                 : op->channels ? io->in[1]
                                                : scratch,
                      .bias = op->bias ? io->in[2] : NULL,
                      .lanes = scratch + (packs_all(op) ? op->packed_bytes : 0)};
    if (packs_all(op)) {
        dn_status st = one_pack_run(&op->pack, io->in[1], scratch, call.lanes);
        if (st)
            return st;
    }
    return one_for(base->backend, op->cuts.pieces, conv_task, &call);
}

static dnnl_status_t prepare_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *c = arg;
    conv_op *op = c->op;
    const one_piece *piece = &op->cuts.piece[task];
    return one_stage_pack(&op->stage[piece->cut], worker,
                          c->in + one_piece_w(&op->geo, piece) * (int64_t)sizeof(float),
                          c->out + (size_t)task * op->packed_bytes,
                          c->lanes + (size_t)worker * op->lane_bytes);
}

static dn_status conv_prepare(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    conv_call call = {.op = op, .in = io->in[1], .out = io->keep, .lanes = io->scratch};
    if (op->channels)
        return one_for(base->backend, op->cuts.pieces, prepare_task, &call);
    return one_pack_run(&op->pack, io->in[1], io->keep, io->scratch);
}

static void conv_release(dn_op *base)
{
    conv_op *op = (conv_op *)base;
    for (int32_t i = 0; i < op->made; i++)
        one_stage_free(&op->stage[i]);
    op->made = 0;
    one_pack_free(&op->pack);
    one_free(base->backend, op->cuts.piece);
    op->cuts.piece = NULL;
}

/* ---- create ------------------------------------------------------------------------------ */

static dn_status make_stages(conv_op *op, int64_t most, bool rows, one_wish wish,
                             dn_op_info *info)
{
    const dn_backend *backend = op->base.backend;
    dn_status st = op->channels ? one_cuts_channels(&op->cuts, backend, &op->geo)
                                : one_cuts_init(&op->cuts, backend, &op->geo, most, rows);
    for (int32_t i = 0; i < op->cuts.cuts && !st; i++) {
        if (i && !op->channels)
            wish.w = one_stage_weights(&op->stage[0], op->kind);
        st = one_stage_init(&op->stage[i], backend, &op->geo, &op->cuts.cut[i], &wish, info);
        op->made += !st;
    }
    return st;
}

static dn_status make_pack(conv_op *op, dn_op_info *info)
{
    one_desc plain;
    int axes;
    dnnl_dim_t dims[5];
    dnnl_status_t status = one_geo_weights(&plain, &op->geo, NULL, &axes, dims);
    dn_status st = one_result(op->base.backend, status, info);
    if (st)
        return st;
    st = one_pack_init(&op->pack, op->base.backend, one_view(&plain),
                       one_stage_weights(&op->stage[0], op->kind), axes, dims, false, info);
    one_desc_free(&plain);
    return st;
}

static void plan_memory(conv_op *op, dn_op_info *info)
{
    op->lane_bytes = op->pack.scratch;
    op->packed_bytes = op->channels ? 0 : one_round(op->pack.to_bytes);
    for (int32_t i = 0; i < op->made; i++) {
        size_t scratch = one_stage_scratch(&op->stage[i]);
        size_t packed = op->channels ? one_stage_packed(&op->stage[i]) : 0; /* of a piece */
        op->lane_bytes = scratch > op->lane_bytes ? scratch : op->lane_bytes;
        op->packed_bytes = packed > op->packed_bytes ? packed : op->packed_bytes;
    }
    info->scratch = op->lane_bytes * (size_t)op->base.backend->num_streams;
    info->unread = op->constant ? 2 : 0;
    if (op->constant)
        info->keep = op->packed_bytes * (op->channels ? (size_t)op->cuts.pieces : 1);
    else if (!op->channels)
        info->scratch += op->packed_bytes;
}

static void describe(const conv_op *op, dn_op_info *info)
{
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s",
             one_desc_name(op->stage[0].conv.desc));
    info->cost =
        one_geo_cost(op->base.backend, &op->geo, op->kind) + 1e3 * (double)op->cuts.pieces;
    /* Taps of bf16 weights are gathered one by one; f32 is oneDNN's to reorder. */
    bool f32 = op->geo.type == dnnl_f32, taps = op->geo.R * op->geo.S > 1;
    double rate = f32 ? (op->kind == DN_OP_CONV ? 4 : 7) : taps ? 3.4 : 7;
    if (!op->constant)
        info->cost +=
            (double)op->packed_bytes * (double)(op->channels ? op->cuts.pieces : 1) / rate;
}

static dn_status make(conv_op *op, const one_wish *wish, dn_op_info *info)
{
    const one_geo *g = &op->geo;
    int64_t pieces = one_geo_pieces(g), strips = pieces;
    /* Every strip of rows reads all weights again: few where those outweigh the image. */
    if (one_geo_weight_count(g) >= 4 * g->x.C * g->x.H * g->x.W)
        strips = one_min(pieces, HEAVY_STRIPS);
    dn_status st = DN_DECLINED;
    /* Of several images each worker has one, and keeps the weights in its cache. */
    op->channels = op->kind == DN_OP_CONV && g->x.N == 1 &&
                   !(wish->add && wish->activation != DN_FN_NONE) &&
                   one_geo_by_channels(g, strips);
    if (op->channels) {
        st = make_stages(op, 0, false, *wish, info);
        if (st != DN_DECLINED)
            return st;
        conv_release(&op->base);
        op->channels = false;
    }
    while (op->kind == DN_OP_CONV && st == DN_DECLINED && strips >= 2 * g->x.N) {
        st = make_stages(op, strips, true, *wish, info);
        if (st == DN_DECLINED) /* a strip wants other weights; broader ones may agree */
            conv_release(&op->base);
        strips /= 2;
    }
    if (st == DN_DECLINED)
        st = make_stages(op, pieces, false, *wish, info);
    return st ? st : make_pack(op, info);
}

/* What oneDNN cannot do to a result. */
static bool asks_too_much(const one_geo *g, const one_wish *w)
{
    if (w->kind == DN_OP_CONV_BWD_DATA)
        return w->activation != DN_FN_NONE || w->bias;
    return !one_has_activation(w->activation) ||
           (w->add && w->activation != DN_FN_NONE && g->y.layout != DN_LAYOUT_NHWC);
}

dn_status one_conv_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                      dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    one_geo geo;
    if (!one_geo_init(&geo, backend, desc, info))
        return DN_DECLINED;
    one_wish wish = {.kind = desc->kind,
                     .activation = args->activation,
                     .activation_a = args->activation_a,
                     .add = args->base.accumulate & 1,
                     .bias = one_present(desc->inputs, desc->num_inputs, 2)};
    if (asks_too_much(&geo, &wish))
        return one_decline(info, "bias, activation or sum that oneDNN does not offer");
    conv_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = conv_run;
    op->base.release = conv_release;
    op->geo = geo;
    op->kind = desc->kind;
    op->bias = wish.bias;
    op->constant = wish.constant = desc->constant >> 1 & 1;
    op->base.prepare = op->constant ? conv_prepare : NULL;
    dn_status st = make(op, &wish, info);
    if (st) {
        one_op_free(&op->base);
        return st;
    }
    plan_memory(op, info);
    describe(op, info);
    *out = &op->base;
    return DN_OK;
}
