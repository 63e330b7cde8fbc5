/* SPDX-License-Identifier: BSD-2-Clause
 * place.c: see place.h. Quick where few tensors are alive at once, as of a recurrent layer that
 * has some for every step; looking for middles can take the third power of their number, so
 * that of too many none is looked for. */
#include "plan/place.h"

#include <stdlib.h>

/* Tensors of a net are whole pages, so that in all of them an op's step would be at the same
 * place of a page, where loads wait for stores to another and lines throw each other out. Large
 * ones are so much longer; a half half as much: what fits into the place of two still does. */
enum { MOST_MIDDLES = 2048, STAGGER = 8192, LINES = 128 };

/* An item, and of those that are placed a treap by offset, then by life: its shape changes no
 * result. Subtrees of other times are passed over. */
typedef struct spot {
    dni_place_item *item;
    struct spot *side[2];
    size_t first, last; /* of the lives in this subtree */
} spot;

static int larger_first(const void *a, const void *b)
{
    const dni_place_item *p = ((const spot *)a)->item, *q = ((const spot *)b)->item;
    if (p->bytes != q->bytes)
        return p->bytes < q->bytes ? 1 : -1;
    return p < q ? -1 : p > q; /* a total order: the same program gets the same places */
}

static bool alive_together(const dni_place_item *a, const dni_place_item *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* By where it lies in memory: nobody can choose tensors that make a tree a list. */
static uint64_t rank_of(const spot *s)
{
    uint64_t h = (uintptr_t)s * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
}

static void find_lives(spot *s)
{
    s->first = s->item->first;
    s->last = s->item->last;
    for (int i = 0; i < 2; i++)
        if (s->side[i]) {
            s->first = s->side[i]->first < s->first ? s->side[i]->first : s->first;
            s->last = s->side[i]->last > s->last ? s->side[i]->last : s->last;
        }
}

static spot *insert(spot *root, spot *s)
{
    if (!root) {
        find_lives(s);
        return s;
    }
    const dni_place_item *a = root->item, *b = s->item;
    bool after = a->offset == b->offset ? a->first < b->first : a->offset < b->offset;
    spot *child = root->side[after] = insert(root->side[after], s);
    if (rank_of(child) > rank_of(root)) {
        root->side[after] = child->side[!after];
        child->side[!after] = root;
        find_lives(root);
        root = child;
    }
    find_lives(root);
    return root;
}

typedef struct search {
    const dni_place_item *item;
    const spot *others;   /* that lie somewhere, the largest first */
    size_t count;         /* of them, to lie around the middle of; 0: as low as can be */
    size_t from;          /* where the present gap begins */
    size_t lowest;        /* the first gap where the item fits */
    size_t bytes, middle; /* of the largest item around whose middle it fits */
} search;

/* Of a gap that ends at `to`: does the item fit, and where around the middle of the largest
 * item that lies there at another time? */
static void try_gap(search *s, size_t to)
{
    const dni_place_item *item = s->item;
    if (to < s->from + item->bytes)
        return;
    s->lowest = s->from < s->lowest ? s->from : s->lowest;
    for (size_t i = 0; i < s->count; i++) {
        const dni_place_item *q = s->others[i].item;
        size_t middle = q->offset + q->bytes / 2, half = item->bytes / 2;
        if (q->bytes < s->bytes || middle < s->from + half)
            continue;
        size_t at = (middle - half) & ~(size_t)63;
        if (at >= s->from && at + item->bytes <= to &&
            (q->bytes > s->bytes || at < s->middle)) {
            s->middle = at;
            s->bytes = q->bytes;
        }
    }
}

static void pass(search *s, const spot *t)
{
    if (!t || t->first > s->item->last || t->last < s->item->first ||
        (s->lowest != SIZE_MAX && !s->count))
        return;
    pass(s, t->side[0]);
    if (alive_together(t->item, s->item)) {
        size_t end = t->item->offset + t->item->bytes;
        try_gap(s, t->item->offset);
        s->from = end > s->from ? end : s->from;
    }
    pass(s, t->side[1]);
}

/* spots: the largest first. */
static size_t place_all(spot *spots, size_t count, bool middles)
{
    size_t total = 0;
    spot *root = NULL;
    for (size_t i = 0; i < count; i++) {
        dni_place_item *item = spots[i].item;
        search s = {
            .item = item, .others = spots, .count = middles ? i : 0, .lowest = SIZE_MAX};
        pass(&s, root);
        try_gap(&s, total);
        size_t lowest = s.lowest < s.from ? s.lowest : s.from;
        item->offset = s.bytes ? s.middle : lowest;
        spots[i] = (spot){.item = item};
        root = insert(root, &spots[i]);
        size_t end = item->offset + item->bytes;
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
    spot *spots = dni_alloc(heap, count, sizeof *spots);
    if (!spots)
        return DN_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        spots[i].item = &items[i];
    qsort(spots, count, sizeof *spots, larger_first);
    size_t least = place_all(spots, count, false);
    *total = count > MOST_MIDDLES ? least : place_all(spots, count, true);
    if (*total > least)
        *total = place_all(spots, count, false);
    dni_free(heap, spots);
    return DN_OK;
}
