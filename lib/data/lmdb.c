/* SPDX-License-Identifier: BSD-2-Clause
 * lmdb.c: reads an LMDB in key order with pread and its own bounds checks, not through liblmdb:
 * that takes locks (the host may have the same database open, or the folder may be read-only),
 * maps the file (a cut file or a failing disk would be SIGBUS) and aborts on a damaged page. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/data.h"

/* On disk (data version 1, 64-bit, little-endian). A page: number 8 bytes, pad 2, flags 2, then
 * lower and upper end of the free space, 2 each (overflow pages: how many, 4); then the offsets
 * of its nodes, 2 bytes each. A node: 8 bytes of header, key, data. */
enum {
    PAGE_HEADER = 16,
    NODE_HEADER = 8,
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    PAGE_META = 8,
    NODE_BIG = 1,  /* the data is the number of an overflow page */
    NODE_SUB = 2,  /* a named database */
    NODE_DUPS = 4, /* several values */
    META_SIZE = 136,
    MAX_DEPTH = 32
};
#define META_MAGIC 0xBEEFC0DEu
#define NO_PAGE    UINT64_MAX

typedef struct level {
    uint8_t *page;
    size_t count, index; /* nodes of the page; the one to visit next */
} level;

typedef struct lmdb {
    dni_source base;
    dni_heap heap;
    int fd;
    size_t page_size;
    uint64_t root, transaction, file_pages;
    uint64_t visited; /* pages since the start: more than there are is a loop */
    level levels[MAX_DEPTH];
    size_t depth;   /* levels in use; 0: past the last record */
    uint8_t *value; /* of an overflow page */
    size_t value_capacity;
} lmdb;

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | at[size];
    return value;
}

/* ---- reading ----------------------------------------------------------------------------- */

static dn_status read_at(lmdb *db, uint64_t offset, uint8_t *to, size_t size)
{
    char text[128];
    while (size > 0) {
        ssize_t n = pread(db->fd, to, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dni_fail(DN_E_IO, "cannot read: %s",
                            dni_errno_text(errno, text, sizeof(text)));
        if (n == 0)
            return dni_fail(DN_E_DATA, "the file ends early, at byte %llu; it was cut",
                            (unsigned long long)offset);
        to += n, offset += (uint64_t)n, size -= (size_t)n;
    }
    return DN_OK;
}

/* Damage, unless a writer went on: pages of an old transaction are used again. */
static dn_status damaged(lmdb *db, uint64_t page, const char *what)
{
    uint8_t meta[PAGE_HEADER + META_SIZE];
    for (int i = 0; i < 2; i++)
        if (read_at(db, (uint64_t)i * db->page_size, meta, sizeof(meta)) == DN_OK &&
            get(meta + PAGE_HEADER + 128, 8) > db->transaction)
            return dni_fail(DN_E_DATA, "it was written to while it was being read");
    return dni_fail(DN_E_DATA, "page %llu is damaged: %s", (unsigned long long)page, what);
}

static dn_status read_page(lmdb *db, uint64_t number, uint8_t *to, size_t size)
{
    if (number >= db->file_pages)
        return damaged(db, number, "it lies outside the file");
    dn_status st = read_at(db, number * db->page_size, to, size);
    if (!st && get(to, 8) != number)
        st = damaged(db, number, "it says it is another");
    return st;
}

/* Makes a branch or leaf page the deepest level. */
static dn_status push(lmdb *db, uint64_t number)
{
    level *l = &db->levels[db->depth];
    if (db->depth == MAX_DEPTH)
        return damaged(db, number, "the tree is too deep");
    if (db->visited++ > db->file_pages)
        return damaged(db, number, "the tree has a loop");
    if (!l->page && !(l->page = dni_realloc(&db->heap, NULL, db->page_size, 1)))
        return DN_E_NOMEM;
    dn_status st = read_page(db, number, l->page, db->page_size);
    if (st)
        return st;
    size_t lower = get(l->page + 12, 2), flags = get(l->page + 10, 2) & 0x6f;
    if (flags != PAGE_BRANCH && flags != PAGE_LEAF)
        return damaged(db, number, "it is neither branch nor leaf");
    if (lower < PAGE_HEADER || lower > db->page_size || lower % 2)
        return damaged(db, number, "its node count is wrong");
    l->count = (lower - PAGE_HEADER) / 2;
    l->index = 0;
    db->depth++;
    return DN_OK;
}

static bool is_leaf(const level *l)
{
    return get(l->page + 10, 2) & PAGE_LEAF;
}

/* A node of a page and the size of its key; `tail` bytes of data must be inside too. */
static const uint8_t *find_node(const lmdb *db, const level *l, size_t tail, size_t *key_size)
{
    size_t at = get(l->page + PAGE_HEADER + 2 * l->index, 2);
    if (at < PAGE_HEADER + 2 * l->count || at + NODE_HEADER > db->page_size)
        return NULL;
    *key_size = get(l->page + at + 6, 2);
    if (*key_size + tail > db->page_size - NODE_HEADER - at)
        return NULL;
    return l->page + at;
}

/* The pages of a big value: its first header, then nothing but the value. */
static dn_status read_overflow(lmdb *db, uint64_t number, size_t size, const uint8_t **out)
{
    uint64_t left;
    if (number >= db->file_pages)
        return damaged(db, number, "it lies outside the file");
    left = (db->file_pages - number) * db->page_size;
    if (left - PAGE_HEADER < size)
        return damaged(db, number, "its value would end outside the file");
    dn_status st = dni_grow(&db->heap, &db->value, &db->value_capacity, size + PAGE_HEADER, 1);
    if (!st)
        st = read_page(db, number, db->value, size + PAGE_HEADER);
    if (!st && !(get(db->value + 10, 2) & PAGE_OVERFLOW))
        st = damaged(db, number, "it is no overflow page");
    if (!st && get(db->value + 12, 4) * db->page_size < size + PAGE_HEADER)
        st = damaged(db, number, "its value is longer than its pages");
    if (!st)
        *out = db->value + PAGE_HEADER;
    return st;
}

static dn_status leaf_record(lmdb *db, level *l, dni_record *record)
{
    size_t key_size;
    uint64_t number = get(l->page, 8);
    const uint8_t *node = find_node(db, l, 0, &key_size);
    if (!node)
        return damaged(db, number, "a node lies outside it");
    size_t flags = get(node + 4, 2), size = get(node, 4);
    if (flags & (NODE_SUB | NODE_DUPS))
        return dni_fail(DN_E_UNSUPPORTED, "it holds named databases or duplicate keys, which "
                                          "Caffe's do not");
    bool big = flags & NODE_BIG;
    node = find_node(db, l, big ? 8 : size, &key_size);
    if (!node)
        return damaged(db, number, "a value lies outside it");
    record->key = node + NODE_HEADER;
    record->key_size = key_size;
    record->data = node + NODE_HEADER + key_size;
    record->size = size;
    l->index++;
    return big && !db->base.keys_only
               ? read_overflow(db, get(record->data, 8), size, &record->data)
               : DN_OK;
}

/* One step down from a branch page. */
static dn_status descend(lmdb *db, level *l)
{
    size_t key_size;
    const uint8_t *node = find_node(db, l, 0, &key_size);
    if (!node)
        return damaged(db, get(l->page, 8), "a node lies outside it");
    l->index++;
    return push(db, get(node, 4) | get(node + 4, 2) << 32);
}

static dn_status lmdb_next(dni_source *source, dni_record *record)
{
    lmdb *db = (lmdb *)source;
    dn_status st = DN_OK;
    while (!st && db->depth > 0) {
        level *l = &db->levels[db->depth - 1];
        if (l->index >= l->count) { /* beyond: a branch of no nodes was sought in */
            db->depth--;
        } else if (is_leaf(l)) {
            return leaf_record(db, l, record);
        } else {
            st = descend(db, l);
        }
    }
    return st;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* One of the two meta pages; the newer valid one is the database's state. */
static dn_status read_meta(lmdb *db, uint64_t offset, uint64_t *last_page)
{
    uint8_t page[PAGE_HEADER + META_SIZE];
    const uint8_t *meta = page + PAGE_HEADER, *main_db = meta + 24 + 48;
    dn_status st = read_at(db, offset, page, sizeof(page));
    if (st)
        return st;
    if (!(get(page + 10, 2) & PAGE_META) || get(meta, 4) != META_MAGIC)
        return dni_fail(DN_E_DATA, "it is not an LMDB file");
    if (get(meta + 4, 4) != 1)
        return dni_fail(DN_E_UNSUPPORTED, "its format is version %llu; 1 is known",
                        (unsigned long long)get(meta + 4, 4));
    uint64_t transaction = get(meta + 128, 8), page_size = get(meta + 24, 4);
    if (offset == 0) {
        if (page_size < 256 || page_size > 65536 || (page_size & (page_size - 1)))
            return dni_fail(DN_E_DATA, "its page size is %llu", (unsigned long long)page_size);
        db->page_size = (size_t)page_size;
    }
    if (offset == 0 || transaction > db->transaction) {
        db->transaction = transaction;
        db->root = get(main_db + 40, 8);
        *last_page = get(meta + 120, 8);
    }
    return DN_OK;
}

static dn_status read_state(lmdb *db)
{
    struct stat info;
    uint64_t last_page = 0;
    if (fstat(db->fd, &info))
        info.st_size = 0;
    if (info.st_size == 0)
        return dni_fail(DN_E_DATA, "the file is empty");
    dn_status st = read_meta(db, 0, &last_page);
    if (!st)
        st = read_meta(db, db->page_size, &last_page);
    if (st)
        return st;
    db->file_pages = (uint64_t)info.st_size / db->page_size;
    if (last_page >= db->file_pages)
        return dni_fail(DN_E_DATA,
                        "the file has %llu pages of the %llu it should have; it was "
                        "cut",
                        (unsigned long long)db->file_pages, (unsigned long long)last_page + 1);
    return DN_OK;
}

/* Takes the state as it is now: a database may have grown since. */
static dn_status lmdb_rewind(dni_source *source)
{
    lmdb *db = (lmdb *)source;
    size_t page_size = db->page_size;
    db->depth = 0;
    db->visited = 0;
    dn_status st = read_state(db);
    if (!st && page_size && db->page_size != page_size)
        st = dni_fail(DN_E_DATA, "it was replaced while it was open");
    if (!st && db->root != NO_PAGE)
        st = push(db, db->root);
    return st;
}

/* Below 0, 0, above 0: the key of the node that l->index names beside this one. */
static dn_status compare(lmdb *db, level *l, const uint8_t *key, size_t size, int *order)
{
    size_t have;
    const uint8_t *node = find_node(db, l, 0, &have);
    if (!node)
        return damaged(db, get(l->page, 8), "a node lies outside it");
    *order = memcmp(node + NODE_HEADER, key, have < size ? have : size);
    if (*order == 0)
        *order = have < size ? -1 : have > size;
    return DN_OK;
}

/* The node of a page to go on with: of a leaf the first not less, of a branch the last not
 * greater (the first has no key). */
static dn_status search(lmdb *db, level *l, const uint8_t *key, size_t size)
{
    bool leaf = is_leaf(l);
    size_t low = leaf ? 0 : 1, high = l->count;
    while (low < high) {
        int order = 0;
        l->index = low + (high - low) / 2;
        dn_status st = compare(db, l, key, size, &order);
        if (st)
            return st;
        if (leaf ? order < 0 : order <= 0)
            low = l->index + 1;
        else
            high = l->index;
    }
    l->index = leaf ? low : low - 1;
    return DN_OK;
}

static dn_status lmdb_seek(dni_source *source, const uint8_t *key, size_t size)
{
    lmdb *db = (lmdb *)source;
    dn_status st = lmdb_rewind(source);
    while (!st && db->depth > 0) {
        level *l = &db->levels[db->depth - 1];
        st = search(db, l, key, size);
        if (st || is_leaf(l))
            break;
        st = descend(db, l);
    }
    return st;
}

static void lmdb_close(dni_source *source)
{
    lmdb *db = (lmdb *)source;
    for (size_t i = 0; i < MAX_DEPTH; i++)
        dni_free(db->levels[i].page);
    if (db->fd >= 0)
        close(db->fd);
    dni_free(db->value);
    dni_free(db);
}

/* path is the folder with data.mdb in it, or the file itself. */
static dn_status open_file(lmdb *db, const char *path)
{
    struct stat info;
    char text[128];
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    char *file = dni_format(&db->heap, folder ? "%s/data.mdb" : "%s", path);
    if (!file)
        return DN_E_NOMEM;
    db->fd = open(file, O_RDONLY | O_CLOEXEC);
    int error = errno;
    dni_free(file);
    if (db->fd < 0 && folder && error == ENOENT)
        return dni_fail(DN_E_IO, "the folder has no data.mdb in it");
    if (db->fd < 0)
        return dni_fail(DN_E_IO, "cannot open: %s", dni_errno_text(error, text, sizeof(text)));
    posix_fadvise(db->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return DN_OK;
}

static dn_status lmdb_open(dni_source **out, const dni_heap *heap, const char *path)
{
    lmdb *db = dni_alloc(heap, 1, sizeof(*db));
    if (!db)
        return DN_E_NOMEM;
    db->heap = *heap;
    db->fd = -1;
    dn_status st = open_file(db, path);
    if (!st)
        st = read_state(db);
    if (!st && db->root != NO_PAGE)
        st = push(db, db->root);
    if (st) {
        lmdb_close(&db->base);
        return st;
    }
    *out = &db->base;
    return DN_OK;
}

const dni_source_class dni_lmdb_class = {
    .name = "LMDB",
    .open = lmdb_open,
    .next = lmdb_next,
    .rewind = lmdb_rewind,
    .seek = lmdb_seek,
    .close = lmdb_close,
};
