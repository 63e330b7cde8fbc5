/* SPDX-License-Identifier: BSD-2-Clause
 * gemm.c: GEMM in bf16; in f32 cpu's own is as fast. C's columns are cut into pieces. A is
 * rounded once a run, B into the form oneDNN likes: once where it is constant, else every run,
 * which pays only if C has many rows. */
#include <stdio.h>
#include <string.h>

#include "onednn.h"

enum { FULL, LAST, WIDTHS }; /* pieces of two widths */

typedef struct gemm_op {
    dn_op base;
    dn_args_gemm args;
    one_pack a;
    one_prim b[WIDTHS], mul[WIDTHS];
    int64_t width, pieces;
    bool bias, constant;
    size_t a_bytes, b_bytes, lane_bytes; /* rounded A, one piece of B, scratch of one worker */
} gemm_op;

typedef struct gemm_call {
    gemm_op *op;
    const float *b, *bias;
    float *c;
    char *a, *packed, *lanes;
} gemm_call;

/* ---- run --------------------------------------------------------------------------------- */

static int which(const gemm_op *op, int64_t piece)
{
    return piece == op->pieces - 1 ? LAST : FULL;
}

static dnnl_status_t pack_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    gemm_op *op = call->op;
    int64_t column = task * op->width;
    const float *from = call->b + (op->args.trans_b ? column * op->args.ldb : column);
    void *data[] = {(void *)(uintptr_t)from, call->packed + (size_t)task * op->b_bytes};
    return one_prim_run(&op->b[which(op, task)], worker, data,
                        call->lanes + (size_t)worker * op->lane_bytes);
}

static dnnl_status_t mul_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    gemm_op *op = call->op;
    int64_t column = task * op->width;
    void *data[] = {call->a, call->packed + (size_t)task * op->b_bytes, call->c + column,
                    op->bias ? (void *)(uintptr_t)(call->bias + column) : NULL};
    return one_prim_run(&op->mul[which(op, task)], worker, data,
                        call->lanes + (size_t)worker * op->lane_bytes);
}

static gemm_call call_of(gemm_op *op, const dn_op_io *io)
{
    char *scratch = io->scratch;
    gemm_call call = {.op = op,
                      .b = (const float *)io->in[1] + op->args.offset_b,
                      .bias = io->in[2],
                      .a = scratch,
                      .packed = op->constant ? io->keep : scratch + op->a_bytes};
    call.lanes = scratch + op->a_bytes + (op->constant ? 0 : (size_t)op->pieces * op->b_bytes);
    return call;
}

static dn_status gemm_prepare(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    gemm_call call = call_of(op, io);
    return one_for(base->backend, op->pieces, pack_task, &call);
}

static dn_status gemm_run(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    gemm_call call = call_of(op, io);
    call.c = (float *)io->out[0] + op->args.offset_c;
    dn_status st = DN_OK;
    if (!op->constant)
        st = one_for(base->backend, op->pieces, pack_task, &call);
    if (!st)
        st = one_pack_run(&op->a, (const float *)io->in[0] + op->args.offset_a, call.a,
                          call.lanes);
    return st ? st : one_for(base->backend, op->pieces, mul_task, &call);
}

static void gemm_release(dn_op *base)
{
    gemm_op *op = (gemm_op *)base;
    one_pack_free(&op->a);
    for (int i = 0; i < WIDTHS; i++) {
        one_prim_free(&op->b[i]);
        one_prim_free(&op->mul[i]);
    }
}

/* ---- create ------------------------------------------------------------------------------ */

dnnl_status_t one_matrix(one_desc *out, dnnl_data_type_t type, int64_t rows, int64_t cols,
                         int64_t row, int64_t col)
{
    const dnnl_dim_t dims[2] = {rows, cols}, strides[2] = {row, col};
    return one_desc_init(out, 2, dims, type, strides);
}

static dnnl_status_t mul_desc(dnnl_primitive_desc_t *out, const gemm_op *op, int64_t n,
                              const_dnnl_primitive_attr_t attr)
{
    const dn_args_gemm *g = &op->args;
    const dnnl_dim_t dims[2] = {g->k, n};
    enum { A, C, BIAS, B, DESCS };
    one_desc d[DESCS];
    int made = 0;
    dnnl_status_t st = one_matrix(&d[A], dnnl_bf16, g->m, g->k, g->k, 1);
    made += !st;
    if (!st)
        st = one_matrix(&d[C], dnnl_f32, g->m, n, g->ldc, 1);
    made += !st;
    if (!st)
        st = one_matrix(&d[BIAS], dnnl_f32, 1, n, n, 1);
    made += !st;
    if (!st)
        st = one_desc_init(&d[B], 2, dims, dnnl_bf16, NULL);
    made += !st;
    if (!st)
        st = one_matmul_create(out, op->base.backend->engine, one_view(&d[A]), one_view(&d[B]),
                               op->bias ? one_view(&d[BIAS]) : NULL, one_view(&d[C]), attr);
    for (int i = 0; i < made; i++)
        one_desc_free(&d[i]);
    /* oneDNN 3.7 writes a column of its own as if it were dense, over its neighbours */
    bool lone = DNNL_VERSION_MAJOR > 2 && n == 1 && g->ldc != 1;
    if (!st && (lone || strstr(one_desc_name(*out), "ref"))) {
        dnnl_primitive_desc_destroy(*out);
        st = dnnl_unimplemented;
    }
    return st;
}

static dn_status make_width(gemm_op *op, int i, int64_t n, const_dnnl_primitive_attr_t attr,
                            dn_op_info *info)
{
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS},
                     move[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    const dn_backend *backend = op->base.backend;
    const dn_args_gemm *g = &op->args;
    dnnl_primitive_desc_t desc;
    one_desc from;
    dn_status st = one_result(backend, mul_desc(&desc, op, n, attr), info);
    if (!st)
        st = one_prim_init(&op->mul[i], backend, desc, args, op->bias ? 4 : 3, info);
    if (st)
        return st;
    dnnl_status_t status =
        one_matrix(&from, dnnl_f32, g->k, n, g->trans_b ? 1 : g->ldb, g->trans_b ? g->ldb : 1);
    if (!status) {
        status = one_reorder_create(&desc, backend, one_view(&from),
                                    one_prim_md(&op->mul[i], DNNL_ARG_WEIGHTS), false);
        one_desc_free(&from);
    }
    st = one_result(backend, status, info);
    return st ? st : one_prim_init(&op->b[i], backend, desc, move, 2, info);
}

static dn_status make_a(gemm_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->args;
    const dnnl_dim_t dims[2] = {g->m, g->k};
    one_desc from, to;
    dnnl_status_t status = one_matrix(&from, dnnl_f32, g->m, g->k, g->trans_a ? 1 : g->lda,
                                      g->trans_a ? g->lda : 1);
    dn_status st = one_result(op->base.backend, status, info);
    if (st)
        return st;
    st = one_result(op->base.backend, one_matrix(&to, dnnl_bf16, g->m, g->k, g->k, 1), info);
    if (!st) {
        st = one_pack_init(&op->a, op->base.backend, one_view(&from), one_view(&to), 2, dims,
                           false, info);
        one_desc_free(&to);
    }
    one_desc_free(&from);
    return st;
}

static dn_status make(gemm_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->args;
    dnnl_primitive_attr_t attr;
    dnnl_status_t status =
        one_attributes(&attr, g->base.accumulate & 1, g->activation, g->activation_a);
    dn_status st = one_result(op->base.backend, status, info);
    if (st)
        return st;
    op->width = ((g->n + 15) / 16 + 63) / 64 * 64;
    op->pieces = (g->n + op->width - 1) / op->width;
    if (op->pieces > 1)
        st = make_width(op, FULL, op->width, attr, info);
    if (!st)
        st = make_width(op, LAST, g->n - (op->pieces - 1) * op->width, attr, info);
    dnnl_primitive_attr_destroy(attr);
    return st ? st : make_a(op, info);
}

static void plan_memory(gemm_op *op, dn_op_info *info)
{
    size_t most = op->a.scratch, b = 0;
    for (int i = 0; i < WIDTHS; i++) {
        const one_prim *prims[] = {&op->b[i], &op->mul[i]};
        for (int k = 0; k < 2; k++)
            most = prims[k]->scratch > most ? prims[k]->scratch : most;
        size_t bytes = op->b[i].backend ? one_prim_bytes(&op->b[i], DNNL_ARG_TO) : 0;
        b = bytes > b ? bytes : b;
    }
    op->lane_bytes = one_round(most);
    op->a_bytes = one_round(op->a.to_bytes);
    op->b_bytes = one_round(b);
    info->scratch = op->a_bytes + op->lane_bytes * (size_t)op->base.backend->num_streams;
    info->unread = op->constant ? 2 : 0;
    *(op->constant ? &info->keep : &info->scratch) += (size_t)op->pieces * op->b_bytes;
}

/* Measured on one core of a Zen 4; with AMX products are some four times as fast. */
static double cost_of(const gemm_op *op)
{
    const dn_args_gemm *g = &op->args;
    double a = (double)(g->m * g->k), b = (double)(g->n * g->k), c = (double)(g->m * g->n);
    double work = 2 * a * (double)g->n / (op->base.backend->amx ? 800 : 200);
    double touched = (2 * a + 2 * b + 4 * c) / 10;
    return (work > touched ? work : touched) + 6 * (a + (op->constant ? 0 : b)) / 7 +
           1e3 * (double)op->pieces;
}

const char *one_gemm_unfit(const dn_backend *backend, const dn_op_desc *d,
                           const dn_args_gemm *g)
{
    if (d->compute != DN_COMPUTE_BF16 || !backend->bf16)
        return "a product in f32, or no bf16 instructions";
    for (int32_t i = 0; i < d->num_inputs; i++)
        if (d->inputs[i].dtype >= 0 && d->inputs[i].dtype != DN_F32)
            return "operands are not f32";
    if (d->outputs[0].dtype != DN_F32 || g->batch != 1 || g->alpha != 1 || g->bias_mode > 1 ||
        g->m < 1 || g->n < 1 || g->k < 1 || !one_has_activation(g->activation))
        return "batched, scaled, empty, or an activation that oneDNN lacks";
    return NULL;
}

dn_status one_gemm_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                      dn_op_info *info)
{
    const dn_args_gemm *args = desc->args;
    const char *why = one_gemm_unfit(backend, desc, args);
    if (why)
        return one_decline(info, why);
    gemm_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = gemm_run;
    op->base.release = gemm_release;
    op->args = *args;
    op->bias = args->bias_mode == 1;
    op->constant = desc->constant >> 1 & 1;
    op->base.prepare = op->constant ? gemm_prepare : NULL;
    dn_status st = make(op, info);
    if (st) {
        one_op_free(&op->base);
        return st;
    }
    plan_memory(op, info);
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s",
             one_desc_name(op->mul[LAST].desc));
    info->cost = cost_of(op);
    info->compute = DN_COMPUTE_BF16;
    *out = &op->base;
    return DN_OK;
}
