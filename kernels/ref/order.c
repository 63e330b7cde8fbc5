/* SPDX-License-Identifier: BSD-2-Clause
 * order.c: sorting by score. The order is one whatever the scores are, and so is the result. */
#include <stdlib.h>

#include "ref.h"

static double finite_rank(double score)
{
    return score == score ? score : -HUGE_VAL;
}

static int by_score(const void *pa, const void *pb)
{
    const ref_scored *a = pa, *b = pb;
    double x = finite_rank(a->score), y = finite_rank(b->score);
    if (x != y)
        return x > y ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

void ref_sort(ref_scored *list, int64_t count)
{
    if (count > 1)
        qsort(list, (size_t)count, sizeof *list, by_score);
}
