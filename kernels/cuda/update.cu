/* SPDX-License-Identifier: BSD-2-Clause
 * update.cu: UPDATE, SUMSQ_ALL and SCALE_CLIP. The norm stays on the device between them, so
 * clipping needs no look from the host. */
#include "grid.cuh"

typedef struct update_args {
    const float *hyper;
    float *w, *grad, *h1, *h2;
    float lr_mult, decay, momentum, momentum2, delta, rms_decay;
    int32_t rule, l1;
} update_args;

/* From a gradient and the histories to the step that is taken off the weight. */
DEVICE float step_of(const update_args *a, float g, int64_t i)
{
    float local = a->hyper[0] * a->lr_mult, m = a->momentum, before = a->h1[i], step;
    switch (a->rule) {
    case DN_UPDATE_SGD:
        return a->h1[i] = m * before + local * g;
    case DN_UPDATE_NESTEROV:
        a->h1[i] = m * before + local * g;
        return (1 + m) * a->h1[i] - m * before;
    case DN_UPDATE_ADAGRAD:
        a->h1[i] = before + g * g;
        return local * g / (sqrtf(a->h1[i]) + a->delta);
    case DN_UPDATE_RMSPROP:
        a->h1[i] = a->rms_decay * before + (1 - a->rms_decay) * g * g;
        return local * g / (sqrtf(a->h1[i]) + a->delta);
    case DN_UPDATE_ADADELTA:
        a->h1[i] = m * before + (1 - m) * g * g;
        step = g * sqrtf((a->h2[i] + a->delta) / (a->h1[i] + a->delta));
        a->h2[i] = m * a->h2[i] + (1 - m) * step * step;
        return local * step;
    default:
        a->h1[i] = m * before + (1 - m) * g;
        a->h2[i] = a->momentum2 * a->h2[i] + (1 - a->momentum2) * g * g;
        return local * a->hyper[1] * a->h1[i] / (sqrtf(a->h2[i]) + a->delta);
    }
}

MAP(update, update_args)
{
    float w = a->w[i], g = a->grad[i] * a->hyper[2] * a->hyper[3];
    if (a->decay != 0)
        g += a->decay * (a->l1 ? (float)((w > 0) - (w < 0)) : w);
    float step = step_of(a, g, i);
    a->grad[i] = step;
    a->w[i] = w - step;
}

static dn_status run_update(const dn_op *op, const dn_op_io *io)
{
    const dn_args_update *u = &op->args.update;
    update_args a = {cuda_in(op, io, 0), cuda_out(op, io, 0), cuda_out(op, io, 1),
                     cuda_out(op, io, 2), cuda_out(op, io, 3), (float)u->lr_mult,
                     (float)u->decay, (float)u->momentum, (float)u->momentum2,
                     (float)u->delta, (float)u->rms_decay, u->rule, u->l1};
    update(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_update = {"UPDATE", sizeof(dn_args_update), NULL, run_update};

/* ---- SUMSQ_ALL --------------------------------------------------------------------------- */

#define PIECE 16384 /* elements that one block sums */

typedef struct sumsq_args {
    const float *x[DN_MAX_OPERANDS];
    int64_t count[DN_MAX_OPERANDS], first[DN_MAX_OPERANDS + 1]; /* in pieces */
    double *partial;
    float *y;
    int32_t num, add;
} sumsq_args;

BLOCKS(sumsq_piece, sumsq_args)
{
    SHARED double sums[BLOCK];
    int32_t k = 0;
    while (block >= a->first[k + 1])
        k++;
    int64_t begin = (block - a->first[k]) * PIECE;
    int64_t end = begin + PIECE < a->count[k] ? begin + PIECE : a->count[k];
    THREADS(t)
    {
        double sum = 0;
        for (int64_t i = begin + t; i < end; i += BLOCK)
            sum += (double)a->x[k][i] * a->x[k][i];
        sums[t] = sum;
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0)
            a->partial[block] = sum;
}

BLOCKS(sumsq_finish, sumsq_args)
{
    SHARED double sums[BLOCK];
    THREADS(t)
    {
        double sum = 0;
        for (int64_t p = t; p < a->first[a->num]; p += BLOCK)
            sum += a->partial[p];
        sums[t] = sum;
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0 && block == 0)
            put_wide(a->y, a->add, sum);
}

static int64_t pieces_of(const dn_op *op, int32_t input)
{
    return (op->in[input].count + PIECE - 1) / PIECE;
}

static dn_status prepare_sumsq_all(dn_op *op, dn_op_info *info)
{
    (void)info;
    for (int32_t k = 0; k < op->num_inputs; k++)
        op->scratch += (size_t)pieces_of(op, k) * sizeof(double);
    return DN_OK;
}

static dn_status run_sumsq_all(const dn_op *op, const dn_op_io *io)
{
    sumsq_args a;
    a.first[0] = 0;
    a.num = op->num_inputs;
    for (int32_t k = 0; k < a.num; k++) {
        a.x[k] = cuda_in(op, io, k);
        a.count[k] = op->in[k].count;
        a.first[k + 1] = a.first[k] + pieces_of(op, k);
    }
    a.partial = (double *)io->scratch;
    a.y = cuda_out(op, io, 0);
    a.add = cuda_adds(op, 0);
    sumsq_piece(op, &a, a.first[a.num]);
    sumsq_finish(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_sumsq_all = {"SUMSQ_ALL", sizeof(dn_args), prepare_sumsq_all,
                                  run_sumsq_all};

/* ---- SCALE_CLIP -------------------------------------------------------------------------- */

typedef struct clip_args {
    const float *norm2;
    float *x;
    double clip;
} clip_args;

MAP(scale_clip, clip_args)
{
    double norm = sqrt((double)*a->norm2);
    if (norm > a->clip)
        a->x[i] = (float)(a->x[i] * (a->clip / norm));
}

static dn_status run_scale_clip(const dn_op *op, const dn_op_io *io)
{
    for (int32_t k = 0; k < op->num_outputs; k++) {
        clip_args a = {cuda_in(op, io, 0), cuda_out(op, io, k), op->args.scale_clip.clip};
        scale_clip(op, &a, op->out[k].count);
    }
    return DN_OK;
}

const cuda_kind cuda_scale_clip = {"SCALE_CLIP", sizeof(dn_args_scale_clip), NULL,
                                   run_scale_clip};
