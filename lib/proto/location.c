/* SPDX-License-Identifier: BSD-2-Clause
 * location.c: where in a file a layer was written, and what was noted while reading. A list
 * that is searched from the end: it is asked only when something is to be said. */
#include <stdio.h>
#include <string.h>

#include "proto/proto.h"

dn_status dni_locations_create(dni_locations **out, const dni_heap *heap, const char *file)
{
    dni_locations *l = dni_alloc(heap, 1, sizeof(*l));
    if (!l)
        return DN_E_NOMEM;
    l->heap = heap;
    l->file = dni_strdup(heap, file ? file : "");
    if (!l->file) {
        dni_free(heap, l);
        return DN_E_NOMEM;
    }
    *out = l;
    return DN_OK;
}

void dni_locations_free(dni_locations *locations)
{
    if (!locations)
        return;
    const dni_heap *heap = locations->heap;
    for (size_t i = 0; i < locations->num_notes; i++)
        dni_free(heap, locations->notes[i].text);
    dni_free(heap, locations->notes);
    dni_free(heap, locations->places);
    dni_free(heap, locations->file);
    dni_free(heap, locations);
}

dn_status dni_locations_add(dni_locations *l, const void *message, int32_t line, int32_t column)
{
    dn_status st = dni_grow(l->heap, &l->places, &l->cap_places, l->num_places + 1,
                            sizeof(*l->places));
    if (!st)
        l->places[l->num_places++] = (dni_place){message, line, column};
    return st;
}

static dni_place *find(const dni_locations *l, const void *message)
{
    for (size_t i = l && message ? l->num_places : 0; i-- > 0;)
        if (l->places[i].message == message)
            return &l->places[i];
    return NULL;
}

void dni_locations_move(dni_locations *locations, const void *from, const void *to)
{
    dni_place *place = find(locations, from);
    if (place)
        place->message = to;
}

bool dni_locations_find(const dni_locations *locations, const void *message, int32_t *line,
                        int32_t *column)
{
    const dni_place *place = find(locations, message);
    if (!place)
        return false;
    *line = place->line;
    *column = place->column;
    return true;
}

dn_status dni_locations_note(dni_locations *l, const void *message, int32_t line,
                             int32_t column, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!l)
        return DN_OK;
    dni_locations_find(l, message, &line, &column);
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char *copy = dni_strdup(l->heap, length < 0 ? "" : text);
    dn_status st = copy ? dni_grow(l->heap, &l->notes, &l->cap_notes, l->num_notes + 1,
                                   sizeof(*l->notes))
                        : DN_E_NOMEM;
    if (st) {
        dni_free(l->heap, copy);
        return st;
    }
    l->notes[l->num_notes++] = (dni_note){line, column, copy};
    return DN_OK;
}

dn_status dni_in_location(dn_status status, const dni_locations *locations, const void *message)
{
    const dni_place *place = find(locations, message);
    if (!locations || !locations->file[0])
        return status;
    if (place)
        return dni_in(status, "%s:%d:%d", locations->file, (int)place->line,
                      (int)place->column);
    return dni_in(status, "%s", locations->file);
}
