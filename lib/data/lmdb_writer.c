/* SPDX-License-Identifier: BSD-2-Clause
 * lmdb_writer.c: new LMDBs through liblmdb: appended in key order, written with write (a full
 * disk is an error, not SIGBUS as with a writable map), synced once, then renamed into place.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "data/data.h"

#ifdef DN_HAVE_LMDB
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* Bytes per transaction: dirty pages wait in memory until it ends, and are then written in
 * runs. */
#define COMMIT_BYTES ((size_t)1 << 20)

struct dni_db_writer {
    dni_heap heap;
    char *path, *temporary; /* temporary: NULL once nothing of it is left */
    bool overwrite;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    size_t pending;   /* bytes since the last commit */
    uint64_t written; /* bytes of all records */
    size_t map;       /* bytes the database may have as it is mapped */
};

static dn_status fail_lmdb(int error)
{
    char text[128];
    if (error == MDB_MAP_FULL)
        return dni_fail(DN_E_LIMIT, "the records are larger than this machine can map");
    if (error == MDB_KEYEXIST)
        return dni_fail(DN_E_INVALID, "keys must be in ascending order, each once");
    if (error == MDB_BAD_VALSIZE)
        return dni_fail(DN_E_INVALID, "a key must have 1 to 511 bytes");
    if (error == EIO) /* liblmdb's word for a write that fell short, too */
        return dni_fail(DN_E_IO, "%s, or no space left on device",
                        dni_errno_text(error, text, sizeof(text)));
    if (error > 0)
        return dni_fail(error == ENOMEM ? DN_E_NOMEM : DN_E_IO, "%s",
                        dni_errno_text(error, text, sizeof(text)));
    return dni_fail(DN_E_IO, "%s", mdb_strerror(error));
}

static dn_status in_writer(dn_status st, const dni_db_writer *w)
{
    return dni_in(st, "cannot write LMDB '%s'", w->path);
}

/* The two files an LMDB folder has, and the folder if nothing else is in it. */
static void remove_database(const dni_heap *heap, const char *folder)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < DNI_COUNT(names); i++) {
        char *path = dni_format(heap, "%s/%s", folder, names[i]);
        if (path)
            unlink(path);
        dni_free(path);
    }
    rmdir(folder);
}

static int commit(dni_db_writer *w)
{
    MDB_txn *txn = w->txn;
    w->txn = NULL; /* gone, whatever comes back */
    w->pending = 0;
    return mdb_txn_commit(txn);
}

/* ---- creating ---------------------------------------------------------------------------- */

static dn_status check_target(const dni_db_writer *w)
{
    if (!dni_file_exists(w->path))
        return DN_OK;
    if (!w->overwrite)
        return dni_fail(DN_E_IO, "it exists already; remove it, or allow overwriting");
    char *data = dni_format(&w->heap, "%s/data.mdb", w->path);
    if (!data)
        return DN_E_NOMEM;
    bool database = dni_file_exists(data);
    dni_free(data);
    return database ? DN_OK : dni_fail(DN_E_IO, "what is there is no LMDB; it stays");
}

static dn_status make_folder(dni_db_writer *w)
{
    char text[128];
    for (int attempt = 0; attempt < 100; attempt++) {
        w->temporary = dni_format(&w->heap, "%s.%ld-%d.tmp", w->path, (long)getpid(), attempt);
        if (!w->temporary)
            return DN_E_NOMEM;
        if (mkdir(w->temporary, 0777) == 0)
            return DN_OK;
        dni_free(w->temporary);
        w->temporary = NULL;
        if (errno != EEXIST)
            break;
    }
    return dni_fail(DN_E_IO, "%s", dni_errno_text(errno, text, sizeof(text)));
}

/* Maps twice what is there or so, where the records written need it: twice their bytes, for
 * pages that are not quite full, and a little for the tree. Returns 0 or LMDB's error. */
static int fit_map(dni_db_writer *w)
{
    uint64_t need = w->written * 2 + ((uint64_t)64 << 20);
    int error = 0;
    if (need <= w->map || need > SIZE_MAX / 4)
        return 0;
    if (w->txn)
        error = commit(w);
    w->map = (size_t)(need * 2) & ~(size_t)65535;
    return error ? error : mdb_env_set_mapsize(w->env, w->map);
}

static dn_status open_environment(dni_db_writer *w)
{
    int error = mdb_env_create(&w->env);
    if (!error)
        error = fit_map(w);
    if (!error)
        error =
            mdb_env_open(w->env, w->temporary, MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOTLS, 0664);
    if (!error)
        error = mdb_txn_begin(w->env, NULL, 0, &w->txn);
    if (!error)
        error = mdb_dbi_open(w->txn, NULL, 0, &w->dbi);
    return error ? fail_lmdb(error) : DN_OK;
}

/* Where the database goes: the folder that a symbolic link names is replaced, not the link. */
static dn_status set_path(dni_db_writer *w, const char *path)
{
    char real[PATH_MAX];
    struct stat info;
    w->path = dni_strdup(&w->heap, path);
    if (!w->path)
        return DN_E_NOMEM;
    size_t length = strlen(w->path);
    while (length > 1 && w->path[length - 1] == '/')
        w->path[--length] = 0;
    if (lstat(w->path, &info) || !S_ISLNK(info.st_mode) || !realpath(w->path, real))
        return DN_OK;
    dni_free(w->path);
    w->path = dni_strdup(&w->heap, real);
    return w->path ? DN_OK : DN_E_NOMEM;
}

static dn_status set_up(dni_db_writer *w, const char *path)
{
    dn_status st = set_path(w, path);
    if (st)
        return st;
    st = check_target(w);
    if (!st)
        st = make_folder(w);
    if (!st)
        st = open_environment(w);
    return in_writer(st, w);
}

dn_status dni_db_writer_create(dni_db_writer **out, const dni_heap *heap, const char *path,
                               bool overwrite)
{
    dni_db_writer *w = dni_alloc(heap, 1, sizeof(*w));
    if (!w)
        return DN_E_NOMEM;
    w->heap = *heap;
    w->overwrite = overwrite;
    dn_status st = set_up(w, path);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_db_writer_abandon(w);
        dni_restore_error(&saved);
        return st;
    }
    *out = w;
    return DN_OK;
}

/* ---- writing ----------------------------------------------------------------------------- */

dn_status dni_db_writer_put(dni_db_writer *w, const void *key, size_t key_size,
                            const void *data, size_t size)
{
    MDB_val k = {key_size, (void *)key}, v = {size, (void *)data};
    int error = w->pending >= COMMIT_BYTES ? commit(w) : 0;
    w->written += key_size + size;
    if (!error)
        error = fit_map(w);
    if (!error && !w->txn)
        error = mdb_txn_begin(w->env, NULL, 0, &w->txn);
    if (!error)
        error = mdb_put(w->txn, w->dbi, &k, &v, MDB_APPEND);
    w->pending += key_size + size;
    return error ? in_writer(fail_lmdb(error), w) : DN_OK;
}

/* The new folder takes the place of what was there, which goes only after that. */
static int replace(dni_db_writer *w)
{
    char *old = NULL;
    int error = 0;
    if (dni_file_exists(w->path)) {
        old = dni_format(&w->heap, "%s.old", w->temporary);
        if (!old)
            return ENOMEM;
        if (rename(w->path, old))
            error = errno;
    }
    if (!error && rename(w->temporary, w->path)) {
        error = errno;
        if (old)
            (void)!rename(old, w->path);
    }
    if (!error && old)
        remove_database(&w->heap, old);
    dni_free(old);
    return error;
}

dn_status dni_db_writer_finish(dni_db_writer *w)
{
    int error = w->txn ? commit(w) : 0;
    if (!error)
        error = mdb_env_sync(w->env, 1);
    mdb_env_close(w->env);
    w->env = NULL;
    dn_status st = error ? fail_lmdb(error) : check_target(w);
    if (!st) {
        error = replace(w);
        st = error ? fail_lmdb(error) : DN_OK;
    }
    if (!st) {
        dni_free(w->temporary);
        w->temporary = NULL;
    }
    in_writer(st, w);
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_db_writer_abandon(w);
    dni_restore_error(&saved);
    return st;
}

void dni_db_writer_abandon(dni_db_writer *w)
{
    if (!w)
        return;
    if (w->txn)
        mdb_txn_abort(w->txn);
    if (w->env)
        mdb_env_close(w->env);
    if (w->temporary)
        remove_database(&w->heap, w->temporary);
    dni_free(w->temporary);
    dni_free(w->path);
    dni_free(w);
}

#else

dn_status dni_db_writer_create(dni_db_writer **out, const dni_heap *heap, const char *path,
                               bool overwrite)
{
    (void)out, (void)heap, (void)overwrite;
    return dni_fail(DN_E_UNSUPPORTED,
                    "cannot write LMDB '%s': this build has no liblmdb "
                    "(configure with -Dlmdb=enabled)",
                    path);
}

dn_status dni_db_writer_put(dni_db_writer *w, const void *key, size_t key_size,
                            const void *data, size_t size)
{
    (void)w, (void)key, (void)key_size, (void)data, (void)size;
    return dni_fail(DN_E_UNSUPPORTED, "this build has no liblmdb");
}

dn_status dni_db_writer_finish(dni_db_writer *w)
{
    (void)w;
    return dni_fail(DN_E_UNSUPPORTED, "this build has no liblmdb");
}

void dni_db_writer_abandon(dni_db_writer *w)
{
    (void)w;
}

#endif
