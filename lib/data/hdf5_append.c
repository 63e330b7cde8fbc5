/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5_append.c: see hdf5_append.h. Datasets are chunked, a chunk a batch, so that they can
 * grow. The file is too large to be made in memory, so the disk is asked for the room before
 * HDF5 may find that there is none: see hdf5_use.h. */
#include "data/hdf5_append.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef DN_HAVE_HDF5
#include "data/hdf5_use.h"

typedef struct extent {
    int axes;
    hsize_t dims[DN_MAX_AXES], largest[DN_MAX_AXES];
} extent;

/* A batch's extent: a single number counts as a row of one. */
static extent extent_of(const dni_shape *shape)
{
    extent e = {.axes = shape->axes ? shape->axes : 1, .dims = {1}};
    for (int32_t i = 0; i < shape->axes; i++)
        e.dims[i] = (hsize_t)shape->dim[i];
    for (int32_t i = 0; i < e.axes; i++)
        e.largest[i] = i ? e.dims[i] : H5S_UNLIMITED;
    return e;
}

static hid_t create_dataset(hid_t file, const dni_hdf5_batch *b, hid_t type)
{
    extent e = extent_of(b->shape);
    hid_t space = H5Screate_simple(e.axes, e.dims, e.largest);
    hid_t chunks = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = -1;
    if (space >= 0 && chunks >= 0 && H5Pset_chunk(chunks, e.axes, e.dims) >= 0)
        set = H5Dcreate2(file, b->dataset, type, space, H5P_DEFAULT, chunks, H5P_DEFAULT);
    H5Pclose(chunks);
    H5Sclose(space);
    return set;
}

/* Makes room at the end: *at is where the batch goes. */
static bool grow(hid_t set, const extent *batch, hsize_t *at)
{
    extent e = {0};
    hid_t space = H5Dget_space(set);
    bool same = space >= 0 && H5Sget_simple_extent_ndims(space) == batch->axes &&
                H5Sget_simple_extent_dims(space, e.dims, NULL) >= 0;
    for (int i = 1; same && i < batch->axes; i++)
        same = e.dims[i] == batch->dims[i];
    H5Sclose(space);
    at[0] = e.dims[0];
    e.dims[0] += batch->dims[0];
    return same && H5Dset_extent(set, e.dims) >= 0;
}

static bool write_at(hid_t set, hid_t type, const extent *batch, const hsize_t *at,
                     const void *values)
{
    hid_t space = H5Dget_space(set);
    hid_t memory = H5Screate_simple(batch->axes, batch->dims, NULL);
    bool ok = space >= 0 && memory >= 0 &&
              H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, batch->dims, NULL) >= 0 &&
              H5Dwrite(set, type, memory, space, H5P_DEFAULT, values) >= 0;
    H5Sclose(memory);
    H5Sclose(space);
    return ok;
}

static bool append(hid_t file, bool create, const dni_hdf5_batch *b)
{
    hid_t type = b->dtype == DN_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    hsize_t at[DN_MAX_AXES] = {0};
    extent batch = extent_of(b->shape);
    hid_t set =
        create ? create_dataset(file, b, type) : H5Dopen2(file, b->dataset, H5P_DEFAULT);
    if (set < 0)
        return false;
    bool ok = (create || grow(set, &batch, at)) && write_at(set, type, &batch, at, b->values);
    return H5Dclose(set) >= 0 && ok;
}

#define OVERHEAD ((off_t)65536) /* bytes of headers and indices that a batch may add */

static off_t bytes_of(const dni_hdf5_batch *batches, int32_t count)
{
    off_t bytes = OVERHEAD;
    for (int32_t i = 0; i < count; i++)
        bytes +=
            (off_t)dni_shape_count(batches[i].shape) * (batches[i].dtype == DN_F64 ? 8 : 4);
    return bytes;
}

/* Room for the batches behind what is there; HDF5 cuts off what it does not need. Returns 0 or
 * errno; a file system that cannot reserve has to be trusted. */
static int reserve(const char *path, bool create, off_t bytes)
{
    struct stat info;
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0666);
    if (fd < 0)
        return errno;
    int error = fstat(fd, &info) ? errno : posix_fallocate(fd, info.st_size, bytes);
    if (error == EINVAL || error == EOPNOTSUPP)
        error = 0;
    if (error && ftruncate(fd, info.st_size))
        error = errno;
    close(fd);
    return error;
}

dn_status dni_hdf5_append(const char *path, bool create, const dni_hdf5_batch *batches,
                          int32_t count)
{
    int error = reserve(path, create, bytes_of(batches, count));
    if (error)
        return dni_fail_errno(error, "write", path);
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    hid_t file = create ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)
                        : H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    bool ok = file >= 0;
    for (int32_t i = 0; ok && i < count; i++)
        ok = append(file, create, &batches[i]);
    ok &= H5Fclose(file) >= 0;
    dni_hdf5_leave(&use);
    return ok ? DN_OK : dni_fail(DN_E_IO, "cannot write '%s' as HDF5", path);
}

#else

dn_status dni_hdf5_append(const char *path, bool create, const dni_hdf5_batch *batches,
                          int32_t count)
{
    (void)path, (void)create, (void)batches, (void)count;
    return dni_fail(DN_E_UNSUPPORTED, "this build has no HDF5 (configure with -Dhdf5=enabled)");
}

#endif
