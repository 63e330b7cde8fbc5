/* SPDX-License-Identifier: BSD-2-Clause
 * place.c: see place.h. Quadratic in the number of tensors, which is a few thousand at most. */
#include "plan/place.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const dni_place_item *p = *(dni_place_item *const *)a, *q = *(dni_place_item *const *)b;
    if (p->bytes != q->bytes)
        return p->bytes < q->bytes ? 1 : -1;
    return p < q ? -1 : p > q; /* a total order: the same program gets the same places */
}

static bool alive_together(const dni_place_item *a, const dni_place_item *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* placed: sorted by offset. Returns the lowest offset where item fits. */
static size_t lowest_gap(dni_place_item *const *placed, size_t count,
                         const dni_place_item *item)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        if (!alive_together(placed[i], item))
            continue;
        if (placed[i]->offset >= offset + item->bytes)
            break;
        size_t end = placed[i]->offset + placed[i]->bytes;
        offset = end > offset ? end : offset;
    }
    return offset;
}

static void insert_by_offset(dni_place_item **placed, size_t count, dni_place_item *item)
{
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > item->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = item;
}

dn_status dni_place(const dni_heap *heap, dni_place_item *items, size_t count, size_t *total)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!dni_add(items[i].bytes, 63, &items[i].bytes))
            return dni_fail(DN_E_SHAPE, "a tensor is too large for this machine");
        items[i].bytes &= ~(size_t)63;
        if (!dni_add(sum, items[i].bytes, &sum))
            return dni_fail(DN_E_SHAPE, "the net's tensors are too large for this machine");
    }
    dni_place_item **order = dni_alloc(heap, 2 * count + 1, sizeof *order);
    if (!order)
        return DN_E_NOMEM;
    dni_place_item **placed = order + count;
    for (size_t i = 0; i < count; i++)
        order[i] = &items[i];
    qsort(order, count, sizeof *order, larger_first);
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        order[i]->offset = lowest_gap(placed, i, order[i]);
        insert_by_offset(placed, i, order[i]);
        size_t end = order[i]->offset + order[i]->bytes;
        *total = end > *total ? end : *total;
    }
    dni_free(heap, order);
    return DN_OK;
}
