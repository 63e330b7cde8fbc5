/* SPDX-License-Identifier: BSD-2-Clause
 * locations.c: a list of (message, line, column); the few looks at it are for error messages. */
#include "proto/proto.h"

typedef struct location {
    const void *message;
    int32_t line, column;
} location;

struct dni_locations {
    char *file;
    location *items;
    size_t count, capacity;
};

dn_status dni_locations_create(dni_locations **out, const dni_heap *heap, const char *file)
{
    dni_locations *l = dni_alloc(heap, 1, sizeof *l);
    if (!l)
        return DN_E_NOMEM;
    l->file = dni_strdup(heap, file);
    if (!l->file) {
        dni_free(heap, l);
        return DN_E_NOMEM;
    }
    *out = l;
    return DN_OK;
}

void dni_locations_free(dni_locations *l, const dni_heap *heap)
{
    if (!l)
        return;
    dni_free(heap, l->file);
    dni_free(heap, l->items);
    dni_free(heap, l);
}

dn_status dni_locations_add(dni_locations *l, const dni_heap *heap, const void *message,
                            int32_t line, int32_t column)
{
    if (!l)
        return DN_OK;
    dn_status st = dni_grow(heap, &l->items, &l->capacity, l->count + 1, sizeof *l->items);
    if (!st)
        l->items[l->count++] = (location){message, line, column};
    return st;
}

bool dni_locations_find(const dni_locations *l, const void *message, int32_t *line,
                        int32_t *column)
{
    for (size_t i = l ? l->count : 0; i-- > 0;)
        if (l->items[i].message == message) {
            *line = l->items[i].line;
            *column = l->items[i].column;
            return true;
        }
    return false;
}

dn_status dni_locations_move(dni_locations *l, const dni_heap *heap, const void *from,
                             const void *to)
{
    int32_t line, column;
    return dni_locations_find(l, from, &line, &column)
               ? dni_locations_add(l, heap, to, line, column)
               : DN_OK;
}

const char *dni_locations_file(const dni_locations *l)
{
    return l ? l->file : "";
}

dn_status dni_in_location(dn_status status, const dni_locations *l, const void *message)
{
    int32_t line, column;
    if (!status || !l)
        return status;
    if (dni_locations_find(l, message, &line, &column))
        return dni_in(status, "%s:%d:%d", l->file, line, column);
    return dni_in(status, "%s", l->file);
}
