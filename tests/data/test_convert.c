/* SPDX-License-Identifier: BSD-2-Clause
 * test_convert.c: IDX files to LMDB: the same records that Caffe made of the same files, and
 * what is refused. */
#include "records.h"

#include <signal.h>
#include <sys/resource.h>

#include "deepnet/deepnet.h"

#ifdef DN_HAVE_ZLIB
#include <zlib.h>
#endif

static const char *reference;
static dn_context *context;

/* A public call: it clears the message itself. */
#define CHECK_CONVERT(images, labels, out, options, status, part)                              \
    do {                                                                                       \
        dni_fail(DN_E_INTERNAL, "of before");                                                  \
        dn_status check_st = dn_convert_mnist(context, images, labels, out, options);          \
        CHECK_AT(check_st == (status) && !check_st == !dn_last_error() &&                      \
                     (!check_st || strstr(dn_last_error(), part)),                             \
                 "%s: %s", dn_status_name(check_st),                                           \
                 dn_last_error() ? dn_last_error() : "no message");                            \
    } while (0)

static const char *at_reference(const char *name)
{
    static char paths[32][512];
    static int turn;
    char *path = paths[turn++ % 32];
    snprintf(path, sizeof(paths[0]), "%s/%s", reference, name);
    return path;
}

/* Record by record the same, keys and bytes. */
static void check_same(const char *a, const char *b)
{
    dni_source *x = NULL, *y = NULL;
    dni_record p = {0}, q = {0};
    int64_t records = 0, wrong = 0;
    CHECK_STATUS(dni_source_open(&x, heap, CNN__DATA_PARAMETER__DB__LMDB, NULL, a), DN_OK);
    CHECK_STATUS(dni_source_open(&y, heap, CNN__DATA_PARAMETER__DB__LMDB, NULL, b), DN_OK);
    while (x && y && !dni_source_next(x, &p) && !dni_source_next(y, &q) && p.data && q.data) {
        wrong += p.key_size != q.key_size || memcmp(p.key, q.key, p.key_size) ||
                 p.size != q.size || memcmp(p.data, q.data, p.size);
        records++;
    }
    CHECK(!p.data && !q.data);
    CHECK_INT(records, 300);
    CHECK_INT(wrong, 0);
    dni_source_close(x);
    dni_source_close(y);
}

static void test_same_as_caffe(void)
{
    dn_convert_options o = {.struct_size = sizeof(o)};
    const char *images = at_reference("img.idx"), *labels = at_reference("lab.idx");
    const char *out = check_path("out");
    SECTION("as Caffe's");
    CHECK_CONVERT(images, labels, out, NULL, DN_OK, "");
    check_same(out, at_reference("fashion300_lmdb"));
    CHECK_CONVERT(images, labels, out, NULL, DN_E_IO, "exists already");
    CHECK_CONVERT(images, labels, out, &o, DN_E_IO, "exists already");
    o.overwrite = 1;
    CHECK_CONVERT(images, labels, out, &o, DN_OK, "");
    check_same(out, at_reference("fashion300_lmdb"));
}

#ifdef DN_HAVE_ZLIB
/* more: 1 adds a byte (the zero after a file that was read), -1 drops one. */
static void zip(const char *from, const char *to, int more)
{
    size_t size;
    char *data = read_file(from, &size);
    gzFile file = gzopen(to, "wb");
    CHECK(file && gzwrite(file, data, (unsigned)(size + more)) == (int)(size + more) &&
          gzclose(file) == Z_OK);
    dni_free(data);
}

static void test_gzip(void)
{
    const char *images = check_path("img.gz"), *labels = check_path("lab.gz");
    size_t size;
    SECTION("gzip");
    zip(at_reference("img.idx"), images, 0);
    zip(at_reference("lab.idx"), labels, 0);
    CHECK_CONVERT(images, labels, check_path("unzipped"), NULL, DN_OK, "");
    check_same(check_path("unzipped"), at_reference("fashion300_lmdb"));
    zip(at_reference("lab.idx"), labels, 1);
    CHECK_CONVERT(images, labels, check_path("no"), NULL, DN_E_PARSE, "it has more values");
    zip(at_reference("lab.idx"), labels, -1);
    CHECK_CONVERT(images, labels, check_path("no"), NULL, DN_E_PARSE, "ends early");
    zip(at_reference("lab.idx"), labels, 0);
    char *data = read_file(images, &size);
    check_write(images, data, size / 2);
    CHECK_CONVERT(images, labels, check_path("no"), NULL, DN_E_PARSE,
                  "the gzip file ends early");
    memset(data + 20, 0x77, 200);
    check_write(images, data, size);
    CHECK_CONVERT(images, labels, check_path("no"), NULL, DN_E_PARSE, "gzip file");
    dni_free(data);
}
#endif

static void test_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        dn_status status;
        const char *part;
    } rows[] = {
        {"", 0, DN_E_PARSE, "ends early"},
        {"nonsense", 8, DN_E_PARSE, "not an IDX"},
        {"\0\0\x08\x03\0\0\0\x01", 8, DN_E_PARSE, "ends early"},
        {"\0\0\x08\x01\0\0\0\x01x", 9, DN_E_PARSE, "1 axes where 3 were expected (images)"},
        {"\0\0\x0d\x03\0\0\0\x01", 8, DN_E_UNSUPPORTED, "type 0x0d"},
        {"\0\0\x08\x09\0\0\0\x01", 8, DN_E_PARSE, "not an IDX"},
        {"\1\0\x08\x03\0\0\0\x01", 8, DN_E_PARSE, "not an IDX"},
        {"\0\1\x08\x03\0\0\0\x01", 8, DN_E_PARSE, "not an IDX"},
        {"\0\0\x08\x03\0\0\0\1\0\0\0\1\0\0\0\1xy", 18, DN_E_PARSE, "says 1 values, it has 2"},
        {"\0\0\x08\x03\0\0\0\4\x7f\xff\xff\xff\x7f\xff\xff\xff", 16, DN_E_PARSE,
         "too many values"},
        {"\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\1x", 17, DN_E_PARSE, "says 2 values, it has 1"},
        {"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, DN_E_PARSE,
         "too many values"},
        {"\0\0\x08\x03\0\0\0\0\0\0\0\1\0\0\0\1", 16, DN_E_DATA, "0 images and 300 labels"},
        {"\0\0\x08\x03\0\0\0\1\0\0\0\1\0\0\0\1x", 17, DN_E_DATA, "1 images and 300 labels"},
    };
    const char *labels = at_reference("lab.idx"), *path = check_path("bad.idx");
    struct stat info;
    struct {
        dn_convert_options known;
        int64_t more;
    } later = {{.struct_size = sizeof(later)}, 1};
    SECTION("refused");
    int open = check_entries("/proc/self/fd");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        check_write(path, rows[i].bytes, rows[i].size);
        CHECK_CONVERT(path, labels, check_path("no"), NULL, rows[i].status, rows[i].part);
    }
    CHECK_CONVERT(check_path("none"), labels, check_path("no"), NULL, DN_E_IO, "none'");
    CHECK_CONVERT(at_reference("img.idx"), check_path("none"), check_path("no"), NULL, DN_E_IO,
                  "none'");
    CHECK_CONVERT(at_reference("img.idx"), labels, NULL, NULL, DN_E_INVALID, "NULL");
    CHECK_CONVERT(at_reference("img.idx"), labels, "/nowhere/at/all", NULL, DN_E_IO, "nowhere");
    CHECK_CONVERT(at_reference("img.idx"), labels, check_path("no"), &later.known,
                  DN_E_UNSUPPORTED, "does not know");
    later.more = 0;
    for (int i = 0; i < 2; i++) {
        later.known.reserved = i == 0;
        later.known.reserved2 = i == 1;
        CHECK_CONVERT(at_reference("img.idx"), labels, check_path("no"), &later.known,
                      DN_E_UNSUPPORTED, "does not know");
    }
    later.known.reserved2 = 0;
    CHECK_CONVERT(at_reference("img.idx"), labels, check_path("yes"), &later.known, DN_OK, "");
    CHECK(stat(check_path("no"), &info) != 0);
    CHECK_INT(check_entries("/proc/self/fd"), open); /* no file is left open */
}

/* A file-size limit stands for a full disk: what was there stays, nothing is left beside it. */
static void test_full_disk(void)
{
    dn_convert_options o = {.struct_size = sizeof(o), .overwrite = 1};
    const char *images = at_reference("img.idx"), *labels = at_reference("lab.idx");
    const char *out = check_path("full");
    struct rlimit before, limit;
    SECTION("full disk");
    CHECK_CONVERT(images, labels, out, NULL, DN_OK, "");
    int entries = check_entries(check_folder());
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    for (rlim_t size = 0; size < 300000; size += 50000) {
        limit.rlim_cur = size;
        setrlimit(RLIMIT_FSIZE, &limit);
        CHECK_CONVERT(images, labels, out, &o, DN_E_IO, "full'");
        setrlimit(RLIMIT_FSIZE, &before);
        CHECK_INT(check_entries(check_folder()), entries);
    }
    check_same(out, at_reference("fashion300_lmdb"));
}

static void test_memory(void)
{
    check_heap counts = {0};
    dn_context_options host = {
        .struct_size = sizeof(host), .alloc = check_alloc, .alloc_user = &counts};
    dn_context *kept = context;
    const char *images = at_reference("img.idx"), *labels = at_reference("lab.idx");
    SECTION("each allocation fails once");
    CHECK_STATUS(dn_context_create(&context, &host), DN_OK);
    long held = counts.live_blocks;
    counts.requests = 0;
    CHECK_CONVERT(images, labels, check_path("lent"), NULL, DN_OK, "");
    long requests = counts.requests;
    int entries = check_entries(check_folder());
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        CHECK_CONVERT(images, labels, check_path("lent2"), NULL, DN_E_NOMEM, "");
        counts.fail_at = 0;
        CHECK_INT(counts.live_blocks, held);
        CHECK_INT(check_entries(check_folder()), entries);
    }
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&counts);
    context = kept;
}

int main(int argc, char **argv)
{
    reference = argc > 1 ? argv[1] : "reference";
#ifndef DN_HAVE_LMDB
    return 77; /* Meson's word for skipped */
#endif
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    test_same_as_caffe();
#ifdef DN_HAVE_ZLIB
    test_gzip();
#endif
    test_refused();
    test_full_disk();
    test_memory();
    dn_context_free(context);
    return check_summary();
}
