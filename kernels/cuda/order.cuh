/* SPDX-License-Identifier: BSD-2-Clause
 * order.cuh: the place of each element in its row's order. A block sorts some thousand of them;
 * how many come before one is then looked up in each of those lists: no element is held against
 * each, and whatever comes in which order, the places are the same. */
#ifndef DN_KERNELS_CUDA_ORDER_CUH
#define DN_KERNELS_CUDA_ORDER_CUH

#include "grid.cuh"

#define ORDER_PIECE 2048 /* elements that a block sorts */

/* Rows of keys, the largest first, then the lower item; what has key 0 has no place. */
typedef struct ordered {
    uint64_t *key; /* (rows, dim): of element i of its row; sorted by pieces later */
    int32_t *item; /* (rows, dim): which element that was */
    int64_t dim, pieces;
} ordered;

static inline int64_t order_bytes(int64_t rows, int64_t dim)
{
    return rows * dim * (int64_t)(sizeof(uint64_t) + sizeof(int32_t));
}

/* memory: order_bytes of it, aligned for keys. */
static inline ordered order_in(void *memory, int64_t rows, int64_t dim)
{
    ordered o = {(uint64_t *)memory, NULL, dim, (dim + ORDER_PIECE - 1) / ORDER_PIECE};
    o.item = (int32_t *)(o.key + rows * dim);
    return o;
}

/* In the order of numbers, of which -0 is 0 and NaN is -infinity; none has key 0. */
DEVICE uint64_t order_key(double x)
{
    union {
        double d;
        uint64_t u;
    } word;
    word.d = x != x ? -INFINITY : x == 0 ? 0 : x;
    return word.u >> 63 ? ~word.u : word.u | (uint64_t)1 << 63;
}

/* block: a piece of a row */
BLOCKS(order_sort, ordered)
{
    SHARED uint64_t key[ORDER_PIECE];
    SHARED int32_t item[ORDER_PIECE];
    int64_t row = quotient(block, a->pieces), begin = (block - row * a->pieces) * ORDER_PIECE;
    int64_t first = row * a->dim + begin;
    int count = (int)(a->dim - begin < ORDER_PIECE ? a->dim - begin : ORDER_PIECE), all = 2;
    while (all < count)
        all *= 2;
    THREADS(t)
        for (int k = t; k < all; k += BLOCK) {
            key[k] = k < count ? a->key[first + k] : 0;
            item[k] = (int32_t)begin + k;
        }
    for (int size = 2; size <= all; size *= 2) /* bitonic */
        for (int step = size / 2; step > 0; step /= 2)
            THREADS(t)
                for (int k = t; k < all / 2; k += BLOCK) {
                    int i = k + (k & ~(step - 1)), j = i + step;
                    bool before = key[i] > key[j] || (key[i] == key[j] && item[i] < item[j]);
                    if (before != !(i & size)) {
                        uint64_t other = key[i];
                        int32_t which = item[i];
                        key[i] = key[j];
                        item[i] = item[j];
                        key[j] = other;
                        item[j] = which;
                    }
                }
    THREADS(t)
        for (int k = t; k < count; k += BLOCK) {
            a->key[first + k] = key[k];
            a->item[first + k] = item[k];
        }
}

/* How many of a piece's sorted keys are larger, or (equal) not smaller. */
DEVICE int order_larger(const uint64_t *key, int count, uint64_t own, bool equal)
{
    int from = 0, to = count;
    while (from < to) {
        int middle = (from + to) / 2;
        if (key[middle] > own || (equal && key[middle] == own))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* How many of a row come before one that has this key; of equal ones those of the pieces up to
 * `tied`. */
DEVICE int64_t order_before(const ordered *a, int64_t row, uint64_t own, int64_t tied)
{
    int64_t before = 0;
    for (int64_t p = 0; p < a->pieces; p++) {
        int64_t begin = p * ORDER_PIECE, left = a->dim - begin;
        before += order_larger(a->key + row * a->dim + begin,
                               (int)(left < ORDER_PIECE ? left : ORDER_PIECE), own, p <= tied);
    }
    return before;
}

/* The place of what a row's piece has at `at`, counted through the row. */
DEVICE int64_t order_place(const ordered *a, int64_t row, int64_t at)
{
    int64_t piece = at / ORDER_PIECE, begin = row * a->dim + piece * ORDER_PIECE;
    uint64_t own = a->key[row * a->dim + at];
    int64_t left = a->dim - piece * ORDER_PIECE, before = order_before(a, row, own, piece - 1);
    /* of the own piece: all up to it */
    return before + at - piece * ORDER_PIECE -
           order_larger(a->key + begin, (int)(left < ORDER_PIECE ? left : ORDER_PIECE), own,
                        false);
}

#endif
