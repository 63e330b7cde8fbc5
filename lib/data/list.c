/* SPDX-License-Identifier: BSD-2-Clause
 * list.c: image files named in a text file, one a line, as a source: a record is a whole file,
 * its key where its line begins. The text stays in memory, so that any line is at hand. */
#include <string.h>

#include "data/data.h"

#define MAX_BYTES ((size_t)1 << 30) /* of an image file */

typedef struct line {
    size_t at, number;
} line;

typedef struct list {
    dni_source base;
    dni_list o;
    const char *folder; /* of the prototxt; borrowed */
    char *beside;       /* the list's folder */
    char *text;
    line *lines;
    size_t count, capacity, next;
    dni_image_file image, map; /* of the last record */
} list;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The path up to the last space of line [at, end); *last: where a label or a second path begins
 * after it, or end. */
static dn_status split_line(const list *l, const char *at, const char **end, const char **last,
                            int32_t *label)
{
    const char *word = *end, *path_end;
    double value;
    if (l->o.alone) {
        *last = *end = at + strcspn(at, " \t\r\n");
        return DN_OK;
    }
    while (word > at && !is_blank(word[-1]))
        word--;
    for (path_end = word; path_end > at && is_blank(path_end[-1]);)
        path_end--;
    bool number = dni_parse_number(word, *end, &value) == *end && value >= INT32_MIN &&
                  value <= INT32_MAX && value == (double)(int32_t)value;
    if (path_end == at || (!number && !l->o.mapped)) {
        *last = *end;
        return !l->o.mapped && !l->o.labelled
                   ? DN_OK
                   : dni_fail(DN_E_DATA, "'%.*s' is no %s; a line is a path, a space and %s",
                              (int)(*end - word), word, l->o.mapped ? "image and map" : "label",
                              l->o.mapped ? "another" : "a whole number");
    }
    *label = number ? (int32_t)value : 0;
    *last = word;
    *end = path_end;
    return DN_OK;
}

void dni_image_file_free(dni_image_file *f)
{
    dni_free(f->name);
    dni_free(f->bytes);
}

dn_status dni_image_file_read(dni_image_file *f, const dni_heap *heap, const char *base,
                              const char *beside, const char *root, const char *at,
                              const char *end)
{
    char *name, *path = NULL;
    dni_image_file_free(f);
    f->bytes = NULL;
    f->name = dni_strndup(heap, at, (size_t)(end - at));
    name = f->name ? dni_format(heap, "%s%s", root ? root : "", f->name) : NULL;
    dn_status st = name ? dni_path_listed(heap, base, beside, name, &path) : DN_E_NOMEM;
    if (!st)
        st = dni_file_read_regular(heap, path, MAX_BYTES, &f->bytes, &f->size);
    dni_free(name);
    dni_free(path);
    return st;
}

static dn_status read_image(const list *l, dni_image_file *f, const char *at, const char *end)
{
    return dni_image_file_read(f, l->base.heap, l->folder, l->beside, l->o.root, at, end);
}

static dn_status read_line(list *l, const line *from, dni_record *record)
{
    const char *at = l->text + from->at, *end = at + strcspn(at, "\n"), *last;
    while (is_blank(end[-1]))
        end--;
    const char *whole = end;
    dn_status st = split_line(l, at, &end, &last, &record->label);
    if (!st)
        st = read_image(l, &l->image, at, end);
    if (!st && l->o.mapped)
        st = read_image(l, &l->map, last, whole);
    record->data = (const uint8_t *)l->image.bytes;
    record->size = l->image.size;
    record->file = l->image.name;
    record->map = (const uint8_t *)l->map.bytes;
    record->map_size = l->map.size;
    return st;
}

static dn_status list_next(dni_source *source, dni_record *record)
{
    list *l = (list *)source;
    if (l->next == l->count)
        return DN_OK;
    const line *from = &l->lines[l->next++];
    record->key = (const uint8_t *)&from->at;
    record->key_size = sizeof from->at;
    record->line = (int64_t)from->number;
    record->data = record->key;
    if (source->keys_only)
        return DN_OK;
    return dni_in(read_line(l, from, record), "line %zu", from->number);
}

static dn_status list_rewind(dni_source *source)
{
    ((list *)source)->next = 0;
    return DN_OK;
}

static dn_status list_seek(dni_source *source, const uint8_t *key, size_t size)
{
    list *l = (list *)source;
    size_t at = 0, low = 0, high = l->count;
    memcpy(&at, key, size);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (l->lines[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    l->next = low;
    return DN_OK;
}

static void list_close(dni_source *source)
{
    list *l = (list *)source;
    dni_free(l->beside);
    dni_free(l->text);
    dni_free(l->lines);
    dni_image_file_free(&l->image);
    dni_image_file_free(&l->map);
    dni_free(l);
}

static const dni_source_class list_class = {"image list", NULL,      list_next,
                                            list_rewind,  list_seek, list_close};

/* Where the lines begin that are not blank. */
static dn_status find_lines(list *l)
{
    size_t size, number = 0;
    dn_status st = dni_file_read(l->base.heap, l->base.path, &l->text, &size);
    for (size_t at = 0; !st && at < size; number++) {
        size_t length = strcspn(l->text + at, "\n");
        size_t blank = strspn(l->text + at, " \t\r");
        if (at + length < size && !l->text[at + length])
            return dni_fail(DN_E_DATA, "line %zu holds a zero byte: it is no text", number + 1);
        if (blank < length) {
            st =
                dni_grow(l->base.heap, &l->lines, &l->capacity, l->count + 1, sizeof *l->lines);
            if (!st)
                l->lines[l->count++] = (line){at + blank, number + 1};
        }
        at += length + 1;
    }
    return st || l->count ? st : dni_fail(DN_E_DATA, "it names no images");
}

dn_status dni_list_open(dni_source **out, const dni_heap *heap, const char *base,
                        const char *path, const dni_list *options)
{
    list *l = dni_alloc(heap, 1, sizeof *l);
    if (!l)
        return DN_E_NOMEM;
    l->base = (dni_source){.cls = &list_class, .heap = heap};
    l->folder = base;
    l->o = *options;
    dn_status st = dni_path_resolve(heap, base, path, false, &l->base.path);
    if (!st && !(l->beside = dni_path_folder(heap, l->base.path)))
        st = DN_E_NOMEM;
    if (!st)
        st = dni_in_source(find_lines(l), &l->base);
    if (st)
        dni_source_close(&l->base);
    else
        *out = &l->base;
    return st;
}
