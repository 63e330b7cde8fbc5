/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: data sets as people get them into databases as nets read them, and the mean of
 * one. */
#include "deepnet/data.h"

#include <stdio.h>
#include <string.h>

#include "core/context.h"
#include "data/annotated.h"
#include "proto/proto.h"

enum {
    DIGITS = 8,
    MAX_RECORDS = 100000000,
    MAX_PIXELS = 1 << 28,
    CHUNK_BYTES = 1 << 18,
    MAX_SIDE = 1 << 14
};

/* As Caffe's own converter names records: the number in eight decimal digits. */
static void make_key(char key[DIGITS], int64_t number)
{
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
}

typedef struct conversion {
    const dni_heap *heap;
    dni_idx *images, *labels;
    dni_db_writer *writer;
    int64_t count, height, width;
    int64_t chunk;           /* images read at a time */
    uint8_t *pixels, *label; /* of a chunk */
    uint8_t *datum;
    size_t datum_capacity;
} conversion;

static dn_status check_pair(conversion *c)
{
    const int64_t *images = dni_idx_dims(c->images);
    int64_t labels = dni_idx_dims(c->labels)[0], item = images[1] * images[2];
    if (images[0] != labels)
        return dni_fail(DN_E_DATA, "%lld images and %lld labels", (long long)images[0],
                        (long long)labels);
    if (images[0] == 0 || item == 0)
        return dni_fail(DN_E_DATA, "there are no images");
    if (images[0] > MAX_RECORDS || item > MAX_PIXELS)
        return dni_fail(DN_E_LIMIT, "%lld images of %lld pixels; 10^8 of 2^28 are the limit",
                        (long long)images[0], (long long)item);
    c->count = images[0];
    c->height = images[1];
    c->width = images[2];
    c->chunk = item < CHUNK_BYTES ? CHUNK_BYTES / item : 1;
    c->pixels = dni_alloc(c->heap, (size_t)c->chunk, (size_t)item);
    c->label = dni_alloc(c->heap, (size_t)c->chunk, 1);
    return c->pixels && c->label ? DN_OK : DN_E_NOMEM;
}

static dn_status put_image(conversion *c, int64_t number, const uint8_t *pixels, uint8_t label)
{
    char key[DIGITS];
    size_t size;
    dn_status st = dni_datum_encode(c->heap, &c->datum, &c->datum_capacity, &size, 1, c->height,
                                    c->width, pixels, label);
    make_key(key, number);
    return st ? st : dni_db_writer_put(c->writer, key, sizeof(key), c->datum, size);
}

static dn_status put_all(conversion *c)
{
    int64_t item = c->height * c->width;
    dn_status st = DN_OK;
    for (int64_t done = 0; !st && done < c->count; done += c->chunk) {
        int64_t n = c->count - done < c->chunk ? c->count - done : c->chunk;
        st = dni_idx_take(c->images, n, c->pixels);
        if (!st)
            st = dni_idx_take(c->labels, n, c->label);
        for (int64_t i = 0; !st && i < n; i++)
            st = put_image(c, done + i, c->pixels + i * item, c->label[i]);
    }
    if (!st)
        st = dni_idx_end(c->images);
    return st ? st : dni_idx_end(c->labels);
}

static dn_status convert(conversion *c, const char *images_path, const char *labels_path,
                         const char *out_path, bool overwrite)
{
    dn_status st = dni_idx_open(&c->images, c->heap, images_path, 3);
    if (!st)
        st = dni_idx_open(&c->labels, c->heap, labels_path, 1);
    if (!st)
        st = check_pair(c);
    if (!st)
        st = dni_db_writer_create(&c->writer, c->heap, out_path, overwrite);
    if (!st)
        st = put_all(c);
    if (!st) {
        st = dni_db_writer_finish(c->writer);
        c->writer = NULL;
    }
    return st;
}

static void clean_up(conversion *c)
{
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_db_writer_abandon(c->writer);
    dni_idx_close(c->images);
    dni_idx_close(c->labels);
    dni_free(c->pixels);
    dni_free(c->label);
    dni_free(c->datum);
    dni_restore_error(&saved);
}

static dn_status take_options(dn_convert_options *to, const dn_convert_options *from)
{
    static const char type[] = "dn_convert_options";
    dn_status st = dni_take_options(to, from, sizeof *to, type);
    return !st && (to->reserved || to->reserved2) ? dni_fail_option(type) : st;
}

dn_status dn_convert_mnist(dn_context *context, const char *images_path,
                           const char *labels_path, const char *out_path,
                           const dn_convert_options *options)
{
    dn_convert_options o;
    dni_clear_error();
    if (!context || !images_path || !labels_path || !out_path)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (st)
        return st;
    conversion c = {.heap = dni_context_heap(context)};
    st = convert(&c, images_path, labels_path, out_path, o.overwrite != 0);
    clean_up(&c);
    return st;
}

/* Is it of the first one's size? */
static dn_status check_size(dni_shape *first, const dni_image *image)
{
    dni_shape shape =
        dni_shape_of(3, (int64_t[]){image->channels, image->height, image->width});
    char text[2][96];
    if (!first->axes)
        *first = shape;
    return dni_shape_equal(&shape, first)
               ? DN_OK
               : dni_fail(DN_E_DATA, "its size is %s, the first record's %s",
                          dni_shape_text(&shape, text[0], sizeof text[0]),
                          dni_shape_text(first, text[1], sizeof text[1]));
}

/* ---- image files ------------------------------------------------------------------------- */

typedef struct listing {
    dni_source *source;
    dni_order order;
    dni_decoder decoder;
    dni_annotator annotator;
    dni_db_writer *writer;
    dni_shape first;
    uint8_t *planes, *datum;
    size_t planes_capacity, datum_capacity;
    int64_t put, skipped;
} listing;

static void free_listing(listing *l)
{
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_db_writer_abandon(l->writer);
    dni_source_close(l->source);
    dni_order_free(&l->order);
    dni_decoder_free(&l->decoder);
    dni_annotator_free(&l->annotator);
    dni_free(l->planes);
    dni_free(l->datum);
    dni_restore_error(&saved);
}

/* Rows of pixels become planes, as a Datum has them. */
static dn_status make_planes(listing *l, const dni_heap *heap, const dni_image *image)
{
    int64_t C = image->channels, H = image->height, W = image->width;
    dn_status st = dni_grow(heap, &l->planes, &l->planes_capacity, (size_t)(C * H * W), 1);
    for (int64_t i = 0; !st && i < C * H * W; i++)
        l->planes[i] = image->u8[i / (H * W) * image->channel_stride +
                                 i / W % H * image->row_stride + i % W * image->pixel_stride];
    return st;
}

/* Its datum, *size bytes of l->datum. */
static dn_status make_datum(listing *l, const dni_heap *heap, const dn_convert_options *o,
                            const dni_record *record, size_t *size)
{
    dni_image image;
    dni_boxes none = {0};
    int32_t label;
    dn_status st =
        dni_annotator_run(&l->annotator, &l->decoder, record, 0, 0, &image, &label, &none);
    if (!st && o->check_size)
        st = check_size(&l->first, &image);
    if (!st && o->encoded) /* it was decoded to see that it can be */
        st = dni_datum_encode(heap, &l->datum, &l->datum_capacity, size, 0, 0,
                              (int64_t)record->size, record->data, label);
    else if (!st && !(st = make_planes(l, heap, &image)))
        st = dni_datum_encode(heap, &l->datum, &l->datum_capacity, size, image.channels,
                              image.height, image.width, l->planes, label);
    return dni_in_record(st, l->source, record);
}

static dn_status put_file(listing *l, int64_t number, const dni_record *record, size_t size)
{
    char key[256];
    snprintf(key, sizeof key, "%08lld_%s", (long long)number, record->file);
    l->put++;
    return dni_db_writer_put(l->writer, key, strlen(key), l->datum, size);
}

/* Is that about one file, and are others to be tried? Then it is said and forgotten. */
static bool skip(listing *l, const dn_context *context, const dn_convert_options *o,
                 dn_status st)
{
    if (!o->skip_bad || st == DN_E_NOMEM || st == DN_E_UNSUPPORTED)
        return false;
    dni_log(context, DN_LOG_WARNING, "left out: %s", dn_last_error());
    dni_clear_error();
    l->skipped++;
    return true;
}

static dn_status put_files(listing *l, const dn_context *context, const dn_convert_options *o)
{
    const dni_heap *heap = dni_context_heap(context);
    dni_record record;
    size_t size = 0;
    for (int64_t n = 0;; n++) {
        if (o->shuffle && n && n == l->order.count)
            break;
        dn_status st = o->shuffle ? dni_order_record(&l->order, l->source, n, &record)
                                  : dni_source_next(l->source, &record);
        if (!st && !record.data)
            break;
        if (n == MAX_RECORDS)
            return dni_fail(DN_E_LIMIT, "more than 10^8 images");
        if (!st)
            st = make_datum(l, heap, o, &record, &size);
        if (st && skip(l, context, o, st))
            continue;
        if (st || (st = put_file(l, n, &record, size)))
            return st;
    }
    return l->put ? DN_OK : dni_fail(DN_E_DATA, "none of its images can be used");
}

static dn_status convert_images(listing *l, const dn_context *context, const char *list_path,
                                const char *out_path, const dn_convert_options *o)
{
    const dni_heap *heap = dni_context_heap(context);
    Cnn__ResizeParameter resize = {.height = (uint32_t)o->height, .width = (uint32_t)o->width};
    Cnn__ResizeParameter *resizes[] = {&resize};
    const Cnn__TransformationParameter transform = {.resize_param = resizes,
                                                    .n_resize_param = o->height > 0};
    if ((o->height > 0) != (o->width > 0) || o->height < 0 || o->height > MAX_SIDE ||
        o->width > MAX_SIDE)
        return dni_fail(DN_E_INVALID, "height and width are both 0, or both 1 to %d", MAX_SIDE);
    if (o->encoded && (o->height || o->gray))
        return dni_fail(DN_E_INVALID,
                        "encoded images are kept as they are: they can be neither "
                        "resized nor made gray");
    l->order = (dni_order){.heap = heap, .seed = o->seed};
    l->decoder = (dni_decoder){
        .heap = heap, .force_color = !o->gray && !o->encoded, .force_gray = o->gray != 0};
    l->annotator = (dni_annotator){.heap = heap, .transform = &transform};
    dni_list list = {.root = o->root_folder, .labelled = true};
    dn_status st = dni_list_open(&l->source, heap, NULL, list_path, &list);
    if (!st)
        st = dni_db_writer_create(&l->writer, heap, out_path, o->overwrite != 0);
    if (!st)
        st = put_files(l, context, o);
    if (!st) {
        st = dni_db_writer_finish(l->writer);
        l->writer = NULL;
    }
    return st;
}

dn_status dn_convert_images(dn_context *context, const char *list_path, const char *out_path,
                            const dn_convert_options *options)
{
    dn_convert_options o;
    listing l = {0};
    dni_clear_error();
    if (!context || !list_path || !out_path)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    dni_fp host = dni_fp_enter();
    if (!st)
        st = convert_images(&l, context, list_path, out_path, &o);
    if (!st && o.skipped)
        *o.skipped = l.skipped;
    dni_fp_leave(host);
    free_listing(&l);
    return st;
}

/* ---- the mean ---------------------------------------------------------------------------- */

typedef struct sums {
    double *at;
    float *floats;
    int64_t count, records;
    dni_shape shape;
} sums;

static dn_status add_record(sums *s, const dni_heap *heap, const dni_image *image)
{
    static const dni_transform as_it_is = {.scale = 1};
    dn_status st = check_size(&s->shape, image);
    if (!st && !s->at) {
        s->count = dni_shape_count(&s->shape);
        s->at = dni_alloc(heap, (size_t)s->count, sizeof *s->at);
        s->floats = dni_alloc(heap, (size_t)s->count, sizeof *s->floats);
        st = s->at && s->floats ? DN_OK : DN_E_NOMEM;
    }
    if (st)
        return st;
    dni_transform_run(&as_it_is, image, 0, s->floats);
    for (int64_t i = 0; i < s->count; i++)
        s->at[i] += s->floats[i];
    s->records++;
    return DN_OK;
}

static dn_status add_records(sums *s, dni_source *source, dni_decoder *decoder)
{
    for (;;) {
        dni_record record;
        dni_image image;
        int32_t label;
        dn_status st = dni_source_next(source, &record);
        if (st || !record.data)
            return st;
        st = dni_record_decode(decoder, &record, &image, &label);
        if (!st)
            st = add_record(s, decoder->heap, &image);
        if (st)
            return dni_in_record(st, source, &record);
    }
}

static dn_status write_mean(const sums *s, const dni_heap *heap, const char *path)
{
    Cnn__BlobProto blob = CNN__BLOB_PROTO__INIT;
    uint8_t *bytes;
    size_t size;
    for (int64_t i = 0; i < s->count; i++) /* exact sums give Caffe's very floats */
        s->floats[i] = (float)s->at[i] / (float)s->records;
    blob.has_num = blob.has_channels = blob.has_height = blob.has_width = 1;
    blob.num = 1;
    blob.channels = (int32_t)s->shape.dim[0];
    blob.height = (int32_t)s->shape.dim[1];
    blob.width = (int32_t)s->shape.dim[2];
    blob.data = s->floats;
    blob.n_data = (size_t)s->count;
    dn_status st = dni_binary_print(&bytes, &size, heap, &blob.base);
    if (st)
        return st;
    st = dni_file_write(heap, path, bytes, size);
    dni_free(bytes);
    return st;
}

dn_status dn_convert_mean(dn_context *context, const char *database_path, const char *out_path)
{
    dni_clear_error();
    if (!context || !database_path || !out_path)
        return dni_fail_null(__func__);
    const dni_heap *heap = dni_context_heap(context);
    dni_decoder decoder = {.heap = heap};
    dni_source *source = NULL;
    dni_saved_error saved;
    sums s = {0};
    char *current = dni_format(heap, "%s/CURRENT", database_path);
    dn_status st = current ? DN_OK : DN_E_NOMEM;
    if (!st)
        st = dni_source_open(&source, heap,
                             dni_file_exists(current) ? CNN__DATA_PARAMETER__DB__LEVELDB
                                                      : CNN__DATA_PARAMETER__DB__LMDB,
                             NULL, database_path);
    dni_fp host = dni_fp_enter();
    if (!st)
        st = add_records(&s, source, &decoder);
    if (!st)
        st = write_mean(&s, heap, out_path);
    dni_fp_leave(host);
    dni_save_error(&saved);
    dni_source_close(source);
    dni_decoder_free(&decoder);
    dni_free(current);
    dni_free(s.at);
    dni_free(s.floats);
    dni_restore_error(&saved);
    return st;
}
