/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/data.h: data sets into the databases that Data layers read, and their mean. */
#ifndef DEEPNET_DATA_H
#define DEEPNET_DATA_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/context.h"

DN_BEGIN_DECLS

/* Zero is the default of every field; struct_size = sizeof(dn_convert_options). An option that
 * this release does not know must be zero, else DN_E_UNSUPPORTED. */
typedef struct dn_convert_options {
    size_t struct_size;
    int32_t overwrite; /* 1: replace an LMDB that is already there */
    int32_t reserved;
    /* Of dn_convert_images: */
    const char *root_folder; /* goes before each path of the list, as it is; borrowed */
    int64_t height, width;   /* pixels that images are resized to, up to 2^14; 0: their own */
    uint64_t seed;           /* of shuffle */
    int32_t shuffle;         /* 1: in another order than the list's */
    int32_t gray;            /* 1: one channel, not three */
    int32_t encoded;         /* 1: JPEG and PNG files as they are */
    int32_t check_size;      /* 1: an image of another size than the first's fails */
    int32_t skip_bad;        /* 1: an image that cannot be used is left out, with a warning */
    int32_t reserved2;       /* 0 */
    int64_t *skipped;        /* out: how many were left out, on success; NULL: not asked for */
} dn_convert_options;

/* Makes an LMDB of Datum records from two IDX files, the format of MNIST; they may be gzipped.
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

/* Makes an LMDB of Datum records out of a list of JPEG and PNG files, as Caffe's
 * convert_imageset does: a line of the list is a path, a space and a label; records are keyed
 * "00000000_path", "00000001_path", ... Channels are in the order blue, green, red. Images are
 * rotated as their Exif orientation says and resized by OpenCV's bilinear rule; with `encoded`
 * the files are stored unchanged. If a file cannot be used, the call fails and the message has
 * its line. With skip_bad, as in convert_imageset, such a file is left out instead: the
 * context's log says which and why, and its number is not used for a key. The database appears
 * whole or not at all.
 * - context: lends its memory; may be used by nets meanwhile.
 * - list_path: a text file. Its paths are relative to the working directory or, if the file is
 *   not there, to the list's own folder.
 * - out_path: the folder to make.
 * - options: borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_IO (a file cannot be read; out_path exists, is no LMDB, or its disk is
 * full), DN_E_DATA (a line without a label, a file that is no image or has another size than
 * check_size allows, an empty list, no image that can be used), DN_E_LIMIT (more than 10^8
 * images), DN_E_UNSUPPORTED (built without liblmdb, libjpeg or libpng), DN_E_NOMEM,
 * DN_E_INVALID (options that exclude each other). Thread-safety: any thread. Since 0.1. */
DN_API dn_status dn_convert_images(dn_context *context, const char *list_path,
                                   const char *out_path, const dn_convert_options *options);

/* Writes the mean of the images of a database as a .binaryproto for mean_file, as Caffe's
 * compute_image_mean does. The file appears whole or not at all.
 * - context: lends its memory; may be used by nets meanwhile.
 * - database_path: an LMDB or a LevelDB of Datum records, all of one size.
 * - out_path: the file to write; one that is there is replaced.
 * Returns DN_OK, DN_E_IO (a file cannot be read or written), DN_E_DATA (no database, no Datum,
 * or sizes differ), DN_E_UNSUPPORTED (built without what reads it), DN_E_NOMEM, DN_E_INVALID.
 * Thread-safety: any thread. Since 0.1. */
DN_API dn_status dn_convert_mean(dn_context *context, const char *database_path,
                                 const char *out_path);

DN_END_DECLS
#endif
