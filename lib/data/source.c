/* SPDX-License-Identifier: BSD-2-Clause
 * source.c: which class reads a backend, and the database's name in front of every failure. */
#include "data/data.h"

static const struct {
    int32_t backend;
    const dni_source_class *cls;
} classes[] = {
    {CNN__DATA_PARAMETER__DB__LEVELDB, &dni_leveldb_class},
    {CNN__DATA_PARAMETER__DB__LMDB, &dni_lmdb_class},
};

dn_status dni_in_source(dn_status status, const dni_source *source)
{
    return dni_in(status, "%s '%s'", source->cls->name, source->path);
}

/* A key may be anything. */
dn_status dni_in_record(dn_status st, const dni_source *source, const dni_record *record)
{
    int length = record->key_size > 64 ? 64 : (int)record->key_size;
    st = record->file ? dni_in(st, "line %lld: '%s'", (long long)record->line, record->file)
                      : dni_in(st, "record '%.*s'", length, (const char *)record->key);
    return dni_in_source(st, source);
}

dn_status dni_source_next(dni_source *source, dni_record *record)
{
    *record = (dni_record){0};
    return dni_in_source(source->cls->next(source, record), source);
}

dn_status dni_source_rewind(dni_source *source)
{
    return dni_in_source(source->cls->rewind(source), source);
}

dn_status dni_source_seek(dni_source *source, const uint8_t *key, size_t size)
{
    return dni_in_source(source->cls->seek(source, key, size), source);
}

void dni_source_close(dni_source *source)
{
    if (!source)
        return;
    dni_free(source->path);
    source->cls->close(source);
}

/* Empty databases are found here, once for all formats. */
static dn_status check_first(dni_source *source)
{
    dni_record first;
    dn_status st = dni_source_next(source, &first);
    if (!st && !first.data)
        st = dni_in_source(dni_fail(DN_E_DATA, "it has no records"), source);
    return st ? st : dni_source_rewind(source);
}

/* Takes path over. */
static dn_status open_class(dni_source **out, const dni_source_class *cls, const dni_heap *heap,
                            char *path)
{
    dni_source *source;
    dn_status st = cls->open(&source, heap, path);
    if (st) {
        st = dni_in(st, "%s '%s'", cls->name, path);
        dni_free(path);
        return st;
    }
    source->cls = cls;
    source->heap = heap;
    source->path = path;
    st = check_first(source);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_source_close(source);
        dni_restore_error(&saved);
        return st;
    }
    *out = source;
    return DN_OK;
}

dn_status dni_source_open(dni_source **out, const dni_heap *heap, int32_t backend,
                          const char *base, const char *path)
{
    for (size_t i = 0; i < DNI_COUNT(classes); i++) {
        char *resolved;
        if (classes[i].backend != backend)
            continue;
        dn_status st = dni_path_resolve(heap, base, path, false, &resolved);
        return st ? st : open_class(out, classes[i].cls, heap, resolved);
    }
    return dni_fail(DN_E_UNSUPPORTED, "data backend %d is not known; LEVELDB is 0, LMDB is 1",
                    backend);
}
