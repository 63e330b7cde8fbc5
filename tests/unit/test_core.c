/* SPDX-License-Identifier: BSD-2-Clause
 * test_core.c: status, heap, text, shapes and files: what core.h promises of each; of workers
 * test_workers.c. */
#include <errno.h>
#include <float.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/context.h"
#include "deepnet/upgrade.h"

#include "check.h"
#include "comma.h"

/* ---- status ------------------------------------------------------------------------------ */

static dn_status fail_deep(void)
{
    return dni_in(dni_fail(DN_E_SHAPE, "bottom %d has %s", 1, "4 axes"), "layer '%s'", "fc");
}

static void test_status(void)
{
    dni_saved_error saved;
    char text[4000];
    SECTION("status");
    CHECK_TEXT(dn_version(), DN_VERSION_STRING);
    CHECK_TEXT(dn_status_name(DN_OK), "DN_OK");
    CHECK_TEXT(dn_status_name(DN_E_INTERNAL), "DN_E_INTERNAL");
    CHECK_TEXT(dn_status_name(DN_E_LIMIT), "DN_E_LIMIT");
    CHECK_TEXT(dn_status_name(1), "unknown status");
    CHECK_TEXT(dn_status_name(-16), "unknown status");
    CHECK_TEXT(dn_status_name(INT32_MIN), "unknown status");
    CHECK_MESSAGE(fail_deep(), DN_E_SHAPE, "layer 'fc': bottom 1 has 4 axes");
    dni_save_error(&saved);
    dni_clear_error();
    CHECK(dn_last_error() == NULL);
    CHECK_STATUS(dni_in(DN_OK, "nothing"), DN_OK);
    CHECK_MESSAGE(dni_in(DN_E_NOMEM, "op CONV"), DN_E_NOMEM, "op CONV: DN_E_NOMEM");
    dni_restore_error(&saved);
    CHECK_TEXT(dn_last_error(), "layer 'fc': bottom 1 has 4 axes");
    CHECK_MESSAGE(dni_fail(DN_E_DATA, "two\nlines\x1b[0m"), DN_E_DATA, "two lines [0m");
    CHECK_MESSAGE(dni_fail(DN_E_DATA, "%s", ""), DN_E_DATA, "failed");
    CHECK_MESSAGE(dn_upgrade_file(NULL, NULL, NULL, NULL), DN_E_INVALID,
                  "dn_upgrade_file: an argument is NULL");
    dni_fail(DN_E_DATA, "inner");
    dni_fail(DN_E_DATA, "again %s", dn_last_error());
    CHECK_TEXT(dn_last_error(), "again inner");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    dni_fail(DN_E_DATA, "%s", text);
    CHECK_INT(strlen(dn_last_error()), sizeof(saved.text) - 1);
    dni_in(DN_E_DATA, "%s", text);
    CHECK_INT(strlen(dn_last_error()), sizeof(saved.text) - 1);
    dni_fail(DN_E_DATA, "values %s: why", text + 1000); /* the middle is cut, not the reason */
    CHECK_INT(strlen(dn_last_error()), sizeof(saved.text) - 1);
    CHECK(!strncmp(dn_last_error(), "values xx", 9) && strstr(dn_last_error(), "xx ... xx"));
    CHECK_TEXT(strrchr(dn_last_error(), ':'), ": why");
    dni_in(DN_E_DATA, "layer '%s'", text);
    CHECK_TEXT(strrchr(dn_last_error(), ':'), ": why");
    CHECK(strlen(dni_errno_text(ENOSPC, text, sizeof(text))) > 5);
    CHECK(strlen(dni_errno_text(99999, text, sizeof(text))) > 5);
    dni_clear_error();
}

static void *fail_elsewhere(void *arg)
{
    *(bool *)arg = dn_last_error() == NULL;
    dni_fail(DN_E_IO, "of another thread");
    return NULL;
}

/* What the host has beyond the options it knows of is not read; of what we do not know it must
 * be zero. */
static void test_options(void)
{
    struct options {
        size_t struct_size;
        int64_t first, second;
    } to, from[2] = {{.first = 1, .second = 2}};
    SECTION("options");
    CHECK_STATUS(dni_take_options(&to, NULL, sizeof to, "o"), DN_OK);
    CHECK(to.struct_size == sizeof to && to.first == 0 && to.second == 0);
    from->struct_size = offsetof(struct options, second);
    CHECK_STATUS(dni_take_options(&to, from, sizeof to, "o"), DN_OK);
    CHECK(to.struct_size == sizeof to && to.first == 1 && to.second == 0);
    from->struct_size = sizeof from;
    CHECK_STATUS(dni_take_options(&to, from, sizeof to, "o"), DN_OK);
    CHECK(to.first == 1 && to.second == 2);
    from[1].second = 1;
    CHECK_MESSAGE(dni_take_options(&to, from, sizeof to, "o"), DN_E_UNSUPPORTED, "not know");
    from->struct_size = sizeof(size_t) - 1;
    CHECK_MESSAGE(dni_take_options(&to, from, sizeof to, "o"), DN_E_INVALID, "struct_size");
}

static void test_contexts(void)
{
    static const dn_backend_ops empty = {.name = "empty"};
    static const struct {
        dn_context_options options;
        const char *part;
    } rows[] = {
        {{.num_threads = 4097}, "num_threads is 4097"},
        {{.num_threads = -1}, "num_threads is -1"},
        {{.spin_us = 1000001}, "spin_us is 1000001"},
        {{.num_layers = 1}, "layers is NULL, num_layers is 1"},
        {{.backend = &empty}, "a backend's struct_size is not set"},
    };
    SECTION("contexts that cannot be");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        dn_context *context = NULL;
        dn_context_options o = rows[i].options;
        o.struct_size = sizeof o;
        CHECK_MESSAGE(dn_context_create(&context, &o), DN_E_INVALID, rows[i].part);
        CHECK(context == NULL);
    }
}

static void test_status_threads(void)
{
    pthread_t thread;
    bool clean = false;
    SECTION("status: one message per thread");
    dni_fail(DN_E_IO, "of this thread");
    CHECK(pthread_create(&thread, NULL, fail_elsewhere, &clean) == 0);
    pthread_join(thread, NULL);
    CHECK(clean);
    CHECK_TEXT(dn_last_error(), "of this thread");
}

/* ---- numbers ----------------------------------------------------------------------------- */

static double parse(const char *text, size_t *used)
{
    double value = -12345;
    *used = (size_t)(dni_parse_number(text, text + strlen(text), &value) - text);
    return value;
}

static void test_parse_number(void)
{
    static const struct {
        const char *text;
        double value;
        size_t used;
    } rows[] = {{"0", 0, 1},
                {"1.", 1, 2},
                {".5", .5, 2},
                {"-2.5e3x", -2500, 6},
                {"+7", 7, 2},
                {"1e", 1, 1},
                {"1e+", 1, 1},
                {"1f", 1, 1},
                {"1e400", INFINITY, 5},
                {"1e-400", 0, 6},
                {"0e999999999", 0, 11},
                {"1e99999999999999999999", INFINITY, 22},
                {"1e-99999999999999999999", 0, 23},
                {"inf", INFINITY, 3},
                {"-Infinity", -INFINITY, 9},
                {"infinite", INFINITY, 3},
                {"0.1", 0.1, 3},
                {"123456789012345678", 123456789012345678., 18},
                {"9007199254740993", 9007199254740992., 16},
                {"9007199254740993.00001", 9007199254740994., 22},
                {"2.2250738585072011e-308", 2.2250738585072011e-308, 23},
                {"4.9e-324", 4.9e-324, 8},
                {"1.7976931348623157e308", DBL_MAX, 22},
                {"0.000000000000000000000000000001", 1e-30, 32},
                {"8.5e22", 8.5e22, 6},
                {"1,5", 1, 1}};
    size_t used;
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        double value = parse(rows[i].text, &used);
        CHECK_AT(value == rows[i].value && used == rows[i].used, "%s: %.17g, %zu", rows[i].text,
                 value, used);
    }
    CHECK(isnan(parse("nan", &used)) && used == 3);
    CHECK(signbit(parse("-0", &used)) && used == 2);
    static const char *const none[] = {"",  ".",    "-",  "+.", "e5",
                                       "x", "-.e1", "in", " 1", ".e5"};
    for (size_t i = 0; i < DNI_COUNT(none); i++) {
        CHECK_INT(parse(none[i], &used), -12345);
        CHECK_AT(used == 0, "'%s' is no number", none[i]);
    }
    const char *digits = "12345";
    double value = 0;
    CHECK(dni_parse_number(digits, digits + 2, &value) == digits + 2 && value == 12);
    const char *word = "nan"; /* of which two letters are the text */
    CHECK(dni_parse_number(word, word + 2, &value) == word && value == 12);
    errno = EDOM;
    CHECK(isinf(parse("1e400", &used)));
    CHECK_INT(errno, EDOM);
}

/* 1500 digits: half way between two doubles, and a hair above it. */
static void test_parse_long(void)
{
    char text[1600];
    size_t used;
    strcpy(text, "9007199254740993.");
    memset(text + 17, '0', 1500);
    text[1517] = 0;
    CHECK(parse(text, &used) == 9007199254740992. && used == 1517);
    text[1516] = '1';
    CHECK(parse(text, &used) == 9007199254740994. && used == 1517);
    memset(text, '1', 1000);
    strcpy(text + 1000, "e-999");
    CHECK(parse(text, &used) == 1.1111111111111112 && used == 1005);
    memset(text, '0', 1000);
    strcpy(text + 1000, "25");
    CHECK(parse(text, &used) == 25 && used == 1002);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

/* Against the C library, in the C locale, on every kind of bit pattern. */
static void test_number_round_trip(void)
{
    uint64_t state = 88172645463325252u;
    int wrong = 0, long_ones = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = next_random(&state);
        double value, back;
        float narrow, narrow_back;
        char text[40], c_text[40];
        memcpy(&value, &bits, 8);
        memcpy(&narrow, &bits, 4);
        if (isfinite(value)) {
            dni_number(text, sizeof(text), value, 17);
            dni_parse_number(text, text + strlen(text), &back);
            wrong += back != value || strtod(text, NULL) != value;
            snprintf(c_text, sizeof(c_text), "%.12g", value);
            dni_parse_number(c_text, c_text + strlen(c_text), &back);
            wrong += back != strtod(c_text, NULL);
        }
        if (isfinite(narrow)) {
            dni_number(text, sizeof(text), narrow, 9);
            dni_parse_number(text, text + strlen(text), &back);
            narrow_back = (float)back;
            wrong += narrow_back != narrow;
            long_ones += strlen(text) > 15;
        }
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(long_ones, 0);
}

static void test_number_text(void)
{
    static const struct {
        double value;
        int digits;
        const char *text;
    } rows[] = {{0, 9, "0"},
                {-0.0, 9, "-0"},
                {1, 17, "1"},
                {0.1f, 9, "0.1"},
                {0.1, 17, "0.1"},
                {1e-5, 17, "1e-05"},
                {0.0001, 17, "0.0001"},
                {1.5e-7, 17, "1.5e-07"},
                {100000000, 9, "100000000"},
                {1e9, 9, "1e+09"},
                {123456.75, 17, "123456.75"},
                {-2.5, 9, "-2.5"},
                {3.4028234663852886e38, 9, "3.4028235e+38"},
                {4.9e-324, 17, "5e-324"},
                {INFINITY, 9, "inf"},
                {-INFINITY, 9, "-inf"},
                {1e300, 17, "1e+300"},
                {0.30000000000000004, 17, "0.30000000000000004"}};
    char text[40];
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        CHECK_TEXT(dni_number(text, sizeof(text), rows[i].value, rows[i].digits), rows[i].text);
    CHECK_TEXT(dni_number(text, sizeof(text), NAN, 9), "nan");
    CHECK_INT(strlen(dni_number(text, 4, 123456, 9)), 3);
}

static void test_numbers(void)
{
    SECTION("numbers");
    test_parse_number();
    test_parse_long();
    test_number_text();
    test_number_round_trip();
    if (comma_set()) {
        SECTION("numbers where the point is a comma");
        test_parse_number();
        test_parse_long();
        test_number_text();
    }
    setlocale(LC_ALL, "C");
}

/* ---- heap -------------------------------------------------------------------------------- */

static void use_heap(const dni_heap *heap)
{
    unsigned char *bytes = dni_alloc(heap, 100, 3), *none = dni_alloc(heap, 0, 8);
    char *copy = dni_strdup(heap, "copy"), *part = dni_strndup(heap, "partial", 4);
    char *text = dni_format(heap, "%d of %s", 7, "nine");
    void *arena = dni_alloc_aligned(heap, 1000), *empty = dni_alloc_aligned(heap, 0);
    CHECK(bytes && (uintptr_t)bytes % 16 == 0 && bytes[0] == 0 && bytes[299] == 0);
    CHECK(none && empty && (uintptr_t)arena % 64 == 0 && (uintptr_t)empty % 64 == 0);
    CHECK_TEXT(copy, "copy");
    CHECK_TEXT(part, "part");
    CHECK_TEXT(text, "7 of nine");
    if (bytes && arena) {
        memset(arena, 1, 1000);
        memset(bytes, 7, 300);
        bytes = dni_realloc(heap, bytes, 10000, 1);
        CHECK(bytes && bytes[299] == 7 && (uintptr_t)bytes % 16 == 0);
        bytes = dni_realloc(heap, bytes, 0, 1);
        CHECK(bytes != NULL);
    }
    dni_free(bytes), dni_free(none), dni_free(copy), dni_free(part);
    dni_free(text), dni_free_aligned(arena), dni_free_aligned(empty);
    dni_free(NULL), dni_free_aligned(NULL);
}

static void test_heap(void)
{
    check_heap counts = {0};
    dni_heap heap = {check_alloc, &counts};
    int *array = NULL;
    size_t capacity = 0;
    size_t held = dni_held();
    SECTION("heap");
    use_heap(&dni_default_heap);
    use_heap(&heap);
    CHECK_INT(dni_held(), held);
    void *shared = dni_alloc_aligned(&heap, 100);
    dni_hold_aligned(shared);
    dni_free_aligned(shared);
    CHECK_INT(counts.live_blocks, 1);
    dni_free_aligned(shared);
    dni_heap gone = heap;
    void *block = dni_alloc(&gone, 1, 1);
    gone = (dni_heap){0};
    dni_free(block);
    CHECK_HEAP_CLEAN(&counts);
    long requests = counts.requests;
    dni_clear_error();
    CHECK(dni_alloc(&heap, SIZE_MAX / 2, 3) == NULL && dn_last_error());
    dni_clear_error();
    CHECK(dni_alloc(&heap, SIZE_MAX, 1) == NULL && dn_last_error());
    CHECK(dni_alloc_aligned(&heap, SIZE_MAX - 10) == NULL);
    CHECK(dni_realloc(&heap, NULL, SIZE_MAX / 8, 16) == NULL);
    CHECK(dni_strndup(&heap, "", SIZE_MAX) == NULL);
    CHECK(dni_realloc(&heap, NULL, SIZE_MAX - 100, 1) == NULL);
    CHECK_INT(counts.requests, requests); /* the host was asked for none of it */
    for (size_t need = 1; need <= 1000; need *= 3) {
        CHECK_STATUS(dni_grow(&heap, &array, &capacity, need, sizeof(int)), DN_OK);
        CHECK(capacity >= need && array[need - 1] == 0);
        CHECK(need < 3 || array[need / 3 - 1] == 5);
        array[need - 1] = 5;
    }
    int *before = array;
    size_t capacity_before = capacity;
    CHECK_STATUS(dni_grow(&heap, &array, &capacity, SIZE_MAX / 2, sizeof(int)), DN_E_NOMEM);
    CHECK_STATUS(dni_grow(&heap, &array, &capacity, SIZE_MAX / 2 + 9, 1), DN_E_NOMEM);
    counts.fail_at = counts.requests + 1;
    CHECK_STATUS(dni_grow(&heap, &array, &capacity, 100000, sizeof(int)), DN_E_NOMEM);
    CHECK(array == before && capacity == capacity_before && array[0] == 5);
    dni_free(array);
    counts.persist = 1;
    CHECK(!dni_alloc(&heap, 1, 1) && !dni_strdup(&heap, "x") && !dni_format(&heap, "x"));
    CHECK(!dni_alloc_aligned(&heap, 1));
    CHECK_HEAP_CLEAN(&counts);
}

/* ---- text -------------------------------------------------------------------------------- */

static dn_status make_text(const dni_heap *heap, char **out)
{
    dni_text text;
    dni_text_init(&text, heap);
    for (int i = 0; i < 100; i++) {
        dni_text_printf(&text, "%d,", i);
        dni_text_append(&text, "ab", 1);
    }
    return dni_text_finish(&text, out);
}

static void test_text(void)
{
    check_heap counts = {0};
    dni_heap heap = {check_alloc, &counts};
    char *made = NULL;
    dni_text text;
    SECTION("text");
    CHECK_STATUS(make_text(&heap, &made), DN_OK);
    CHECK(made && strlen(made) == 390 && strncmp(made, "0,a1,a2,a", 9) == 0);
    dni_free(made);
    long requests = counts.requests;
    for (long i = 1; i <= requests; i++) {
        char *untouched = made;
        counts.requests = 0;
        counts.fail_at = i;
        CHECK_STATUS(make_text(&heap, &made), DN_E_NOMEM);
        CHECK(made == untouched);
    }
    counts.fail_at = 0;
    dni_text_init(&text, &heap);
    CHECK_STATUS(dni_text_finish(&text, &made), DN_OK);
    CHECK_TEXT(made, "");
    dni_free(made);
    dni_text_append(&text, "gone", 4);
    dni_text_free(&text);
    CHECK_HEAP_CLEAN(&counts);
}

static void test_nearest(void)
{
    static const char *const names[] = {"kernel_size", "kernel_h", "stride",    "pad",
                                        "ReLU",        "PReLU",    "num_output"};
    SECTION("nearest name");
    CHECK_TEXT(dni_nearest("kernelsze", names, DNI_COUNT(names)), "kernel_size");
    CHECK_TEXT(dni_nearest("relu", names, DNI_COUNT(names)), "ReLU");
    CHECK_TEXT(dni_nearest("strid", names, DNI_COUNT(names)), "stride");
    CHECK_TEXT(dni_nearest("pd", names, DNI_COUNT(names)), "pad");
    CHECK_TEXT(dni_nearest("numoutput", names, DNI_COUNT(names)), "num_output");
    CHECK_TEXT(dni_nearest("srtide", names, DNI_COUNT(names)), "stride");
    CHECK_TEXT(dni_nearest("Rleu", names, DNI_COUNT(names)), "ReLU");
    CHECK_TEXT(dni_nearest("x", (const char *[]){"y", "X"}, 2), "X");
    CHECK_TEXT(dni_nearest("x", (const char *[]){"y", "z"}, 2), NULL);
    CHECK_TEXT(dni_nearest("banana", names, DNI_COUNT(names)), NULL);
    CHECK_TEXT(dni_nearest("", names, DNI_COUNT(names)), NULL);
    CHECK_TEXT(dni_nearest("x", names, 0), NULL);
    char word[5000];
    memset(word, 'k', sizeof(word) - 1);
    word[sizeof(word) - 1] = 0;
    CHECK_TEXT(dni_nearest(word, names, DNI_COUNT(names)), NULL);
    const char *end = word + sizeof word - 1, *longest = end - 96, *longer = end - 120;
    CHECK_TEXT(dni_nearest(longer, &longest, 1), NULL);
    CHECK_TEXT(dni_nearest(longest, &longer, 1), NULL);
    CHECK_TEXT(dni_nearest(longest + 1, &longest, 1), longest);
    CHECK_TEXT(dni_nearest("rat", (const char *[]){"cat", "bat"}, 2), "cat");
    CHECK(!dni_ends_with(&"a.h5"[3], ".h5") && dni_ends_with("a.h5", ".h5"));
}

/* ---- shapes ------------------------------------------------------------------------------ */

static void test_shapes(void)
{
    dni_shape s = dni_shape_of(4, (int64_t[]){64, 20, 24, 24}), scalar = dni_shape_of(0, NULL);
    char text[128];
    int32_t axis = 99;
    SECTION("shapes");
    CHECK_INT(dni_shape_count(&s), 737280);
    CHECK_INT(dni_shape_count(&scalar), 1);
    CHECK_INT(dni_shape_range(&s, 1, 3), 480);
    CHECK_INT(dni_shape_range(&s, 4, 4), 1);
    CHECK_TEXT(dni_shape_text(&s, text, sizeof(text)), "64 20 24 24 (737280)");
    CHECK_TEXT(dni_shape_text(&scalar, text, sizeof(text)), "(1)");
    for (size_t room = 0; room < 21; room++) {
        memset(text, '#', sizeof text);
        dni_shape_text(&s, text, room);
        CHECK(text[room] == '#' &&
              (!room || strncmp(text, "64 20 24 24 (737280)", room - 1) == 0));
    }
    CHECK(dni_shape_equal(&s, &s) && !dni_shape_equal(&s, &scalar));
    s.axes = 3;
    dni_shape whole = dni_shape_of(4, s.dim);
    CHECK(!dni_shape_equal(&s, &whole) && !dni_shape_equal(&whole, &s));
    s.axes = 4;
    CHECK_INT(dni_shape_of(DN_MAX_AXES + 1, (int64_t[DN_MAX_AXES + 1]){0}).axes, DN_MAX_AXES);
    CHECK_STATUS(dni_shape_axis(&s, -1, &axis), DN_OK);
    CHECK_INT(axis, 3);
    CHECK_MESSAGE(dni_shape_axis(&s, 4, &axis), DN_E_SHAPE, "axis 4");
    CHECK_STATUS(dni_shape_axis(&s, -5, &axis), DN_E_SHAPE);
    CHECK_STATUS(dni_shape_axis(&scalar, 0, &axis), DN_E_SHAPE);
    CHECK_STATUS(dni_shape_axis(&s, INT64_MIN, &axis), DN_E_SHAPE);
    CHECK_INT(axis, 3);
    CHECK_STATUS(dni_shape_check(&s), DN_OK);
    CHECK_STATUS(dni_shape_check(&scalar), DN_OK);
    s.dim[1] = 0;
    CHECK_STATUS(dni_shape_check(&s), DN_OK);
    CHECK_INT(dni_shape_count(&s), 0);
    s.dim[1] = -1;
    CHECK_MESSAGE(dni_shape_check(&s), DN_E_SHAPE, "axis 1");
    s = dni_shape_of(3, (int64_t[]){(int64_t)1 << 32, (int64_t)1 << 32, 0});
    CHECK_STATUS(dni_shape_check(&s), DN_E_SHAPE);
    s = dni_shape_of(2, (int64_t[]){(int64_t)1 << 23, (int64_t)1 << 23});
    CHECK_STATUS(dni_shape_check(&s), DN_OK);
    s.dim[0]++;
    CHECK_STATUS(dni_shape_check(&s), DN_E_SHAPE);
    s.axes = DN_MAX_AXES + 1;
    CHECK_STATUS(dni_shape_check(&s), DN_E_SHAPE);
}

static void test_arithmetic(void)
{
    size_t n = 7;
    int64_t m = 7;
    SECTION("arithmetic");
    CHECK(!dni_mul(SIZE_MAX / 2, 3, &n) && n == 7 && dni_mul(SIZE_MAX, 1, &n) && n == SIZE_MAX);
    CHECK(dni_mul(SIZE_MAX, 0, &n) && n == 0 && dni_add(SIZE_MAX - 1, 1, &n) && n == SIZE_MAX);
    CHECK(!dni_add(SIZE_MAX, 1, &n));
    CHECK(!dni_mul64(INT64_MIN, -1, &m) && !dni_mul64(-1, INT64_MIN, &m) && m == 7);
    CHECK(dni_mul64(INT64_MIN, 1, &m) && m == INT64_MIN && dni_mul64(1, INT64_MIN, &m));
    CHECK(!dni_mul64(INT64_MAX, 2, &m) && !dni_mul64(2, INT64_MIN, &m));
    CHECK(!dni_mul64(INT64_MIN, 2, &m) && !dni_mul64(-3, INT64_MAX, &m));
    CHECK(dni_mul64(-3, -4, &m) && m == 12 && dni_mul64(0, INT64_MIN, &m) && m == 0);
    CHECK(dni_mul64(-3, 4, &m) && m == -12);
    CHECK(dni_mul64(-1, -INT64_MAX, &m) && m == INT64_MAX);
    CHECK(dni_mul64(2, INT64_MIN / 2, &m) && m == INT64_MIN);
}

/* ---- files ------------------------------------------------------------------------------- */

static bool file_is(const char *path, const char *text)
{
    char *data = NULL;
    size_t size = 0;
    bool same = dni_file_read(&dni_default_heap, path, &data, &size) == DN_OK &&
                size == strlen(text) && strcmp(data, text) == 0;
    dni_free(data);
    return same;
}

static void test_files(void)
{
    const dni_heap *heap = &dni_default_heap;
    const char *path = check_path("file"), *link = check_path("link");
    char *data = NULL;
    char beside[600];
    size_t size = 77;
    struct stat info;
    SECTION("files");
    CHECK_MESSAGE(dni_file_read(heap, path, &data, &size), DN_E_IO, "file': No such file");
    CHECK_MESSAGE(dni_file_read(heap, check_folder(), &data, &size), DN_E_IO, "directory");
    CHECK(data == NULL && size == 77);
    CHECK_STATUS(dni_file_write(heap, path, "old", 3), DN_OK);
    CHECK(file_is(path, "old"));
    CHECK(chmod(path, 0640) == 0 && symlink("file", link) == 0);
    CHECK_STATUS(dni_file_write(heap, link, "newer", 5), DN_OK);
    CHECK(file_is(path, "newer") && lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    CHECK(stat(path, &info) == 0 && (info.st_mode & 07777) == 0640);
    CHECK_STATUS(dni_file_write(heap, path, "", 0), DN_OK);
    CHECK(file_is(path, ""));
    CHECK_MESSAGE(dni_file_write(heap, check_folder(), "x", 1), DN_E_IO, "directory");
    CHECK_MESSAGE(dni_file_write(heap, "/nowhere/at/all", "x", 1), DN_E_IO,
                  "cannot write '/nowhere/at/all': No such file");
    CHECK_MESSAGE(dni_file_write(heap, "/dev/full", "x", 1), DN_E_IO,
                  "cannot write '/dev/full': No space left on device");
    CHECK_STATUS(dni_file_write(heap, "/dev/null", "x", 1), DN_OK);
    CHECK(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
    CHECK_STATUS(dni_file_read(heap, "/proc/self/status", &data, &size), DN_OK);
    CHECK(data && strstr(data, "Pid:") && data[size] == 0);
    dni_free(data);
    CHECK_INT(check_entries(check_folder()), 2);
    CHECK_MESSAGE(dni_file_read_regular(heap, "/dev/null", 9, &data, &size), DN_E_IO,
                  "regular");
    CHECK_MESSAGE(dni_file_read_regular(heap, "/etc/passwd", 9, &data, &size), DN_E_IO,
                  "no regular file of up to 9 bytes");
    CHECK(mkfifo(check_path("pipe"), 0600) == 0); /* which nobody writes into */
    alarm(60);
    CHECK_MESSAGE(dni_file_read_regular(heap, check_path("pipe"), 9, &data, &size), DN_E_IO,
                  "regular");
    alarm(0);
    unlink(check_path("pipe"));
    snprintf(beside, sizeof beside, "%s.%ld-0.tmp", path, (long)getpid());
    check_write(beside, "another's", 9);
    CHECK_STATUS(dni_file_write(heap, path, "mine", 4), DN_OK);
    CHECK(file_is(path, "mine") && file_is(beside, "another's"));
    unlink(beside);
    CHECK(dni_file_exists(path) && !dni_file_exists(check_path("none")));
    SECTION("stems of names end at the end of a character");
    CHECK_INT(dni_file_stem("long/a\u00e9", 3), 8);
    CHECK_INT(dni_file_stem("long/a\u00e9", 2), 6);
    CHECK_INT(dni_file_stem("long/a\U0001f600b", 5), 10);
    CHECK_INT(dni_file_stem("long/a\U0001f600b", 4), 6);
    CHECK_INT(dni_file_stem("long/\x80\x80", 1), 5);
}

/* A file-size limit stands for a full disk: the old file stays, nothing is left beside it. */
static void test_full_disk(void)
{
    const char *path = check_path("full");
    static char large[100000];
    struct rlimit before, limit;
    SECTION("full disk");
    CHECK_STATUS(dni_file_write(&dni_default_heap, path, "good", 4), DN_OK);
    int entries = check_entries(check_folder());
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 5000;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_MESSAGE(dni_file_write(&dni_default_heap, path, large, sizeof(large)), DN_E_IO,
                  "full': File too large");
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK(file_is(path, "good"));
    CHECK_INT(check_entries(check_folder()), entries);
    check_heap counts = {.fail_at = 1};
    dni_heap heap = {check_alloc, &counts};
    char *data = NULL;
    size_t size;
    CHECK_STATUS(dni_file_write(&heap, path, "x", 1), DN_E_NOMEM);
    counts.requests = 0;
    CHECK_STATUS(dni_file_read(&heap, path, &data, &size), DN_E_NOMEM);
    CHECK(file_is(path, "good"));
    CHECK_HEAP_CLEAN(&counts);
}

static void check_resolve(const char *base, const char *path, bool writing,
                          const char *expected)
{
    char *out = NULL;
    size_t held = dni_held();
    CHECK_STATUS(dni_path_resolve(&dni_default_heap, base, path, writing, &out), DN_OK);
    CHECK_TEXT(out, expected);
    dni_free(out);
    CHECK_STATUS(dni_path_listed(&dni_default_heap, base, "/etc", path, &out), DN_OK);
    dni_free(out);
    CHECK_INT(dni_held(), held);
}

static void test_paths(void)
{
    static const char *const rows[][2] = {{"a/b/c", "a/b"}, {"c", "."},  {"/c", "/"},
                                          {"/a//c", "/a"},  {"a/", "a"}, {"//c", "/"}};
    const char *base = check_folder(), *inside = check_path("here.txt");
    SECTION("paths");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        char *folder = dni_path_folder(&dni_default_heap, rows[i][0]);
        CHECK_TEXT(folder, rows[i][1]);
        dni_free(folder);
    }
    check_write(inside, "x", 1);
    check_resolve(base, "here.txt", false, inside);
    check_resolve(base, "nowhere.txt", false, "nowhere.txt");
    check_resolve(NULL, "here.txt", false, "here.txt");
    check_resolve(base, "/etc/here.txt", false, "/etc/here.txt");
    CHECK(mkdir(check_path("snap"), 0777) == 0);
    check_resolve(base, "snap/lenet", true, check_path("snap/lenet"));
    check_resolve(base, "lenet", true, "lenet");
    check_resolve(base, "missing/lenet", true, "missing/lenet");
}

/* By count: looking for each of many names, and for as many that are not there, meets few
 * others; of one name the last is the first met. Two tables alive at once mix names their own
 * ways: no name can be chosen to meet another. */
static void test_index(void)
{
    enum { NAMES = 10000 };
    dni_index index = {0}, other = {0};
    size_t met = 0, alike = 0;
    char name[16];
    SECTION("index");
    CHECK_INT(dni_index_first(&index, "l0", 2), -1);
    for (size_t i = 0; i < NAMES; i++) {
        size_t size = (size_t)snprintf(name, sizeof name, "l%zu", i);
        CHECK_STATUS(dni_index_add(&index, &dni_default_heap, i, name, size), DN_OK);
        CHECK_STATUS(dni_index_add(&other, &dni_default_heap, i, name, size), DN_OK);
    }
    for (size_t i = 0; i < 2 * NAMES; i++) {
        size_t size = (size_t)snprintf(name, sizeof name, "l%zu", i);
        int32_t k = dni_index_first(&index, name, size);
        for (; k >= 0 && (size_t)k != i; k = index.links[k].next)
            met++;
        CHECK_INT(k, i < NAMES ? (int64_t)i : -1);
        alike += i < NAMES && index.links[i].hash == other.links[i].hash;
    }
    CHECK(met < 3 * 2 * NAMES);
    CHECK(alike < 10);
    CHECK_STATUS(dni_index_add(&index, &dni_default_heap, 3 * NAMES, "l7", 2), DN_OK);
    CHECK_INT(dni_index_first(&index, "l7", 2), 3 * NAMES);
    dni_free(index.links);
    dni_free(other.links);
}

int main(void)
{
    test_status();
    test_status_threads();
    test_options();
    test_contexts();
    test_numbers();
    test_heap();
    test_text();
    test_index();
    test_nearest();
    test_shapes();
    test_arithmetic();
    test_files();
    test_full_disk();
    test_paths();
    return check_summary();
}
