/* SPDX-License-Identifier: BSD-2-Clause
 * test_sources.c: databases that are there, and all the ways in which they are not. */
#include "records.h"

#include <fcntl.h>
#include <sys/wait.h>

#ifdef DN_HAVE_LMDB
#include <lmdb.h>
#endif

enum { LMDB = CNN__DATA_PARAMETER__DB__LMDB, LEVELDB = CNN__DATA_PARAMETER__DB__LEVELDB };

static const char *reference;

/* Reads everything: how many records, or the failure. */
static dn_status read_all(int32_t backend, const char *path, int64_t *records)
{
    dni_source *source;
    dni_record record = {0};
    *records = 0;
    dn_status st = dni_source_open(&source, heap, backend, NULL, path);
    if (st)
        return st;
    while ((st = dni_source_next(source, &record)) == DN_OK && record.data)
        ++*records;
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_source_close(source);
    dni_restore_error(&saved);
    return st;
}

#define CHECK_READ(path, expected)                                                             \
    do {                                                                                       \
        int64_t check_n = -1;                                                                  \
        CHECK_STATUS(read_all(LMDB, path, &check_n), DN_OK);                                   \
        CHECK_INT(check_n, expected);                                                          \
    } while (0)

#define CHECK_REFUSED(backend, path, status, part)                                             \
    do {                                                                                       \
        int64_t check_n;                                                                       \
        CHECK_MESSAGE(read_all(backend, path, &check_n), status, part);                        \
    } while (0)

/* ---- LMDB -------------------------------------------------------------------------------- */

/* Small records share leaf pages, large ones have pages of their own; many make branches. */
static void test_lmdb_sizes(void)
{
    static const size_of_record sizes[] = {{1, 1, 1},   {1, 28, 28}, {3, 20, 32},
                                           {3, 36, 37}, {3, 64, 64}, {3, 100, 700}};
    SECTION("LMDB: sizes");
    for (size_t i = 0; i < DNI_COUNT(sizes); i++) {
        for (int64_t records = 1; records <= 800; records *= 20) {
            dni_source *source = NULL;
            dni_record record;
            int64_t n = 0, wrong = 0,
                    count = sizes[i].channels * sizes[i].height * sizes[i].width;
            const char *path = check_path("sizes");
            make_lmdb(path, records, sizes[i]);
            CHECK_STATUS(dni_source_open(&source, heap, LMDB, NULL, path), DN_OK);
            while (source && !dni_source_next(source, &record) && record.data) {
                char key[24];
                snprintf(key, sizeof(key), "%08lld", (long long)n);
                wrong += record.key_size != 8 || memcmp(record.key, key, 8) ||
                         record.size < (size_t)count ||
                         record.data[record.size - 3] != pixel_of(n, count - 1);
                n++;
            }
            CHECK_INT(n, records);
            CHECK_INT(wrong, 0);
            CHECK_STATUS(dni_source_rewind(source), DN_OK);
            CHECK_STATUS(dni_source_next(source, &record), DN_OK);
            CHECK(record.key_size == 8 && memcmp(record.key, "00000000", 8) == 0);
            dni_source_close(source);
        }
    }
}

static void test_lmdb_missing(void)
{
    const char *folder = check_path("folder"), *file = check_path("folder/data.mdb");
    SECTION("LMDB: missing");
    CHECK_REFUSED(LMDB, check_path("none"), DN_E_IO, "none': cannot open: No such file");
    CHECK(mkdir(folder, 0777) == 0);
    CHECK_REFUSED(LMDB, folder, DN_E_IO, "folder': the folder has no data.mdb");
    check_write(file, "", 0);
    CHECK_REFUSED(LMDB, folder, DN_E_DATA, "the file is empty");
    check_write(file, "text", 4);
    CHECK_REFUSED(LMDB, folder, DN_E_DATA, "cut");
    static char noise[20000];
    memset(noise, 'x', sizeof(noise));
    check_write(file, noise, sizeof(noise));
    CHECK_REFUSED(LMDB, folder, DN_E_DATA, "not an LMDB");
    CHECK_REFUSED(LMDB, file, DN_E_DATA, "not an LMDB");
    CHECK_REFUSED(7, file, DN_E_UNSUPPORTED, "backend 7");
    dni_db_writer *writer = new_writer(check_path("empty"));
    CHECK_STATUS(dni_db_writer_finish(writer), DN_OK);
    CHECK_REFUSED(LMDB, check_path("empty"), DN_E_DATA, "it has no records");
}

/* Relative paths mean the working directory, then the prototxt's folder. */
static void test_lmdb_base(void)
{
    dni_source *source = NULL;
    SECTION("LMDB: beside the prototxt");
    make_lmdb(check_path("beside"), 3, (size_of_record){1, 2, 2});
    CHECK_STATUS(dni_source_open(&source, heap, LMDB, check_folder(), "beside"), DN_OK);
    dni_source_close(source);
    source = NULL;
    CHECK_MESSAGE(dni_source_open(&source, heap, LMDB, check_folder(), "besides"), DN_E_IO,
                  "LMDB 'besides': cannot open");
    CHECK(source == NULL);
}

/* Every cut of the file is refused or reads as it should: never a signal. */
static void test_lmdb_cut(void)
{
    const char *path = check_path("cut"), *file = check_path("cut/data.mdb");
    size_t size;
    int accepted = 0;
    SECTION("LMDB: cut");
    make_lmdb(path, 200, (size_of_record){1, 28, 28});
    char *data = read_file(file, &size);
    for (size_t keep = 0; keep < size; keep += 1000) {
        int64_t records;
        check_write(file, data, keep);
        dni_clear_error();
        dn_status st = read_all(LMDB, path, &records);
        accepted += st == DN_OK;
        CHECK_AT(st == DN_E_DATA && dn_last_error(), "cut to %zu: %s", keep,
                 dn_status_name(st));
    }
    CHECK_INT(accepted, 0);
    dni_free(data);
}

/* Flipped bytes in every header: any answer but a crash, a hang or silence. */
static void test_lmdb_damaged(void)
{
    const char *path = check_path("bad"), *file = check_path("bad/data.mdb");
    size_t size;
    int refused = 0;
    SECTION("LMDB: damaged");
    make_lmdb(path, 300, (size_of_record){1, 12, 12});
    char *data = read_file(file, &size);
    for (size_t page = 0; page < size; page += 4096)
        for (size_t at = page; at < page + 200 && at < size; at += 1 + at % 3) {
            int64_t records;
            char kept = data[at];
            data[at] = (char)(at % 2 ? ~kept : kept + 1);
            check_write(file, data, size);
            dni_clear_error();
            dn_status st = read_all(LMDB, path, &records);
            CHECK_AT(!st == !dn_last_error() && records <= 100000, "byte %zu", at);
            refused += st != DN_OK;
            data[at] = kept;
        }
    CHECK(refused > 20);
    dni_free(data);
}

/* A value that fills its pages to the last byte, and one a byte longer; then pages that say
 * they are fewer than their value needs. */
static void test_lmdb_big_values(void)
{
    const char *path = check_path("big"), *file = check_path("big/data.mdb");
    SECTION("LMDB: values on pages of their own");
    for (size_t over = 0; over <= 1; over++) {
        size_t size, wanted = 2 * 4096 - 16 + over;
        int changed = 0;
        uint8_t *value = malloc(wanted);
        memset(value, 7, wanted);
        dni_db_writer *writer = new_writer(path);
        CHECK_STATUS(dni_db_writer_put(writer, "k", 1, value, wanted), DN_OK);
        CHECK_STATUS(dni_db_writer_finish(writer), DN_OK);
        dni_source *source = NULL;
        dni_record record = {0};
        CHECK_STATUS(dni_source_open(&source, heap, LMDB, NULL, path), DN_OK);
        CHECK_STATUS(dni_source_next(source, &record), DN_OK);
        CHECK(record.size == wanted && memcmp(record.data, value, wanted) == 0);
        dni_source_close(source);

        char *data = read_file(file, &size);
        for (size_t page = 0; page < size; page += 4096)
            if (data[page + 10] == 4) { /* an overflow page; at 12: how many follow */
                CHECK_INT(data[page + 12], 2 + (int)over);
                data[page + 12]--;
                changed++;
                break;
            }
        CHECK_INT(changed, 1);
        check_write(file, data, size);
        CHECK_REFUSED(LMDB, path, DN_E_DATA, "its value is longer than its pages");
        dni_free(data);
        free(value);
    }
}

/* A page that is not what it should be is damage, unless either meta page says that a writer
 * went on. */
static void test_lmdb_written_to(void)
{
    const char *path = check_path("went_on"), *file = check_path("went_on/data.mdb");
    SECTION("LMDB: written to while it is read");
    for (size_t meta = 0; meta < 3; meta++) { /* 2: neither */
        dni_source *source = NULL;
        dni_record record;
        size_t size;
        make_lmdb(path, 300, (size_of_record){1, 12, 12});
        CHECK_STATUS(dni_source_open(&source, heap, LMDB, NULL, path), DN_OK);
        char *data = read_file(file, &size);
        if (meta < 2)
            data[meta * 4096 + 16 + 128 + 1] = 1; /* its transaction: 256 more */
        for (size_t page = 2 * 4096; page < size; page += 4096)
            data[page] = 1;
        check_write(file, data, size);
        CHECK_MESSAGE(dni_source_next(source, &record), DN_E_DATA,
                      meta < 2 ? "it was written to while it was being read"
                               : "is damaged: it says it is another");
        dni_source_close(source);
        dni_free(data);
    }
}

/* No file may be made or changed, and no permission to do so is needed. */
static void test_lmdb_read_only(void)
{
    const char *path = check_path("fixed"), *file = check_path("fixed/data.mdb");
    struct stat before, after;
    SECTION("LMDB: read-only folder");
    make_lmdb(path, 20, (size_of_record){1, 5, 5});
    unlink(check_path("fixed/lock.mdb"));
    CHECK(stat(file, &before) == 0 && chmod(file, 0444) == 0 && chmod(path, 0555) == 0);
    CHECK_READ(path, 20);
    CHECK(stat(check_path("fixed/lock.mdb"), &after) != 0);
    CHECK(stat(file, &after) == 0 && after.st_mtime == before.st_mtime);
    chmod(path, 0777);
}

#ifdef DN_HAVE_LMDB
static void put(MDB_env *env, int records, const char *form)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
    for (int i = 0; i < records; i++) {
        char key[16];
        MDB_val k = {(size_t)snprintf(key, sizeof(key), form, i), key}, v = {6, "123456"};
        mdb_put(txn, dbi, &k, &v, 0);
    }
    CHECK(mdb_txn_commit(txn) == 0);
}

/* The host has it open, even in the middle of writing: we see the last commit. */
static void test_lmdb_locked(void)
{
    const char *path = check_path("locked");
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi = 0;
    MDB_val k = {3, "new"}, v = {3, "new"};
    SECTION("LMDB: locked");
    make_lmdb(path, 30, (size_of_record){1, 5, 5});
    CHECK(mdb_env_create(&env) == 0 && mdb_env_open(env, path, 0, 0664) == 0);
    CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
    CHECK(mdb_put(txn, dbi, &k, &v, 0) == 0);
    CHECK_READ(path, 30);
    CHECK(mdb_txn_commit(txn) == 0);
    CHECK_READ(path, 31);
    put(env, 100, "x%05d");
    CHECK_READ(path, 131);
    put(env, 100, "a%05d"); /* not in order: pages split and move */
    put(env, 40, "x%04d");
    CHECK_READ(path, 271);
    mdb_env_close(env);
}

static void test_lmdb_named(void)
{
    const char *path = check_path("named");
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi = 0;
    SECTION("LMDB: named databases");
    CHECK(mkdir(path, 0777) == 0 && mdb_env_create(&env) == 0);
    CHECK(mdb_env_set_maxdbs(env, 4) == 0 && mdb_env_open(env, path, 0, 0664) == 0);
    CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0);
    CHECK(mdb_dbi_open(txn, "one", MDB_CREATE, &dbi) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
    CHECK_REFUSED(LMDB, path, DN_E_UNSUPPORTED, "named databases");
}
#endif

/* ---- writing ----------------------------------------------------------------------------- */

static void test_writer(void)
{
    const char *path = check_path("made");
    dni_db_writer *w = NULL;
    SECTION("LMDB writer");
    make_lmdb(path, 10, (size_of_record){1, 3, 3});
    CHECK_MESSAGE(dni_db_writer_create(&w, heap, path, false), DN_E_IO, "exists already");
    CHECK(w == NULL);
    w = new_writer(check_path("made/")); /* the same by another spelling */
    CHECK_READ(path, 10);
    put_record(w, 5, (size_of_record){1, 3, 3});
    CHECK_MESSAGE(dni_db_writer_put(w, "00000004", 8, "x", 1), DN_E_INVALID, "ascending");
    CHECK_MESSAGE(dni_db_writer_put(w, "", 0, "x", 1), DN_E_INVALID, "1 to 511");
    dni_db_writer_abandon(w);
    CHECK_READ(path, 10);
    w = new_writer(path);
    put_record(w, 0, (size_of_record){1, 3, 3});
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    CHECK_READ(path, 1);
    static char large[10 << 20];
    w = new_writer(path);
    char key = 'a';
    for (; key < 'l'; key++) /* more than it maps at first */
        CHECK_STATUS(dni_db_writer_put(w, &key, 1, large, sizeof(large)), DN_OK);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    CHECK_READ(path, 11);
    CHECK(mkdir(check_path("precious"), 0777) == 0);
    CHECK_MESSAGE(dni_db_writer_create(&w, heap, check_path("precious"), true), DN_E_IO,
                  "no LMDB; it stays");
    CHECK_MESSAGE(dni_db_writer_create(&w, heap, "/nowhere/at/all", true), DN_E_IO,
                  "'/nowhere/at/all': No such file");
    dni_db_writer_abandon(NULL);
}

/* ---- LevelDB ----------------------------------------------------------------------------- */

static void test_leveldb(void)
{
    char path[512];
    struct stat before, after;
    int64_t records;
    SECTION("LevelDB");
    snprintf(path, sizeof(path), "%s/fashion300_leveldb", reference);
#ifdef DN_HAVE_LEVELDB
    CHECK(stat(path, &before) == 0);
    CHECK_STATUS(read_all(LEVELDB, path, &records), DN_OK);
    CHECK_INT(records, 300);
    CHECK(stat(path, &after) == 0 && before.st_mtime == after.st_mtime);
    CHECK_REFUSED(LEVELDB, check_path("none"), DN_E_IO, "No such file");
    CHECK(mkdir(check_path("level"), 0777) == 0);
    CHECK_REFUSED(LEVELDB, check_path("level"), DN_E_DATA, "no file CURRENT");
    check_write(check_path("level/CURRENT"), "MANIFEST-000009\n", 16);
    CHECK_REFUSED(LEVELDB, check_path("level"), DN_E_DATA, "LevelDB '");
    check_write(check_path("level/CURRENT"), "nonsense", 8);
    CHECK_REFUSED(LEVELDB, check_path("level"), DN_E_DATA, "LevelDB '");
    CHECK(strstr(dn_last_error(), "deepnet-leveldb") == NULL);
#else
    (void)before, (void)after;
    CHECK_MESSAGE(read_all(LEVELDB, path, &records), DN_E_UNSUPPORTED, "no LevelDB");
#endif
    CHECK_REFUSED(LMDB, path, DN_E_IO, "no data.mdb");
}

int main(int argc, char **argv)
{
    reference = argc > 1 ? argv[1] : "reference";
    test_lmdb_sizes();
    test_lmdb_missing();
    test_lmdb_base();
    test_lmdb_cut();
    test_lmdb_damaged();
    test_lmdb_big_values();
    test_lmdb_written_to();
    test_lmdb_read_only();
#ifdef DN_HAVE_LMDB
    test_lmdb_locked();
    test_lmdb_named();
#endif
    test_writer();
    test_leveldb();
    return check_summary();
}
