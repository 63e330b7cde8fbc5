/* SPDX-License-Identifier: BSD-2-Clause
 * idx.c: the IDX files of MNIST: two zero bytes, a type, the number of axes, their lengths (4
 * bytes each, big-endian), the values. They are read piece by piece, gzipped or not. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/data.h"

#ifdef DN_HAVE_ZLIB
#include <zlib.h>
#else
typedef void *gzFile;
#endif

enum { TYPE_U8 = 8, MAX_AXES = 4 };

struct dni_idx {
    char *path;
    int fd;
    gzFile gzip; /* NULL: read from fd */
    int64_t dim[MAX_AXES];
    int64_t item, left; /* bytes of an item; of items not yet taken */
};

/* ---- bytes ---------------------------------------------------------------------------- */

#ifdef DN_HAVE_ZLIB
static dn_status open_gzip(dni_idx *idx)
{
    int fd = dup(idx->fd);
    idx->gzip = fd < 0 ? NULL : gzdopen(fd, "rb");
    if (!idx->gzip && fd >= 0)
        close(fd);
    return idx->gzip ? DN_OK : dni_fail(DN_E_NOMEM, "out of memory for zlib");
}

static int64_t read_gzip(dni_idx *idx, uint8_t *to, size_t size)
{
    return gzread(idx->gzip, to, size < 1u << 30 ? (unsigned)size : 1u << 30);
}

static dn_status fail_gzip(dni_idx *idx)
{
    int error;
    gzerror(idx->gzip, &error);
    return dni_fail(DN_E_PARSE, error == Z_OK || error == Z_BUF_ERROR
                                    ? "the gzip file ends early"
                                    : "the gzip file is damaged");
}

static void close_gzip(dni_idx *idx)
{
    if (idx->gzip)
        gzclose(idx->gzip);
}
#else
static dn_status open_gzip(dni_idx *idx)
{
    (void)idx;
    return dni_fail(DN_E_UNSUPPORTED,
                    "it is gzipped, and this build has no zlib; unpack it first");
}

static int64_t read_gzip(dni_idx *idx, uint8_t *to, size_t size)
{
    (void)idx, (void)to, (void)size;
    return -1;
}

static dn_status fail_gzip(dni_idx *idx)
{
    return open_gzip(idx);
}

static void close_gzip(dni_idx *idx)
{
    (void)idx;
}
#endif

static dn_status fail_errno(const char *verb)
{
    char text[128];
    return dni_fail(DN_E_IO, "cannot %s: %s", verb, dni_errno_text(errno, text, sizeof(text)));
}

static dn_status take_bytes(dni_idx *idx, uint8_t *to, size_t size)
{
    while (size > 0) {
        int64_t got = idx->gzip ? read_gzip(idx, to, size) : read(idx->fd, to, size);
        if (got < 0 && !idx->gzip && errno == EINTR)
            continue;
        if (got <= 0 && idx->gzip)
            return fail_gzip(idx);
        if (got < 0)
            return fail_errno("read");
        if (got == 0)
            return dni_fail(DN_E_PARSE, "it ends early");
        to += got;
        size -= (size_t)got;
    }
    return DN_OK;
}

/* ---- the header ----------------------------------------------------------------------- */

static int64_t big_endian(const uint8_t *at)
{
    return (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static dn_status check_magic(const uint8_t *at, int32_t axes)
{
    if (at[0] || at[1] || at[3] == 0 || at[3] > MAX_AXES)
        return dni_fail(DN_E_PARSE, "it is not an IDX file");
    if (at[2] != TYPE_U8)
        return dni_fail(DN_E_UNSUPPORTED,
                        "its values are of type 0x%02x; bytes (0x08) are read", at[2]);
    if (at[3] != axes)
        return dni_fail(DN_E_PARSE, "it has %d axes where %d were expected%s", at[3], axes,
                        axes == 3   ? " (images)"
                        : axes == 1 ? " (labels)"
                                    : "");
    return DN_OK;
}

/* A file that is not gzipped must be as long as its header says. */
static dn_status check_length(const dni_idx *idx, int64_t header)
{
    struct stat info;
    if (idx->gzip || fstat(idx->fd, &info) || !S_ISREG(info.st_mode))
        return DN_OK;
    if (idx->left != info.st_size - header)
        return dni_fail(DN_E_PARSE, "its header says %lld values, it has %lld",
                        (long long)idx->left, (long long)(info.st_size - header));
    return DN_OK;
}

static dn_status read_header(dni_idx *idx, int32_t axes)
{
    uint8_t header[4 + 4 * MAX_AXES];
    dn_status st = take_bytes(idx, header, 4);
    if (!st)
        st = check_magic(header, axes);
    if (!st)
        st = take_bytes(idx, header + 4, 4 * (size_t)axes);
    if (st)
        return st;
    idx->item = 1;
    for (int32_t i = 0; i < axes; i++) {
        idx->dim[i] = big_endian(header + 4 + 4 * i);
        if (i > 0 && !dni_mul64(idx->item, idx->dim[i], &idx->item))
            return dni_fail(DN_E_PARSE, "its header asks for too many values");
    }
    if (!dni_mul64(idx->item, idx->dim[0], &idx->left))
        return dni_fail(DN_E_PARSE, "its header asks for too many values");
    return check_length(idx, 4 + 4 * axes);
}

/* ---- the interface -------------------------------------------------------------------- */

static dn_status open_path(dni_idx *idx, int32_t axes)
{
    uint8_t magic[2] = {0};
    dn_status st = DN_OK;
    idx->fd = open(idx->path, O_RDONLY | O_CLOEXEC);
    if (idx->fd < 0 || pread(idx->fd, magic, 2, 0) < 0)
        return fail_errno(idx->fd < 0 ? "open" : "read");
    if (memcmp(magic, "\x1f\x8b", 2) == 0)
        st = open_gzip(idx);
    return st ? st : read_header(idx, axes);
}

dn_status dni_idx_open(dni_idx **out, const dni_heap *heap, const char *path, int32_t axes)
{
    dni_idx *idx = dni_alloc(heap, 1, sizeof(*idx));
    if (!idx)
        return DN_E_NOMEM;
    idx->fd = -1;
    idx->path = dni_strdup(heap, path);
    dn_status st = idx->path ? open_path(idx, axes) : DN_E_NOMEM;
    if (st) {
        dni_idx_close(idx);
        return dni_in(st, "'%s'", path);
    }
    *out = idx;
    return DN_OK;
}

const int64_t *dni_idx_dims(const dni_idx *idx)
{
    return idx->dim;
}

dn_status dni_idx_take(dni_idx *idx, int64_t items, uint8_t *to)
{
    int64_t size = items * idx->item;
    if (size > idx->left)
        return dni_fail(DN_E_INTERNAL, "'%s': more was asked for than there is", idx->path);
    idx->left -= size;
    return dni_in(take_bytes(idx, to, (size_t)size), "'%s'", idx->path);
}

dn_status dni_idx_end(dni_idx *idx)
{
    uint8_t more;
    int64_t got = idx->gzip ? read_gzip(idx, &more, 1) : 0;
    if (got == 0)
        return DN_OK;
    return dni_in(got > 0 ? dni_fail(DN_E_PARSE, "it has more values than its header says")
                          : fail_gzip(idx),
                  "'%s'", idx->path);
}

void dni_idx_close(dni_idx *idx)
{
    if (!idx)
        return;
    close_gzip(idx);
    if (idx->fd >= 0)
        close(idx->fd);
    dni_free(idx->path);
    dni_free(idx);
}
