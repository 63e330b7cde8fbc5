/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5_use.h: how deepnet uses HDF5 as a guest of the process. Every use lies between enter and
 * leave; files are made in memory and written to disk by our own code, because HDF5 crashes its
 * process at exit once a write or close of its own has failed. Include where DN_HAVE_HDF5. */
#ifndef DNI_HDF5_USE_H
#define DNI_HDF5_USE_H

#include <hdf5.h>

#include "core/core.h"

/* What the host had, on the caller's stack: put back by leave. */
typedef struct dni_hdf5_use {
    H5E_auto2_t printer;
    void *printer_data;
    bool locked;
} dni_hdf5_use;

/* HDF5 prints its errors unless told not to: it is told so for this thread, and one at a time
 * where it is built without threads. Enter once, leave once, on one thread. */
void dni_hdf5_enter(dni_hdf5_use *use);
void dni_hdf5_leave(const dni_hdf5_use *use);

/* A file read into memory; a new one in memory, to become `path`. Negative: it cannot be. */
hid_t dni_hdf5_load(const dni_view *view);
hid_t dni_hdf5_create(const char *path);
/* Whether a dataset is of numbers, and so many of them can be in it: HDF5 takes memory for one
 * of its values by the size that the file names, and fills what was never written. */
bool dni_hdf5_has_numbers(hid_t set, uint64_t count);
/* All values of a dataset as `type`, of which it has `count`; dni_free. NULL: they cannot be
 * read, or there is no memory, which dn_last_error says then. */
void *dni_hdf5_take(const dni_heap *heap, hid_t set, hid_t type, uint64_t count);
/* A new dataset of all values; axes 0: one value. */
bool dni_hdf5_put(hid_t at, const char *name, hid_t type, int axes, const hsize_t *dims,
                  const void *values);
/* The same of a blob's or its history's values, under a number, as Caffe names them. */
bool dni_hdf5_put_values(hid_t at, size_t number, int32_t dtype, const dni_shape *shape,
                         const void *values);
/* Closes a new file, and if `ok` writes it to path as dni_file_write does: an older file
 * survives every failure. DN_E_IO when not ok. */
dn_status dni_hdf5_write(const dni_heap *heap, hid_t file, bool ok, const char *path);

#endif
