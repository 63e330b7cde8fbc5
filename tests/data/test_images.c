/* SPDX-License-Identifier: BSD-2-Clause
 * test_images.c: lists of image files, read and converted, while memory or the disk is full;
 * tests/bindings/test_images.py has what they hold. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "records.h"

#include "deepnet/deepnet.h"

/* 2 x 1 pixels: 3 2 1 and 6 5 4, blue first. */
static const uint8_t png[] = {
    0x89, 'P',  'N',  'G',  0x0d, 0x0a, 0x1a, 0x0a, 0,    0,    0,    0x0d, 'I',  'H',  'D',
    'R',  0,    0,    0,    2,    0,    0,    0,    1,    8,    2,    0,    0,    0,    0x7b,
    0x40, 0xe8, 0xdd, 0,    0,    0,    0x0f, 'I',  'D',  'A',  'T',  0x78, 0xda, 0x63, 0x60,
    0x64, 0x62, 0x66, 0x61, 0x65, 0x03, 0,    0,    0x3f, 0,    0x16, 0x98, 0xc1, 0x68, 0x13,
    0,    0,    0,    0,    'I',  'E',  'N',  'D',  0xae, 0x42, 0x60, 0x82};

/* 1 x 1 pixel. */
static const uint8_t narrow_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0,    0,    0,    0x0d, 0x49, 0x48,
    0x44, 0x52, 0,    0,    0,    0x01, 0,    0,    0,    0x01, 0x08, 0x02, 0,    0,
    0,    0x90, 0x77, 0x53, 0xde, 0,    0,    0,    0x0c, 0x49, 0x44, 0x41, 0x54, 0x78,
    0x9c, 0x63, 0x60, 0x64, 0x62, 0x06, 0,    0,    0x0e, 0,    0x07, 0xd7, 0x6f, 0xe4,
    0x78, 0,    0,    0,    0,    0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

/* Two batches, and all there was is given back. */
static dn_status use(const dni_heap *h, bool shuffle, bool mapped)
{
    Cnn__DataParameter p = data_param(mapped ? "pairs.txt" : "list.txt", 2);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    Cnn__ResizeParameter resize = CNN__RESIZE_PARAMETER__INIT, *resizes[] = {&resize};
    dni_list list = {.root = "./", .labelled = !mapped, .mapped = mapped};
    dni_loader_options o = {.heap = h,
                            .param = &p,
                            .list = &list,
                            .transform = &t,
                            .map_transform = mapped ? &t : NULL};
    static const float want[6] = {3, 6, 2, 5, 1, 4};
    dni_loader *l = NULL;
    dni_batch b = {0};
    resize.height = 1, resize.width = 2;
    t.resize_param = resizes, t.n_resize_param = 1;
    p.shuffle = shuffle;
    dn_status st = dni_loader_open(&l, &o);
    for (int i = 0; !st && i < 2; i++)
        st = dni_loader_next(l, &b);
    CHECK(st || (!memcmp(b.data, want, sizeof want) && b.labels[0] == (mapped ? 0 : 5)));
    CHECK(st || mapped == (b.maps != NULL));
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_loader_close(l);
    dni_restore_error(&saved);
    return st;
}

static void test_reading(void)
{
    SECTION("reading: each allocation fails once");
    for (int way = 0; way < 4; way++) {
        bool shuffle = way & 1, mapped = way & 2;
        check_heap counts = {0};
        dni_heap h = {check_alloc, &counts};
        CHECK_STATUS(use(&h, shuffle, mapped), DN_OK);
        CHECK_HEAP_CLEAN(&counts);
        long requests = counts.requests;
        CHECK(requests > 20);
        for (long i = 1; i <= requests; i++) {
            counts.requests = 0;
            counts.fail_at = i;
            dn_status st =
                use(&h, shuffle, mapped); /* what the thread reads ahead may be too late */
            CHECK_AT(st == DN_E_NOMEM || !st, "%s", dn_status_name(st));
            CHECK_HEAP_CLEAN(&counts);
        }
    }
}

/* Three batches; the second once more; all there was is given back. */
static dn_status use_windows(const dni_heap *h)
{
    Cnn__DataParameter p = data_param("windows.txt", 2);
    Cnn__WindowDataParameter w = CNN__WINDOW_DATA_PARAMETER__INIT;
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = h, .param = &p, .windows = &w, .transform = &t};
    dni_loader *l = NULL;
    dni_batch b = {0};
    float second[2][24] = {{0}};
    w.source = "windows.txt";
    w.fg_fraction = 0.5f;
    t.crop_size = 2;
    t.mirror = true;
    p.force_encoded_color = true;
    dn_status st = dni_loader_open(&l, &o);
    for (int i = 0; !st && i < 4; i++) {
        if (i == 3)
            st = dni_loader_seek(l, 2);
        if (!st)
            st = dni_loader_next(l, &b);
        if (!st && i % 2)
            memcpy(second[i / 2], b.data, sizeof second[0]);
        CHECK(st || (b.labels[0] == 0 && b.labels[1] > 0));
    }
    CHECK(st || !memcmp(second[0], second[1], sizeof second[0]));
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_loader_close(l);
    dni_restore_error(&saved);
    return st;
}

static void test_windows(void)
{
    check_heap counts = {0};
    dni_heap h = {check_alloc, &counts};
    SECTION("windows: each allocation fails once");
    CHECK_STATUS(use_windows(&h), DN_OK);
    CHECK_HEAP_CLEAN(&counts);
    long requests = counts.requests;
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        dn_status st = use_windows(&h);
        CHECK_AT(st == DN_E_NOMEM || !st, "%s", dn_status_name(st));
        CHECK_HEAP_CLEAN(&counts);
    }
}

static void test_odd_windows(void)
{
    static const float bad[] = {NAN, INFINITY, -1, 1e30f};
    char mean[10 + 12 * sizeof(float)] = {0};
    Cnn__DataParameter p = data_param("windows.txt", 2);
    Cnn__WindowDataParameter w = CNN__WINDOW_DATA_PARAMETER__INIT;
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = heap, .param = &p, .windows = &w, .transform = &t};
    dni_loader *l = NULL;
    dni_batch b = {0};
    SECTION("windows: fractions that are none, and places far on");
    w.source = "windows.txt";
    t.crop_size = 2;
    p.force_encoded_color = true;
    for (size_t i = 0; i < DNI_COUNT(bad); i++) {
        w.fg_fraction = bad[i];
        CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_NET, "fg_fraction");
    }
    w.fg_fraction = 0.5f;
    t.mean_file = "flat"; /* 3 x 1 x 4 */
    memcpy(mean, "\x08\1\x10\3\x18\1\x20\4\x2a\x30", 10);
    check_write("flat", mean, sizeof mean);
    CHECK_MESSAGE(dni_loader_open(&l, &o), DN_E_DATA, "the mean does not cover");
    t.mean_file = NULL;
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    CHECK_STATUS(dni_loader_seek(l, INT64_MAX / 2 - 1), DN_OK);
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    dni_loader_close(l);
}

/* Windows as `text` has them, in batches of 2, with what the rest says. */
static dni_loader *open_windows(const char *text, Cnn__WindowDataParameter *w,
                                Cnn__TransformationParameter *t, int64_t rank, int64_t ranks)
{
    Cnn__DataParameter p = data_param("odd.txt", 2);
    dni_loader_options o = {
        .heap = heap, .param = &p, .windows = w, .transform = t, .rank = rank, .ranks = ranks};
    dni_loader *l = NULL;
    w->source = "odd.txt";
    p.force_encoded_color = true;
    check_write("odd.txt", text, strlen(text));
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    return l;
}

static void test_places_of_windows(void)
{
    Cnn__WindowDataParameter w = CNN__WINDOW_DATA_PARAMETER__INIT;
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_batch b = {0};
    bool seen = false;
    SECTION("windows: thresholds, ranks, edges");
    t.crop_size = 3;
    w.fg_fraction = 0.5f;
    dni_loader *l = open_windows("# 0 a.png 3 1 2 3\n1 0.5 0 0 0 0\n2 1 1 0 1 0\n0 0 0 0 1 0",
                                 &w, &t, 1, 2);
    for (int i = 0; l && i < 16; i++) { /* those of the second of two */
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(b.labels && b.labels[0] == 0 && b.labels[1] > 0);
        seen |= b.labels && b.labels[1] == 1; /* whose overlap is the threshold */
    }
    CHECK(seen);
    dni_loader_close(l);
    w.fg_fraction = 1;
    l = open_windows("# 0 a.png 3 1 2 1\n1 1 1 0 -1 0", &w, &t, 0, 1);
    CHECK_MESSAGE(dni_loader_next(l, &b), DN_E_DATA, "from 1 to -1 lies beyond its edge, at 2");
    dni_loader_close(l);
    w.crop_mode =
        "square"; /* the window with what is beside it is 2 x 2, a quarter of it there */
    t.mirror = true;
    l = open_windows("# 0 a.png 3 1 2 1\n1 1 1 0 1 0", &w, &t, 0, 1);
    for (int i = 0; l && i < 8; i++) {
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        for (int k = 0; b.data && k < 54; k++)
            CHECK_INT(b.data[k] != 0 && k / 3 % 3 == 2, 0);
    }
    dni_loader_close(l);
}

/* Each pixel has its class: a map of another width is none. */
static void test_narrow_map(void)
{
    Cnn__DataParameter p = data_param("narrow.txt", 1);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_list list = {.mapped = true};
    dni_loader_options o = {
        .heap = heap, .param = &p, .list = &list, .transform = &t, .map_transform = &t};
    dni_loader *l = NULL;
    dni_batch b;
    SECTION("a map of another width");
    check_write("narrow.png", narrow_png, sizeof narrow_png);
    check_write("narrow.txt", "a.png narrow.png", 16);
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    CHECK_MESSAGE(dni_loader_next(l, &b), DN_E_DATA,
                  "its class map: it is 1 x 1, the image 1 x 2");
    dni_loader_close(l);
}

/* Of two, the second has every other line; what is another's, or lies before the place where a
 * run goes on, is not read. */
static void test_left_out(void)
{
    static const char lines[] = "a.png 0\na.png 1\nnone 2\na.png 3\nnone 4\na.png 5\n";
    static const float want[] = {1, 3, 5, 1, 3, 5};
    Cnn__DataParameter p = data_param("many.txt", 1);
    dni_list list = {.labelled = true};
    dni_loader_options o = {.heap = heap, .param = &p, .list = &list, .rank = 1, .ranks = 2};
    dni_loader *l = NULL;
    dni_batch b = {0};
    SECTION("lines left out");
    check_write("many.txt", lines, sizeof lines - 1);
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    for (int i = 0; l && i < 6; i++) {
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(b.labels && b.labels[0] == want[i]);
    }
    for (int64_t at = 4; l && at >= 0; at -= 2) {
        CHECK_STATUS(dni_loader_seek(l, at), DN_OK);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(b.labels && b.labels[0] == want[at / 2]);
    }
    dni_loader_close(l);
}

static dn_status convert(dn_context *context)
{
    dn_convert_options o = {.struct_size = sizeof o,
                            .overwrite = 1,
                            .root_folder = "./",
                            .height = 8,
                            .width = 8,
                            .seed = 2,
                            .shuffle = 1,
                            .check_size = 1};
    dni_fail(DN_E_INTERNAL, "of before");
    return dn_convert_images(context, "list.txt", "db", &o);
}

static dn_status average(dn_context *context)
{
    dni_fail(DN_E_INTERNAL, "of before");
    return dn_convert_mean(context, "db", "mean.binaryproto");
}

static void test_converting(dn_status (*work)(dn_context *context), const char *made)
{
    check_heap counts = {0};
    dn_context_options host = {
        .struct_size = sizeof host, .alloc = check_alloc, .alloc_user = &counts};
    dn_context *context = NULL;
    struct rlimit before, limit;
    size_t size, kept_size;
    SECTION(made);
    CHECK_STATUS(dn_context_create(&context, &host), DN_OK);
    long held = counts.live_blocks;
    counts.requests = 0;
    CHECK_STATUS(work(context), DN_OK);
    long requests = counts.requests;
    int entries = check_entries(".");
    char *kept = read_file(made, &kept_size);
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        dn_status st = work(context); /* a folder that cannot be synced is no failure */
        CHECK_AT(st == DN_E_NOMEM || (!st && work == average), "%s", dn_status_name(st));
        counts.fail_at = 0;
        CHECK_INT(counts.live_blocks, held);
        CHECK_INT(check_entries("."), entries);
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files stands for a full disk */
    getrlimit(RLIMIT_FSIZE, &before);
    for (rlim_t full = 0; full < kept_size; full += 1 + kept_size / 4) {
        limit = before;
        limit.rlim_cur = full;
        setrlimit(RLIMIT_FSIZE, &limit);
        CHECK_STATUS(work(context), DN_E_IO);
        setrlimit(RLIMIT_FSIZE, &before);
        CHECK_INT(check_entries("."), entries);
    }
    char *now = read_file(made, &size);
    CHECK(size == kept_size && !memcmp(now, kept, size));
    dni_free(now);
    dni_free(kept);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&counts);
}

static void test_refused(void)
{
    dn_context *context = NULL;
    dn_convert_options o = {.struct_size = sizeof o, .encoded = 1, .gray = 1};
    SECTION("refused");
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    CHECK_MESSAGE(dn_convert_images(context, NULL, "no", NULL), DN_E_INVALID, "NULL");
    CHECK_MESSAGE(dn_convert_mean(context, "db", NULL), DN_E_INVALID, "NULL");
    CHECK_MESSAGE(dn_convert_images(context, "list.txt", "no", &o), DN_E_INVALID, "gray");
    o.struct_size = 0;
    CHECK_MESSAGE(dn_convert_images(context, "list.txt", "no", &o), DN_E_INVALID,
                  "struct_size");
    dn_context_free(context);
}

int main(void)
{
#if !defined(DN_HAVE_LMDB) || !defined(DN_HAVE_PNG)
    return 77; /* Meson's word for skipped */
#endif
    CHECK(!chdir(check_folder()));
    check_write("a.png", png, sizeof png);
    check_write("list.txt", "a.png 5\na.png 5\n\na.png 5\n", 25);
    check_write("windows.txt",
                "# 0 a.png 3 1 2 4\n1 1 0 0 0 0\n2 1 1 0 1 0\n0 0 0 0 1 0\n0 0 0 0 0 0", 65);
    check_write("pairs.txt", "a.png a.png\na.png\ta.png", 23);
    test_reading();
    test_windows();
    test_odd_windows();
    test_places_of_windows();
    test_narrow_map();
    test_left_out();
    test_converting(convert, "db/data.mdb");
    test_converting(average, "mean.binaryproto");
    test_refused();
    return check_summary();
}
