/* SPDX-License-Identifier: BSD-2-Clause
 * data.h: from records on disk to batches of floats: source -> datum -> transform -> loader.
 * Where a record lands depends on nothing but its number, so batches are the same whatever the
 * threads did and wherever a run was resumed. */
#ifndef DNI_DATA_H
#define DNI_DATA_H

#include "cnn.pb-c.h"
#include "core/core.h"

/* ---- source.c: records in order, a file a format ----------------------------------------- */

/* A view, valid until the source's next call. */
typedef struct dni_record {
    const uint8_t *key, *data; /* data NULL: past the last record */
    size_t key_size, size;
    const char *file; /* data is the image file of this name in a list; NULL: a Datum */
    int64_t line;     /* of the list */
    int32_t label;
    const uint8_t *map; /* the file of its class map; NULL: none */
    size_t map_size;
    const struct dni_window *window; /* a piece of the image; NULL: the whole */
    bool mirror;                     /* ... as it was drawn */
} dni_record;

typedef struct dni_source dni_source;

typedef struct dni_source_class {
    const char *name; /* "LMDB" */
    dn_status (*open)(dni_source **out, const dni_heap *heap, const char *path);
    dn_status (*next)(dni_source *source, dni_record *record);
    dn_status (*rewind)(dni_source *source);
    /* The next is the first whose key is not less. */
    dn_status (*seek)(dni_source *source, const uint8_t *key, size_t size);
    void (*close)(dni_source *source);
} dni_source_class;

/* What every source begins with; set by dni_source_open. */
struct dni_source {
    const dni_source_class *cls;
    const dni_heap *heap;
    char *path;
    bool keys_only; /* the data of records may be wrong */
};

extern const dni_source_class dni_lmdb_class, dni_leveldb_class;

/* backend as in DataParameter. path as it stands in the prototxt; base: the prototxt's folder
 * or NULL. Fails for what is missing, empty or not of that format. */
dn_status dni_source_open(dni_source **out, const dni_heap *heap, int32_t backend,
                          const char *base, const char *path);
/* Failures of these have the database's name in front. */
dn_status dni_source_next(dni_source *source, dni_record *record);
dn_status dni_source_rewind(dni_source *source);
dn_status dni_source_seek(dni_source *source, const uint8_t *key, size_t size);
void dni_source_close(dni_source *source); /* NULL is fine */
/* Puts "LMDB 'path': " in front of the message of a failure. */
dn_status dni_in_source(dn_status status, const dni_source *source);
/* "LMDB 'path': record '00000005': ", or "image list 'path': line 5: 'file': ". */
dn_status dni_in_record(dn_status status, const dni_source *source, const dni_record *record);

/* ---- list.c: image files named in a text file, a line each, as records ------------------- */

typedef struct dni_list {
    const char *root; /* goes before each name; NULL: nothing */
    bool labelled;    /* a line without a label fails; else it may have one */
    bool mapped;      /* instead of a label a line names a second image */
    bool alone;       /* a path ends at the first space: what follows is not read */
} dni_list;

/* Names are meant as in the prototxt, whose folder is `base`, or from the list's own folder.
 * base and the root are borrowed for good. */
dn_status dni_list_open(dni_source **out, const dni_heap *heap, const char *base,
                        const char *path, const dni_list *options);

/* The file of an image, and its path as the list has it, without the root. */
typedef struct dni_image_file {
    char *name, *bytes;
    size_t size;
} dni_image_file;

/* [at, end): the path; beside: the list's folder. What file had before is freed. */
dn_status dni_image_file_read(dni_image_file *file, const dni_heap *heap, const char *base,
                              const char *beside, const char *root, const char *at,
                              const char *end);
void dni_image_file_free(dni_image_file *file);

/* ---- order.c: records shuffled ----------------------------------------------------------- */

/* Zeroed but for the first three; freed with dni_order_free. */
typedef struct dni_order {
    const dni_heap *heap;
    uint64_t seed, stream;
    int64_t count; /* records */
    uint8_t *keys;
    size_t *ends; /* of the keys */
    size_t keys_capacity, ends_capacity;
    int64_t *at; /* which record comes when in this pass; NULL: no keys yet */
    int64_t pass;
} dni_order;

/* The record that comes at `number` of the run; the first call reads all keys. */
dn_status dni_order_record(dni_order *order, dni_source *source, int64_t number,
                           dni_record *record);
void dni_order_free(dni_order *order);

/* ---- datum.c, jpeg.c, png.c: what is in a record ----------------------------------------- */

/* Pixels where they lie: in the record, or in the decoder. Exactly one of u8 and f32. */
typedef struct dni_image {
    const uint8_t *u8;
    const float *f32;
    int64_t channels, height, width;
    int64_t channel_stride, row_stride, pixel_stride; /* in elements */
} dni_image;

/* Buffers that live from record to record. */
typedef struct dni_decoder {
    const dni_heap *heap;
    bool force_color, force_gray; /* encoded images only: always 3, or 1 channel */
    uint8_t *pixels;
    size_t pixels_capacity;
    float *floats;
    size_t floats_capacity;
} dni_decoder;

void dni_decoder_free(dni_decoder *decoder);
/* Reads a Datum off the wire. The image is valid until the next call, as the bytes are. */
dn_status dni_datum_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                           dni_image *image, int32_t *label);
/* The image of a record of either kind, and its label. */
dn_status dni_record_decode(dni_decoder *decoder, const dni_record *record, dni_image *image,
                            int32_t *label);
/* A serialised Datum of raw pixels, or, with channels 0, of an encoded image of width bytes.
 * *bytes grows as needed; *size is what was written. */
dn_status dni_datum_encode(const dni_heap *heap, uint8_t **bytes, size_t *capacity,
                           size_t *size, int64_t channels, int64_t height, int64_t width,
                           const uint8_t *pixels, int32_t label);

/* Encoded images come out as rows of pixels, blue first, as OpenCV decodes them. */
dn_status dni_jpeg_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                          dni_image *image);
dn_status dni_png_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                         dni_image *image);
/* Room for an image in decoder->pixels; describes it. Refuses more than 2^28 pixels. */
dn_status dni_decoder_room(dni_decoder *decoder, int64_t height, int64_t width,
                           int64_t channels, dni_image *image);

/* ---- annotated.c: boxes in images; resample.c -------------------------------------------- */

typedef struct dni_annotation {
    int32_t item, label, instance; /* item: which image of the batch */
    float box[4];                  /* x0, y0, x1, y1 in units of the image */
    bool difficult;
} dni_annotation;

typedef struct dni_boxes {
    dni_annotation *at;
    size_t count, capacity;
} dni_boxes;

/* Makes height x width pixels of images of 8 bits with the size and channels of `in`, one after
 * the other; a run allocates nothing. mode: of ResizeParameter. */
typedef struct dni_resampler dni_resampler;
dn_status dni_resampler_create(dni_resampler **out, const dni_heap *heap, const dni_image *in,
                               int64_t height, int64_t width, int32_t mode);
void dni_resampler_run(const dni_resampler *resampler, const dni_image *in, uint8_t *out);
void dni_resampler_free(dni_resampler *resampler); /* NULL is fine */
/* All three, for one image. */
dn_status dni_resample(const dni_heap *heap, const dni_image *in, int64_t height, int64_t width,
                       int32_t mode, uint8_t *out);

/* ---- transform.c: pixels to floats ------------------------------------------------------- */

typedef struct dni_transform {
    const dni_heap *heap;
    bool train, mirror, force_color, force_gray;
    int64_t crop_height, crop_width; /* 0: the whole image */
    bool pad; /* a crop may be larger than the image: below and right of it is pad_value */
    float pad_value;
    float scale;
    float *mean; /* of mean_file: (channels, height, width) */
    int64_t mean_channels, mean_height, mean_width;
    float *mean_value; /* one, or one per channel */
    size_t num_mean_values;
    uint64_t seed, stream; /* crop and mirror: Philox(seed, stream, step = record's number) */
} dni_transform;

/* What images are cropped to, {0, 0}: not at all: crop_size, or of the forks crop_height and
 * crop_width, or crop_h and crop_w. param may be NULL. */
void dni_transform_crop(const Cnn__TransformationParameter *param, int64_t crop[2]);
/* param NULL: no transformation. base: the prototxt's folder or NULL. */
dn_status dni_transform_create(dni_transform **out, const dni_heap *heap,
                               const Cnn__TransformationParameter *param, bool train,
                               const char *base, uint64_t seed, uint64_t stream);
void dni_transform_free(dni_transform *transform);
/* (C, H, W) that comes out of such an image; fails where the mean or the crop does not fit. */
dn_status dni_transform_shape(const dni_transform *transform, const dni_image *image,
                              dni_shape *out);
/* Where a crop begins, and whether it is mirrored. */
typedef struct dni_placement {
    int64_t top, left, height, width;
    bool mirror;
} dni_placement;

/* out: as many floats as dni_transform_shape says. index: the record's number in the run.
 * Returns what was drawn. */
dni_placement dni_transform_run(const dni_transform *transform, const dni_image *image,
                                uint64_t index, float *out);

/* ---- windows.c: pieces of images that a file names, drawn at random ---------------------- */

typedef struct dni_window {
    uint32_t image; /* of the file */
    int32_t label;
    int32_t ends[2][2]; /* first and last row, first and last column */
} dni_window;

typedef struct dni_windows {
    const Cnn__WindowDataParameter *param; /* borrowed */
    const dni_transform *transform;        /* checked, whether it suits */
    int64_t batch, ranks;
    uint64_t seed, stream;
} dni_windows;

dn_status dni_windows_open(dni_source **out, const dni_heap *heap, const char *base,
                           const dni_windows *options);
/* The record's window of its image, an 8-bit one of 3 channels: (3, crop, crop) floats. */
dn_status dni_window_put(const dni_transform *transform, const Cnn__WindowDataParameter *param,
                         dni_decoder *room, const dni_image *image, const dni_record *record,
                         float *out);

/* ---- loader.c: batches read ahead by a thread of their own ------------------------------- */

typedef struct dni_loader dni_loader;

typedef struct dni_loader_options {
    const dni_heap *heap;            /* used by the loader's thread too */
    const Cnn__DataParameter *param; /* source, backend, batch_size, prefetch, rand_skip */
    const dni_list *list;            /* the source is a list of image files; NULL: a database */
    const Cnn__WindowDataParameter *windows;       /* ... or a window file */
    const Cnn__TransformationParameter *transform; /* NULL: none */
    bool train;
    /* Records are AnnotatedDatum; what is done to them, NULL: nothing. This and the transform
     * outlive the loader. */
    bool annotated;
    const Cnn__AnnotatedDataParameter *annotated_param;
    /* Class maps: what is done to them, crop and mirror as to the image; NULL: there are none.
     * A crop may be larger than image and map, which then has `ignore` there, and everywhere
     * where the list has neither maps nor labels. */
    const Cnn__TransformationParameter *map_transform;
    bool pad;
    int32_t ignore;
    const char *folder;    /* of the prototxt, for relative paths; NULL: none */
    uint64_t seed, stream; /* stream to stream + 4 are used */
    int32_t rank, ranks;   /* only records rank, rank + ranks, ... of the run; ranks 0: all */
} dni_loader_options;

typedef struct dni_batch {
    dni_shape shape; /* (batch, C, H, W) */
    const float *data;
    const float *labels; /* batch of them */
    const float *maps;   /* (batch, 1, H, W), NULL: none */
    const float *sizes;  /* with maps: (batch, 2), rows and columns that are no padding */
    dni_boxes boxes;     /* of all its images; borrowed */
    bool has_boxes;      /* annotated records with boxes, not labels */
} dni_batch;

/* Are the batches of such a loader all of one shape, boxes aside? */
bool dni_loader_is_fixed(const dni_loader_options *options);
/* Opens the database and looks at its first datum; the thread starts with the first
 * dni_loader_next. options is borrowed for the call. */
dn_status dni_loader_open(dni_loader **out, const dni_loader_options *options);
void dni_loader_close(dni_loader *loader); /* NULL is fine */
/* Of the first batch, and of all others unless records of a batch of 1 differ in size, or there
 * are several resize_param. */
const dni_shape *dni_loader_shape(const dni_loader *loader);
/* Do its records have boxes, not labels? */
bool dni_loader_has_boxes(const dni_loader *loader);
/* The next batch, valid until the next call on this loader; waits for it if need be. A record
 * that cannot be used fails the batch it would have been in, and all after it. */
dn_status dni_loader_next(dni_loader *loader, dni_batch *batch);
/* Records that all ranks together were delivered since the start. Seeking to it in a new loader
 * of the same options gives the batch that would have come next. */
int64_t dni_loader_position(const dni_loader *loader);
dn_status dni_loader_seek(dni_loader *loader, int64_t position);

/* ---- hdf5.c: rows of HDF5 files ---------------------------------------------------------- */

typedef struct dni_hdf5 dni_hdf5;

typedef struct dni_hdf5_options {
    const dni_heap *heap;
    const char *source;          /* text file that lists HDF5 files, one a line */
    const char *folder;          /* of the prototxt; NULL: none */
    const char *const *datasets; /* names of the tops */
    int32_t num_datasets;
    bool shuffle;          /* the files, and the rows of each, anew in every pass */
    uint64_t seed, stream; /* stream and stream + 1 are used */
    int32_t rank, ranks;   /* only rows rank, rank + ranks, ... of the run; ranks 0: all */
} dni_hdf5_options;

/* Reads on the thread that calls, a file at a time, each wholly into memory. The datasets of a
 * file have as many rows (axis 0) as each other; rows have the same shape in all files. */
dn_status dni_hdf5_open(dni_hdf5 **out, const dni_hdf5_options *options);
void dni_hdf5_close(dni_hdf5 *hdf5); /* NULL is fine */
/* Shape of one row of a dataset. */
const dni_shape *dni_hdf5_row_shape(const dni_hdf5 *hdf5, int32_t dataset);
/* The next rows, across the ends of files and of the last one; tops[i]: rows * row count
 * floats. */
dn_status dni_hdf5_next(dni_hdf5 *hdf5, int64_t rows, float *const *tops);
int64_t dni_hdf5_position(const dni_hdf5 *hdf5); /* as that of a loader */
dn_status dni_hdf5_seek(dni_hdf5 *hdf5, int64_t position);

/* ---- lmdb_writer.c ----------------------------------------------------------------------- */

typedef struct dni_db_writer dni_db_writer;

/* A new LMDB at path, built in a folder beside it and renamed at the end: what is there stays
 * until then, and is refused unless `overwrite`, and always if it is no LMDB. */
dn_status dni_db_writer_create(dni_db_writer **out, const dni_heap *heap, const char *path,
                               bool overwrite);
/* Keys in ascending order of their bytes (DN_E_INVALID otherwise), up to 511 bytes long. */
dn_status dni_db_writer_put(dni_db_writer *writer, const void *key, size_t key_size,
                            const void *data, size_t size);
/* Writes everything to disk and puts the database in its place. Frees the writer either way; on
 * failure nothing is left behind. */
dn_status dni_db_writer_finish(dni_db_writer *writer);
/* Gives up: nothing is left behind. NULL is fine. */
void dni_db_writer_abandon(dni_db_writer *writer);

/* ---- idx.c: the files of MNIST ----------------------------------------------------------- */

typedef struct dni_idx dni_idx;

/* Opens an IDX file of unsigned bytes with that many axes (1 to 4), gzipped or not; what its
 * header says is checked against its size. */
dn_status dni_idx_open(dni_idx **out, const dni_heap *heap, const char *path, int32_t axes);
const int64_t *dni_idx_dims(const dni_idx *idx);
/* The next items (along axis 0). */
dn_status dni_idx_take(dni_idx *idx, int64_t items, uint8_t *to);
/* After the last: is that the end, and were the checksums of a gzip file right? */
dn_status dni_idx_end(dni_idx *idx);
void dni_idx_close(dni_idx *idx); /* NULL is fine */

#endif
