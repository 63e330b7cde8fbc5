/* SPDX-License-Identifier: BSD-2-Clause
 * test_hdf5.c: rows of HDF5 files in order and shuffled, resumed, and files that are not right.
 */
#include "records.h"

#ifdef DN_HAVE_HDF5
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>

#include "data/hdf5_append.h"
#include "net/hdf5.h"

enum { ROWS = 23, ROW = 24 }; /* reference: 10 + 13 rows of 2 x 3 x 4 */

static const char *reference;
static const char *const names[] = {"data", "label"};

static dni_hdf5_options options(const char *list)
{
    return (dni_hdf5_options){.heap = heap,
                              .source = list,
                              .folder = reference,
                              .datasets = names,
                              .num_datasets = 2,
                              .seed = 11,
                              .stream = 3};
}

static dni_hdf5 *open_hdf5(dni_hdf5_options *o)
{
    dni_hdf5 *h = NULL;
    CHECK_STATUS(dni_hdf5_open(&h, o), DN_OK);
    if (!h)
        exit(check_summary());
    return h;
}

static void take(dni_hdf5 *h, int64_t rows, float *data, float *labels)
{
    float *tops[] = {data, labels};
    CHECK_STATUS(dni_hdf5_next(h, rows, tops), DN_OK);
}

static void test_reference(void)
{
    char path[512];
    size_t size;
    float data[7 * ROW], labels[7];
    dni_hdf5_options o = options("h5.txt");
    dni_hdf5 *h = open_hdf5(&o);
    SECTION("as Caffe reads them");
    snprintf(path, sizeof(path), "%s/hdf5_data.bin", reference);
    char *expected = read_file(path, &size), *at = expected;
    CHECK_INT(size, 5 * (sizeof(data) + sizeof(labels)));
    CHECK_INT(dni_hdf5_row_shape(h, 0)->axes, 3);
    CHECK_INT(dni_shape_count(dni_hdf5_row_shape(h, 0)), ROW);
    CHECK_INT(dni_hdf5_row_shape(h, 1)->axes, 0);
    for (int i = 0; i < 5; i++) {
        take(h, 7, data, labels);
        CHECK(memcmp(data, at, sizeof(data)) == 0);
        CHECK(memcmp(labels, at + sizeof(data), sizeof(labels)) == 0);
        at += sizeof(data) + sizeof(labels);
    }
    CHECK_INT(dni_hdf5_position(h), 35);
    dni_hdf5_close(h);
    dni_free(expected);
}

/* Each pass of a shuffled source has every row once, in another order; seeking finds them. */
static void test_shuffle(void)
{
    static float plain[ROWS * ROW], shuffled[3][ROWS * ROW], data[5 * ROW], labels[ROWS];
    dni_hdf5_options o = options("h5.txt");
    dni_hdf5 *h = open_hdf5(&o);
    SECTION("shuffle");
    take(h, ROWS, plain, labels);
    dni_hdf5_close(h);
    o.shuffle = true;
    h = open_hdf5(&o);
    for (int pass = 0; pass < 3; pass++) {
        int once = 0;
        take(h, ROWS, shuffled[pass], labels);
        for (int i = 0; i < ROWS; i++) {
            int found = 0;
            for (int k = 0; k < ROWS; k++)
                found +=
                    !memcmp(plain + i * ROW, shuffled[pass] + k * ROW, ROW * sizeof(float));
            once += found == 1;
        }
        CHECK_INT(once, ROWS);
        CHECK(memcmp(plain, shuffled[pass], sizeof(plain)) != 0);
        CHECK(pass == 0 || memcmp(shuffled[0], shuffled[pass], sizeof(plain)) != 0);
    }
    for (int64_t at = 0; at <= 3 * ROWS - 5; at += 4) {
        CHECK_STATUS(dni_hdf5_seek(h, at), DN_OK);
        take(h, 5, data, labels);
        CHECK(memcmp(data, &shuffled[0][0] + at * ROW, sizeof(data)) == 0);
        CHECK_INT(dni_hdf5_position(h), at + 5);
    }
    CHECK_STATUS(dni_hdf5_seek(h, -1), DN_E_INVALID);
    dni_hdf5_close(h);
}

/* Ranks are dealt the rows of one source in turn, over the ends of files and passes. */
static void test_ranks(void)
{
    enum { RANKS = 3, EACH = 16, ALL = RANKS * EACH };
    float data[ALL * ROW], labels[ALL], own[EACH * ROW], own_labels[EACH];
    SECTION("ranks");
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        dni_hdf5_options o = options("h5.txt");
        o.shuffle = shuffle;
        dni_hdf5 *h = open_hdf5(&o);
        take(h, ALL, data, labels);
        dni_hdf5_close(h);
        o.ranks = RANKS;
        for (o.rank = 0; o.rank < RANKS; o.rank++) {
            h = open_hdf5(&o);
            take(h, 5, own, own_labels);
            CHECK_INT(dni_hdf5_position(h), 5 * RANKS);
            dni_hdf5_close(h);
            h = open_hdf5(&o); /* as resumed */
            CHECK_STATUS(dni_hdf5_seek(h, 5 * RANKS), DN_OK);
            take(h, EACH - 5, own + 5 * ROW, own_labels + 5);
            dni_hdf5_close(h);
            for (int i = 0; i < EACH; i++) {
                int at = i * RANKS + o.rank;
                CHECK(memcmp(own + i * ROW, data + at * ROW, ROW * sizeof *own) == 0);
                CHECK(own_labels[i] == labels[at]);
            }
        }
    }
}

static void write_dataset(hid_t file, const char *name, hid_t type, int axes,
                          const hsize_t *dims)
{
    static float zeros[1000];
    hid_t space = H5Screate_simple(axes, dims, NULL);
    hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (type != H5T_C_S1 && dims[0] <= 1000)
        H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros);
    H5Dclose(data);
    H5Sclose(space);
}

/* A file with datasets data (rows x width, of `type`) and label (labels). */
static void write_h5(const char *path, hid_t type, hsize_t rows, hsize_t width, hsize_t labels)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    write_dataset(file, "data", type, 2, (hsize_t[]){rows, width});
    write_dataset(file, "label", H5T_NATIVE_INT, 1, &labels);
    H5Fclose(file);
}

static void check_refused(const char *list, dn_status status, const char *part)
{
    dni_hdf5 *h = NULL;
    dni_hdf5_options o = options(check_path("list"));
    check_write(o.source, list, strlen(list));
    CHECK_MESSAGE(dni_hdf5_open(&h, &o), status, part);
    CHECK(h == NULL);
}

static void test_refused(void)
{
    dni_hdf5 *h = NULL;
    dni_hdf5_options o = options("none.txt");
    float data[100], labels[100], *tops[] = {data, labels};
    SECTION("refused");
    CHECK_MESSAGE(dni_hdf5_open(&h, &o), DN_E_IO, "cannot read 'none.txt'");
    check_refused(" \n", DN_E_DATA, "names no files");
    check_refused("gone.h5\n", DN_E_IO, "gone.h5': there is no such file");
    CHECK(mkfifo(check_path("pipe.h5"), 0600) == 0); /* nobody writes to it */
    check_refused("pipe.h5\n", DN_E_DATA, "pipe.h5': it is no HDF5 file");
    check_write(check_path("text.h5"), "text", 4);
    check_refused("text.h5\n", DN_E_DATA, "no HDF5 file");
    write_h5(check_path("rows.h5"), H5T_NATIVE_FLOAT, 4, 5, 3);
    check_refused("rows.h5\n", DN_E_DATA, "dataset 'label': it has 3 rows, 'data' has 4");
    write_h5(check_path("text.h5"), H5T_C_S1, 4, 5, 4);
    check_refused("text.h5\n", DN_E_DATA, "neither floats nor integers");
    write_h5(check_path("far.h5"), H5T_NATIVE_INT8, (hsize_t)1 << 23, 5, 4);
    check_refused("far.h5\n", DN_E_DATA, "dataset 'data': its values are neither");
    hid_t wide = H5Tcopy(H5T_STD_I32LE); /* HDF5 takes as much again for each it converts */
    H5Tset_size(wide, 1 << 20);
    write_h5(check_path("wide.h5"), wide, 2, 2, 2);
    H5Tclose(wide);
    check_refused("wide.h5\n", DN_E_DATA, "dataset 'data': its values are neither");
    write_h5(check_path("none.h5"), H5T_NATIVE_DOUBLE, 0, 5, 0);
    write_h5(check_path("five.h5"), H5T_NATIVE_DOUBLE, 4, 5, 4);
    write_h5(check_path("six.h5"), H5T_NATIVE_FLOAT, 4, 6, 4);
    o.source = check_path("list");
    check_write(o.source, "five.h5 six.h5", 14);
    h = open_hdf5(&o);
    CHECK_STATUS(dni_hdf5_next(h, 4, tops), DN_OK);
    CHECK_MESSAGE(dni_hdf5_next(h, 1, tops), DN_E_DATA,
                  "six.h5': dataset 'data': its rows are 6 (6), those of the first file 5 (5)");
    CHECK_INT(dni_hdf5_position(h), 4);
    dni_hdf5_close(h);
    check_write(o.source, "none.h5", 7);
    h = open_hdf5(&o);
    CHECK_MESSAGE(dni_hdf5_next(h, 1, tops), DN_E_DATA, "none of the files has a row");
    dni_hdf5_close(h);
    o.datasets = (const char *const[]){"data", "labels"};
    check_write(o.source, "five.h5", 7);
    CHECK_MESSAGE(dni_hdf5_open(&h, &o), DN_E_NOTFOUND, "it has no dataset 'labels'");
    dni_hdf5_close(NULL);
}

/* Weights 0 to 7 are looked for, whatever else a layer's group holds: that has no end. */
static void test_weights_refused(void)
{
    const char *path = check_path("weights.h5");
    const hsize_t two = 2;
    char *out = NULL;
    size_t size;
    dni_view view;
    SECTION("weights of other names");
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "data/ip", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    write_dataset(file, "data/ip/8", H5T_NATIVE_FLOAT, 1, &two);
    write_dataset(file, "data/ip/other", H5T_NATIVE_FLOAT, 1, &two);
    H5Fclose(file);
    alarm(60);
    CHECK_STATUS(dni_view_open(&view, heap, path), DN_OK);
    CHECK_MESSAGE(dni_hdf5_weights(&view, &out, &size), DN_E_PARSE, "a weight");
    alarm(0);
    dni_view_close(&view);
    CHECK(!out);
}

static dn_status use(const dni_heap *counting)
{
    float data[30 * ROW], labels[30], *tops[] = {data, labels};
    dni_hdf5_options o = options("h5.txt");
    dni_hdf5 *h;
    o.heap = counting;
    o.shuffle = true;
    dn_status st = dni_hdf5_open(&h, &o);
    if (st)
        return st;
    st = dni_hdf5_next(h, 30, tops);
    dni_hdf5_close(h);
    return st;
}

static void test_memory(void)
{
    check_heap counts = {0};
    dni_heap counting = {check_alloc, &counts};
    SECTION("each allocation fails once");
    CHECK_STATUS(use(&counting), DN_OK);
    long requests = counts.requests;
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        CHECK_STATUS(use(&counting), DN_E_NOMEM);
        CHECK_HEAP_CLEAN(&counts);
    }
}

/* The host's way to print HDF5's errors is its own: unchanged by us, unused by us. */
static herr_t host_print(hid_t stack, void *data)
{
    (void)stack;
    ++*(int *)data;
    return 0;
}

static void test_host_printer(void)
{
    int printed = 0;
    H5E_auto2_t kept;
    void *user;
    SECTION("the host's HDF5");
    H5Eset_auto2(H5E_DEFAULT, host_print, &printed);
    check_refused("gone.h5\n", DN_E_IO, "no such file");
    CHECK_INT(printed, 0);
    H5Eget_auto2(H5E_DEFAULT, &kept, &user);
    CHECK(kept == host_print && user == &printed);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* HDF5 crashes its process at exit once a write of its own has failed: none may. */
static void test_full_disk(void)
{
    static float values[40000];
    const dni_shape shape = dni_shape_of(2, (int64_t[]){100, 400});
    const dni_hdf5_batch batch = {"data", &shape, DN_F32, values};
    const char *path = check_path("grown.h5");
    struct rlimit limit;
    struct stat before, after;
    SECTION("append: a full disk");
    CHECK_STATUS(dni_hdf5_append(path, true, &batch, 1), DN_OK);
    CHECK(stat(path, &before) == 0 && before.st_size < 40000 * 4 + 20000);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = (rlim_t)before.st_size + 1000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_MESSAGE(dni_hdf5_append(path, false, &batch, 1), DN_E_IO, "File too large");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(stat(path, &after) == 0 && after.st_size == before.st_size);
    CHECK_STATUS(dni_hdf5_append(path, false, &batch, 1), DN_OK);
    CHECK_MESSAGE(dni_hdf5_append(check_path("no/such.h5"), true, &batch, 1), DN_E_IO,
                  "no/such.h5': No such file");
}

int main(int argc, char **argv)
{
    reference = argc > 1 ? argv[1] : "reference";
    test_reference();
    test_shuffle();
    test_ranks();
    test_refused();
    test_weights_refused();
    test_memory();
    test_host_printer();
    test_full_disk();
    return check_summary();
}
#else
int main(void)
{
    dni_hdf5 *h = NULL;
    dni_hdf5_options o = {.heap = heap, .source = "x"};
    SECTION("left out");
    CHECK_MESSAGE(dni_hdf5_open(&h, &o), DN_E_UNSUPPORTED, "no HDF5");
    return check_summary();
}
#endif
