/* SPDX-License-Identifier: BSD-2-Clause
 * index.c: a hash table of numbers, kept as chains through arrays: the last added comes first.
 * Which keys share a chain depends on where the table lies in memory: nobody can choose names
 * that do. */
#include <string.h>

#include "core/core.h"

static uint32_t hash_of(const dni_index *x, const void *key, size_t size)
{
    uint64_t h = x->seed;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ ((const unsigned char *)key)[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return (uint32_t)h;
}

/* As many chains as numbers; each is in its chain anew. */
static dn_status make_room(dni_index *x, const dni_heap *heap, size_t id)
{
    size_t before = x->capacity;
    dn_status st = dni_grow(heap, &x->links, &x->capacity, id + 1, sizeof *x->links);
    if (st || x->capacity == before)
        return st;
    if (!before)
        x->seed = (uintptr_t)x->links;
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

dn_status dni_index_add(dni_index *x, const dni_heap *heap, size_t id, const void *key,
                        size_t size)
{
    dn_status st = make_room(x, heap, id);
    if (st)
        return st;
    uint32_t hash = hash_of(x, key, size);
    dni_index_link *l = &x->links[hash % x->capacity];
    x->links[id].known = true;
    x->links[id].hash = hash;
    x->links[id].next = l->first;
    l->first = (int32_t)id;
    return DN_OK;
}

int32_t dni_index_first(const dni_index *x, const void *key, size_t size)
{
    return x->capacity ? x->links[hash_of(x, key, size) % x->capacity].first : -1;
}
