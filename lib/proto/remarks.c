/* SPDX-License-Identifier: BSD-2-Clause
 * remarks.c: what a text says beside its message: comments, and fields that the schema lacks.
 * Each hangs on a field of a message by name, so that it goes with the field when an upgrade
 * moves it; what hangs on nothing that is printed comes at the end of its message. */
#include <stdlib.h>
#include <string.h>

#include "proto/remarks.h"

typedef struct remark {
    const void *message;
    const char *field; /* a descriptor's; NULL: the message's end */
    size_t index, order;
    dni_remark_kind kind;
    bool printed;
    char *text;
} remark;

struct dni_remarks {
    remark *items;
    size_t count, capacity;
    bool sorted;
};

dn_status dni_remarks_create(dni_remarks **out, const dni_heap *heap)
{
    *out = dni_alloc(heap, 1, sizeof **out);
    return *out ? DN_OK : DN_E_NOMEM;
}

void dni_remarks_free(dni_remarks *r, const dni_heap *heap)
{
    for (size_t i = 0; r && i < r->count; i++)
        dni_free(heap, r->items[i].text);
    if (r)
        dni_free(heap, r->items);
    dni_free(heap, r);
}

dn_status dni_remarks_add(dni_remarks *r, const dni_heap *heap, dni_remark_kind kind,
                          const void *message, const char *field, size_t index,
                          const char *text, size_t size)
{
    if (!r || !size)
        return DN_OK;
    dn_status st = dni_grow(heap, &r->items, &r->capacity, r->count + 1, sizeof *r->items);
    char *copy = st ? NULL : dni_strndup(heap, text, size);
    if (!copy)
        return DN_E_NOMEM;
    r->items[r->count] = (remark){message, field, index, r->count, kind, false, copy};
    r->count++;
    r->sorted = false;
    return DN_OK;
}

void dni_remarks_move(dni_remarks *r, const void *from, const char *field, size_t index,
                      const void *to, const char *to_field, size_t to_index)
{
    for (size_t i = 0; r && i < r->count; i++) {
        remark *m = &r->items[i];
        bool all = !field;
        if (m->message != from || (!all && (!m->field || strcmp(m->field, field))) ||
            (!all && index != DNI_ANY_INDEX && m->index != index))
            continue;
        m->message = to;
        if (!all) {
            m->field = to_field;
            m->index = index == DNI_ANY_INDEX ? m->index + to_index : to_index;
        }
        r->sorted = false;
    }
}

/* ---- printing ---------------------------------------------------------------------------- */

static int by_field(const remark *a, const void *message, const char *field, size_t index)
{
    if (a->message != message)
        return (uintptr_t)a->message < (uintptr_t)message ? -1 : 1;
    int names = !a->field || !field ? !!a->field - !!field : strcmp(a->field, field);
    return names ? names : (a->index > index) - (a->index < index);
}

static int compare(const void *left, const void *right)
{
    const remark *a = left, *b = right;
    int order = by_field(a, b->message, b->field, b->index);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* The first remark that is not before these. */
static size_t find(const dni_remarks *r, const void *message, const char *field, size_t index)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_field(&r->items[middle], message, field, index) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void print_lines(dni_text *out, const char *text, int32_t indent)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length)
            dni_text_printf(out, "%*s", (int)indent, "");
        dni_text_append(out, text, length);
        dni_text_append(out, "\n", 1);
        text += length + (text[length] == '\n');
    }
}

static void print_beside(dni_text *out, const char *text)
{
    if (out->size && out->data[out->size - 1] == '\n')
        out->size--;
    dni_text_printf(out, "  %s", text);
    if (out->data[out->size - 1] != '\n')
        dni_text_append(out, "\n", 1);
}

void dni_remarks_print(dni_remarks *r, dni_text *out, dni_remark_kind kind, const void *message,
                       const char *field, size_t index, int32_t indent)
{
    if (!r || out->failed)
        return;
    if (!r->sorted)
        qsort(r->items, r->count, sizeof *r->items, compare);
    r->sorted = true;
    for (size_t i = find(r, message, field, index);
         i < r->count && by_field(&r->items[i], message, field, index) == 0; i++) {
        remark *m = &r->items[i];
        if (m->kind != kind || m->printed)
            continue;
        m->printed = true;
        if (kind == DNI_REMARK_BESIDE)
            print_beside(out, m->text);
        else
            print_lines(out, m->text, indent);
    }
}

void dni_remarks_print_rest(dni_remarks *r, dni_text *out, const void *message, int32_t indent)
{
    if (!r || !r->count)
        return;
    dni_remarks_print(r, out, DNI_REMARK_UNKNOWN, message, NULL, 0, indent); /* sorts */
    for (size_t i = find(r, message, NULL, 0); i < r->count && r->items[i].message == message;
         i++) {
        if (!r->items[i].printed)
            print_lines(out, r->items[i].text, indent);
        r->items[i].printed = true;
    }
}

size_t dni_remarks_unknown(const dni_remarks *r)
{
    size_t count = 0;
    for (size_t i = 0; r && i < r->count; i++)
        count += r->items[i].kind == DNI_REMARK_UNKNOWN;
    return count;
}
