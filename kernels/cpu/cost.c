/* SPDX-License-Identifier: BSD-2-Clause
 * cost.c: what an op is expected to take on one thread, so that plans and backends can be
 * compared. Rates are medians measured on one core of a Zen 4 (f32 peak 150 GFLOP/s, 12 GB/s);
 * other machines are assumed to differ in all of them alike. */
#include "cpu.h"

#include <math.h>
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

/* What a copy or a sum walks over may be a part of its operands: concat. */
static double walked_bytes(int32_t axes, const int64_t *dim, double each)
{
    for (int32_t i = 0; i < axes; i++)
        each *= (double)dim[i];
    return each;
}

/* LRN's window lies in a row in NHWC; planes are pages apart. */
static double lrn_hindrance(const dn_op_desc *d)
{
    bool nhwc = d->inputs[0].layout == DN_LAYOUT_NHWC;
    if (d->kind == DN_OP_LRN)
        return nhwc ? 0.55 : 0.85;
    return nhwc ? 0.4 : 0.8;
}

/* Pooling in planes takes 7 ns for every row of x that 16 outputs side by side are made from;
 * one window of a whole plane is soon read. */
static double pool_rows(const dn_op_desc *d)
{
    const dn_args_pool *a = d->args;
    const dn_shape *y = &d->outputs[0].shape;
    bool planes = d->inputs[0].layout == DN_LAYOUT_PLAIN;
    if (!planes || a->spatial != 2 || y->axes != 4 || y->dim[2] * y->dim[3] == 1)
        return 0;
    return 7.0 *
           (double)(a->kernel[0] * y->dim[0] * y->dim[1] * y->dim[2] * cpu_ceil(y->dim[3], 16));
}

static double move_of(const dn_op_desc *d)
{
    const dn_args_copy *copy = d->args;
    double bytes = bytes_of(d->inputs, d->num_inputs) + bytes_of(d->outputs, d->num_outputs);
    switch (d->kind) {
    case DN_OP_COPY:
        return walked_bytes(copy->axes, copy->dim, 8) / BYTES_PER_NS;
    case DN_OP_LRN:
    case DN_OP_LRN_BWD:
        return lrn_hindrance(d) * bytes / BYTES_PER_NS;
    case DN_OP_POOL:
        return pool_rows(d) > bytes / BYTES_PER_NS ? pool_rows(d) : bytes / BYTES_PER_NS;
    case DN_OP_NORM_SCALE: /* reads once, or nothing, with what others made */
        if (cpu_present(d->inputs, d->num_inputs, 3))
            return (d->outputs[0].dtype < 0 ? 0.05 : 0.6) * bytes / BYTES_PER_NS;
        return bytes / BYTES_PER_NS;
    case DN_OP_NORM_SCALE_BWD:
        return (cpu_present(d->inputs, d->num_inputs, 7) ? 0.6 : 1) * bytes / BYTES_PER_NS;
    default:
        return bytes / BYTES_PER_NS;
    }
}

/* 0: no product of matrices. */
static double flops_of(const dn_op_desc *d)
{
    const dn_args_gemm *gemm = d->args;
    const dn_shape *x = d->num_inputs ? &d->inputs[0].shape : NULL;
    const dn_shape *y = &d->outputs[0].shape;
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
        return (cpu_present(d->outputs, d->num_outputs, 2) ? 4.0 : 2.0) *
               (double)cpu_count(&d->inputs[1].shape) *
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
    } rates[] = {{"cpu:depthwise nhwc 3x3", 80},
                 {"cpu:depthwise nhwc", 45},
                 {"cpu:depthwise", 20},
                 {"cpu:gemm+col2im", 70},
                 {"cpu:dot", 75},
                 {"cpu:1x1", 94},
                 {"cpu:implicit gemm", 95},
                 {"cpu:rows 1x1", 106},
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

/* A forward convolution packs its weights in every run, or once if they are constant, in planes
 * only few of them. */
static double packing(const dn_op_desc *d, const char *implementation)
{
    double bytes = bytes_of(&d->inputs[1], 1);
    bool few = bytes <= 400e3; /* within the second cache, or from beyond */
    bool once = d->constant >> 1 & 1 && (few || strncmp(implementation, "cpu:rows", 8) == 0);
    if (d->kind != DN_OP_CONV || once || strncmp(implementation, "cpu:depthwise", 13) == 0)
        return 0;
    return bytes / (few ? 12 : 5);
}

/* Pixels of few channels are read as they lie, but where a row of taps is not one piece are
 * laid in rows, which takes 6 cycles for every vector of one; vectors of outputs are multiplied
 * whole. */
static double few_channels(const dn_shape *w, const dn_args_conv *a)
{
    double run = (double)(w->dim[1] * w->dim[w->axes - 1]), K = (double)w->dim[0];
    double vectors = (double)(2 * cpu_ceil(w->dim[0], 32));
    bool laid = a->group > 1 || a->dilation[0] > 1 || a->dilation[1] > 1;
    double more = laid ? 6 * ceil(run / 16) / (run * vectors) : 8.4 * K / (double)cpu_count(w);
    return 16 * vectors / K * (0.87 + more);
}

/* The same of their gradient of weights, where taps are the vectors: rows are copied once more.
 */
static double few_taps(const dn_shape *w)
{
    double S = (double)w->dim[w->axes - 1], run = (double)w->dim[1] * S;
    double columns = (double)(cpu_count(w) / w->dim[0]);
    double laid = 146 * ceil(run / 16) / (run * (double)w->dim[0]);
    return 0.92 * ceil(columns / 32) * 32 / columns + laid;
}

/* What a convolution's shape adds: in planes, short runs of columns where those of y are small,
 * and a stride in depthwise; in NHWC, few channels (which 1x1 reads as they lie). Winograd's
 * convolutions say their own cost. */
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
    if (rows && strstr(implementation, "1x1"))
        return d->kind != DN_OP_CONV_BWD_WEIGHTS ? 1 : w->dim[1] >= 64 ? 1.05 : 1.2;
    if (rows && w->axes > 1 && d->kind == DN_OP_CONV) /* strided, and taps in a row, at 100 */
        return w->dim[1] < 32                          ? few_channels(w, a)
               : a->stride[0] > 1 || a->kernel[0] == 1 ? 0.9
                                                       : 1;
    if (rows && w->axes > 1)
        return w->dim[1] >= 32 ? 1 : d->kind == DN_OP_CONV_BWD_WEIGHTS ? few_taps(w) : 1.6;
    if (d->kind == DN_OP_CONV) /* columns gathered for few outputs */
        return depthwise || a->spatial != 2 || a->stride[1] == 1 ? 1
               : w->dim[0] < 64                                  ? 1.8
                                                                 : 1.2;
    return x->axes == 4 && !depthwise && small_planes(d) ? 1.4 : 1;
}

double cpu_cost(const dn_backend *backend, const dn_op_desc *desc, const char *implementation)
{
    bool walks = strncmp(implementation, "cpu:depthwise nhwc 3x3", 22) == 0;
    double move = move_of(desc) * (walks ? 0.45 : 1); /* it says what it will read next */
    /* with AVX2 half as fast, but the same choices, for the same bits */
    double flops = flops_of(desc), slower = backend->isa == CPU_PLAIN ? 10 : 1;
    double work = flops / rate_of(implementation) * slower;
    if (desc->kind != DN_OP_GEMM && flops > 0)
        work = work * hindrance(desc, implementation) + packing(desc, implementation);
    return work > move ? work : move;
}
