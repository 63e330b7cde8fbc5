/* SPDX-License-Identifier: BSD-2-Clause
 * test_loader.c: batches: their order, the end of the database, resuming, records that do not
 * fit, and memory that runs out. */
#include <fenv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "records.h"
#include "signals.h"

static const size_of_record small = {2, 5, 4};
enum { ITEM = 2 * 5 * 4, RECORDS = 23 };

static dni_loader *open_loader(dni_loader_options *o)
{
    dni_loader *l = NULL;
    CHECK_STATUS(dni_loader_open(&l, o), DN_OK);
    if (!l)
        exit(check_summary());
    return l;
}

/* Batch of records first, first + 1, ... of a database of RECORDS. */
static void check_batch(dni_loader *l, int64_t first, int64_t size)
{
    dni_batch b = {0};
    int wrong = 0;
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    CHECK(b.shape.axes == 4 && b.shape.dim[0] == size && b.shape.dim[3] == 4);
    for (int64_t i = 0; b.data && i < size; i++) {
        int64_t n = (first + i) % RECORDS;
        wrong += b.labels[i] != (float)(n % 10);
        for (int64_t k = 0; k < ITEM; k++)
            wrong += b.data[i * ITEM + k] != (float)pixel_of(n, k);
    }
    CHECK_AT(wrong == 0, "batch from record %lld: %d wrong", (long long)first, wrong);
}

static void test_order(const char *path)
{
    SECTION("order");
    for (uint32_t prefetch = 1; prefetch <= 9; prefetch += 4)
        for (uint32_t batch = 1; batch <= 64; batch *= 4) {
            Cnn__DataParameter p = data_param(path, batch);
            dni_loader_options o = {.heap = heap, .param = &p};
            p.prefetch = prefetch;
            dni_loader *l = open_loader(&o);
            for (int64_t i = 0; i < 12; i++) {
                CHECK_INT(dni_loader_position(l), i * batch);
                check_batch(l, i * batch, batch);
            }
            dni_loader_close(l);
        }
}

/* Stopping anywhere, then starting there: the same batches, crops and mirrors included. */
static void test_resume(const char *path)
{
    enum { BATCH = 7, SIZE = BATCH * 2 * 3 * 3 };
    float recorded[12][SIZE];
    Cnn__DataParameter p = data_param(path, BATCH);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {
        .heap = heap, .param = &p, .transform = &t, .train = true, .seed = 3, .stream = 40};
    SECTION("resume");
    t.crop_size = 3, t.mirror = 1;
    p.rand_skip = 20;
    dni_loader *l = open_loader(&o);
    dni_batch b;
    for (int i = 0; i < 12; i++) {
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        memcpy(recorded[i], b.data, sizeof(recorded[i]));
    }
    for (int i = 11; i >= 0; i -= 3) {
        CHECK_STATUS(dni_loader_seek(l, i * BATCH), DN_OK);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(memcmp(recorded[i], b.data, sizeof(recorded[i])) == 0);
        CHECK_INT(dni_loader_position(l), (i + 1) * BATCH);
        dni_loader *other = open_loader(&o);
        CHECK_STATUS(dni_loader_seek(other, i * BATCH), DN_OK);
        CHECK_STATUS(dni_loader_next(other, &b), DN_OK);
        CHECK(memcmp(recorded[i], b.data, sizeof(recorded[i])) == 0);
        dni_loader_close(other);
    }
    CHECK_MESSAGE(dni_loader_seek(l, -1), DN_E_INVALID, "-1");
    CHECK_STATUS(dni_loader_seek(l, (int64_t)1 << 40), DN_OK); /* whole passes cost nothing */
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    dni_loader_close(l);
}

static void test_rand_skip(const char *path)
{
    bool seen[5] = {false};
    int kinds = 0;
    SECTION("rand_skip");
    for (uint64_t seed = 0; seed < 60; seed++) {
        Cnn__DataParameter p = data_param(path, 1);
        dni_loader_options o = {.heap = heap, .param = &p, .seed = seed};
        dni_batch b;
        p.rand_skip = 5;
        dni_loader *l = open_loader(&o);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(b.labels[0] >= 0 && b.labels[0] < 5);
        seen[(int)b.labels[0] % 5] = true;
        dni_loader_close(l);
    }
    for (int i = 0; i < 5; i++)
        kinds += seen[i];
    CHECK_INT(kinds, 5);
}

/* Which records, by their first pixel, `count` of them. */
static void take(dni_loader *l, int64_t batch, int64_t *records, int64_t count)
{
    for (int64_t i = 0; i < count; i += batch) {
        dni_batch b = {0};
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        for (int64_t k = 0; b.data && k < batch; k++)
            for (records[i + k] = 0; records[i + k] < 1000; records[i + k]++)
                if (pixel_of(records[i + k], 0) ==
                    (uint8_t)b.data[k * dni_shape_count(&b.shape) / batch])
                    break;
    }
}

/* Each pass has all records, each in another order; where it was stopped it goes on. */
static void test_shuffle(const char *path, size_of_record s)
{
    enum { N = 30, PASSES = 4 };
    int64_t first[N * PASSES], again[N * PASSES], moved = 0, equal = 0;
    make_lmdb(path, N, s);
    Cnn__DataParameter p = data_param(path, 6);
    dni_loader_options o = {.heap = heap, .param = &p, .seed = 9};
    SECTION("shuffle");
    p.shuffle = 1;
    dni_loader *l = open_loader(&o);
    take(l, 6, first, N * PASSES);
    for (int pass = 0; pass < PASSES; pass++) {
        bool seen[N] = {false};
        for (int64_t i = 0; i < N; i++) {
            int64_t n = first[pass * N + i];
            CHECK(n < N && !seen[n]);
            seen[n % N] = true;
            moved += n != i;
            equal += pass && n == first[i];
        }
    }
    CHECK(moved > 3 * N && equal < N);
    CHECK_STATUS(dni_loader_seek(l, 42), DN_OK);
    take(l, 6, again, 48);
    CHECK(memcmp(again, first + 42, 48 * sizeof *again) == 0);
    dni_loader_close(l);
    o.seed = 10;
    l = open_loader(&o);
    take(l, 6, again, N);
    CHECK(memcmp(again, first, N * sizeof *again) != 0);
    dni_loader_close(l);
}

/* Of two records each comes first in some passes. */
static void test_shuffle_two(const char *path)
{
    enum { PASSES = 32 };
    int64_t records[2 * PASSES], turned = 0;
    make_lmdb(path, 2, small);
    Cnn__DataParameter p = data_param(path, 2);
    dni_loader_options o = {.heap = heap, .param = &p};
    SECTION("shuffle, two records");
    p.shuffle = 1;
    dni_loader *l = open_loader(&o);
    take(l, 2, records, 2 * PASSES);
    for (int i = 0; i < PASSES; i++)
        turned += records[2 * i] == 1;
    CHECK(turned > PASSES / 4 && turned < PASSES * 3 / 4);
    dni_loader_close(l);
}

/* Keys that memory ran out for are read anew, all of them once. */
static void test_shuffle_again(const char *path)
{
    check_heap counts = {0};
    dni_heap h = {check_alloc, &counts};
    Cnn__DataParameter p = data_param(path, 1);
    dni_loader_options o = {.heap = &h, .param = &p};
    dn_status st = DN_E_NOMEM;
    int failed = 0;
    SECTION("shuffle, after a failure");
    p.shuffle = 1;
    for (long fail = 1; st; fail++) {
        dni_loader *l = NULL;
        dni_batch b;
        counts.requests = 0;
        counts.fail_at = fail;
        st = dni_loader_open(&l, &o);
        if (st)
            continue;
        st = dni_loader_next(l, &b);
        counts.fail_at = 0;
        if (st) {
            int64_t records[RECORDS], sum = 0;
            failed++;
            CHECK_STATUS(dni_loader_seek(l, 0), DN_OK);
            take(l, 1, records, RECORDS);
            for (int i = 0; i < RECORDS; i++)
                sum += INT64_C(1) << records[i] % 60;
            CHECK_INT(sum, (INT64_C(1) << RECORDS) - 1);
        }
        dni_loader_close(l);
    }
    CHECK(failed > 2);
    CHECK_HEAP_CLEAN(&counts);
}

static void test_shuffle_leveldb(const char *folder)
{
    bool seen[300] = {false};
    float sums[300];
    int64_t found = 0;
    char path[4096];
    SECTION("shuffle, LevelDB");
    snprintf(path, sizeof path, "%s/fashion300_leveldb", folder);
    Cnn__DataParameter p = data_param(path, 10);
    dni_loader_options o = {.heap = heap, .param = &p};
    dni_loader *l = NULL;
    dni_batch b;
    p.backend = CNN__DATA_PARAMETER__DB__LEVELDB;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        p.shuffle = shuffled;
        if (dni_loader_open(&l, &o) == DN_E_UNSUPPORTED)
            return;
        for (int i = 0; i < 30; i++) {
            CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
            for (int k = 0; k < 10; k++) {
                float sum = 0;
                for (int q = 0; q < 784; q++)
                    sum += b.data[k * 784 + q] * (float)(q % 61);
                if (!shuffled)
                    sums[i * 10 + k] = sum;
                for (int n = 0; shuffled && n < 300; n++)
                    if (!seen[n] && sums[n] == sum) {
                        found++;
                        seen[n] = true;
                        break;
                    }
            }
        }
        dni_loader_close(l);
    }
    CHECK_INT(found, 300);
}

static void test_sizes(void)
{
    const char *path = check_path("mixed");
    dni_db_writer *w = new_writer(path);
    dni_batch b;
    SECTION("records of different sizes");
    for (int64_t n = 0; n < 10; n++)
        put_record(w, n, n == 6 ? (size_of_record){2, 6, 4} : small);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    Cnn__DataParameter p = data_param(path, 3);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = heap, .param = &p, .transform = &t};
    dni_loader *l = open_loader(&o);
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    for (int i = 0; i < 2; i++)
        CHECK_MESSAGE(dni_loader_next(l, &b), DN_E_DATA,
                      "mixed': record '00000006': its size is 2 6 4 (48), the first record's "
                      "2 5 4 (40)");
    CHECK_INT(dni_loader_position(l), 6);
    CHECK_STATUS(dni_loader_seek(l, 0), DN_OK); /* and it works again */
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    dni_loader_close(l);
    t.crop_size = 4; /* makes them equal */
    l = open_loader(&o);
    for (int i = 0; i < 8; i++)
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    dni_loader_close(l);
}

/* One at a time images may have a size of their own; not where a crop or a resize says it. */
static void test_own_channels(void)
{
    const char *path = check_path("channels");
    dni_db_writer *w = new_writer(path);
    dni_batch b;
    SECTION("records of different channels");
    put_record(w, 0, small);
    put_record(w, 1, (size_of_record){4, 5, 4});
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    Cnn__DataParameter p = data_param(path, 1);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    Cnn__ResizeParameter resize = CNN__RESIZE_PARAMETER__INIT, *sizes[] = {&resize};
    dni_loader_options o = {.heap = heap, .param = &p, .transform = &t};
    resize.height = resize.width = 4;
    for (int k = 0; k < 3; k++) {
        t.crop_size = k == 1 ? 4 : 0;
        t.n_resize_param = k == 2, t.resize_param = sizes;
        CHECK_INT(dni_loader_is_fixed(&o), k > 0);
        dni_loader *l = open_loader(&o);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        if (k)
            CHECK_MESSAGE(dni_loader_next(l, &b), DN_E_DATA,
                          "'00000001': its size is 4 4 4 (64), the first record's 2 4 4");
        else
            CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        dni_loader_close(l);
    }
}

static void test_refused(const char *path)
{
    dni_loader *l = NULL;
    Cnn__DataParameter p = data_param(path, 0);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = heap, .param = &p, .transform = &t};
    SECTION("refused");
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_NET, "batch_size");
    p.batch_size = UINT32_MAX;
    t.scale = 1;
    dni_heap limited = {check_alloc, &(check_heap){.limit = 1 << 26}};
    o.heap = &limited;
    CHECK_STATUS(dni_loader_open(&l, &o), DN_E_NOMEM);
    o.heap = heap;
    p.batch_size = 4, p.source = "";
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_NET, "source");
    p.source = "nowhere";
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_IO, "LMDB 'nowhere'");
    p.source = (char *)path, t.crop_size = 6;
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_DATA, "record '00000000': the crop, 6 x 6");
    dni_db_writer *w = new_writer(check_path("junk"));
    CHECK_STATUS(dni_db_writer_put(w, "one\ntwo", 7, "hello", 5), DN_OK);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    p.source = (char *)check_path("junk");
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_DATA, "record 'one two': it is not a Datum");
    CHECK(l == NULL);
    dni_loader_close(NULL);
}

static dn_status use(const dni_heap *h, const char *path, bool shuffle)
{
    Cnn__DataParameter p = data_param(path, 5);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    float mean = 3;
    dni_loader_options o = {.heap = h, .param = &p, .transform = &t, .folder = "/tmp"};
    dni_loader *l;
    dni_batch b;
    t.mean_value = &mean, t.n_mean_value = 1;
    p.shuffle = shuffle;
    dn_status st = dni_loader_open(&l, &o);
    if (st)
        return st;
    for (int i = 0; !st && i < 8; i++)
        st = dni_loader_next(l, &b);
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_loader_close(l);
    dni_restore_error(&saved);
    return st;
}

/* A child has no thread that would fill its batches: it must not wait for one. */
static void test_fork(const char *path)
{
    int status = -1;
    Cnn__DataParameter p = data_param(path, 4);
    dni_loader_options o = {.heap = heap, .param = &p};
    SECTION("fork");
    dni_loader *l = open_loader(&o);
    check_batch(l, 0, 4);
    pid_t child = fork();
    if (child == 0) {
        dni_batch b;
        alarm(60);
        int wrong = dni_loader_next(l, &b) != DN_E_STATE;
        dni_loader_close(l);
        _exit(wrong);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    check_batch(l, 4, 4);
    dni_loader_close(l);
}

/* What it computes, and which signals come, is the host's business with its own threads. */
static void test_thread(const char *path)
{
    Cnn__DataParameter p = data_param(path, 4);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = heap, .param = &p, .transform = &t};
    float first[4 * ITEM];
    dni_batch b;
    SECTION("its thread");
    t.scale = 0.1f;
    for (int i = 0; i < 2; i++) {
        dni_loader *l = open_loader(&o);
#ifdef FE_UPWARD
        fesetround(i ? FE_UPWARD : FE_TONEAREST);
#endif
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        fesetenv(FE_DFL_ENV);
        CHECK_INT(threads_that_take(SIGTERM), 1);
        CHECK(!i || memcmp(first, b.data, sizeof first) == 0);
        memcpy(first, b.data, sizeof first);
        dni_loader_close(l);
    }
}

/* Where it cannot go on from a place, it says so. */
static void test_cut(const char *path)
{
    char file[600];
    Cnn__DataParameter p = data_param(path, 4);
    dni_loader_options o = {.heap = heap, .param = &p};
    dni_batch b;
    SECTION("cut while it is open");
    make_lmdb(path, RECORDS, small);
    dni_loader *l = open_loader(&o);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    CHECK(!truncate(file, 100));
    CHECK_STATUS(dni_loader_seek(l, 4), DN_OK);
    alarm(60);
    CHECK_STATUS(dni_loader_next(l, &b), DN_E_DATA);
    alarm(0);
    dni_loader_close(l);
}

static void test_memory(const char *path, bool shuffle)
{
    check_heap counts = {0};
    dni_heap h = {check_alloc, &counts};
    SECTION("each allocation fails once");
    CHECK_STATUS(use(&h, path, shuffle), DN_OK);
    long requests = counts.requests;
    CHECK(requests > 10);
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        CHECK_STATUS(use(&h, path, shuffle), DN_E_NOMEM);
        CHECK_HEAP_CLEAN(&counts);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const char *path = check_path("order");
    char kept[512];
    snprintf(kept, sizeof(kept), "%s", path);
    make_lmdb(kept, RECORDS, small);
    test_order(kept);
    test_resume(kept);
    test_rand_skip(kept);
    test_shuffle(check_path("shuffled"), small);
    test_shuffle(check_path("large"), (size_of_record){3, 60, 70}); /* on overflow pages */
    test_shuffle(check_path("deep"), (size_of_record){1, 30, 50});  /* two to a leaf */
    test_shuffle_two(check_path("two"));
    test_shuffle_again(kept);
    test_shuffle_leveldb(argv[1]);
    test_sizes();
    test_own_channels();
    test_refused(kept);
    test_fork(kept);
    test_thread(kept);
    test_cut(check_path("cut"));
    test_memory(kept, false);
    test_memory(kept, true);
    return check_summary();
}
