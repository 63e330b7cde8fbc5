/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: data sets as people get them into databases as nets read them. */
#include "deepnet/data.h"

#include <string.h>

#include "core/context.h"
#include "data/data.h"

enum { DIGITS = 8 };

/* As Caffe's own converter names records: the number in eight decimal digits. */
static void make_key(char key[DIGITS], int64_t number)
{
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
}

static dn_status check_pair(const dni_idx *images, const dni_idx *labels)
{
    if (images->dim[0] != labels->dim[0])
        return dni_fail(DN_E_DATA, "%lld images and %lld labels", (long long)images->dim[0],
                        (long long)labels->dim[0]);
    if (images->count == 0)
        return dni_fail(DN_E_DATA, "there are no images");
    if (images->dim[0] >= 100000000)
        return dni_fail(DN_E_LIMIT, "%lld images; 8-digit keys number 10^8 of them",
                        (long long)images->dim[0]);
    return DN_OK;
}

static dn_status write_all(dni_db_writer *writer, const dni_heap *heap, const dni_idx *images,
                           const dni_idx *labels)
{
    int64_t height = images->dim[1], width = images->dim[2];
    uint8_t *datum = NULL;
    size_t capacity = 0, size;
    char key[DIGITS];
    dn_status st = DN_OK;
    for (int64_t i = 0; !st && i < images->dim[0]; i++) {
        make_key(key, i);
        st = dni_datum_encode(heap, &datum, &capacity, &size, 1, height, width,
                              images->data + i * height * width, labels->data[i]);
        if (!st)
            st = dni_db_writer_put(writer, key, sizeof(key), datum, size);
    }
    dni_free(heap, datum);
    return st;
}

static dn_status convert(const dni_heap *heap, const dni_idx *images, const dni_idx *labels,
                         const char *path, bool overwrite)
{
    dni_db_writer *writer;
    dn_status st = check_pair(images, labels);
    if (!st)
        st = dni_db_writer_create(&writer, heap, path,
                                  (uint64_t)images->count + (uint64_t)images->dim[0] * 128,
                                  overwrite);
    if (st)
        return st;
    st = write_all(writer, heap, images, labels);
    if (!st)
        return dni_db_writer_finish(writer);
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_db_writer_abandon(writer);
    dni_restore_error(&saved);
    return st;
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
    dni_idx images = {0}, labels = {0};
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
    const dni_heap *heap = dni_context_heap(context);
    st = dni_idx_read(&images, heap, images_path, 3);
    if (!st)
        st = dni_idx_read(&labels, heap, labels_path, 1);
    if (!st)
        st = convert(heap, &images, &labels, out_path, o.overwrite != 0);
    dni_idx_free(&labels, heap);
    dni_idx_free(&images, heap);
    return st;
}
