/* SPDX-License-Identifier: BSD-2-Clause
 * few.c: GEMM of few rows with a constant B, which is what reading B takes: in bf16 half of it.
 * B is kept in panels of 16 columns, pairs of k side by side as vdpbf16ps wants them, and read
 * from end to end once a run; A is laid beside it in the same pairs. */
#include "narrow.h"

#include <stdio.h>

enum { MOST_ROWS = 16, LANES = 16, TASK_PANELS = 4 };

#define BYTES_PER_NS   16.0 /* of B; Zen 4, one core */
#define PRODUCT_PER_NS 90.0

typedef struct few_op {
    dn_op base;
    dn_args_gemm args;
    int64_t pairs, panels, tasks;
    int32_t rows; /* as many as the kernel takes, those beyond m zero */
} few_op;

typedef struct few_call {
    const few_op *op;
    const float *a, *b, *bias;
    float *c;
    one_bf16 *laid, *kept;
} few_call;

/* `lines` lines of pairs [from, to) of k: element (line, k) of x is at line * next + k * step.
 */
static void lay(one_bf16 *out, const float *x, int64_t next, int64_t step, int64_t lines,
                int64_t width, int64_t from, int64_t to, int64_t k)
{
    float pair[2 * LANES] = {0};
    for (int64_t p = from; p < to; p++) {
        for (int64_t i = 0; i < lines; i++) {
            const float *at = x + i * next + 2 * p * step;
            pair[2 * i] = at[0];
            pair[2 * i + 1] = 2 * p + 1 < k ? at[step] : 0;
        }
        nk_narrow(out + 2 * p * width, pair, 2 * width);
    }
}

static dnnl_status_t prepare_task(void *arg, int64_t panel, int32_t worker)
{
    const few_call *call = arg;
    const few_op *op = call->op;
    const dn_args_gemm *g = &op->args;
    int64_t next = g->trans_b ? g->ldb : 1, step = g->trans_b ? 1 : g->ldb;
    (void)worker;
    lay(call->kept + panel * op->pairs * 2 * LANES, call->b + panel * LANES * next, next, step,
        one_min(LANES, g->n - panel * LANES), LANES, 0, op->pairs, g->k);
    return dnnl_success;
}

static dnnl_status_t lay_task(void *arg, int64_t task, int32_t worker)
{
    const few_call *call = arg;
    const few_op *op = call->op;
    const dn_args_gemm *g = &op->args;
    int64_t from, to;
    (void)worker;
    one_split(op->pairs, one_tasks(g->m * g->k), task, &from, &to);
    lay(call->laid, call->a, g->trans_a ? 1 : g->lda, g->trans_a ? g->lda : 1, g->m, op->rows,
        from, to, g->k);
    return dnnl_success;
}

static void mul_panel(const few_call *call, int64_t panel)
{
    const few_op *op = call->op;
    const dn_args_gemm *g = &op->args;
    float sums[MOST_ROWS * LANES], slope = (float)g->activation_a;
    int64_t first = panel * LANES;
    nk_few(sums, call->laid, call->kept + panel * op->pairs * 2 * LANES, op->pairs, op->rows);
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < one_min(LANES, g->n - first); j++) {
            float y = sums[i * LANES + j] + (call->bias ? call->bias[first + j] : 0);
            bool dead = g->activation == DN_FN_RELU && !(y > 0);
            call->c[i * g->ldc + first + j] = dead ? slope * y : y;
        }
}

static dnnl_status_t mul_task(void *arg, int64_t task, int32_t worker)
{
    const few_call *call = arg;
    int64_t from, to;
    (void)worker;
    one_split(call->op->panels, call->op->tasks, task, &from, &to);
    for (; from < to; from++)
        mul_panel(call, from);
    return dnnl_success;
}

static few_call call_of(const few_op *op, const dn_op_io *io)
{
    return (few_call){.op = op,
                      .b = (const float *)io->in[1] + op->args.offset_b,
                      .bias = op->args.bias_mode ? io->in[2] : NULL,
                      .laid = io->scratch,
                      .kept = io->keep};
}

static dn_status few_prepare(dn_op *base, const dn_op_io *io)
{
    const few_op *op = (const few_op *)base;
    few_call call = call_of(op, io);
    return one_for(base->backend, op->panels, prepare_task, &call);
}

static dn_status few_run(dn_op *base, const dn_op_io *io)
{
    const few_op *op = (const few_op *)base;
    few_call call = call_of(op, io);
    call.a = (const float *)io->in[0] + op->args.offset_a;
    call.c = (float *)io->out[0] + op->args.offset_c;
    dn_status st = one_for(base->backend, one_tasks(op->args.m * op->args.k), lay_task, &call);
    return st ? st : one_for(base->backend, op->tasks, mul_task, &call);
}

dn_status one_few_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out, dn_op_info *info)
{
    const dn_args_gemm *g = desc->args;
    const char *why = one_gemm_unfit(backend, desc, g);
    if (!why && (g->m > MOST_ROWS || !(desc->constant >> 1 & 1) || g->base.accumulate & 1 ||
                 (g->activation != DN_FN_NONE && g->activation != DN_FN_RELU)))
        why = "many rows, weights that change, a sum, or an activation other than ReLU";
    if (why)
        return one_decline(info, why);
    few_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = few_run;
    op->base.prepare = few_prepare;
    op->args = *g;
    op->pairs = (g->k + 1) / 2;
    op->panels = (g->n + LANES - 1) / LANES;
    op->tasks = one_max(1, one_min(64, op->panels / TASK_PANELS));
    for (op->rows = 1; op->rows < g->m;)
        op->rows *= 2;
    double weights = (double)(op->pairs * op->panels * 2 * LANES);
    info->scratch = one_round((size_t)(op->pairs * 2 * op->rows) * sizeof(one_bf16));
    info->keep = (size_t)weights * sizeof(one_bf16);
    info->unread = 2;
    info->compute = DN_COMPUTE_BF16;
    info->cost =
        weights * (2 / BYTES_PER_NS > op->rows / PRODUCT_PER_NS ? 2 / BYTES_PER_NS
                                                                : op->rows / PRODUCT_PER_NS) +
        1.5 * (double)(g->m * g->k);
    snprintf(info->implementation, sizeof info->implementation, "onednn:few rows/avx512_bf16");
    *out = &op->base;
    return DN_OK;
}
