/* SPDX-License-Identifier: BSD-2-Clause
 * rank.cu: RANK: rows are ordered by key, then by value, as one number of 64 bits: an element's
 * rank is its place less that of the first of its key. */
#include "order.cuh"

typedef struct rank_args {
    const float *x, *key;
    float *y;
    int64_t dim, most;
    ordered o;
} rank_args;

/* In the order of numbers; of those that are none: 0. */
DEVICE uint32_t rank_bits(float x)
{
    uint32_t word = bits_of(x == 0 ? 0 : x);
    return x != x ? 0 : word >> 31 ? ~word : word | (uint32_t)1 << 31;
}

/* -infinity and what is no number are equally bad. */
DEVICE uint32_t rank_value(float x)
{
    return rank_bits(x == x ? x : -INFINITY);
}

/* i: an element of y */
MAP(rank_key, rank_args)
{
    a->o.key[i] = (uint64_t)(a->key ? rank_bits(a->key[i]) : 1) << 32 | rank_value(a->x[i]);
}

/* i: one by the order of its piece. A key that is no number is no other's. */
MAP(rank_place, rank_args)
{
    int64_t row = quotient(i, a->dim), at = i - row * a->dim, before = 0;
    uint64_t own = a->o.key[i], best = own | 0xFFFFFFFFu;
    if (own >> 32)
        before = order_place(&a->o, row, at) -
                 (a->key ? order_before(&a->o, row, best, -1) : 0);
    a->y[row * a->dim + a->o.item[i]] =
        a->most == 0 ? (float)before : before < a->most ? 1.0f : 0.0f;
}

static dn_status prepare_rank(dn_op *op, dn_op_info *info)
{
    if (op->args.rank.dim > 1 << 20)
        return cuda_decline(info, "more than 2^20 in a row");
    op->scratch = (size_t)order_bytes(op->args.rank.outer, op->args.rank.dim);
    return DN_OK;
}

static dn_status run_rank(const dn_op *op, const dn_op_io *io)
{
    const dn_args_rank *r = &op->args.rank;
    rank_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                   r->dim, r->most, order_in(io->scratch, r->outer, r->dim)};
    rank_key(op, &a, op->out[0].count);
    order_sort(op, &a.o, r->outer * a.o.pieces);
    rank_place(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_rank = {"RANK", sizeof(dn_args_rank), prepare_rank, run_rank};
