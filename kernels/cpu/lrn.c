/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.c: LRN. Across channels a task is a strip of positions of one image, or in NHWC a range
 * of pixels; within them a range of rows of planes. */
#include "cpu.h"

#include <string.h>

enum { STRIP = 64, LINE = 2048 }; /* LINE: most channels in NHWC, or width of a plane */

typedef struct lrn_op {
    dn_op base;
    dn_args_lrn a;
    int64_t N, C, inner, strips;
    int64_t H; /* 0: across channels */
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
    int64_t from, to, C = op->C, half = a->size / 2;
    float alpha = (float)a->alpha / (float)(op->H ? a->size : 1);
    (void)worker;
    memset(line, 0, (size_t)(C + 64) * sizeof(float));
    cpu_split(op->N * op->inner, op->strips, task, &from, &to);
    for (; from < to; from++) {
        int64_t at = from * C, h = op->H ? from % op->H : 0;
        int64_t above = -cpu_min(h, half), below = op->H ? cpu_min(op->H - h, half + 1) : 1;
        if (op->backward)
            ker->lrn_row_bwd(out[0] + at, in[0] + at, in[1] + at, in[2] + at, in[3] + at, C,
                             above, below, a->size, alpha, (float)a->beta,
                             a->base.accumulate & 1, line);
        else
            ker->lrn_row(out[0] + at, out[1] + at, in[0] + at, C, above, below, a->size, alpha,
                         (float)a->beta, op->H ? 1 : (float)a->k, line);
    }
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
    bool within = args->region == DN_LRN_WITHIN;
    if ((!within && args->region != DN_LRN_ACROSS) || args->size < 1 || args->size > 15 ||
        args->size % 2 == 0 || x->axes < (within ? 4 : 2))
        return cpu_decline(info, "an unknown region, or a window above 15");
    if (within && (rows || x->axes > 4 || x->dim[3] > LINE))
        return cpu_decline(info, "within channels, and not narrow planes");
    int64_t inner = 1;
    for (int32_t i = 2; i < x->axes; i++)
        inner *= x->dim[i];
    if (!within && (rows ? x->dim[1] > LINE : inner < 4))
        return cpu_decline(info, rows ? "too many channels" : "channels are not runs");
    lrn_op *op = cpu_op_new(backend, sizeof *op, rows || within ? row_run : run, info,
                            rows ? "cpu:lrn nhwc" : "cpu:lrn");
    if (!op)
        return DN_E_NOMEM;
    op->backward = desc->kind == DN_OP_LRN_BWD;
    op->a = *args;
    op->N = x->dim[0];
    op->C = x->dim[1];
    op->inner = inner;
    op->strips = cpu_ceil(inner, STRIP);
    if (within) { /* rows of planes as pixels */
        op->H = x->dim[2];
        op->inner = op->C * op->H;
        op->C = x->dim[3];
    }
    if (rows || within)
        op->strips = cpu_min(op->N * op->inner, cpu_tasks_for(op->N * op->C * op->inner * 4));
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
