/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/data.h: data sets into the databases that Data layers read. */
#ifndef DEEPNET_DATA_H
#define DEEPNET_DATA_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/context.h"

DN_BEGIN_DECLS

/* Zero is the default of every field; struct_size = sizeof(dn_convert_options). */
typedef struct dn_convert_options {
    size_t struct_size;
    int32_t overwrite; /* 1: replace an LMDB that is already there */
    int32_t reserved;
} dn_convert_options;

/* Makes an LMDB of Datum records out of two IDX files, as MNIST comes in; gzipped ones will do.
 * Records are keyed "00000000", "00000001", ... in the order of the files, as Caffe's converter
 * does it. The database appears whole or not at all: it is written beside, synced, then
 * renamed.
 * - context: lends its memory; may be used by nets meanwhile.
 * - images_path: (N, height, width) unsigned bytes; labels_path: N unsigned bytes.
 * - out_path: the folder to make.
 * - options: borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_IO (a file cannot be read; out_path exists, is no LMDB, or its disk is
 * full), DN_E_PARSE (not IDX, cut, or not of the size its header says), DN_E_DATA (images and
 * labels are not equally many, or none), DN_E_UNSUPPORTED (built without liblmdb or zlib),
 * DN_E_NOMEM, DN_E_INVALID. Thread-safety: any thread. Since 0.1. */
DN_API dn_status dn_convert_mnist(dn_context *context, const char *images_path,
                                  const char *labels_path, const char *out_path,
                                  const dn_convert_options *options);

DN_END_DECLS
#endif
