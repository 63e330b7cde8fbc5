/* SPDX-License-Identifier: BSD-2-Clause
 * update.cu: UPDATE, SUMSQ_ALL and SCALE_CLIP. The norm stays on the device between them, so
 * clipping needs no look from the host. */
#include "grid.cuh"

#define PIECE 16384 /* elements that one block sums */
#define SHARE 1024  /* elements that one block updates */
#define MOST  64    /* weights of a launch: their pointers are arguments */

typedef struct weight {
    float *w, *grad, *h1, *h2;
} weight;

typedef struct update_args {
    const float *hyper, *each; /* of the first weight */
    weight weights[MOST];
    int64_t count[MOST], first[MOST]; /* elements; the first block */
    float lr_mult, decay, momentum, momentum2, delta, rms_decay;
    int32_t rule, l1, num;
} update_args;

/* From a gradient and the histories to the step that is taken off the weight. */
DEVICE float step_of(const update_args *a, const weight *v, float rate, float g, int64_t i)
{
    float m = a->momentum, before = v->h1[i], step;
    switch (a->rule) {
    case DN_UPDATE_SGD:
        return v->h1[i] = m * before + rate * g;
    case DN_UPDATE_NESTEROV:
        v->h1[i] = m * before + rate * g;
        return (1 + m) * v->h1[i] - m * before;
    case DN_UPDATE_ADAGRAD:
        v->h1[i] = before + g * g;
        return rate * g / (sqrtf(v->h1[i]) + a->delta);
    case DN_UPDATE_RMSPROP:
        v->h1[i] = a->rms_decay * before + (1 - a->rms_decay) * g * g;
        return rate * g / (sqrtf(v->h1[i]) + a->delta);
    case DN_UPDATE_ADADELTA:
        v->h1[i] = m * before + (1 - m) * g * g;
        step = g * sqrtf((v->h2[i] + a->delta) / (v->h1[i] + a->delta));
        v->h2[i] = m * v->h2[i] + (1 - m) * step * step;
        return rate * step;
    default:
        v->h1[i] = m * before + (1 - m) * g;
        v->h2[i] = a->momentum2 * v->h2[i] + (1 - a->momentum2) * g * g;
        return rate * a->hyper[1] * v->h1[i] / (sqrtf(v->h2[i]) + a->delta);
    }
}

BLOCKS(update, update_args)
{
    int32_t k = 0;
    for (int32_t half = MOST / 2; half > 0; half /= 2)
        if (k + half < a->num && block >= a->first[k + half])
            k += half;
    const weight *v = &a->weights[k];
    int64_t begin = (block - a->first[k]) * SHARE;
    int64_t end = begin + SHARE < a->count[k] ? begin + SHARE : a->count[k];
    float rate = a->hyper[0] * (a->each ? a->each[2 * k] : a->lr_mult);
    float decay = a->each ? a->each[2 * k + 1] : a->decay;
    THREADS(t)
        for (int64_t i = begin + t; i < end; i += BLOCK) {
            float w = v->w[i], g = v->grad[i] * a->hyper[2] * a->hyper[3];
            if (decay != 0)
                g += decay * (a->l1 ? (float)((w > 0) - (w < 0)) : w);
            float step = step_of(a, v, rate, g, i);
            v->grad[i] = step;
            v->w[i] = w - step;
        }
}

static dn_status run_update(const dn_op *op, const dn_op_io *io)
{
    const dn_args_update *u = &op->args.update;
    int32_t own = u->rule == DN_UPDATE_ADADELTA || u->rule == DN_UPDATE_ADAM ? 4 : 3;
    int32_t num = cuda_has_in(op, 1) ? op->num_outputs / own : 1;
    update_args a = {cuda_in(op, io, 0)};
    a.lr_mult = (float)u->lr_mult;
    a.decay = (float)u->decay;
    a.momentum = (float)u->momentum;
    a.momentum2 = (float)u->momentum2;
    a.delta = (float)u->delta;
    a.rms_decay = (float)u->rms_decay;
    a.rule = u->rule;
    a.l1 = u->l1;
    for (int32_t first = 0; first < num; first += MOST) {
        int64_t blocks = 0;
        a.each = cuda_has_in(op, 1) ? cuda_in(op, io, 1) + 2 * first : NULL;
        a.num = num - first < MOST ? num - first : MOST;
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
