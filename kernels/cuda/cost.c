/* SPDX-License-Identifier: BSD-2-Clause
 * cost.c: what convolutions and copies are expected to take, so that the plan can tell which
 * layout pays, and what else may take, so that a recording can tell what to do beside it. A
 * model from the device's published rates; with `tune` cuDNN's own measurement stands in its
 * place. */
#include "dnn.h"

#define LAUNCH_NS 2000.0 /* of a kernel, recorded or not */

/* Shares of the peak. Tensor cores want channels last, the plain units do not; kernels of our
 * own are far from either. */
#define SHARE_TENSOR    0.5
#define SHARE_UNEVEN    0.25 /* channels that do not fill their fragments */
#define SHARE_PLAIN     0.6
#define SHARE_PLAIN_ROW 0.45
#define SHARE_OURS      0.1

static double bytes_of(const cuda_operand *x)
{
    return (double)x->count * (x->info.dtype == DN_BF16 ? 2 : 4);
}

static double moved(const dn_op *op)
{
    double bytes = 0;
    for (int32_t i = 0; i < op->num_inputs; i++)
        bytes += cuda_has_in(op, i) ? bytes_of(&op->in[i]) : 0;
    for (int32_t i = 0; i < op->num_outputs; i++)
        bytes += cuda_has_out(op, i) ? bytes_of(&op->out[i]) * (cuda_adds(op, i) ? 2 : 1) : 0;
    return bytes;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double convolution(const dn_op *op, double bytes)
{
    const dn_backend *backend = op->backend;
    const dn_args_conv *c = &op->args.conv;
    bool weights = op->kind == &cuda_conv_bwd_weights, data = op->kind == &cuda_conv_bwd_data;
    const cuda_operand *x = data ? &op->out[0] : &op->in[0];
    const cuda_operand *y = weights ? &op->in[1] : data ? &op->in[0] : &op->out[0];
    int64_t C = x->info.shape.dim[1] / c->group, K = y->info.shape.dim[1] / c->group;
    bool rows = x->info.layout == DN_LAYOUT_NHWC;
    double flops = 2.0 * (double)y->count * (double)C, move = bytes / backend->bytes_per_ns;
    for (int32_t i = 0; i < c->spatial; i++)
        flops *= (double)c->kernel[i];
    if (!op->dnn && !op->blas)
        return LAUNCH_NS + larger(flops / (backend->flops_per_ns * SHARE_OURS), move);
    double share = rows ? SHARE_PLAIN_ROW : SHARE_PLAIN;
    double plain = LAUNCH_NS + larger(flops / (backend->flops_per_ns * share), move);
    if (op->compute == DN_COMPUTE_F32 || backend->tensor_per_ns <= 0)
        return plain;
    double rate = backend->tensor_per_ns * (op->compute == DN_COMPUTE_BF16 ? 2 : 1);
    share = C % 8 || K % 8 ? SHARE_UNEVEN : SHARE_TENSOR;
    double tensor = LAUNCH_NS + larger(flops / (rate * share), move);
    if (!rows) /* turned and back inside */
        tensor += 2 * LAUNCH_NS + 2 * (bytes_of(x) + bytes_of(y)) / backend->bytes_per_ns;
    return tensor < plain ? tensor : plain;
}

double cuda_cost(const dn_op *op)
{
    double measured = cuda_dnn_measured(op);
    if (op->backend->bytes_per_ns <= 0)
        return 0;
    if (measured > 0)
        return measured;
    if (op->kind == &cuda_copy)
        return LAUNCH_NS + moved(op) / op->backend->bytes_per_ns;
    bool convolves = op->kind == &cuda_conv || op->kind == &cuda_conv_bwd_data ||
                     op->kind == &cuda_conv_bwd_weights;
    return convolves ? convolution(op, moved(op)) : 0;
}

double cuda_time(const dn_op *op, int32_t part)
{
    const dn_backend *backend = op->backend;
    const dn_args_gemm *g = &op->args.gemm;
    double known = part > 0 ? 0 : cuda_cost(op), flops = 0;
    if (known > 0 || backend->bytes_per_ns <= 0)
        return known > 0 ? known : LAUNCH_NS;
    if (op->kind == &cuda_gemm)
        flops = 2.0 * (double)g->batch * (double)g->m * (double)g->n * (double)g->k;
    return LAUNCH_NS +
           larger(flops / (backend->flops_per_ns * (op->blas ? SHARE_PLAIN : SHARE_OURS)),
                  moved(op) / backend->bytes_per_ns);
}
