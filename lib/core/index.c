/* SPDX-License-Identifier: BSD-2-Clause
 * index.c: a hash table of numbers, kept as chains through arrays: the last added comes first.
 */
#include <string.h>

#include "core/core.h"

uint32_t dni_hash(const char *text)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h ^ h >> 15;
}

/* As many chains as numbers; each is in its chain anew. */
static dn_status make_room(dni_index *x, const dni_heap *heap, size_t id)
{
    size_t before = x->capacity;
    dn_status st = dni_grow(heap, &x->links, &x->capacity, id + 1, sizeof *x->links);
    if (st || x->capacity == before)
        return st;
    for (size_t i = 0; i < x->capacity; i++)
        x->links[i].first = -1;
    for (size_t i = 0; i < before; i++)
        if (x->links[i].known) {
            dni_index_link *l = &x->links[x->links[i].hash % x->capacity];
            x->links[i].next = l->first;
            l->first = (int32_t)i;
        }
    return DN_OK;
}

dn_status dni_index_add(dni_index *x, const dni_heap *heap, size_t id, uint32_t hash)
{
    dn_status st = make_room(x, heap, id);
    if (st)
        return st;
    dni_index_link *l = &x->links[hash % x->capacity];
    x->links[id].known = true;
    x->links[id].hash = hash;
    x->links[id].next = l->first;
    l->first = (int32_t)id;
    return DN_OK;
}

int32_t dni_index_first(const dni_index *x, uint32_t hash)
{
    return x->capacity ? x->links[hash % x->capacity].first : -1;
}
