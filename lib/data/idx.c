/* SPDX-License-Identifier: BSD-2-Clause
 * idx.c: the IDX files of MNIST: two zero bytes, a type, the number of axes, their lengths (4
 * bytes each, big-endian), the values. Gzipped ones are unpacked as they are read. */
#include <string.h>

#include "data/data.h"

#ifdef DN_HAVE_ZLIB
#include <zlib.h>
#endif

enum { TYPE_U8 = 8, MAX_AXES = 4 };

#ifdef DN_HAVE_ZLIB
/* Never more than `limit` bytes: a small file may unpack to anything. */
static dn_status unpack_stream(z_stream *z, const dni_heap *heap, char **out, size_t *size,
                               size_t limit)
{
    size_t capacity = 0, used = 0;
    int result = Z_OK;
    while (result != Z_STREAM_END) {
        if (dni_grow(heap, out, &capacity, used + 65536, 1))
            return DN_E_NOMEM;
        size_t room = capacity - used;
        z->avail_out = room < (1u << 30) ? (uInt)room : 1u << 30;
        uInt before = z->avail_out;
        z->next_out = (Bytef *)*out + used;
        result = inflate(z, Z_NO_FLUSH);
        used += before - z->avail_out;
        if (result == Z_BUF_ERROR || (result == Z_OK && z->avail_in == 0 && z->avail_out > 0))
            return dni_fail(DN_E_PARSE, "the gzip file ends early");
        if (result != Z_OK && result != Z_STREAM_END)
            return dni_fail(DN_E_PARSE, "the gzip file is damaged");
        if (used > limit)
            return dni_fail(DN_E_PARSE, "it unpacks to more than %zu bytes", limit);
    }
    *size = used;
    return DN_OK;
}

static dn_status unpack(const dni_heap *heap, char **data, size_t *size)
{
    z_stream z;
    char *out = NULL;
    size_t out_size = 0;
    memset(&z, 0, sizeof(z));
    if (*size >= (size_t)1 << 31)
        return dni_fail(DN_E_UNSUPPORTED, "a gzip file of over 2 GiB; unpack it first");
    z.next_in = (Bytef *)*data;
    z.avail_in = (uInt)*size;
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return dni_fail(DN_E_NOMEM, "out of memory for zlib");
    dn_status st = unpack_stream(&z, heap, &out, &out_size, (size_t)1 << 32);
    inflateEnd(&z);
    if (st) {
        dni_free(heap, out);
        return st;
    }
    dni_free(heap, *data);
    *data = out;
    *size = out_size;
    return DN_OK;
}
#else
static dn_status unpack(const dni_heap *heap, char **data, size_t *size)
{
    (void)heap, (void)data, (void)size;
    return dni_fail(DN_E_UNSUPPORTED, "it is gzipped, and this build has no zlib; unpack it "
                                      "first");
}
#endif

static int64_t big_endian(const uint8_t *at)
{
    return (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static dn_status parse(dni_idx *idx, size_t size, int32_t axes)
{
    const uint8_t *at = (const uint8_t *)idx->file;
    size_t header = 4 + 4 * (size_t)axes;
    if (size < 4 || at[0] || at[1] || at[3] == 0 || at[3] > MAX_AXES)
        return dni_fail(DN_E_PARSE, "it is not an IDX file");
    if (at[2] != TYPE_U8)
        return dni_fail(DN_E_UNSUPPORTED,
                        "its values are of type 0x%02x; bytes (0x08) are read", at[2]);
    if (at[3] != axes)
        return dni_fail(DN_E_PARSE, "it has %d axes where %d were expected%s", at[3], axes,
                        axes == 3   ? " (images)"
                        : axes == 1 ? " (labels)"
                                    : "");
    if (size < header)
        return dni_fail(DN_E_PARSE, "it ends within its header");
    idx->axes = axes;
    idx->count = 1;
    for (int32_t i = 0; i < axes; i++) {
        idx->dim[i] = big_endian(at + 4 + 4 * i);
        if (!dni_mul64(idx->count, idx->dim[i], &idx->count))
            return dni_fail(DN_E_PARSE, "its header asks for too many values");
    }
    if ((uint64_t)idx->count != size - header)
        return dni_fail(DN_E_PARSE, "its header says %lld values, it has %zu",
                        (long long)idx->count, size - header);
    idx->data = at + header;
    return DN_OK;
}

dn_status dni_idx_read(dni_idx *out, const dni_heap *heap, const char *path, int32_t axes)
{
    dni_idx idx = {0};
    size_t size;
    dn_status st = dni_file_read(heap, path, &idx.file, &size);
    if (st)
        return st;
    if (size >= 2 && memcmp(idx.file, "\x1f\x8b", 2) == 0)
        st = unpack(heap, &idx.file, &size);
    if (!st)
        st = parse(&idx, size, axes);
    if (st) {
        dni_free(heap, idx.file);
        return dni_in(st, "'%s'", path);
    }
    *out = idx;
    return DN_OK;
}

void dni_idx_free(dni_idx *idx, const dni_heap *heap)
{
    dni_free(heap, idx->file);
    *idx = (dni_idx){0};
}
