/* SPDX-License-Identifier: BSD-2-Clause
 * text.c: a string that grows, and the name nearest to a misspelt one. */
#include <stdio.h>
#include <string.h>

#include "core/core.h"

bool dni_ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

void dni_text_init(dni_text *text, const dni_heap *heap)
{
    *text = (dni_text){.heap = heap};
}

/* Room for `more` bytes and the terminating zero. */
static bool reserve(dni_text *text, size_t more)
{
    size_t need;
    if (!text->failed && (!dni_add(text->size, more, &need) || !dni_add(need, 1, &need) ||
                          dni_grow(text->heap, &text->data, &text->capacity, need, 1)))
        text->failed = true;
    return !text->failed;
}

void dni_text_append(dni_text *text, const char *bytes, size_t size)
{
    if (!reserve(text, size))
        return;
    if (size)
        memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = 0;
}

void dni_text_printf(dni_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        text->failed = true;
    if (length < 0 || !reserve(text, (size_t)length))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->size, (size_t)length + 1, format, args);
    va_end(args);
    text->size += (size_t)length;
}

void dni_text_end_line(dni_text *text, size_t from)
{
    for (size_t i = from; !text->failed && i < text->size; i++)
        if (text->data[i] == '\n')
            text->data[i] = '?';
    dni_text_append(text, "\n", 1);
}

dn_status dni_text_finish(dni_text *text, char **out)
{
    dni_text_append(text, "", 0); /* an empty text is "", not NULL */
    if (text->failed) {
        dni_text_free(text);
        return dni_fail(DN_E_NOMEM, "out of memory for a text");
    }
    *out = text->data;
    dni_text_init(text, text->heap);
    return DN_OK;
}

void dni_text_free(dni_text *text)
{
    if (text->data)
        dni_free(text->data);
    dni_text_init(text, text->heap);
}

/* ---- the nearest name -------------------------------------------------------------------- */

#define MAX_WORD 96
#define EDIT     4 /* another letter costs 4, another case of the same letter 1 */

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static int min2(int a, int b)
{
    return a < b ? a : b;
}

static int change(char a, char b)
{
    unsigned char x = (unsigned char)a, y = (unsigned char)b;
    return x == y ? 0 : lower(x) == lower(y) ? 1 : EDIT;
}

/* Levenshtein distance, two neighbours that changed places counting as one edit: the rows of
 * the table for i - 2, i - 1 and i letters of a. */
static int distance(const char *a, size_t na, const char *b, size_t nb)
{
    int rows[3][MAX_WORD + 1];
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = (int)j * EDIT;
    for (size_t i = 1; i <= na; i++) {
        int *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = (int)i * EDIT;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = min2(last[j - 1] + change(a[i - 1], b[j - 1]),
                          min2(last[j], row[j - 1]) + EDIT);
            if (i > 1 && j > 1 && change(a[i - 1], b[j - 2]) < EDIT &&
                change(a[i - 2], b[j - 1]) < EDIT)
                row[j] = min2(row[j], before[j - 2] + EDIT + change(a[i - 1], b[j - 2]) +
                                          change(a[i - 2], b[j - 1]));
        }
    }
    return rows[na % 3][nb];
}

const char *dni_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    /* of one letter only the case may differ */
    int limit = EDIT * (length < 2 ? 0 : length < 6 ? 1 : (int)(length / 3)) + EDIT - 1;
    if (length == 0 || length > MAX_WORD)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(names[i]), apart = n > length ? n - length : length - n;
        int d = n > MAX_WORD || (int)apart * EDIT > limit ? limit + 1
                                                          : distance(word, length, names[i], n);
        if (d <= limit) {
            nearest = names[i];
            limit = d - 1;
        }
    }
    return nearest;
}

bool dni_is_slip(const char *word, const char *nearest)
{
    return nearest && distance(word, strlen(word), nearest, strlen(nearest)) < 3 * EDIT;
}
