/* SPDX-License-Identifier: BSD-2-Clause
 * measure.cu: ACCURACY and ARGMAX: a thread per position. Hits per class are counted with
 * integer atomics, whose order does not show. */
#include "grid.cuh"

typedef struct accuracy_args {
    const float *x, *t;
    float *accuracy, *per_class;
    int32_t *right, *all; /* per class */
    int64_t dim, inner;
    int32_t top_k, has_ignore, ignore_label;
    cuda_fault *fault;
} accuracy_args;

DEVICE void count_one(int32_t *counter)
{
#ifdef __CUDACC__
    atomicAdd(counter, 1);
#else
    ++*counter;
#endif
}

MAP(accuracy_zero, accuracy_args)
{
    a->right[i] = a->all[i] = 0;
}

/* i: a position (outer, inner) */
MAP(accuracy_count, accuracy_args)
{
    float t = a->t[i];
    int64_t label = whole_of(t), o = quotient(i, a->inner), better = 0;
    if (a->has_ignore && label == a->ignore_label && t == t)
        return;
    if (label < 0 || label >= a->dim) {
        note_fault(a->fault, CUDA_FAULT_LABEL, o, t, a->dim);
        return;
    }
    const float *x = a->x + o * a->dim * a->inner + (i - o * a->inner);
    float mine = x[label * a->inner];
    for (int64_t d = 0; d < a->dim; d++)
        better += d != label && x[d * a->inner] >= mine;
    count_one(&a->all[label]);
    if (better < a->top_k)
        count_one(&a->right[label]);
}

MAP(accuracy_class, accuracy_args)
{
    a->per_class[i] = a->all[i] ? (float)a->right[i] / (float)a->all[i] : 0;
}

BLOCKS(accuracy_finish, accuracy_args)
{
    SHARED double right[BLOCK], all[BLOCK];
    THREADS(t)
    {
        right[t] = all[t] = 0;
        for (int64_t d = t; d < a->dim; d += BLOCK) {
            right[t] += a->right[d];
            all[t] += a->all[d];
        }
    }
    double hits = block_sum(right), num = block_sum(all);
    THREADS(t)
        if (t == 0 && block == 0)
            *a->accuracy = num > 0 ? (float)hits / (float)num : 0;
}

static dn_status prepare_accuracy(dn_op *op, dn_op_info *info)
{
    const dn_args_accuracy *c = &op->args.accuracy;
    if (c->outer * c->inner > INT32_MAX)
        return cuda_decline(info, "2^31 positions");
    op->scratch = 2 * (size_t)c->dim * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_accuracy(const dn_op *op, const dn_op_io *io)
{
    const dn_args_accuracy *c = &op->args.accuracy;
    int32_t *counts = (int32_t *)io->scratch;
    accuracy_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                       cuda_out(op, io, 1), counts, counts + c->dim, c->dim, c->inner,
                       c->top_k, c->has_ignore, c->ignore_label, op->backend->fault};
    accuracy_zero(op, &a, a.dim);
    accuracy_count(op, &a, c->outer * c->inner);
    if (a.per_class)
        accuracy_class(op, &a, a.dim);
    accuracy_finish(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_accuracy = {"ACCURACY", sizeof(dn_args_accuracy), prepare_accuracy,
                                 run_accuracy};

typedef struct argmax_args {
    const float *x;
    float *y;
    int64_t dim, inner;
    int32_t top_k, out_max_val, pairs;
} argmax_args;

/* A NaN ranks below everything, so that ranks are an order whatever the data. */
DEVICE float rank_of(float x)
{
    return x == x ? x : -INFINITY;
}

/* Does element d come before element e, largest first, the larger index first in a tie? */
DEVICE bool before(const float *x, int64_t step, int64_t d, int64_t e)
{
    float a = rank_of(x[d * step]), b = rank_of(x[e * step]);
    return a > b || (a == b && d > e);
}

/* i: a position (outer, inner) */
MAP(argmax, argmax_args)
{
    int64_t o = quotient(i, a->inner), in = i - o * a->inner, last = -1;
    const float *x = a->x + o * a->dim * a->inner + in;
    for (int32_t k = 0; k < a->top_k; k++) {
        int64_t best = -1;
        for (int64_t d = 0; d < a->dim; d++)
            if ((last < 0 || before(x, a->inner, last, d)) &&
                (best < 0 || before(x, a->inner, d, best)))
                best = d;
        float value = x[best * a->inner];
        last = best;
        if (a->pairs) {
            a->y[(o * 2 + 0) * a->top_k + k] = (float)best;
            a->y[(o * 2 + 1) * a->top_k + k] = value;
        } else {
            a->y[(o * a->top_k + k) * a->inner + in] = a->out_max_val ? value : (float)best;
        }
    }
}

static dn_status run_argmax(const dn_op *op, const dn_op_io *io)
{
    const dn_args_argmax *m = &op->args.argmax;
    argmax_args a = {cuda_in(op, io, 0), cuda_out(op, io, 0), m->dim, m->inner,
                     m->top_k, m->out_max_val, m->pairs};
    argmax(op, &a, m->outer * m->inner);
    return DN_OK;
}

const cuda_kind cuda_argmax = {"ARGMAX", sizeof(dn_args_argmax), NULL, run_argmax};
