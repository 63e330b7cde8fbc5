/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5_use.c: see hdf5_use.h. */
#ifdef DN_HAVE_HDF5
#include "data/hdf5_use.h"

#include <pthread.h>
#include <stdio.h>

/* Not a state of ours: HDF5's own, when it was built without threads, is one for the whole
 * process, so what guards it from two contexts must be too. Builds with threads (Debian's is
 * one) have their own lock and an error printer for each thread; this one is not taken then. */
static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

void dni_hdf5_enter(dni_hdf5_use *use)
{
    hbool_t threads = 0;
    use->locked = H5is_library_threadsafe(&threads) < 0 || !threads;
    if (use->locked)
        pthread_mutex_lock(&library);
    H5Eget_auto2(H5E_DEFAULT, &use->printer, &use->printer_data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void dni_hdf5_leave(const dni_hdf5_use *use)
{
    H5Eset_auto2(H5E_DEFAULT, use->printer, use->printer_data);
    if (use->locked)
        pthread_mutex_unlock(&library);
}

#define IMAGE_GROWTH ((size_t)1 << 20) /* bytes */

/* image: NULL, or what was read whole, as from a pipe, which has nothing more. */
static hid_t in_memory(const char *path, const dni_view *image, bool create)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
    if (access >= 0 && H5Pset_fapl_core(access, IMAGE_GROWTH, 0) >= 0 &&
        (!image || H5Pset_file_image(access, image->data, image->size) >= 0))
        file = create ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access)
                      : H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    return file;
}

hid_t dni_hdf5_load(const dni_view *view)
{
    /* An image is refused if it has the name of a file that can be opened. */
    return view->have ? in_memory(view->path, NULL, false)
                      : in_memory("/dev/null/", view, false);
}

hid_t dni_hdf5_create(const char *path)
{
    return in_memory(path, NULL, true);
}

#define MOST_BYTES    16                  /* of a value: a long double */
#define MOST_PER_BYTE 1100                /* values: zeros of a byte, compressed */
#define AT_LEAST      ((uint64_t)1 << 14) /* bytes that any dataset is good for */

bool dni_hdf5_has_numbers(hid_t set, uint64_t count)
{
    hid_t type = H5Dget_type(set);
    H5T_class_t kind = H5Tget_class(type); /* none, where there is no type */
    bool ok = (kind == H5T_FLOAT || kind == H5T_INTEGER) && H5Tget_size(type) <= MOST_BYTES &&
              count / MOST_PER_BYTE <= H5Dget_storage_size(set) + AT_LEAST;
    H5Tclose(type);
    return ok;
}

void *dni_hdf5_take(const dni_heap *heap, hid_t set, hid_t type, uint64_t count)
{
    void *values = NULL;
    if (dni_hdf5_has_numbers(set, count))
        values = dni_alloc(heap, (size_t)count, H5Tget_size(type));
    if (values && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        dni_free(values);
        values = NULL;
    }
    return values;
}

bool dni_hdf5_put(hid_t at, const char *name, hid_t type, int axes, const hsize_t *dims,
                  const void *values)
{
    hid_t space = axes ? H5Screate_simple(axes, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    ok &= H5Dclose(set) >= 0;
    H5Sclose(space);
    return ok;
}

bool dni_hdf5_put_values(hid_t at, size_t number, int32_t dtype, const dni_shape *shape,
                         const void *values)
{
    hsize_t dims[DN_MAX_AXES];
    char name[24];
    snprintf(name, sizeof name, "%zu", number);
    for (int32_t i = 0; i < shape->axes; i++)
        dims[i] = (hsize_t)shape->dim[i];
    return dni_hdf5_put(at, name, dtype == DN_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT,
                        shape->axes, dims, values);
}

dn_status dni_hdf5_write(const dni_heap *heap, hid_t file, bool ok, const char *path)
{
    dn_status st = DN_OK;
    void *bytes = NULL;
    ssize_t size = -1;
    if (ok && file >= 0 && H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0)
        size = H5Fget_file_image(file, NULL, 0);
    if (size >= 0 && !(bytes = dni_realloc(heap, NULL, (size_t)size, 1)))
        st = DN_E_NOMEM;
    else if (size < 0 || H5Fget_file_image(file, bytes, (size_t)size) != size)
        st = dn_last_error() /* a failed allocation has said so already */
                 ? DN_E_NOMEM
                 : dni_fail(DN_E_IO, "cannot write '%s' as HDF5", path);
    H5Fclose(file);
    if (!st)
        st = dni_file_write(heap, path, bytes, (size_t)size);
    dni_free(bytes);
    return st;
}
#else
typedef int dni_hdf5_left_out; /* a file of C must hold something */
#endif
