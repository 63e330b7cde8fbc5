/* SPDX-License-Identifier: BSD-2-Clause
 * order.c: sorting by score, and suppression. The order is one whatever the scores are, and so
 * is the result. */
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

int64_t ref_suppress(ref_scored *list, int64_t count, const dn_box *boxes, double nms,
                     double eta, double one, int64_t most)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count && kept < most; i++) {
        int64_t k = 0;
        while (k < kept && dn_box_iou(&boxes[list[i].index], &boxes[list[k].index], one) <= nms)
            k++;
        if (k < kept)
            continue;
        list[kept++] = list[i];
        if (eta < 1 && nms > 0.5)
            nms *= eta;
    }
    return kept;
}
