/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5.h: weights in HDF5: group "data", a group for each layer, a dataset "0", "1", ... for
 * each weight. Without HDF5 in the build both directions say so. */
#ifndef DNI_NET_HDF5_H
#define DNI_NET_HDF5_H

#include "net/net.h"

bool dni_is_hdf5(const void *bytes, size_t size);
/* Reads a file into the bytes of a .caffemodel; free with dni_free. */
dn_status dni_hdf5_weights(const dni_view *view, char **out, size_t *size);
/* Writes the net's weights; beside, then renamed. */
dn_status dni_hdf5_save(dn_net *net, const char *path);

#endif
