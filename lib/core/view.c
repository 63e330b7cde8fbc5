/* SPDX-License-Identifier: BSD-2-Clause
 * view.c: a file of which only what is looked at is read, so that values go from the file to
 * where they belong without a copy of the file in memory. */
#define _XOPEN_SOURCE 700 /* pread */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/core.h"

enum { BLOCK = 4096 };

/* error 0: the file ended early. */
static bool fail(dni_view *v, int error)
{
    char text[128];
    v->status =
        dni_fail(DN_E_IO, "cannot read '%s': %s", v->path,
                 error ? dni_errno_text(error, text, sizeof text) : "it has become shorter");
    return false;
}

static bool read_at(dni_view *v, void *to, size_t at, size_t size)
{
    char *bytes = to;
    while (size > 0) {
        size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        ssize_t n = pread(v->fd, bytes, piece, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(v, n < 0 ? errno : 0);
        bytes += n;
        at += (size_t)n;
        size -= (size_t)n;
    }
    return true;
}

bool dni_view_need(dni_view *v, const void *at, size_t size)
{
    if (!v || !v->have)
        return true;
    size_t begin = (size_t)((const uint8_t *)at - v->data), limit = begin + size;
    for (size_t b = begin / BLOCK, end; !v->status && b * BLOCK < limit; b = end + 1) {
        for (end = b; end * BLOCK < limit && !v->have[end]; end++)
            v->have[end] = 1;
        size_t from = b * BLOCK, to = end * BLOCK < v->size ? end * BLOCK : v->size;
        if (end > b)
            read_at(v, v->data + from, from, to - from);
    }
    return !v->status;
}

bool dni_view_copy(dni_view *v, void *to, const void *at, size_t size)
{
    if (v && v->have)
        return read_at(v, to, (size_t)((const uint8_t *)at - v->data), size);
    memcpy(to, at, size);
    return true;
}

bool dni_view_check(dni_view *v)
{
    char piece[4 * BLOCK];
    size_t n;
    for (size_t at = 0; v && v->have && at < v->size; at += n) {
        n = v->size - at < sizeof piece ? v->size - at : sizeof piece;
        if (!read_at(v, piece, at, n))
            return false;
    }
    return true;
}

/* A pipe, which cannot be opened twice, or what has no size of its own, is read whole. */
dn_status dni_view_open(dni_view *v, const dni_heap *heap, const char *path)
{
    struct stat info;
    *v = (dni_view){.heap = heap, .path = path, .fd = -1};
    if (stat(path, &info) || !S_ISREG(info.st_mode) || info.st_size <= 0 ||
        (uintmax_t)info.st_size > SIZE_MAX / 2) {
        char *data;
        dn_status st = dni_file_read(heap, path, &data, &v->size);
        v->data = st ? NULL : (uint8_t *)data;
        return st;
    }
    v->size = (size_t)info.st_size;
    v->have = dni_alloc(heap, v->size / BLOCK + 1, 1);
    v->data = v->have ? dni_alloc_sparse(heap, v->size) : NULL;
    if (!v->data)
        return DN_E_NOMEM;
    v->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (v->fd < 0)
        fail(v, errno);
    else
        dni_view_need(v, v->data, v->size < BLOCK ? v->size : BLOCK);
    return v->status;
}

void dni_view_close(dni_view *v)
{
    if (v->fd >= 0)
        close(v->fd);
    dni_free(v->heap, v->have);
    dni_free(v->heap, v->data);
}
