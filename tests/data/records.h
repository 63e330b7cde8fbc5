/* SPDX-License-Identifier: BSD-2-Clause
 * records.h: databases and messages for tests to read: pixel i of record n is (7n + i) mod 251,
 * its label is n mod 10. */
#ifndef RECORDS_H
#define RECORDS_H

#include "data/data.h"

#include "check.h"

static const dni_heap *const heap = &dni_default_heap;

CHECK_UNUSED uint8_t pixel_of(int64_t record, int64_t i)
{
    return (uint8_t)((7 * record + i) % 251);
}

typedef struct size_of_record {
    int64_t channels, height, width;
} size_of_record;

CHECK_UNUSED void put_record(dni_db_writer *writer, int64_t n, size_of_record s)
{
    int64_t count = s.channels * s.height * s.width;
    uint8_t *pixels = malloc((size_t)count), *bytes = NULL;
    size_t capacity = 0, size = 0;
    char key[24];
    for (int64_t i = 0; i < count; i++)
        pixels[i] = pixel_of(n, i);
    snprintf(key, sizeof(key), "%08lld", (long long)n);
    CHECK_STATUS(dni_datum_encode(heap, &bytes, &capacity, &size, s.channels, s.height, s.width,
                                  pixels, (int32_t)(n % 10)),
                 DN_OK);
    CHECK_STATUS(dni_db_writer_put(writer, key, 8, bytes, size), DN_OK);
    dni_free(bytes);
    free(pixels);
}

CHECK_UNUSED dni_db_writer *new_writer(const char *path)
{
    dni_db_writer *writer = NULL;
    dn_status st = dni_db_writer_create(&writer, heap, path, true);
    if (st == DN_E_UNSUPPORTED)
        exit(77); /* built without liblmdb: Meson's word for skipped */
    CHECK_AT(st == DN_OK, "%s", dn_last_error());
    if (!writer)
        exit(check_summary());
    return writer;
}

/* An LMDB of `records` records of that size. */
CHECK_UNUSED void make_lmdb(const char *path, int64_t records, size_of_record s)
{
    dni_db_writer *writer = new_writer(path);
    for (int64_t n = 0; n < records; n++)
        put_record(writer, n, s);
    CHECK_STATUS(dni_db_writer_finish(writer), DN_OK);
}

CHECK_UNUSED char *read_file(const char *path, size_t *size)
{
    char *data = NULL;
    if (dni_file_read(heap, path, &data, size)) {
        fprintf(stderr, "%s\n", dn_last_error());
        exit(2);
    }
    return data;
}

CHECK_UNUSED Cnn__DataParameter data_param(const char *source, uint32_t batch)
{
    Cnn__DataParameter p = CNN__DATA_PARAMETER__INIT;
    p.source = (char *)source;
    p.backend = CNN__DATA_PARAMETER__DB__LMDB;
    p.batch_size = batch;
    return p;
}

#endif
