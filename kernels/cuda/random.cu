/* SPDX-License-Identifier: BSD-2-Clause
 * random.cu: RANDOM, DROPOUT and its gradient. A thread draws one Philox block for the four
 * elements it makes: the same words, and the same arithmetic in double, as on the CPU. */
#include "grid.cuh"

#include "deepnet/sys/random.h"

#define TWO_PI 6.283185307179586

typedef struct random_args {
    const int64_t *state;
    float *y;
    int64_t count;
    uint64_t stream;
    double a, b;
    int32_t dist, add;
} random_args;

/* Box and Muller: elements 0, 1 and 2, 3 of a block share a pair of uniforms. */
DEVICE double gaussian(const uint32_t word[4], int k)
{
    double u = dn_random_unit(word[k & 2]), v = dn_random_unit(word[(k & 2) + 1]);
    double r = sqrt(-2 * log(1 - u));
    return k & 1 ? r * sin(TWO_PI * v) : r * cos(TWO_PI * v);
}

MAP(draw, random_args)
{
    uint32_t word[4];
    dn_random_block(word, (uint64_t)a->state[0], a->stream, (uint64_t)a->state[1], (uint64_t)i);
    for (int k = 0; k < 4; k++) {
        double value;
        if (4 * i + k >= a->count)
            return;
        if (a->dist == DN_DIST_UNIFORM)
            value = a->a + (a->b - a->a) * dn_random_unit(word[k]);
        else if (a->dist == DN_DIST_GAUSSIAN)
            value = a->a + a->b * gaussian(word, k);
        else
            value = dn_random_unit(word[k]) < a->a ? 1 : 0;
        put_wide(&a->y[4 * i + k], a->add, value);
    }
}

static dn_status run_random(const dn_op *op, const dn_op_io *io)
{
    const dn_args_random *r = &op->args.random;
    random_args a = {(const int64_t *)cuda_in(op, io, 0), cuda_out(op, io, 0),
                     op->out[0].count, r->stream, r->a, r->b, r->dist, cuda_adds(op, 0)};
    draw(op, &a, (a.count + 3) / 4);
    return DN_OK;
}

const cuda_kind cuda_random = {"RANDOM", sizeof(dn_args_random), NULL, run_random};

typedef struct dropout_args {
    const float *x;
    const int64_t *state;
    float *y;
    uint8_t *mask;
    int64_t count;
    uint64_t stream;
    double ratio;
    float scale;
    int32_t add;
} dropout_args;

MAP(dropout, dropout_args)
{
    uint32_t word[4];
    dn_random_block(word, (uint64_t)a->state[0], a->stream, (uint64_t)a->state[1], (uint64_t)i);
    for (int k = 0; k < 4; k++) {
        int64_t at = 4 * i + k;
        if (at >= a->count)
            return;
        uint8_t kept = dn_random_unit(word[k]) > a->ratio;
        a->mask[at] = kept;
        put(&a->y[at], a->add, a->x[at] * (float)kept * a->scale);
    }
}

MAP(dropout_bwd, dropout_args)
{
    put(&a->y[i], a->add, a->x[i] * (float)a->mask[i] * a->scale);
}

static dn_status run_dropout(const dn_op *op, const dn_op_io *io)
{
    const dn_args_dropout *d = &op->args.dropout;
    dropout_args a = {cuda_in(op, io, 0), (const int64_t *)cuda_in(op, io, 1),
                      cuda_out(op, io, 0), (uint8_t *)cuda_out(op, io, 1), op->out[0].count,
                      d->stream, d->ratio, (float)d->scale, cuda_adds(op, 0)};
    dropout(op, &a, (a.count + 3) / 4);
    return DN_OK;
}

const cuda_kind cuda_dropout = {"DROPOUT", sizeof(dn_args_dropout), NULL, run_dropout};

static dn_status run_dropout_bwd(const dn_op *op, const dn_op_io *io)
{
    dropout_args a = {cuda_in(op, io, 0), NULL, cuda_out(op, io, 0),
                      (uint8_t *)io->in[1], op->out[0].count, 0, 0,
                      (float)op->args.dropout.scale, cuda_adds(op, 0)};
    dropout_bwd(op, &a, a.count);
    return DN_OK;
}

const cuda_kind cuda_dropout_bwd = {"DROPOUT_BWD", sizeof(dn_args_dropout), NULL,
                                    run_dropout_bwd};
