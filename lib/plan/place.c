/* SPDX-License-Identifier: BSD-2-Clause
 * place.c: see place.h. Items that are placed are in blocks by offset, so that those of other
 * times, or with no gap between, are passed over together; looking for middles can take the
 * third power of their number, so that of too many (a recurrent layer has some for every step)
 * none is looked for. */
#include "plan/place.h"

#include <stdlib.h>
#include <string.h>

/* Tensors of a net are whole pages, so that in all of them an op's step would be at the same
 * place of a page, where loads wait for stores to another and lines throw each other out. Large
 * ones are so much longer; a half half as much: what fits into the place of two still does. */
enum { MOST_MIDDLES = 2048, STAGGER = 8192, LINES = 128 };

enum { BLOCK = 64 };

/* Items that are placed, sorted by offset, and what is true of all of them. */
typedef struct block {
    struct block *next;
    size_t count;
    size_t first, last; /* the earliest and the latest op of their lives; and the latest */
    size_t start, stop; /* first, the earliest last: who lives in both meets all of them */
    size_t end, gap;    /* behind them all; the largest gap between them */
    dni_place_item items[BLOCK];
} block;

static int larger_first(const void *a, const void *b)
{
    const dni_place_item *p = *(dni_place_item *const *)a, *q = *(dni_place_item *const *)b;
    if (p->bytes != q->bytes)
        return p->bytes < q->bytes ? 1 : -1;
    return p < q ? -1 : p > q; /* a total order: the same program gets the same places */
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void sum_up(block *b)
{
    b->last = b->start = b->gap = 0;
    b->first = b->stop = SIZE_MAX;
    b->end = b->items[0].offset;
    for (size_t i = 0; i < b->count; i++) {
        const dni_place_item *q = &b->items[i];
        b->gap = most(b->gap, most(q->offset, b->end) - b->end);
        b->end = most(b->end, q->offset + q->bytes);
        b->last = most(b->last, q->last);
        b->start = most(b->start, q->first);
        b->first = q->first < b->first ? q->first : b->first;
        b->stop = q->last < b->stop ? q->last : b->stop;
    }
}

static bool meets(const dni_place_item *item, size_t first, size_t last)
{
    return item->first <= last && first <= item->last;
}

/* Of items [0, count), the largest first: where around the middle of the largest that lies in
 * this gap at another time, and is no smaller than *bytes, there is room. */
static void look_for_middle(dni_place_item *const *order, size_t count,
                            const dni_place_item *item, size_t from, size_t to, size_t *bytes,
                            size_t *offset)
{
    for (size_t i = 0; i < count && order[i]->bytes >= *bytes; i++) {
        const dni_place_item *q = order[i];
        size_t middle = q->offset + q->bytes / 2, half = item->bytes / 2;
        if (middle < from + half)
            continue;
        size_t at = (middle - half) & ~(size_t)63;
        if (at >= from && at + item->bytes <= to && (q->bytes > *bytes || at < *offset)) {
            *offset = at;
            *bytes = q->bytes;
        }
    }
}

typedef struct search {
    dni_place_item *const *order; /* what is placed, the largest first */
    size_t count;                 /* of it, to lie around the middle of; 0: as low as can be */
    const dni_place_item *item;
    size_t from;          /* where the present gap begins */
    size_t lowest;        /* the first where the item fits */
    size_t bytes, middle; /* of what it fits around the middle of */
} search;

/* In the gap that ends at `to`, or is the last, the item fits; false: nothing more is looked
 * for. */
static bool end_gap(search *s, size_t to)
{
    s->lowest = s->from < s->lowest ? s->from : s->lowest;
    look_for_middle(s->order, s->count, s->item, s->from, to, &s->bytes, &s->middle);
    return s->count > 0;
}

static bool pass(search *s, const block *b)
{
    const dni_place_item *item = s->item;
    if (!meets(item, b->first, b->last) || b->end <= s->from)
        return true;
    bool whole = meets(item, b->start, b->stop) && b->gap < item->bytes;
    if (whole && b->items[0].offset < s->from + item->bytes) {
        s->from = b->end;
        return true;
    }
    for (size_t i = 0; i < b->count; i++) {
        const dni_place_item *q = &b->items[i];
        if (!meets(item, q->first, q->last))
            continue;
        if (q->offset >= s->from + item->bytes && !end_gap(s, q->offset))
            return false;
        s->from = most(s->from, q->offset + q->bytes);
    }
    return true;
}

/* The lowest offset where item `count` fits; or with `middles` the best of look_for_middle
 * below `total`, if there is one. */
static size_t find_gap(const block *b, dni_place_item *const *order, size_t count, bool middles,
                       size_t total)
{
    search s = {.order = order,
                .count = middles ? count : 0,
                .item = order[count],
                .lowest = SIZE_MAX,
                .bytes = 1,
                .middle = SIZE_MAX};
    bool more = true;
    for (; b && more; b = b->next)
        more = pass(&s, b);
    if (more)
        end_gap(&s, total);
    return s.middle < SIZE_MAX ? s.middle : s.lowest;
}

/* *free: the first of the blocks that hold nothing yet. */
static void insert_by_offset(block *b, block **free, const dni_place_item *item)
{
    while (b->next && b->next->items[0].offset <= item->offset)
        b = b->next;
    size_t at = b->count++;
    for (; at > 0 && b->items[at - 1].offset > item->offset; at--)
        b->items[at] = b->items[at - 1];
    b->items[at] = *item;
    if (b->count == BLOCK) {
        block *upper = (*free)++;
        upper->next = b->next;
        b->next = upper;
        upper->count = b->count = BLOCK / 2;
        memcpy(upper->items, b->items + BLOCK / 2, BLOCK / 2 * sizeof *b->items);
        sum_up(upper);
    }
    sum_up(b);
}

static size_t place_all(dni_place_item *const *order, size_t count, block *blocks, bool middles)
{
    size_t total = 0;
    block *free = blocks + 1;
    *blocks = (block){.count = 0};
    for (size_t i = 0; i < count; i++) {
        order[i]->offset = find_gap(blocks, order, i, middles, total);
        insert_by_offset(blocks, &free, order[i]);
        total = most(total, order[i]->offset + order[i]->bytes);
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
    dni_place_item **order = dni_alloc(heap, count, sizeof *order);
    block *blocks = dni_alloc(heap, count / (BLOCK / 2) + 1, sizeof *blocks);
    dn_status st = order && blocks ? DN_OK : DN_E_NOMEM;
    if (!st) {
        for (size_t i = 0; i < count; i++)
            order[i] = &items[i];
        qsort(order, count, sizeof *order, larger_first);
        size_t least = place_all(order, count, blocks, false);
        *total = count > MOST_MIDDLES ? least : place_all(order, count, blocks, true);
        if (*total > least)
            *total = place_all(order, count, blocks, false);
    }
    dni_free(blocks);
    dni_free(order);
    return st;
}
