/* SPDX-License-Identifier: BSD-2-Clause
 * update.cu: UPDATE, SUMSQ_ALL and SCALE_CLIP. The norm stays on the device between them, so
 * clipping needs no look from the host. */
#include "some.cuh"

#define PIECE   16384 /* elements that one block sums */
#define SHARE   1024  /* elements that one block updates, */
#define EACH    4     /* and a thread at once */
#define WEIGHTS 64    /* of a launch: their pointers are arguments */

typedef struct weight {
    float *w, *grad, *h1, *h2;
} weight;

typedef struct update_args {
    const float *hyper, *each; /* of the first weight */
    weight weights[WEIGHTS];
    int64_t count[WEIGHTS], first[WEIGHTS]; /* elements; the first block */
    float lr_mult, decay, momentum, momentum2, delta, rms_decay;
    int32_t rule, l1, num;
} update_args;

/* From a gradient and the histories to the step that is taken off the weight. */
DEVICE float step_of(const update_args *a, float rate, float correction, float g, float *h1,
                     float *h2)
{
    float m = a->momentum, before = *h1, step;
    switch (a->rule) {
    case DN_UPDATE_SGD:
        return *h1 = m * before + rate * g;
    case DN_UPDATE_NESTEROV:
        *h1 = m * before + rate * g;
        return (1 + m) * *h1 - m * before;
    case DN_UPDATE_ADAGRAD:
        *h1 = before + g * g;
        return rate * g / (sqrtf(*h1) + a->delta);
    case DN_UPDATE_RMSPROP:
        *h1 = a->rms_decay * before + (1 - a->rms_decay) * g * g;
        return rate * g / (sqrtf(*h1) + a->delta);
    case DN_UPDATE_ADADELTA:
        *h1 = m * before + (1 - m) * g * g;
        step = g * sqrtf((*h2 + a->delta) / (*h1 + a->delta));
        *h2 = m * *h2 + (1 - m) * step * step;
        return rate * step;
    default:
        *h1 = m * before + (1 - m) * g;
        *h2 = a->momentum2 * *h2 + (1 - a->momentum2) * g * g;
        return rate * correction * *h1 / (sqrtf(*h2) + a->delta);
    }
}

/* Elements [i, i + some) of weight k: all of them are loaded before the first is stored. */
DEVICE void update_some(const update_args *a, int32_t k, int64_t i, int some)
{
    const weight *v = &a->weights[k];
    uintptr_t all = (uintptr_t)v->w | (uintptr_t)v->grad | (uintptr_t)v->h1 | (uintptr_t)v->h2;
    int32_t loose = (all & 15) != 0;
    values at[4] = {
        {v->w, 0, loose}, {v->grad, 0, loose}, {v->h1, 0, loose}, {v->h2, 0, loose}};
    float w[EACH], g[EACH], h1[EACH], h2[EACH] = {0};
    float rate = a->hyper[0] * (a->each ? a->each[2 * k] : a->lr_mult);
    float decay = a->each ? a->each[2 * k + 1] : a->decay;
    float correction = a->hyper[1], clip = a->hyper[2], share = a->hyper[3];
    get_some(at[0], i, some, w);
    get_some(at[1], i, some, g);
    get_some(at[2], i, some, h1);
    if (v->h2)
        get_some(at[3], i, some, h2);
    UNROLL
    for (int j = 0; j < some; j++) {
        g[j] = g[j] * clip * share;
        if (decay != 0)
            g[j] += decay * (a->l1 ? (float)((w[j] > 0) - (w[j] < 0)) : w[j]);
        g[j] = step_of(a, rate, correction, g[j], &h1[j], &h2[j]);
        w[j] -= g[j];
    }
    if (v->h2)
        set_some(at[3], i, some, h2);
    set_some(at[2], i, some, h1);
    set_some(at[1], i, some, g);
    set_some(at[0], i, some, w);
}

BLOCKS(update, update_args)
{
    int32_t k = 0;
    for (int32_t half = WEIGHTS / 2; half > 0; half /= 2)
        if (k + half < a->num && block >= a->first[k + half])
            k += half;
    int64_t begin = (block - a->first[k]) * SHARE;
    int64_t end = begin + SHARE < a->count[k] ? begin + SHARE : a->count[k];
    THREADS(t)
        for (int64_t i = begin + EACH * t; i < end; i += EACH * BLOCK) {
            if (i + EACH <= end)
                update_some(a, k, i, EACH);
            else
                for (; i < end; i++)
                    update_some(a, k, i, 1);
        }
}

static dn_status run_update(const dn_op *op, const dn_op_io *io)
{
    const dn_args_update *u = &op->args.update;
    int32_t own = u->rule == DN_UPDATE_ADADELTA || u->rule == DN_UPDATE_ADAM ? 4 : 3;
    int32_t num = cuda_has_in(op, 1) ? op->num_outputs / own : 1;
    update_args a;
    a.hyper = cuda_in(op, io, 0);
    a.lr_mult = (float)u->lr_mult;
    a.decay = (float)u->decay;
    a.momentum = (float)u->momentum;
    a.momentum2 = (float)u->momentum2;
    a.delta = (float)u->delta;
    a.rms_decay = (float)u->rms_decay;
    a.rule = u->rule;
    a.l1 = u->l1;
    for (int32_t first = 0; first < num; first += WEIGHTS) {
        int64_t blocks = 0;
        a.each = cuda_has_in(op, 1) ? cuda_in(op, io, 1) + 2 * first : NULL;
        a.num = num - first < WEIGHTS ? num - first : WEIGHTS;
        for (int32_t k = 0; k < a.num; k++) {
            int32_t at = (first + k) * own;
            a.weights[k].w = cuda_out(op, io, at);
            a.weights[k].grad = cuda_out(op, io, at + 1);
            a.weights[k].h1 = cuda_out(op, io, at + 2);
            a.weights[k].h2 = own > 3 ? cuda_out(op, io, at + 3) : NULL;
            a.count[k] = op->out[at].count;
            a.first[k] = blocks;
            blocks += (a.count[k] + SHARE - 1) / SHARE;
        }
        update(op, &a, blocks);
    }
    return DN_OK;
}

const cuda_kind cuda_update = {"UPDATE", sizeof(dn_args_update), NULL, run_update};

/* ---- SUMSQ_ALL --------------------------------------------------------------------------- */

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
    float *x[DN_MAX_OPERANDS];
    int64_t count[DN_MAX_OPERANDS], first[DN_MAX_OPERANDS + 1]; /* in shares */
    double clip;
} clip_args;

BLOCKS(scale_clip, clip_args)
{
    int32_t k = 0;
    while (block >= a->first[k + 1])
        k++;
    int64_t begin = (block - a->first[k]) * SHARE;
    int64_t end = begin + SHARE < a->count[k] ? begin + SHARE : a->count[k];
    double norm = sqrt((double)*a->norm2);
    float *x = a->x[k];
    THREADS(t)
        for (int64_t i = begin + t; norm > a->clip && i < end; i += BLOCK)
            x[i] = (float)(x[i] * (a->clip / norm));
}

static dn_status run_scale_clip(const dn_op *op, const dn_op_io *io)
{
    clip_args a;
    a.norm2 = cuda_in(op, io, 0);
    a.clip = op->args.scale_clip.clip;
    a.first[0] = 0;
    for (int32_t k = 0; k < op->num_outputs; k++) {
        a.x[k] = cuda_out(op, io, k);
        a.count[k] = op->out[k].count;
        a.first[k + 1] = a.first[k] + (a.count[k] + SHARE - 1) / SHARE;
    }
    scale_clip(op, &a, a.first[op->num_outputs]);
    return DN_OK;
}

const cuda_kind cuda_scale_clip = {"SCALE_CLIP", sizeof(dn_args_scale_clip), NULL,
                                   run_scale_clip};
