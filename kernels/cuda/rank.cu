/* SPDX-License-Identifier: BSD-2-Clause
 * rank.cu: RANK: an element counts those of its row that come before it. Threads side by side
 * read the same element at once, so rows of some ten thousand take no time beside a network. */
#include "grid.cuh"

typedef struct rank_args {
    const float *x, *key;
    float *y;
    int64_t dim, most;
} rank_args;

DEVICE float rank_value(float x)
{
    return x == x ? x : -INFINITY;
}

/* i: an element of y */
MAP(rank, rank_args)
{
    int64_t row = quotient(i, a->dim), d = i - row * a->dim, before = 0;
    const float *x = a->x + row * a->dim, *key = a->key ? a->key + row * a->dim : NULL;
    float own = rank_value(x[d]);
    for (int64_t e = 0; e < a->dim; e++) {
        float other = rank_value(x[e]);
        bool first = other > own || (other == own && e < d);
        before += first && (!key || key[e] == key[d]);
    }
    a->y[i] = a->most == 0 ? (float)before : before < a->most ? 1.0f : 0.0f;
}

static dn_status prepare_rank(dn_op *op, dn_op_info *info)
{
    return op->args.rank.dim <= 1 << 20
               ? DN_OK
               : cuda_decline(info, "more than 2^20 in a row, each held against each");
}

static dn_status run_rank(const dn_op *op, const dn_op_io *io)
{
    rank_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                   op->args.rank.dim, op->args.rank.most};
    rank(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_rank = {"RANK", sizeof(dn_args_rank), prepare_rank, run_rank};
