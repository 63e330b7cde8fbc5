/* SPDX-License-Identifier: BSD-2-Clause
 * leveldb.c: reads a LevelDB through the library's C API. Opening one in place locks it,
 * replays its log and rewrites its manifest; so what is opened is a folder of our own with
 * links to its tables and copies of the rest. The database itself is only read. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "data/data.h"

#ifdef DN_HAVE_LEVELDB
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leveldb/c.h>

typedef struct level_source {
    dni_source base;
    dni_heap heap;
    char *view; /* our folder; NULL: none */
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_readoptions_t *reading;
    leveldb_iterator_t *iterator;
    bool started; /* the iterator stands on a record that was handed out */
} level_source;

/* The library names its files by our folder; the message should not. Takes text over. */
static dn_status fail_level(const level_source *s, char *text)
{
    size_t length = strlen(s->view);
    char *at;
    while ((at = strstr(text, s->view)) != NULL) {
        size_t cut = length + (at[length] == '/');
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
    dn_status st = dni_fail(DN_E_DATA, "%s", text);
    leveldb_free(text);
    return st;
}

/* ---- the view ---------------------------------------------------------------------------- */

static void remove_view(level_source *s)
{
    struct dirent *entry;
    DIR *folder = s->view ? opendir(s->view) : NULL;
    while (folder && (entry = readdir(folder)) != NULL) {
        char *path = dni_format(&s->heap, "%s/%s", s->view, entry->d_name);
        if (path && entry->d_name[0] != '.')
            unlink(path);
        dni_free(path);
    }
    if (folder)
        closedir(folder);
    if (s->view)
        rmdir(s->view);
    dni_free(s->view);
    s->view = NULL;
}

static dn_status copy_file(level_source *s, const char *from, const char *to)
{
    char *data;
    size_t size;
    dn_status st = dni_file_read(&s->heap, from, &data, &size);
    if (st)
        return st;
    FILE *file = fopen(to, "wb");
    bool written = file && fwrite(data, 1, size, file) == size;
    if (file && fclose(file))
        written = false;
    dni_free(data);
    return written ? DN_OK : dni_fail_errno(errno, "write", to);
}

/* Tables never change: a link will do. The rest is small, and the library writes to it. */
static dn_status add_file(level_source *s, const char *folder, const char *name)
{
    bool table = dni_ends_with(name, ".ldb") || dni_ends_with(name, ".sst");
    if (!table && strcmp(name, "CURRENT") && strncmp(name, "MANIFEST-", 9) &&
        !dni_ends_with(name, ".log"))
        return DN_OK;
    char *from = dni_format(&s->heap, "%s/%s", folder, name);
    char *to = dni_format(&s->heap, "%s/%s", s->view, name);
    dn_status st = from && to ? DN_OK : DN_E_NOMEM;
    if (!st && table && symlink(from, to))
        st = dni_fail_errno(errno, "link", to);
    else if (!st && !table)
        st = copy_file(s, from, to);
    dni_free(from);
    dni_free(to);
    return st;
}

static dn_status make_folder(level_source *s)
{
    const char *base = getenv("TMPDIR");
    char *name =
        dni_format(&s->heap, "%s/deepnet-leveldb-XXXXXX", base && base[0] ? base : "/tmp");
    if (!name)
        return DN_E_NOMEM;
    if (!mkdtemp(name)) {
        dn_status st = dni_fail_errno(errno, "make a folder", name);
        dni_free(name);
        return st;
    }
    s->view = name;
    return DN_OK;
}

static dn_status make_view(level_source *s, const char *path)
{
    char *absolute = dni_alloc(&s->heap, PATH_MAX, 1);
    struct dirent *entry;
    bool current = false;
    if (!absolute)
        return DN_E_NOMEM;
    DIR *folder = realpath(path, absolute) ? opendir(absolute) : NULL;
    dn_status st = folder ? make_folder(s) : dni_fail_errno(errno, "open", path);
    while (!st && (entry = readdir(folder)) != NULL) {
        st = add_file(s, absolute, entry->d_name);
        current |= strcmp(entry->d_name, "CURRENT") == 0;
    }
    if (folder)
        closedir(folder);
    dni_free(absolute);
    if (!st && !current)
        st = dni_fail(DN_E_DATA, "it is not a LevelDB: it has no file CURRENT");
    return st;
}

/* ---- the source -------------------------------------------------------------------------- */

static dn_status level_rewind(dni_source *source)
{
    level_source *s = (level_source *)source;
    s->started = false;
    leveldb_iter_seek_to_first(s->iterator);
    return DN_OK;
}

static dn_status level_seek(dni_source *source, const uint8_t *key, size_t size)
{
    level_source *s = (level_source *)source;
    s->started = false;
    leveldb_iter_seek(s->iterator, (const char *)key, size);
    return DN_OK;
}

/* Moving on frees the record before, so the iterator moves when the next one is asked for. */
static dn_status level_next(dni_source *source, dni_record *record)
{
    level_source *s = (level_source *)source;
    char *text = NULL;
    if (s->started && leveldb_iter_valid(s->iterator))
        leveldb_iter_next(s->iterator);
    s->started = true;
    if (leveldb_iter_valid(s->iterator)) {
        record->key = (const uint8_t *)leveldb_iter_key(s->iterator, &record->key_size);
        record->data = (const uint8_t *)leveldb_iter_value(s->iterator, &record->size);
        return DN_OK;
    }
    leveldb_iter_get_error(s->iterator, &text);
    return text ? fail_level(s, text) : DN_OK;
}

static void level_close(dni_source *source)
{
    level_source *s = (level_source *)source;
    if (s->iterator)
        leveldb_iter_destroy(s->iterator);
    if (s->db)
        leveldb_close(s->db);
    if (s->reading)
        leveldb_readoptions_destroy(s->reading);
    if (s->options)
        leveldb_options_destroy(s->options);
    remove_view(s);
    dni_free(s);
}

static dn_status open_view(level_source *s)
{
    char *text = NULL;
    s->options = leveldb_options_create();
    s->reading = leveldb_readoptions_create();
    leveldb_options_set_max_open_files(s->options, 100);
    leveldb_readoptions_set_verify_checksums(s->reading, 1);
    leveldb_readoptions_set_fill_cache(s->reading, 0);
    s->db = leveldb_open(s->options, s->view, &text);
    if (!s->db)
        return fail_level(s, text);
    s->iterator = leveldb_create_iterator(s->db, s->reading);
    leveldb_iter_seek_to_first(s->iterator);
    return DN_OK;
}

static dn_status level_open(dni_source **out, const dni_heap *heap, const char *path)
{
    level_source *s = dni_alloc(heap, 1, sizeof(*s));
    if (!s)
        return DN_E_NOMEM;
    s->heap = *heap;
    dn_status st = make_view(s, path);
    if (!st)
        st = open_view(s);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        level_close(&s->base);
        dni_restore_error(&saved);
        return st;
    }
    *out = &s->base;
    return DN_OK;
}

#else

static dn_status level_open(dni_source **out, const dni_heap *heap, const char *path)
{
    (void)out, (void)heap, (void)path;
    return dni_fail(DN_E_UNSUPPORTED, "this build has no LevelDB (configure with "
                                      "-Dleveldb=enabled, or convert the database to LMDB)");
}

#define level_next   NULL
#define level_rewind NULL
#define level_seek   NULL
#define level_close  NULL

#endif

const dni_source_class dni_leveldb_class = {
    .name = "LevelDB",
    .open = level_open,
    .next = level_next,
    .rewind = level_rewind,
    .seek = level_seek,
    .close = level_close,
};
