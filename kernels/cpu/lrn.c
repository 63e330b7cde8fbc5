/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.c: LRN across channels. A task is a strip of positions of one image, or in NHWC a range
 * of pixels. */
#include "cpu.h"

#include <string.h>

enum { STRIP = 64, LINE = 2048 }; /* LINE: most channels in NHWC */

typedef struct lrn_op {
    dn_op base;
    dn_args_lrn a;
    int64_t N, C, inner, strips;
    bool backward;
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

static void row_task(void *arg, int64_t task, int32_t worker)
{
    const lrn_call *call = arg;
    const lrn_op *op = call->op;
    const dn_args_lrn *a = &op->a;
    const cpu_kernels *ker = op->base.backend->kernels;
    const float *const *in = (const float *const *)call->io->in;
    float *const *out = (float *const *)call->io->out, line[LINE + 64];
    int64_t from, to, C = op->C;
    (void)worker;
    memset(line, 0, (size_t)(C + 64) * sizeof(float));
    cpu_split(op->N * op->inner, op->strips, task, &from, &to);
    for (int64_t at = from * C; at < to * C; at += C)
        if (op->backward)
            ker->lrn_row_bwd(out[0] + at, in[0] + at, in[1] + at, in[2] + at, in[3] + at, C,
                             a->size, (float)a->alpha, (float)a->beta, a->base.accumulate & 1,
                             line);
        else
            ker->lrn_row(out[0] + at, out[1] + at, in[0] + at, C, a->size, (float)a->alpha,
                         (float)a->beta, (float)a->k, line);
}

static dn_status row_run(dn_op *base, const dn_op_io *io)
{
    lrn_op *op = (lrn_op *)base;
    lrn_call call = {op, io};
    cpu_for(base->backend, op->strips, row_task, &call);
    return DN_OK;
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
    bool rows = cpu_all_nhwc(desc, 0xF | 3u << 16);
    if (!rows && !cpu_all_f32(desc))
        return cpu_decline(info, "operands are not f32 of one layout");
    if (args->region != DN_LRN_ACROSS || args->size < 1 || args->size > 15 ||
        args->size % 2 == 0 || x->axes < 2)
        return cpu_decline(info, "not across channels, or a window above 15");
    int64_t inner = 1;
    for (int32_t i = 2; i < x->axes; i++)
        inner *= x->dim[i];
    if (rows ? x->dim[1] > LINE : inner < 4)
        return cpu_decline(info, rows ? "too many channels" : "channels are not runs");
    lrn_op *op = cpu_op_new(backend, sizeof *op, rows ? row_run : run, info,
                            rows ? "cpu:lrn nhwc" : "cpu:lrn");
    if (!op)
        return DN_E_NOMEM;
    op->backward = desc->kind == DN_OP_LRN_BWD;
    op->a = *args;
    op->N = x->dim[0];
    op->C = x->dim[1];
    op->inner = inner;
    op->strips = cpu_ceil(inner, STRIP);
    if (rows)
        op->strips = cpu_min(op->N * inner, cpu_tasks_for(op->N * op->C * inner * 4));
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
