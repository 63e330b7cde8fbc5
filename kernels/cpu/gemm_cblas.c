/* SPDX-License-Identifier: BSD-2-Clause
 * gemm_cblas.c: matrix products through CBLAS, where our own tiles have no wide vectors. Called
 * from our workers on rectangles whose size depends on the shape alone. */
#include "cpu.h"

#ifdef CPU_HAVE_CBLAS
#include <cblas.h>
#include <limits.h>

/* 0: built without threads, and so without locks: of two calls at once, one may multiply what
 * the other packed (seen with Debian's serial 0.3.21). Other libraries do not have it. */
extern int openblas_get_parallel(void) __attribute__((weak));

typedef struct cblas_op {
    dn_op base;
    dn_args_gemm g;
    int64_t tasks;
} cblas_op;

typedef struct cblas_call {
    const cblas_op *op;
    const float *a, *b, *bias;
    float *c;
} cblas_call;

static void start_rows(const cblas_call *call, float *c, const float *bias, int64_t from,
                       int64_t to)
{
    const dn_args_gemm *g = &call->op->g;
    for (int64_t i = 0; i < g->m; i++) {
        float *row = c + i * g->ldc;
        for (int64_t j = from; j < to; j++) {
            float add = g->bias_mode == 1 ? bias[j] : bias[i];
            row[j] = g->base.accumulate & 1 ? row[j] + add : add;
        }
    }
}

static void cblas_task(void *arg, int64_t task, int32_t worker)
{
    const cblas_call *call = arg;
    const dn_args_gemm *g = &call->op->g;
    int64_t matrix = task / call->op->tasks, from, to;
    const float *a = call->a + matrix * g->stride_a, *b = call->b + matrix * g->stride_b;
    const float *bias = call->bias + (call->bias ? matrix * g->stride_bias : 0);
    float *c = call->c + matrix * g->stride_c;
    (void)worker;
    cpu_split(g->n, call->op->tasks, task % call->op->tasks, &from, &to);
    if (g->bias_mode)
        start_rows(call, c, bias, from, to);
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
                g->trans_b ? CblasTrans : CblasNoTrans, (int)g->m, (int)(to - from), (int)g->k,
                (float)g->alpha, a, (int)g->lda, b + from * (g->trans_b ? g->ldb : 1),
                (int)g->ldb, g->bias_mode || (g->base.accumulate & 1) ? 1.0f : 0.0f, c + from,
                (int)g->ldc);
    if (g->activation == DN_FN_RELU)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = from; j < to; j++) {
                float *y = c + i * g->ldc + j;
                *y = *y > 0 ? *y : (float)g->activation_a * *y;
            }
}

static dn_status run_cblas(dn_op *base, const dn_op_io *io)
{
    cblas_op *op = (cblas_op *)base;
    const dn_args_gemm *g = &op->g;
    cblas_call call = {op, (const float *)io->in[0] + g->offset_a,
                       (const float *)io->in[1] + g->offset_b, cpu_in(base, io, 2),
                       (float *)io->out[0] + g->offset_c};
    cpu_for(base->backend, g->batch * op->tasks, cblas_task, &call);
    return DN_OK;
}

dn_status cpu_gemm_cblas_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info)
{
    const dn_args_gemm *g = desc->args;
    if (openblas_get_parallel && openblas_get_parallel() == 0)
        return cpu_decline(info, "OpenBLAS without threads may not be called by several");
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (g->activation != DN_FN_NONE && g->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    if (g->m < 1 || g->n < 1 || g->k < 1 || g->batch < 1)
        return cpu_decline(info, "empty product");
    if (g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX || g->lda > INT_MAX ||
        g->ldb > INT_MAX || g->ldc > INT_MAX)
        return cpu_decline(info, "dimensions beyond CBLAS's int");
    cblas_op *op = cpu_op_new(backend, sizeof *op, run_cblas, info, "cpu:cblas");
    if (!op)
        return DN_E_NOMEM;
    op->g = *g;
    if (!cpu_present(desc->inputs, desc->num_inputs, 2))
        op->g.bias_mode = 0;
    op->tasks = cpu_max(1, cpu_min(cpu_ceil(g->n, 32), cpu_min(64, g->m * g->n * g->k >> 20)));
    *out = &op->base;
    return DN_OK;
}

const char *cpu_cblas_name(void)
{
    return CPU_HAVE_CBLAS;
}

#else
dn_status cpu_gemm_cblas_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info)
{
    (void)backend, (void)desc, (void)out;
    return cpu_decline(info, "built without CBLAS");
}

const char *cpu_cblas_name(void)
{
    return "none";
}
#endif
