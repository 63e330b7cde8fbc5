/* SPDX-License-Identifier: BSD-2-Clause
 * transform.c: out = (pixel - mean) * scale over a crop, perhaps mirrored. The place of the
 * crop is drawn from the record's number, so it does not matter who transforms it, or when. */
#include <string.h>

#include "data/data.h"
#include "deepnet/sys/random.h"
#include "proto/proto.h"

/* ---- creating ---------------------------------------------------------------------------- */

/* The last three axes of the blob are those of an image; any before must be 1. */
static dn_status take_mean(dni_transform *t, const dni_weights_blob *blob)
{
    dni_shape s = blob->shape;
    char text[128];
    dn_status st = dni_shape_check(&s);
    if (st)
        return st;
    if (s.axes < 3 || dni_shape_range(&s, 0, s.axes - 3) != 1 || dni_shape_count(&s) < 1)
        return dni_fail(DN_E_DATA, "its shape %s is no image's",
                        dni_shape_text(&s, text, sizeof(text)));
    int64_t count = dni_shape_count(&s);
    if (count != blob->count)
        return dni_fail(DN_E_DATA, "it has %lld values, its shape is %s",
                        (long long)blob->count, dni_shape_text(&s, text, sizeof(text)));
    t->mean = dni_alloc(t->heap, (size_t)count, sizeof(float));
    if (!t->mean)
        return DN_E_NOMEM;
    t->mean_channels = s.dim[s.axes - 3];
    t->mean_height = s.dim[s.axes - 2];
    t->mean_width = s.dim[s.axes - 1];
    return dni_weights_values(blob, DN_F32, t->mean, count);
}

static dn_status read_mean(dni_transform *t, const char *base, const char *path)
{
    char *resolved = NULL, *bytes = NULL;
    size_t size;
    dni_weights_blob blob;
    dn_status st = dni_path_resolve(t->heap, base, path, false, &resolved);
    if (!st)
        st = dni_file_read(t->heap, resolved, &bytes, &size);
    if (!st) {
        st = dni_weights_blob_read(&blob, bytes, size, NULL, resolved);
        if (!st)
            st = dni_in(take_mean(t, &blob), "'%s'", resolved);
    }
    dni_free(bytes);
    dni_free(resolved);
    return dni_in(st, "mean_file");
}

void dni_transform_crop(const Cnn__TransformationParameter *p, int64_t crop[2])
{
    crop[0] = !p               ? 0
              : p->crop_size   ? p->crop_size
              : p->crop_height ? p->crop_height
                               : p->crop_h;
    crop[1] = !p ? 0 : p->crop_size ? p->crop_size : p->crop_width ? p->crop_width : p->crop_w;
}

static dn_status read_crop(dni_transform *t, const Cnn__TransformationParameter *p)
{
    int64_t crop[2];
    dni_transform_crop(p, crop);
    bool sides = p->crop_height || p->crop_width, short_names = p->crop_h || p->crop_w;
    if ((p->crop_size > 0) + sides + short_names > 1)
        return dni_fail(DN_E_INVALID, "give crop_size, or crop_height and crop_width");
    if (!crop[0] != !crop[1])
        return dni_fail(DN_E_INVALID, "a crop needs both of its height and its width");
    t->crop_height = crop[0];
    t->crop_width = crop[1];
    return DN_OK;
}

static dn_status read_param(dni_transform *t, const Cnn__TransformationParameter *p,
                            const char *base)
{
    t->scale = p->scale;
    t->mirror = p->mirror;
    t->force_color = p->force_color;
    t->force_gray = p->force_gray;
    dn_status st = read_crop(t, p);
    if (st)
        return st;
    if (p->force_color && p->force_gray)
        return dni_fail(DN_E_INVALID, "force_color and force_gray exclude each other");
    if (p->mean_file && p->n_mean_value)
        return dni_fail(DN_E_INVALID, "mean_file and mean_value exclude each other");
    if (p->n_mean_value) {
        t->mean_value = dni_alloc(t->heap, p->n_mean_value, sizeof(float));
        if (!t->mean_value)
            return DN_E_NOMEM;
        memcpy(t->mean_value, p->mean_value, p->n_mean_value * sizeof(float));
        t->num_mean_values = p->n_mean_value;
    }
    return p->mean_file ? read_mean(t, base, p->mean_file) : DN_OK;
}

dn_status dni_transform_create(dni_transform **out, const dni_heap *heap,
                               const Cnn__TransformationParameter *param, bool train,
                               const char *base, uint64_t seed, uint64_t stream)
{
    dni_transform *t = dni_alloc(heap, 1, sizeof(*t));
    if (!t)
        return DN_E_NOMEM;
    t->heap = heap;
    t->train = train;
    t->scale = 1;
    t->seed = seed;
    t->stream = stream;
    dn_status st = param ? read_param(t, param, base) : DN_OK;
    if (st) {
        dni_transform_free(t);
        return dni_in(st, "transform_param");
    }
    *out = t;
    return DN_OK;
}

void dni_transform_free(dni_transform *transform)
{
    if (!transform)
        return;
    dni_free(transform->mean);
    dni_free(transform->mean_value);
    dni_free(transform);
}

/* ---- running ----------------------------------------------------------------------------- */

dn_status dni_transform_shape(const dni_transform *t, const dni_image *image, dni_shape *out)
{
    int64_t h = image->height, w = image->width;
    if (t->mean &&
        (t->mean_channels != image->channels || t->mean_height != h || t->mean_width != w))
        return dni_fail(
            DN_E_DATA, "the image is %lld x %lld x %lld, the mean %lld x %lld x %lld",
            (long long)image->channels, (long long)h, (long long)w, (long long)t->mean_channels,
            (long long)t->mean_height, (long long)t->mean_width);
    if (t->num_mean_values > 1 && t->num_mean_values != (uint64_t)image->channels)
        return dni_fail(DN_E_DATA,
                        "%zu mean_value for %lld channels; give one, or one for each",
                        t->num_mean_values, (long long)image->channels);
    if (!t->pad && (t->crop_height > h || t->crop_width > w))
        return dni_fail(
            DN_E_DATA, "the crop, %lld x %lld, is larger than the image, %lld x %lld",
            (long long)t->crop_height, (long long)t->crop_width, (long long)h, (long long)w);
    *out = dni_shape_of(3, (int64_t[]){image->channels, t->crop_height ? t->crop_height : h,
                                       t->crop_width ? t->crop_width : w});
    return DN_OK;
}

static dni_placement place(const dni_transform *t, const dni_image *image, uint64_t index)
{
    uint32_t word[4] = {0};
    dni_placement p = {.height = t->crop_height ? t->crop_height : image->height,
                       .width = t->crop_width ? t->crop_width : image->width};
    int64_t tops = image->height - p.height + 1, lefts = image->width - p.width + 1;
    tops = tops < 1 ? 1 : tops; /* padded */
    lefts = lefts < 1 ? 1 : lefts;
    if (t->mirror || (t->crop_height && t->train))
        dn_random_block(word, t->seed, t->stream, index, 0);
    p.top = t->train ? (int64_t)(((uint64_t)word[0] * (uint64_t)tops) >> 32) : (tops - 1) / 2;
    p.left =
        t->train ? (int64_t)(((uint64_t)word[1] * (uint64_t)lefts) >> 32) : (lefts - 1) / 2;
    p.mirror = t->mirror && (word[2] & 1);
    return p;
}

/* One row of one channel. mean is the row's, or NULL: then `value` is subtracted. The loops are
 * apart so that the compiler can vectorise the common one. */
static void row_u8(const uint8_t *x, int64_t step, const float *mean, float value, float scale,
                   int64_t width, float *y)
{
    if (mean)
        for (int64_t w = 0; w < width; w++)
            y[w] = ((float)x[w * step] - mean[w]) * scale;
    else if (step == 1)
        for (int64_t w = 0; w < width; w++)
            y[w] = ((float)x[w] - value) * scale;
    else
        for (int64_t w = 0; w < width; w++)
            y[w] = ((float)x[w * step] - value) * scale;
}

static void row_f32(const float *x, int64_t step, const float *mean, float value, float scale,
                    int64_t width, float *y)
{
    for (int64_t w = 0; w < width; w++)
        y[w] = (x[w * step] - (mean ? mean[w] : value)) * scale;
}

static void mirror_row(float *y, int64_t width)
{
    for (int64_t a = 0, b = width - 1; a < b; a++, b--) {
        float swap = y[a];
        y[a] = y[b];
        y[b] = swap;
    }
}

dni_placement dni_transform_run(const dni_transform *t, const dni_image *image, uint64_t index,
                                float *out)
{
    dni_placement p = place(t, image, index);
    for (int64_t c = 0; c < image->channels; c++) {
        float value = !t->num_mean_values ? 0 : t->mean_value[t->num_mean_values > 1 ? c : 0];
        for (int64_t h = 0; h < p.height; h++, out += p.width) {
            int64_t at = c * image->channel_stride + (p.top + h) * image->row_stride +
                         p.left * image->pixel_stride;
            int64_t width = image->width < p.width ? image->width : p.width;
            const float *mean = NULL;
            width = p.top + h < image->height ? width : 0;
            if (t->mean)
                mean = t->mean + (c * t->mean_height + p.top + h) * t->mean_width + p.left;
            if (image->u8)
                row_u8(image->u8 + at, image->pixel_stride, mean, value, t->scale, width, out);
            else
                row_f32(image->f32 + at, image->pixel_stride, mean, value, t->scale, width,
                        out);
            for (int64_t w = width; w < p.width; w++)
                out[w] = t->pad_value;
            if (p.mirror)
                mirror_row(out, p.width);
        }
    }
    return p;
}
