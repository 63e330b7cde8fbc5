/* SPDX-License-Identifier: BSD-2-Clause
 * locations.c: a list of (message, line, column), and the notes. Looking starts where the last
 * look ended, since an upgrade asks for one layer after the other. */
#include <stdio.h>
#include <string.h>

#include "proto/proto.h"

typedef struct location {
    const void *message;
    int32_t line, column;
    char *unknown; /* NULL: the message's own place */
} location;

struct dni_locations {
    char *file;
    location *items;
    size_t count, capacity, next; /* next: where the upgrade will look first */
    size_t unknowns;              /* items from the first unknown on; 0: there is none */
    char **notes;
    size_t num_notes, cap_notes;
    dni_remarks *remarks; /* NULL: not kept */
};

dn_status dni_locations_create(dni_locations **out, const dni_heap *heap, const char *file)
{
    dni_locations *l = dni_alloc(heap, 1, sizeof *l);
    if (!l)
        return DN_E_NOMEM;
    l->file = dni_strdup(heap, file);
    if (!l->file) {
        dni_free(l);
        return DN_E_NOMEM;
    }
    *out = l;
    return DN_OK;
}

void dni_locations_free(dni_locations *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->num_notes; i++)
        dni_free(l->notes[i]);
    dni_free(l->notes);
    dni_remarks_free(l->remarks);
    for (size_t i = 0; i < l->count; i++)
        dni_free(l->items[i].unknown);
    dni_free(l->file);
    dni_free(l->items);
    dni_free(l);
}

dn_status dni_locations_add(dni_locations *l, const dni_heap *heap, const void *message,
                            int32_t line, int32_t column)
{
    if (!l)
        return DN_OK;
    dn_status st = dni_grow(heap, &l->items, &l->capacity, l->count + 1, sizeof *l->items);
    if (st)
        return st;
    l->items[l->count++] = (location){message, line, column, NULL};
    l->unknowns += l->unknowns > 0;
    return DN_OK;
}

dn_status dni_locations_add_unknown(dni_locations *l, const dni_heap *heap, const void *message,
                                    int32_t line, int32_t column, const char *name)
{
    dn_status st = dni_locations_add(l, heap, message, line, column);
    if (st)
        return st;
    l->unknowns += !l->unknowns;
    l->items[l->count - 1].unknown = dni_strdup(heap, name);
    return l->items[l->count - 1].unknown ? DN_OK : DN_E_NOMEM;
}

const char *dni_locations_find_unknown(const dni_locations *l, const void *message,
                                       int32_t *line, int32_t *column)
{
    for (size_t i = l ? l->count - l->unknowns : 0; l && i < l->count; i++)
        if (l->items[i].message == message && l->items[i].unknown) {
            *line = l->items[i].line;
            *column = l->items[i].column;
            return l->items[i].unknown;
        }
    return NULL;
}

bool dni_locations_find(const dni_locations *l, const void *message, int32_t *line,
                        int32_t *column)
{
    for (size_t i = l ? l->count : 0; i-- > 0;)
        if (l->items[i].message == message && !l->items[i].unknown) {
            *line = l->items[i].line;
            *column = l->items[i].column;
            return true;
        }
    return false;
}

dn_status dni_locations_move(dni_locations *l, const dni_heap *heap, const void *from,
                             const void *to)
{
    (void)heap; /* the entry is changed in place: nothing is left that names freed memory */
    for (size_t k = 0; l && k < l->count; k++) {
        size_t i = (l->next + k) % l->count;
        if (l->items[i].message == from) {
            l->items[i].message = to;
            l->next = i + 1;
            break;
        }
    }
    return DN_OK;
}

/* ---- notes ------------------------------------------------------------------------------- */

static dn_status add_note(dni_locations *l, const dni_heap *heap, int32_t line, int32_t column,
                          const char *format, va_list arguments)
{
    char text[512];
    if (vsnprintf(text, sizeof text, format, arguments) < 0)
        text[0] = 0;
    for (size_t i = 0; i < l->num_notes; i++) { /* said before, of another place */
        size_t size = strlen(l->notes[i]), tail = strlen(text);
        if (size > tail && !strcmp(l->notes[i] + size - tail, text))
            return DN_OK;
    }
    char *note = line ? dni_format(heap, "%s:%d:%d: %s", l->file, (int)line, (int)column, text)
                      : dni_format(heap, "%s: %s", l->file, text);
    dn_status st =
        note ? dni_grow(heap, &l->notes, &l->cap_notes, l->num_notes + 1, sizeof *l->notes)
             : DN_E_NOMEM;
    if (st)
        dni_free(note);
    else
        l->notes[l->num_notes++] = note;
    return st;
}

dn_status dni_locations_note_at(dni_locations *l, const dni_heap *heap, int32_t line,
                                int32_t column, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    dn_status st = l ? add_note(l, heap, line, column, format, arguments) : DN_OK;
    va_end(arguments);
    return st;
}

dn_status dni_locations_note(dni_locations *l, const dni_heap *heap, const void *message,
                             const char *format, ...)
{
    int32_t line = 0, column = 0;
    va_list arguments;
    va_start(arguments, format);
    dni_locations_find(l, message, &line, &column);
    dn_status st = l ? add_note(l, heap, line, column, format, arguments) : DN_OK;
    va_end(arguments);
    return st;
}

size_t dni_locations_num_notes(const dni_locations *l)
{
    return l ? l->num_notes : 0;
}

const char *dni_locations_get_note(const dni_locations *l, size_t index)
{
    return l && index < l->num_notes ? l->notes[index] : NULL;
}

const char *dni_locations_file(const dni_locations *l)
{
    return l ? l->file : "";
}

dn_status dni_locations_keep_remarks(dni_locations *l, const dni_heap *heap)
{
    return l->remarks ? DN_OK : dni_remarks_create(&l->remarks, heap);
}

dni_remarks *dni_locations_remarks(const dni_locations *l)
{
    return l ? l->remarks : NULL;
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
