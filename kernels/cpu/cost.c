/* SPDX-License-Identifier: BSD-2-Clause
 * cost.c: what an op is expected to take on one thread, so that plans and backends can be
 * compared. Rates are medians measured on one core of a Zen 4 (f32 peak 150 GFLOP/s, 12 GB/s);
 * other machines are assumed to differ in all of them alike. */
#include "cpu.h"

#include <string.h>

#define BYTES_PER_NS 10.0

static double bytes_of(const dn_operand *operands, int32_t count)
{
    static const double size[] = {
        [DN_F32] = 4, [DN_F64] = 8, [DN_BF16] = 2, [DN_I32] = 4, [DN_I64] = 8, [DN_U8] = 1};
    double bytes = 0;
    for (int32_t i = 0; i < count; i++)
        if (operands[i].dtype >= 0)
            bytes += size[operands[i].dtype] * (double)cpu_count(&operands[i].shape);
    return bytes;
}

/* 0: no product of matrices. */
static double flops_of(const dn_op_desc *d)
{
    const dn_args_gemm *gemm = d->args;
    const dn_shape *x = &d->inputs[0].shape, *y = &d->outputs[0].shape;
    switch (d->kind) {
    case DN_OP_GEMM:
        return 2.0 * (double)(gemm->batch * gemm->m * gemm->n) * (double)gemm->k;
    case DN_OP_CONV: /* every y is a sum over a row of w */
        return 2.0 * (double)cpu_count(y) *
               (double)(cpu_count(&d->inputs[1].shape) / y->dim[1]);
    case DN_OP_CONV_BWD_DATA:
        return 2.0 * (double)cpu_count(x) *
               (double)(cpu_count(&d->inputs[1].shape) / x->dim[1]);
    case DN_OP_CONV_BWD_WEIGHTS:
        return 2.0 * (double)cpu_count(&d->inputs[1].shape) *
               (double)(cpu_count(y) / d->inputs[1].shape.dim[1]);
    default:
        return 0;
    }
}

/* Floating-point operations in a nanosecond. */
static double rate_of(const char *implementation)
{
    static const struct {
        const char *prefix;
        double rate;
    } rates[] = {{"cpu:depthwise nhwc", 45},
                 {"cpu:depthwise", 20},
                 {"cpu:gemm+col2im", 70},
                 {"cpu:dot", 88},
                 {"cpu:1x1", 94},
                 {"cpu:implicit gemm", 95},
                 {"cpu:rows", 90}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (!strncmp(implementation, rates[i].prefix, strlen(rates[i].prefix)))
            return rates[i].rate;
    return 95;
}

/* Planes of y so small that they make short runs of columns. */
static bool small_planes(const dn_op_desc *d)
{
    const dn_shape *y = d->kind == DN_OP_CONV            ? &d->outputs[0].shape
                        : d->kind == DN_OP_CONV_BWD_DATA ? &d->inputs[0].shape
                                                         : &d->inputs[1].shape;
    return y->axes == 4 && y->dim[2] * y->dim[3] < 64;
}

/* What a convolution's shape adds: in planes, short runs of columns where those of y are small,
 * and a stride in depthwise; in NHWC, few channels. */
static double hindrance(const dn_op_desc *d, const char *implementation)
{
    const dn_args_conv *a = d->args;
    bool rows = strncmp(implementation, "cpu:rows", 8) == 0;
    bool depthwise = strncmp(implementation, "cpu:depthwise", 13) == 0;
    const dn_shape *x = &d->inputs[0].shape, *w = &d->inputs[1].shape;
    if (d->kind == DN_OP_CONV_BWD_WEIGHTS)
        w = &d->outputs[0].shape;
    if (depthwise && !strstr(implementation, "nhwc"))
        return a->stride[0] == 1 ? 1.2 : d->kind == DN_OP_CONV_BWD_DATA ? 6 : 2;
    if (rows && w->axes > 1)
        return w->dim[1] >= 32 ? 1 : d->kind == DN_OP_CONV ? 1.2 : 1.8;
    return x->axes == 4 && !depthwise && small_planes(d) ? 1.4 : 1;
}

double cpu_cost(const dn_backend *backend, const dn_op_desc *desc, const char *implementation)
{
    double move = (bytes_of(desc->inputs, desc->num_inputs) +
                   bytes_of(desc->outputs, desc->num_outputs)) /
                  BYTES_PER_NS;
    double flops = flops_of(desc), slower = backend->isa == CPU_AVX512 ? 1
                                            : backend->isa == CPU_AVX2 ? 2
                                                                       : 10;
    double work = flops / rate_of(implementation) * slower;
    if (desc->kind != DN_OP_GEMM && flops > 0)
        work *= hindrance(desc, implementation);
    return work > move ? work : move;
}
