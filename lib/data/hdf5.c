/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5.c: rows out of HDF5 files, each file whole in memory while it lasts. Which row comes
 * n-th depends on the seed alone: files and rows are permuted by pass and file, not by what was
 * drawn before. */
#include <string.h>
#include <sys/stat.h>

#include "data/data.h"
#include "deepnet/sys/random.h"

#ifdef DN_HAVE_HDF5
#include "data/hdf5_use.h"

typedef struct table {
    char *name;
    dni_shape row;
    int64_t count; /* values of a row */
    float *values; /* of the file in memory */
} table;

struct dni_hdf5 {
    dni_heap heap;
    char **files;
    size_t num_files, cap_files;
    table *tables;
    int32_t num_tables;
    bool shuffle;
    uint64_t seed, stream;
    int64_t rank, ranks; /* of every `ranks` rows the one that is ours */
    int64_t position;    /* rows delivered to all ranks */

    uint64_t pass;      /* over all files */
    size_t turn;        /* files[order[turn]] is in memory */
    size_t *order;      /* of the files in this pass */
    int64_t rows, next; /* of that file; the next to deliver */
    int64_t *row_order; /* NULL: as they are */
    bool loaded;
};

/* ---- one file ---------------------------------------------------------------------------- */

/* Everything of a dataset that is checked before memory is taken for it. */
static dn_status dataset_shape(hid_t data, dni_shape *shape)
{
    hsize_t dims[H5S_MAX_RANK];
    hid_t space = H5Dget_space(data);
    int axes = H5Sget_simple_extent_dims(space, dims, NULL); /* negative without a space */
    H5Sclose(space);
    if (axes < 1 || axes > DN_MAX_AXES)
        return dni_fail(DN_E_DATA, "it has %d axes; 1 to %d are read", axes, DN_MAX_AXES);
    memset(shape, 0, sizeof(*shape));
    shape->axes = axes;
    for (int i = 0; i < axes; i++)
        shape->dim[i] = dims[i] > INT64_MAX ? INT64_MAX : (int64_t)dims[i];
    dn_status st = dni_shape_check(shape);
    if (!st && !dni_hdf5_has_numbers(data, (uint64_t)dni_shape_count(shape)))
        st =
            dni_fail(DN_E_DATA,
                     "its values are neither floats nor integers, or more than its bytes hold");
    return st;
}

static dn_status read_values(dni_hdf5 *h, hid_t data, table *t, int64_t count)
{
    float *values = dni_realloc(&h->heap, t->values, (size_t)count, sizeof(float));
    if (!values)
        return DN_E_NOMEM;
    t->values = values;
    if (H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        return dni_fail(DN_E_DATA, "it cannot be read; the file may be cut");
    return DN_OK;
}

/* rows -1: not yet known. The first file decides the shape of a row. */
static dn_status read_dataset(dni_hdf5 *h, hid_t file, table *t, bool values, int64_t *rows)
{
    dni_shape shape;
    hid_t data = H5Dopen2(file, t->name, H5P_DEFAULT);
    if (data < 0)
        return dni_fail(DN_E_NOTFOUND, "it has no dataset '%s'", t->name);
    dn_status st = dataset_shape(data, &shape);
    if (!st) {
        dni_shape row = dni_shape_of(shape.axes - 1, shape.dim + 1);
        char here[96], first[96];
        if (t->count == 0) {
            t->row = row;
            t->count = dni_shape_count(&row);
        }
        if (*rows < 0)
            *rows = shape.dim[0];
        if (*rows != shape.dim[0])
            st = dni_fail(DN_E_DATA, "it has %lld rows, '%s' has %lld", (long long)shape.dim[0],
                          h->tables[0].name, (long long)*rows);
        else if (!dni_shape_equal(&row, &t->row))
            st = dni_fail(DN_E_DATA, "its rows are %s, those of the first file %s",
                          dni_shape_text(&row, here, sizeof(here)),
                          dni_shape_text(&t->row, first, sizeof(first)));
        else if (t->count == 0)
            st = dni_fail(DN_E_DATA, "its rows have no values");
        else if (values)
            st = read_values(h, data, t, *rows * t->count);
    }
    H5Dclose(data);
    return dni_in(st, "dataset '%s'", t->name);
}

static dn_status read_file(dni_hdf5 *h, const char *path, bool values, int64_t *rows)
{
    dn_status st = DN_OK;
    dni_hdf5_use use;
    *rows = -1;
    dni_hdf5_enter(&use);
    struct stat info;
    bool there = stat(path, &info) == 0; /* a pipe would be waited for */
    hid_t file =
        there && S_ISREG(info.st_mode) ? H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT) : -1;
    if (file < 0)
        st = there ? dni_fail(DN_E_DATA, "it is no HDF5 file, or damaged")
                   : dni_fail(DN_E_IO, "there is no such file");
    for (int32_t i = 0; !st && i < h->num_tables; i++)
        st = read_dataset(h, file, &h->tables[i], values, rows);
    if (file >= 0)
        H5Fclose(file);
    dni_hdf5_leave(&use);
    return dni_in(st, "'%s'", path);
}

/* ---- the order of things ----------------------------------------------------------------- */

/* A number below n for place `place` of a permutation. */
static uint64_t draw(const dni_hdf5 *h, uint64_t stream, uint64_t block, uint64_t n)
{
    uint32_t word[4];
    dn_random_block(word, h->seed, h->stream + stream, h->pass, block);
    return ((uint64_t)word[0] << 32 | word[1]) % n;
}

static void order_files(dni_hdf5 *h)
{
    for (size_t i = 0; i < h->num_files; i++)
        h->order[i] = i;
    for (size_t i = h->num_files; h->shuffle && i > 1; i--) {
        size_t j = (size_t)draw(h, 0, i, i), swap = h->order[i - 1];
        h->order[i - 1] = h->order[j];
        h->order[j] = swap;
    }
}

static dn_status order_rows(dni_hdf5 *h)
{
    if (!h->shuffle)
        return DN_OK;
    int64_t *order = dni_realloc(&h->heap, h->row_order, (size_t)h->rows, sizeof(int64_t));
    if (!order)
        return DN_E_NOMEM;
    h->row_order = order;
    for (int64_t i = 0; i < h->rows; i++)
        order[i] = i;
    for (int64_t i = h->rows; i > 1; i--) {
        uint64_t block = (uint64_t)h->order[h->turn] << 40 | (uint64_t)i;
        int64_t j = (int64_t)draw(h, 1, block, (uint64_t)i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    return DN_OK;
}

static dn_status load_turn(dni_hdf5 *h, bool same_file)
{
    dn_status st = DN_OK;
    h->loaded = false;
    if (!same_file)
        st = read_file(h, h->files[h->order[h->turn]], true, &h->rows);
    h->next = 0;
    if (!st)
        st = order_rows(h);
    h->loaded = st == DN_OK;
    return st;
}

/* The file after this one; after the last a new pass begins. A single file stays in memory. */
static dn_status advance(dni_hdf5 *h)
{
    if (++h->turn == h->num_files) {
        h->turn = 0;
        h->pass++;
        order_files(h);
    }
    return load_turn(h, h->num_files == 1);
}

static dn_status copy_rows(dni_hdf5 *h, int64_t rows, float *const *tops)
{
    for (int64_t i = 0; i < rows * h->ranks; i++) {
        for (int empty = 0; h->next == h->rows; empty++) {
            dn_status st = advance(h);
            if (st)
                return st;
            if (h->rows == 0 && (size_t)empty > 2 * h->num_files)
                return dni_fail(DN_E_DATA, "none of the files has a row");
        }
        int64_t row = h->row_order ? h->row_order[h->next] : h->next;
        for (int32_t k = 0; k < h->num_tables && i % h->ranks == h->rank; k++) {
            const table *t = &h->tables[k];
            memcpy(tops[k] + i / h->ranks * t->count, t->values + row * t->count,
                   (size_t)t->count * sizeof(float));
        }
        h->next++;
    }
    return DN_OK;
}

/* A failed call delivers nothing, and the next begins where it did. */
dn_status dni_hdf5_next(dni_hdf5 *h, int64_t rows, float *const *tops)
{
    dn_status st = h->loaded ? DN_OK : dni_hdf5_seek(h, h->position);
    if (!st)
        st = copy_rows(h, rows, tops);
    if (st) {
        h->loaded = false;
        return st;
    }
    h->position += rows * h->ranks;
    return DN_OK;
}

/* Whole passes are skipped by arithmetic, files by asking for their number of rows. */
dn_status dni_hdf5_seek(dni_hdf5 *h, int64_t position)
{
    int64_t total = 0, rows = 0, left;
    dn_status st = DN_OK;
    if (position < 0)
        return dni_fail(DN_E_INVALID, "a data position cannot be %lld", (long long)position);
    for (size_t i = 0; !st && position > 0 && i < h->num_files; i++) {
        st = read_file(h, h->files[i], false, &rows);
        total += rows;
    }
    if (!st && position > 0 && total == 0)
        st = dni_fail(DN_E_DATA, "none of the files has a row");
    if (st)
        return st;
    h->loaded = false;
    h->pass = total ? (uint64_t)(position / total) : 0;
    left = total ? position % total : 0;
    h->turn = 0;
    order_files(h);
    for (; !st && left > 0; h->turn++, left -= rows) {
        st = read_file(h, h->files[h->order[h->turn]], false, &rows);
        if (rows > left)
            break;
    }
    if (!st)
        st = load_turn(h, false);
    h->next = left;
    h->position = position;
    return st;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* A path in the list: as paths in the prototxt are meant, or beside the list itself. */
static dn_status add_file(dni_hdf5 *h, const char *folder, const char *list_folder,
                          const char *line, size_t length)
{
    char *name = dni_strndup(&h->heap, line, length), *path = NULL;
    dn_status st =
        name ? dni_grow(&h->heap, &h->files, &h->cap_files, h->num_files + 1, sizeof(char *))
             : DN_E_NOMEM;
    if (!st)
        st = dni_path_listed(&h->heap, folder, list_folder, name, &path);
    dni_free(name);
    if (!st)
        h->files[h->num_files++] = path;
    return st;
}

static dn_status read_list(dni_hdf5 *h, const char *folder, const char *path)
{
    char *text, *list_folder = dni_path_folder(&h->heap, path);
    size_t size;
    if (!list_folder)
        return DN_E_NOMEM;
    dn_status st = dni_file_read(&h->heap, path, &text, &size);
    if (!st) {
        const char *at = text;
        while (!st && *(at += strspn(at, " \t\r\n"))) {
            size_t length = strcspn(at, " \t\r\n");
            st = add_file(h, folder, list_folder, at, length);
            at += length;
        }
        dni_free(text);
    }
    dni_free(list_folder);
    if (!st && h->num_files == 0)
        st = dni_fail(DN_E_DATA, "'%s' names no files", path);
    return st;
}

static dn_status set_up(dni_hdf5 *h, const dni_hdf5_options *o)
{
    char *list;
    h->tables = dni_alloc(&h->heap, (size_t)o->num_datasets, sizeof(table));
    if (!h->tables)
        return DN_E_NOMEM;
    for (; h->num_tables < o->num_datasets; h->num_tables++) {
        table *t = &h->tables[h->num_tables];
        t->name = dni_strdup(&h->heap, o->datasets[h->num_tables]);
        if (!t->name)
            return DN_E_NOMEM;
    }
    dn_status st = dni_path_resolve(&h->heap, o->folder, o->source, false, &list);
    if (st)
        return st;
    st = read_list(h, o->folder, list);
    dni_free(list);
    if (st)
        return st;
    h->order = dni_alloc(&h->heap, h->num_files, sizeof(size_t));
    return h->order ? dni_hdf5_seek(h, 0) : DN_E_NOMEM;
}

dn_status dni_hdf5_open(dni_hdf5 **out, const dni_hdf5_options *o)
{
    if (!o->source || !o->source[0])
        return dni_fail(DN_E_NET, "hdf5_data_param needs a source");
    dni_hdf5 *h = dni_alloc(o->heap, 1, sizeof(*h));
    if (!h)
        return DN_E_NOMEM;
    h->heap = *o->heap;
    h->shuffle = o->shuffle;
    h->seed = o->seed;
    h->stream = o->stream;
    h->rank = o->rank;
    h->ranks = o->ranks > 1 ? o->ranks : 1;
    dn_status st = set_up(h, o);
    if (st) {
        dni_hdf5_close(h);
        return st;
    }
    *out = h;
    return DN_OK;
}

void dni_hdf5_close(dni_hdf5 *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->num_files; i++)
        dni_free(h->files[i]);
    for (int32_t i = 0; i < h->num_tables; i++) {
        dni_free(h->tables[i].name);
        dni_free(h->tables[i].values);
    }
    dni_free(h->files);
    dni_free(h->tables);
    dni_free(h->order);
    dni_free(h->row_order);
    dni_free(h);
}

const dni_shape *dni_hdf5_row_shape(const dni_hdf5 *h, int32_t dataset)
{
    return &h->tables[dataset].row;
}

int64_t dni_hdf5_position(const dni_hdf5 *h)
{
    return h->position;
}

#else

static dn_status missing(void)
{
    return dni_fail(DN_E_UNSUPPORTED, "this build has no HDF5 (configure with -Dhdf5=enabled)");
}

dn_status dni_hdf5_open(dni_hdf5 **out, const dni_hdf5_options *options)
{
    (void)out, (void)options;
    return missing();
}

void dni_hdf5_close(dni_hdf5 *hdf5)
{
    (void)hdf5;
}

const dni_shape *dni_hdf5_row_shape(const dni_hdf5 *hdf5, int32_t dataset)
{
    (void)hdf5, (void)dataset;
    return NULL;
}

dn_status dni_hdf5_next(dni_hdf5 *hdf5, int64_t rows, float *const *tops)
{
    (void)hdf5, (void)rows, (void)tops;
    return missing();
}

int64_t dni_hdf5_position(const dni_hdf5 *hdf5)
{
    (void)hdf5;
    return 0;
}

dn_status dni_hdf5_seek(dni_hdf5 *hdf5, int64_t position)
{
    (void)hdf5, (void)position;
    return missing();
}

#endif
