/* SPDX-License-Identifier: BSD-2-Clause
 * place.c: see place.h. Quadratic in the number of tensors; looking for middles can take their
 * third power, so that of too many (a recurrent layer has some for every step) none is looked
 * for. */
#include "plan/place.h"

#include <stdlib.h>

/* Tensors of a net are whole pages, so that in all of them an op's step would be at the same
 * place of a page, where loads wait for stores to another and lines throw each other out. Large
 * ones are so much longer; a half half as much: what fits into the place of two still does. */
enum { MOST_MIDDLES = 2048, STAGGER = 8192, LINES = 128 };

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

/* Of a gap: where around the middle of the largest item that lies there at another time, and
 * is larger than *bytes, there is room. */
static void look_for_middle(dni_place_item *const *placed, size_t count,
                            const dni_place_item *item, size_t from, size_t to, size_t *bytes,
                            size_t *offset)
{
    for (size_t i = 0; i < count; i++) {
        const dni_place_item *q = placed[i];
        size_t middle = q->offset + q->bytes / 2, half = item->bytes / 2;
        if (q->bytes <= *bytes || middle < from + half)
            continue;
        size_t at = (middle - half) & ~(size_t)63;
        if (at >= from && at + item->bytes <= to) {
            *offset = at;
            *bytes = q->bytes;
        }
    }
}

/* placed: sorted by offset. Returns the lowest offset where item fits; or with `middles` the
 * best of look_for_middle below `total`, if there is one. */
static size_t find_gap(dni_place_item *const *placed, size_t count, const dni_place_item *item,
                       bool middles, size_t total)
{
    size_t from = 0, lowest = SIZE_MAX, bytes = 0, middle = 0;
    for (size_t i = 0; i <= count && (middles || lowest == SIZE_MAX); i++) {
        if (i < count && !alive_together(placed[i], item))
            continue;
        size_t to = i < count ? placed[i]->offset : total;
        if (i == count || to >= from + item->bytes) {
            lowest = from < lowest ? from : lowest;
            if (middles)
                look_for_middle(placed, count, item, from, to, &bytes, &middle);
        }
        size_t end = i < count ? to + placed[i]->bytes : 0;
        from = end > from ? end : from;
    }
    return bytes ? middle : lowest;
}

static void insert_by_offset(dni_place_item **placed, size_t count, dni_place_item *item)
{
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > item->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = item;
}

static size_t place_all(dni_place_item *const *order, dni_place_item **placed, size_t count,
                        bool middles)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        order[i]->offset = find_gap(placed, i, order[i], middles, total);
        insert_by_offset(placed, i, order[i]);
        size_t end = order[i]->offset + order[i]->bytes;
        total = end > total ? end : total;
    }
    return total;
}

dn_status dni_place(const dni_heap *heap, dni_place_item *items, size_t count, size_t *total)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t more = items[i].bytes / STAGGER & ~(size_t)(LINES - 1);
        if (!dni_add(items[i].bytes, 63 + more, &items[i].bytes))
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
    size_t least = place_all(order, placed, count, false);
    *total = count > MOST_MIDDLES ? least : place_all(order, placed, count, true);
    if (*total > least)
        *total = place_all(order, placed, count, false);
    dni_free(order);
    return DN_OK;
}
