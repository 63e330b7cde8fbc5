/* SPDX-License-Identifier: BSD-2-Clause
 * file.c: whole files in, whole files out. A file is written beside its place and renamed onto
 * it, so that a full disk or a crash leaves the old one. */
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/core.h"

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

dn_status dni_fail_errno(int error, const char *verb, const char *path)
{
    char text[128];
    return dni_fail(error == ENOMEM ? DN_E_NOMEM : DN_E_IO, "cannot %s '%s': %s", verb, path,
                    dni_errno_text(error, text, sizeof(text)));
}

/* ---- reading ----------------------------------------------------------------------------- */

int dni_file_read_open(const dni_heap *heap, int fd, size_t guess, size_t limit, char **data,
                       size_t *size)
{
    size_t capacity = guess + 2; /* the zero, and a byte to see the end */
    *data = dni_realloc(heap, NULL, capacity, 1);
    while (*data && !dni_grow(heap, data, &capacity, *size + 2, 1)) {
        ssize_t n = read(fd, *data + *size, capacity - *size - 1);
        if (n < 0 && errno != EINTR)
            return errno;
        *size += n > 0 ? (size_t)n : 0;
        if (limit && *size > limit) /* it has grown */
            return EFBIG;
        (*data)[*size] = 0;
        if (n == 0)
            return 0;
    }
    return ENOMEM;
}

static dn_status read_file(const dni_heap *heap, const char *path, size_t limit, char **out,
                           size_t *size)
{
    struct stat info;
    char *data = NULL;
    size_t got = 0, guess = 4094;
    int error = 0, fd = open(path, O_RDONLY | O_CLOEXEC | (limit ? O_NONBLOCK : 0));
    if (fd < 0 || fstat(fd, &info))
        error = errno;
    else if (S_ISREG(info.st_mode) && info.st_size > 0)
        guess = (uintmax_t)info.st_size < SIZE_MAX / 2 ? (size_t)info.st_size : SIZE_MAX / 2;
    bool unfit =
        !error && limit && !S_ISDIR(info.st_mode) && (!S_ISREG(info.st_mode) || guess > limit);
    if (!error && !unfit)
        error = dni_file_read_open(heap, fd, guess, limit, &data, &got);
    if (fd >= 0)
        close(fd);
    if (!error && !unfit) {
        *out = data;
        *size = got;
        return DN_OK;
    }
    dni_free(data);
    if (unfit)
        return dni_fail(DN_E_IO, "cannot read '%s': it is no regular file of up to %zu bytes",
                        path, limit);
    return dni_fail_errno(error, "read", path);
}

dn_status dni_file_read(const dni_heap *heap, const char *path, char **out, size_t *size)
{
    return read_file(heap, path, 0, out, size);
}

dn_status dni_file_read_regular(const dni_heap *heap, const char *path, size_t limit,
                                char **out, size_t *size)
{
    return read_file(heap, path, limit, out, size);
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Returns 0 or errno. */
static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        ssize_t n = write(fd, data, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int dni_file_stem(const char *path, size_t most)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strnlen(name, most);
    while (length && (name[length] & 0xc0) == 0x80) /* not inside a character of UTF-8 */
        length--;
    return (int)((size_t)(name - path) + length);
}

/* A new file beside `target`, its name in `temporary`; the descriptor, or -1. Made by open, not
 * mkstemp, so that it gets the permissions any new file would. */
static int open_beside(const char *target, char *temporary, size_t size)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        int n = snprintf(temporary, size, "%.*s.%ld-%d.tmp", dni_file_stem(target, 200), target,
                         (long)getpid(), attempt);
        if (n < 0 || (size_t)n >= size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

/* The new name is on disk only when the folder is; some file systems cannot sync one. */
static void sync_folder(const dni_heap *heap, const char *path)
{
    char *folder = dni_path_folder(heap, path);
    int fd = folder ? open(folder, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    dni_free(folder);
}

/* Devices and pipes cannot be replaced, only written. Through a symbolic link, the file it
 * names is replaced, not the link; its permissions are kept. Returns 0 or errno. */
static int open_draft(dni_draft *d)
{
    struct stat info;
    size_t room = PATH_MAX + 64;
    bool exists = stat(d->path, &info) == 0;
    if (exists && !S_ISREG(info.st_mode)) {
        d->fd = open(d->path, O_WRONLY | O_CLOEXEC);
        return d->fd < 0 ? errno : 0;
    }
    if (strlen(d->path) >= PATH_MAX)
        return ENAMETOOLONG;
    d->target = dni_realloc(d->heap, NULL, room, 1);
    d->temporary = d->target ? dni_realloc(d->heap, NULL, room, 1) : NULL;
    if (!d->temporary)
        return ENOMEM;
    if (!exists || !realpath(d->path, d->target))
        snprintf(d->target, room, "%s", d->path);
    d->fd = open_beside(d->target, d->temporary, room);
    if (d->fd >= 0 && exists)
        (void)!fchmod(d->fd, info.st_mode & 07777);
    return d->fd < 0 ? errno : 0;
}

void dni_draft_begin(dni_draft *d, const dni_heap *heap, const char *path)
{
    d->heap = heap;
    d->path = path;
    d->target = d->temporary = NULL;
    d->fd = -1;
    d->held = 0;
    d->error = open_draft(d);
}

static void flush(dni_draft *d)
{
    if (!d->error)
        d->error = write_all(d->fd, d->buffer, d->held);
    d->held = 0;
}

void dni_draft_write(dni_draft *d, const void *data, size_t size)
{
    if (size > sizeof d->buffer - d->held)
        flush(d);
    if (size <= sizeof d->buffer) {
        memcpy(d->buffer + d->held, data, size);
        d->held += size;
    } else if (!d->error) {
        d->error = write_all(d->fd, data, size);
    }
}

/* Returns 0 or errno. */
static int put_in_place(dni_draft *d, bool keep)
{
    int error = d->error;
    if (keep && !error && d->temporary && fsync(d->fd))
        error = errno;
    if (close(d->fd) && !error)
        error = errno;
    if (!d->temporary)
        return error;
    if (keep && !error && rename(d->temporary, d->target))
        error = errno;
    if (!keep || error)
        unlink(d->temporary);
    else
        sync_folder(d->heap, d->target);
    return error;
}

dn_status dni_draft_end(dni_draft *d, dn_status st)
{
    dni_saved_error saved;
    flush(d);
    dni_save_error(&saved);
    if (d->fd >= 0)
        d->error = put_in_place(d, !st);
    dni_free(d->target);
    dni_free(d->temporary);
    dni_restore_error(&saved);
    return st ? st : d->error ? dni_fail_errno(d->error, "write", d->path) : DN_OK;
}

dn_status dni_file_write(const dni_heap *heap, const char *path, const void *data, size_t size)
{
    dni_draft draft;
    dni_draft_begin(&draft, heap, path);
    dni_draft_write(&draft, data, size);
    return dni_draft_end(&draft, DN_OK);
}

/* ---- paths ------------------------------------------------------------------------------- */

bool dni_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Length of the folder part: 0 if there is none, 1 for "/". */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    while (slash && slash > path && slash[-1] == '/')
        slash--;
    return !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
}

char *dni_path_folder(const dni_heap *heap, const char *path)
{
    size_t length = folder_length(path);
    return length ? dni_strndup(heap, path, length) : dni_strdup(heap, ".");
}

/* What must be there for the path to make sense: itself, or its folder. */
static dn_status usable(const dni_heap *heap, const char *path, bool for_writing, bool *out)
{
    if (!for_writing) {
        *out = dni_file_exists(path);
        return DN_OK;
    }
    char *folder = dni_path_folder(heap, path);
    if (!folder)
        return DN_E_NOMEM;
    *out = dni_file_exists(folder);
    dni_free(folder);
    return DN_OK;
}

dn_status dni_path_resolve(const dni_heap *heap, const char *base, const char *path,
                           bool for_writing, char **out)
{
    char *beside;
    bool here = true, there = false;
    dn_status st = DN_OK;
    if (base && path[0] != '/')
        st = usable(heap, path, for_writing, &here);
    if (st)
        return st;
    if (!here) {
        beside = dni_format(heap, "%s/%s", base, path);
        st = beside ? usable(heap, beside, for_writing, &there) : DN_E_NOMEM;
        if (st == DN_OK && there)
            *out = beside;
        else
            dni_free(beside);
        if (st || there)
            return st;
    }
    beside = dni_strdup(heap, path);
    if (!beside)
        return DN_E_NOMEM;
    *out = beside;
    return DN_OK;
}

dn_status dni_path_listed(const dni_heap *heap, const char *base, const char *list_folder,
                          const char *path, char **out)
{
    char *first;
    dn_status st = dni_path_resolve(heap, base, path, false, &first);
    if (st || dni_file_exists(first)) {
        *out = st ? *out : first;
        return st;
    }
    dni_free(first);
    return dni_path_resolve(heap, list_folder, path, false, out);
}
