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

typedef struct move {
    const void *from;
    const char *field;
    size_t index;
    const void *to;
    const char *to_field;
    size_t to_index;
} move;

struct dni_remarks {
    remark *items;
    size_t count, capacity;
    bool sorted;
    move *moves; /* that are not settled yet */
    size_t num_moves, cap_moves;
};

dn_status dni_remarks_create(dni_remarks **out, const dni_heap *heap)
{
    *out = dni_alloc(heap, 1, sizeof **out);
    return *out ? DN_OK : DN_E_NOMEM;
}

void dni_remarks_free(dni_remarks *r)
{
    for (size_t i = 0; r && i < r->count; i++)
        dni_free(r->items[i].text);
    if (r) {
        dni_free(r->items);
        dni_free(r->moves);
    }
    dni_free(r);
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

/* ---- moving ------------------------------------------------------------------------------ */

dn_status dni_remarks_move(dni_remarks *r, const dni_heap *heap, const void *from,
                           const char *field, size_t index, const void *to,
                           const char *to_field, size_t to_index)
{
    if (!r)
        return DN_OK;
    dn_status st = dni_grow(heap, &r->moves, &r->cap_moves, r->num_moves + 1, sizeof *r->moves);
    if (!st)
        r->moves[r->num_moves++] = (move){from, field, index, to, to_field, to_index};
    return st;
}

static int by_place(const void *message, const char *field, size_t index,
                    const void *other_message, const char *other_field, size_t other_index)
{
    if (message != other_message)
        return (uintptr_t)message < (uintptr_t)other_message ? -1 : 1;
    int names = !field || !other_field ? !!field - !!other_field : strcmp(field, other_field);
    return names ? names : (index > other_index) - (index < other_index);
}

static int compare_moves(const void *left, const void *right)
{
    const move *a = left, *b = right;
    return by_place(a->from, a->field, a->index, b->from, b->field, b->index);
}

static const move *find_move(const dni_remarks *r, const void *from, const char *field,
                             size_t index)
{
    move key = {.from = from, .field = field, .index = index};
    return r->num_moves ? bsearch(&key, r->moves, r->num_moves, sizeof key, compare_moves)
                        : NULL;
}

/* The move of a value, else of its field, else of its message. */
void dni_remarks_settle(dni_remarks *r)
{
    if (!r || !r->num_moves)
        return;
    qsort(r->moves, r->num_moves, sizeof *r->moves, compare_moves);
    for (size_t i = 0; i < r->count; i++) {
        remark *m = &r->items[i];
        const move *to = m->field ? find_move(r, m->message, m->field, m->index) : NULL;
        if (!to && m->field)
            to = find_move(r, m->message, m->field, DNI_ANY_INDEX);
        if (!to)
            to = find_move(r, m->message, NULL, DNI_ANY_INDEX);
        if (!to)
            continue;
        m->message = to->to;
        if (to->field) {
            m->field = to->to_field;
            m->index = to->index == DNI_ANY_INDEX ? m->index + to->to_index : to->to_index;
        }
    }
    r->num_moves = 0;
    r->sorted = false;
}

/* ---- printing ---------------------------------------------------------------------------- */

static int by_field(const remark *a, const void *message, const char *field, size_t index)
{
    return by_place(a->message, a->field, a->index, message, field, index);
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

/* A field of several lines keeps the look of all but the first. */
static void print_lines(dni_text *out, const remark *m, int32_t indent)
{
    const char *text = m->text;
    bool opened = !out->size || (out->size > 1 && out->data[out->size - 2] == '{');
    if (opened && *text == '\n') /* nothing to stand apart from */
        text++;
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length && (m->kind != DNI_REMARK_UNKNOWN || text == m->text))
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

static void sort(dni_remarks *r)
{
    if (!r->sorted && r->count)
        qsort(r->items, r->count, sizeof *r->items, compare);
    r->sorted = true;
}

void dni_remarks_print(dni_remarks *r, dni_text *out, dni_remark_kind kind, const void *message,
                       const char *field, size_t index, int32_t indent)
{
    if (!r || out->failed)
        return;
    sort(r);
    for (size_t i = find(r, message, field, index);
         i < r->count && by_field(&r->items[i], message, field, index) == 0; i++) {
        remark *m = &r->items[i];
        if (m->kind != kind || m->printed)
            continue;
        m->printed = true;
        if (kind == DNI_REMARK_BESIDE)
            print_beside(out, m->text);
        else
            print_lines(out, m, indent);
    }
}

void dni_remarks_print_rest(dni_remarks *r, dni_text *out, const void *message, int32_t indent)
{
    if (!r || out->failed)
        return;
    sort(r);
    for (size_t i = find(r, message, NULL, 0); i < r->count && r->items[i].message == message;
         i++) {
        if (!r->items[i].printed)
            print_lines(out, &r->items[i], indent);
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
