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

enum { BLOCK = DNI_VIEW_HEAD };

static bool read_at(dni_view *v, void *to, size_t at, size_t size)
{
    char *bytes = to;
    while (size > 0) {
        ssize_t n = pread(v->fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            v->status =
                n < 0 ? dni_fail_errno(errno, "read", v->path)
                      : dni_fail(DN_E_IO, "cannot read '%s': it has become shorter", v->path);
            return false;
        }
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
    if (v && v->have && size > BLOCK)
        return read_at(v, to, (size_t)((const uint8_t *)at - v->data), size);
    if (!dni_view_need(v, at, size))
        return false;
    memcpy(to, at, size);
    return true;
}

bool dni_view_check(dni_view *v)
{
    char piece[4 * BLOCK];
    size_t n;
    for (size_t at = 0; v && v->have && !v->status && at < v->size; at += n) {
        n = v->size - at < sizeof piece ? v->size - at : sizeof piece;
        read_at(v, piece, at, n);
    }
    return !v || !v->status;
}

/* What has no size of its own, such as a pipe, is read whole. */
dn_status dni_view_open(dni_view *v, const dni_heap *heap, const char *path)
{
    struct stat info;
    *v = (dni_view){.heap = heap, .path = path};
    v->fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = v->fd < 0 || fstat(v->fd, &info) ? errno : 0;
    if (!error && S_ISREG(info.st_mode) && info.st_size > 0) {
        v->size = (size_t)info.st_size;
        v->data =
            (uintmax_t)info.st_size > SIZE_MAX / 2 ? NULL : dni_alloc_sparse(heap, v->size);
        v->have = v->data ? dni_alloc(heap, v->size / BLOCK + 1, 1) : NULL;
        if (v->have) {
            dni_view_need(v, v->data, v->size < BLOCK ? v->size : BLOCK);
            return v->status;
        }
        error = ENOMEM;
    } else if (!error) {
        char *data = NULL;
        error = dni_file_read_open(heap, v->fd, 4094, 0, &data, &v->size);
        v->data = (uint8_t *)data;
    }
    return error ? dni_fail_errno(error, "read", path) : DN_OK;
}

void dni_view_close(dni_view *v)
{
    if (v->fd >= 0)
        close(v->fd);
    dni_free(v->have);
    dni_free(v->data);
}
