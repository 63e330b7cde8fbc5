/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: data sets as people get them into databases as nets read them. */
#include "deepnet/data.h"

#include <string.h>

#include "core/context.h"
#include "data/data.h"

enum { DIGITS = 8, MAX_RECORDS = 100000000, MAX_PIXELS = 1 << 28, CHUNK_BYTES = 1 << 18 };

/* As Caffe's own converter names records: the number in eight decimal digits. */
static void make_key(char key[DIGITS], int64_t number)
{
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
}

typedef struct conversion {
    const dni_heap *heap;
    dni_idx *images, *labels;
    dni_db_writer *writer;
    int64_t count, height, width;
    int64_t chunk;           /* images read at a time */
    uint8_t *pixels, *label; /* of a chunk */
    uint8_t *datum;
    size_t datum_capacity;
} conversion;

static dn_status check_pair(conversion *c)
{
    const int64_t *images = dni_idx_dims(c->images);
    int64_t labels = dni_idx_dims(c->labels)[0], item = images[1] * images[2];
    if (images[0] != labels)
        return dni_fail(DN_E_DATA, "%lld images and %lld labels", (long long)images[0],
                        (long long)labels);
    if (images[0] == 0 || item == 0)
        return dni_fail(DN_E_DATA, "there are no images");
    if (images[0] > MAX_RECORDS || item > MAX_PIXELS)
        return dni_fail(DN_E_LIMIT, "%lld images of %lld pixels; 10^8 of 2^28 are the limit",
                        (long long)images[0], (long long)item);
    c->count = images[0];
    c->height = images[1];
    c->width = images[2];
    c->chunk = item < CHUNK_BYTES ? CHUNK_BYTES / item : 1;
    c->pixels = dni_alloc(c->heap, (size_t)c->chunk, (size_t)item);
    c->label = dni_alloc(c->heap, (size_t)c->chunk, 1);
    return c->pixels && c->label ? DN_OK : DN_E_NOMEM;
}

static dn_status put_image(conversion *c, int64_t number, const uint8_t *pixels, uint8_t label)
{
    char key[DIGITS];
    size_t size;
    dn_status st = dni_datum_encode(c->heap, &c->datum, &c->datum_capacity, &size, 1, c->height,
                                    c->width, pixels, label);
    make_key(key, number);
    return st ? st : dni_db_writer_put(c->writer, key, sizeof(key), c->datum, size);
}

static dn_status put_all(conversion *c)
{
    int64_t item = c->height * c->width;
    dn_status st = DN_OK;
    for (int64_t done = 0; !st && done < c->count; done += c->chunk) {
        int64_t n = c->count - done < c->chunk ? c->count - done : c->chunk;
        st = dni_idx_take(c->images, n, c->pixels);
        if (!st)
            st = dni_idx_take(c->labels, n, c->label);
        for (int64_t i = 0; !st && i < n; i++)
            st = put_image(c, done + i, c->pixels + i * item, c->label[i]);
    }
    if (!st)
        st = dni_idx_end(c->images);
    return st ? st : dni_idx_end(c->labels);
}

static dn_status convert(conversion *c, const char *images_path, const char *labels_path,
                         const char *out_path, bool overwrite)
{
    dn_status st = dni_idx_open(&c->images, c->heap, images_path, 3);
    if (!st)
        st = dni_idx_open(&c->labels, c->heap, labels_path, 1);
    if (!st)
        st = check_pair(c);
    if (!st)
        st = dni_db_writer_create(&c->writer, c->heap, out_path,
                                  (uint64_t)c->count * (uint64_t)(c->height * c->width + 128),
                                  overwrite);
    if (!st)
        st = put_all(c);
    if (!st) {
        st = dni_db_writer_finish(c->writer);
        c->writer = NULL;
    }
    return st;
}

static void clean_up(conversion *c)
{
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_db_writer_abandon(c->writer);
    dni_idx_close(c->images);
    dni_idx_close(c->labels);
    dni_free(c->heap, c->pixels);
    dni_free(c->heap, c->label);
    dni_free(c->heap, c->datum);
    dni_restore_error(&saved);
}

/* Options of a later release must be zero here: fields this one knows end with `overwrite`. */
static dn_status check_options(const dn_convert_options *options)
{
    const unsigned char *bytes = (const unsigned char *)options;
    if (!options)
        return DN_OK;
    if (options->struct_size < sizeof(size_t))
        return dni_fail(DN_E_INVALID, "dn_convert_options.struct_size is not set");
    for (size_t i = sizeof(*options); i < options->struct_size; i++)
        if (bytes[i])
            return dni_fail(DN_E_INVALID, "an option of dn_convert_options is not known to "
                                          "release " DN_VERSION_STRING);
    return DN_OK;
}

dn_status dn_convert_mnist(dn_context *context, const char *images_path,
                           const char *labels_path, const char *out_path,
                           const dn_convert_options *options)
{
    dn_convert_options o = {0};
    dni_clear_error();
    if (!context || !images_path || !labels_path || !out_path)
        return dni_fail(DN_E_INVALID, "dn_convert_mnist: an argument is NULL");
    dn_status st = check_options(options);
    if (st)
        return st;
    if (options)
        memcpy(&o, options,
               options->struct_size < sizeof(o) ? options->struct_size : sizeof(o));
    conversion c = {.heap = dni_context_heap(context)};
    st = convert(&c, images_path, labels_path, out_path, o.overwrite != 0);
    clean_up(&c);
    return st;
}
