/* SPDX-License-Identifier: BSD-2-Clause
 * conv_weights.c: CONV_BWD_WEIGHTS. Every piece of the batch makes a gradient of its own, in
 * the form oneDNN likes; they are added in the order of the batch, then made plain. Where those
 * gradients outweigh the images a piece is some output channels instead, over the whole batch,
 * and puts its part of the gradient in place by itself. */
#include "onednn.h"

#include <stdio.h>

#define SUM_FLOATS 16384 /* elements a task sums */

typedef struct weights_op {
    dn_op base;
    one_geo geo;
    one_cuts cuts;
    one_stage stage[ONE_CUTS];
    one_pack unpack;
    int32_t made;
    bool bias, add_bias, channels;         /* channels: pieces are parts of those */
    int64_t dw_floats;                     /* of a gradient in oneDNN's form */
    size_t dw_bytes, db_bytes, lane_bytes; /* of one piece's gradients, of one worker */
} weights_op;

typedef struct weights_call {
    weights_op *op;
    char *x, *dy, *dw, *db, *lanes;
} weights_call;

/* ---- run --------------------------------------------------------------------------------- */

static dnnl_status_t piece_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *c = arg;
    weights_op *op = c->op;
    const one_piece *piece = &op->cuts.piece[task];
    void *data[] = {c->x + one_piece_x(&op->geo, piece), c->dy + one_piece_y(&op->geo, piece),
                    c->dw + (size_t)task * op->dw_bytes, c->db + (size_t)task * op->db_bytes};
    if (op->channels) {
        data[2] = c->dw + one_piece_w(&op->geo, piece) * (int64_t)sizeof(float);
        data[3] = c->db + piece->k * (int64_t)sizeof(float);
    }
    return one_stage_run(&op->stage[piece->cut], worker, data,
                         c->lanes + (size_t)worker * op->lane_bytes);
}

/* Elements [from, to) of the first gradient become the sum of all. */
static void sum_pieces(char *first, size_t apart, int64_t pieces, int64_t from, int64_t to)
{
    float *sum = (float *)first;
    for (int64_t k = 1; k < pieces; k++) {
        const float *next = (const float *)(first + (size_t)k * apart);
        for (int64_t i = from; i < to; i++)
            sum[i] += next[i];
    }
}

static dnnl_status_t sum_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *c = arg;
    const weights_op *op = c->op;
    (void)worker;
    sum_pieces(c->dw, op->dw_bytes, op->cuts.pieces, task * SUM_FLOATS,
               one_min(op->dw_floats, (task + 1) * SUM_FLOATS));
    return dnnl_success;
}

static void finish_bias(const weights_op *op, char *partial, float *db)
{
    sum_pieces(partial, op->db_bytes, op->channels ? 1 : op->cuts.pieces, 0, op->geo.y.C);
    const float *sum = (const float *)partial;
    for (int64_t k = 0; k < op->geo.y.C; k++)
        db[k] = op->add_bias ? db[k] + sum[k] : sum[k];
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    weights_op *op = (weights_op *)base;
    const dn_backend *backend = base->backend;
    size_t pieces = op->channels ? 1 : (size_t)op->cuts.pieces;
    weights_call call = {.op = op, .x = io->in[0], .dy = io->in[1], .dw = io->scratch};
    call.db = call.dw + pieces * op->dw_bytes;
    call.lanes = call.db + pieces * op->db_bytes;
    if (op->channels)
        call.dw = io->out[0];
    dn_status st = one_for(backend, op->cuts.pieces, piece_task, &call);
    if (!st && pieces > 1)
        st = one_for(backend, (op->dw_floats + SUM_FLOATS - 1) / SUM_FLOATS, sum_task, &call);
    if (!st && !op->channels)
        st = one_pack_run(&op->unpack, call.dw, io->out[0], call.lanes);
    if (!st && op->bias)
        finish_bias(op, call.db, io->out[1]);
    return st;
}

static void weights_release(dn_op *base)
{
    weights_op *op = (weights_op *)base;
    for (int32_t i = 0; i < op->made; i++)
        one_stage_free(&op->stage[i]);
    op->made = 0;
    one_pack_free(&op->unpack);
    one_free(base->backend, op->cuts.piece);
    op->cuts.piece = NULL;
}

/* ---- create ------------------------------------------------------------------------------ */

static dn_status make_stages(weights_op *op, int64_t most, bool add, dn_op_info *info)
{
    const dn_backend *backend = op->base.backend;
    one_wish wish = {.kind = DN_OP_CONV_BWD_WEIGHTS, .bias = op->bias, .add = add};
    dn_status st = op->channels ? one_cuts_channels(&op->cuts, backend, &op->geo)
                                : one_cuts_init(&op->cuts, backend, &op->geo, most, false);
    for (int32_t i = 0; i < op->cuts.cuts && !st; i++) {
        if (i && !op->channels)
            wish.w = one_stage_weights(&op->stage[0], wish.kind);
        st = one_stage_init(&op->stage[i], backend, &op->geo, &op->cuts.cut[i], &wish, info);
        op->made += !st;
    }
    return st;
}

static dn_status make_unpack(weights_op *op, bool add, dn_op_info *info)
{
    one_desc plain;
    int axes;
    dnnl_dim_t dims[5];
    dnnl_status_t status = one_geo_weights(&plain, &op->geo, NULL, &axes, dims);
    dn_status st = one_result(op->base.backend, status, info);
    if (st)
        return st;
    one_md from = one_stage_weights(&op->stage[0], DN_OP_CONV_BWD_WEIGHTS);
    st = one_pack_init(&op->unpack, op->base.backend, from, one_view(&plain), axes, dims, add,
                       info);
    one_desc_free(&plain);
    return st;
}

static void plan_memory(weights_op *op, dn_op_info *info)
{
    size_t most = op->unpack.scratch, pieces = op->channels ? 1 : (size_t)op->cuts.pieces;
    for (int32_t i = 0; i < op->made; i++) {
        size_t scratch = one_stage_scratch(&op->stage[i]);
        most = scratch > most ? scratch : most;
    }
    op->dw_floats = (int64_t)(op->unpack.from_bytes / sizeof(float)); /* by channels: 0 */
    op->dw_bytes = one_round(op->unpack.from_bytes);
    op->db_bytes = op->bias ? one_round((size_t)op->geo.y.C * sizeof(float)) : 0;
    op->lane_bytes = one_round(most);
    info->scratch = pieces * (op->dw_bytes + op->db_bytes) +
                    op->lane_bytes * (size_t)op->base.backend->num_streams;
}

/* A gradient of a piece is written, added and made plain: five times its size and more. */
static dn_status make(weights_op *op, bool add, dn_op_info *info)
{
    int64_t pieces = one_geo_gradients(op->base.backend, &op->geo);
    op->channels = one_geo_by_channels(&op->geo, 2 * pieces + 1);
    if (op->channels) {
        dn_status st = make_stages(op, 0, add, info);
        if (st != DN_DECLINED)
            return st;
        weights_release(&op->base);
        op->channels = false;
    }
    dn_status st = make_stages(op, pieces, add, info);
    return st ? st : make_unpack(op, add, info);
}

dn_status one_conv_weights_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    one_geo geo;
    if (!one_geo_init(&geo, backend, desc, info))
        return DN_DECLINED;
    weights_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = weights_run;
    op->base.release = weights_release;
    op->geo = geo;
    op->bias = one_present(desc->outputs, desc->num_outputs, 1);
    op->add_bias = args->base.accumulate & 2;
    dn_status st = make(op, args->base.accumulate & 1, info);
    if (st) {
        one_op_free(&op->base);
        return st;
    }
    plan_memory(op, info);
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s",
             one_desc_name(op->stage[0].conv.desc));
    info->cost = one_geo_cost(backend, &geo, desc->kind) +
                 (double)op->dw_bytes * (double)(2 * op->cuts.pieces + 1) / 16;
    if (op->channels)
        info->cost += 8 * (double)one_geo_weight_count(&geo) / 16;
    *out = &op->base;
    return DN_OK;
}
