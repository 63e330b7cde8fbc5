/* SPDX-License-Identifier: BSD-2-Clause
 * rank.c: RANK: rows are sorted; each round then takes the elements of one key. */
#include "ref.h"

static dn_status check_rank(dn_op *op)
{
    const dn_args_rank *a = &op->args.rank;
    int64_t count;
    REF_TRY(ref_count3(op, a->outer, a->dim, 1, &count));
    if (a->most < 0 || a->dim > 1 << 24)
        return ref_fail(op, DN_E_SHAPE, "ranks among %lld, the first %lld", (long long)a->dim,
                        (long long)a->most);
    op->scratch = (size_t)a->dim * sizeof(ref_scored);
    return REF_NEED(op, count, count, count);
}

static void rank_row(const dn_args_rank *a, const double *x, const double *key, double *y,
                     ref_scored *list)
{
    int64_t count = a->dim;
    for (int64_t i = 0; i < count; i++)
        list[i] = (ref_scored){x[i], i};
    ref_sort(list, count);
    while (count > 0) {
        int64_t left = 0, rank = 0, first = list[0].index;
        for (int64_t i = 0; i < count; i++) {
            int64_t at = list[i].index;
            if (i > 0 && key && key[at] != key[first]) {
                list[left++] = list[i];
                continue;
            }
            y[at] = (double)(a->most == 0 ? rank : rank < a->most);
            rank++;
        }
        count = left;
    }
}

dn_status ref_run_rank_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_rank *a = &op->args.rank;
    const double *x = io->in[0], *key = ref_in(op, io, 1);
    for (int64_t o = 0; o < a->outer; o++)
        rank_row(a, x + o * a->dim, key ? key + o * a->dim : NULL,
                 (double *)io->out[0] + o * a->dim, io->scratch);
    return DN_OK;
}

const ref_kind ref_rank = {"RANK", "Tt:T", sizeof(dn_args_rank), 0, check_rank, REF_WIDE(rank)};
