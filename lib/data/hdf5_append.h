/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5_append.h: batches onto the end of an HDF5 file's datasets. */
#ifndef DNI_HDF5_APPEND_H
#define DNI_HDF5_APPEND_H

#include "core/core.h"

/* One batch for one dataset, rows along axis 0. */
typedef struct dni_hdf5_batch {
    const char *dataset;
    const dni_shape *shape;
    int32_t dtype; /* DN_F32 or DN_F64 */
    const void *values;
} dni_hdf5_batch;

/* Appends the batches to the file at path. create: to a new file, whatever was there. The file
 * is closed and whole after each call. */
dn_status dni_hdf5_append(const char *path, bool create, const dni_hdf5_batch *batches,
                          int32_t count);

#endif
