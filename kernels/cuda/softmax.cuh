/* SPDX-License-Identifier: BSD-2-Clause
 * softmax.cuh: a row of SOFTMAX as one thread has it, for softmax.cu and chain.cu. */
#ifndef DN_KERNELS_CUDA_SOFTMAX_CUH
#define DN_KERNELS_CUDA_SOFTMAX_CUH

#include "grid.cuh"

#define LONG_ROW 64

typedef struct axis_args {
    const float *x, *dy;
    float *y;
    int64_t dim, inner;
    int32_t add;
} axis_args;

DEVICE int64_t row_base(const axis_args *a, int64_t i)
{
    int64_t o = quotient(i, a->inner);
    return o * a->dim * a->inner + (i - o * a->inner);
}

/* i: a row, by one thread */
DEVICE void softmax_of(const axis_args *a, int64_t i)
{
    int64_t base = row_base(a, i);
    float largest = -INFINITY, sum = 0;
    for (int64_t d = 0; d < a->dim; d++)
        largest = fmaxf(largest, a->x[base + d * a->inner]);
    for (int64_t d = 0; d < a->dim; d++)
        sum += expf(a->x[base + d * a->inner] - largest);
    for (int64_t d = 0; d < a->dim; d++) {
        int64_t at = base + d * a->inner;
        put(&a->y[at], a->add, expf(a->x[at] - largest) / sum);
    }
}

static inline axis_args axis_args_of(const dn_op *op, const dn_op_io *io)
{
    axis_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                   op->args.axis.dim, op->args.axis.inner, cuda_adds(op, 0)};
    return a;
}

static inline bool long_rows(const axis_args *a)
{
    return a->inner == 1 && a->dim >= LONG_ROW;
}

#endif
