/* SPDX-License-Identifier: BSD-2-Clause
 * softmax.cu: SOFTMAX and its gradient along dim. Long rows that lie together get a block each,
 * the others a thread each (neighbouring threads then read neighbouring elements). */
#include "softmax.cuh"

MAP(softmax, axis_args)
{
    softmax_of(a, i);
}

MAP(softmax_bwd, axis_args)
{
    int64_t base = row_base(a, i);
    float dot = 0;
    for (int64_t d = 0; d < a->dim; d++)
        dot = fmaf(a->dy[base + d * a->inner], a->x[base + d * a->inner], dot);
    for (int64_t d = 0; d < a->dim; d++) {
        int64_t at = base + d * a->inner;
        put(&a->y[at], a->add, (a->dy[at] - dot) * a->x[at]);
    }
}

DEVICE float block_max(float *shared)
{
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half)
                shared[t] = fmaxf(shared[t], shared[t + half]);
    float largest = shared[0];
    BARRIER();
    return largest;
}

BLOCKS(softmax_row, axis_args)
{
    SHARED float most[BLOCK];
    SHARED double sums[BLOCK];
    const float *x = a->x + block * a->dim;
    float *y = a->y + block * a->dim;
    THREADS(t)
    {
        float largest = -INFINITY;
        for (int64_t d = t; d < a->dim; d += BLOCK)
            largest = fmaxf(largest, x[d]);
        most[t] = largest;
    }
    float largest = block_max(most);
    THREADS(t)
    {
        double sum = 0;
        for (int64_t d = t; d < a->dim; d += BLOCK)
            sum += expf(x[d] - largest);
        sums[t] = sum;
    }
    float sum = (float)block_sum(sums);
    THREADS(t)
        for (int64_t d = t; d < a->dim; d += BLOCK)
            put(&y[d], a->add, expf(x[d] - largest) / sum);
}

BLOCKS(softmax_bwd_row, axis_args)
{
    SHARED double sums[BLOCK];
    const float *y = a->x + block * a->dim, *dy = a->dy + block * a->dim;
    THREADS(t)
    {
        double sum = 0;
        for (int64_t d = t; d < a->dim; d += BLOCK)
            sum += (double)dy[d] * y[d];
        sums[t] = sum;
    }
    float dot = (float)block_sum(sums);
    THREADS(t)
        for (int64_t d = t; d < a->dim; d += BLOCK)
            put(&a->y[block * a->dim + d], a->add, (dy[d] - dot) * y[d]);
}

static dn_status run_softmax(const dn_op *op, const dn_op_io *io)
{
    axis_args a = axis_args_of(op, io);
    if (long_rows(&a))
        softmax_row(op, &a, op->args.axis.outer);
    else
        softmax(op, &a, op->args.axis.outer * a.inner);
    return DN_OK;
}

const cuda_kind cuda_softmax = {"SOFTMAX", sizeof(dn_args_axis), NULL, run_softmax};

static dn_status run_softmax_bwd(const dn_op *op, const dn_op_io *io)
{
    axis_args a = axis_args_of(op, io);
    if (long_rows(&a))
        softmax_bwd_row(op, &a, op->args.axis.outer);
    else
        softmax_bwd(op, &a, op->args.axis.outer * a.inner);
    return DN_OK;
}

const cuda_kind cuda_softmax_bwd = {"SOFTMAX_BWD", sizeof(dn_args_axis), NULL, run_softmax_bwd};
