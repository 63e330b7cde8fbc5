/* SPDX-License-Identifier: BSD-2-Clause
 * resample.c: an 8-bit image of another size. Along each axis a pixel is a weighted sum of a
 * few of the image's, and the modes differ in the weights alone: those of OpenCV, whose results
 * they meet to a grey level; LINEAR, which images go through on their way into most nets, to
 * the bit. */
#include <math.h>
#include <string.h>

#include "data/data.h"

enum { /* as ResizeParameter has them; BLEND: AREA where an axis grows */
       LINEAR = CNN__RESIZE_PARAMETER__INTERP_MODE__LINEAR,
       AREA = CNN__RESIZE_PARAMETER__INTERP_MODE__AREA,
       NEAREST = CNN__RESIZE_PARAMETER__INTERP_MODE__NEAREST,
       CUBIC = CNN__RESIZE_PARAMETER__INTERP_MODE__CUBIC,
       LANCZOS4 = CNN__RESIZE_PARAMETER__INTERP_MODE__LANCZOS4,
       BLEND
};

/* Output o is the sum over k < taps of weight[o taps + k] times input first[o] + k, where
 * places outside mean the edge. */
typedef struct axis {
    int64_t in, out, taps;
    int64_t *first;
    float *weight;
} axis;

/* LINEAR's weights are whole numbers of 1 / 2048, as OpenCV has them. */
#define ONE 2048

struct dni_resampler {
    int32_t mode;
    axis rows, columns;
    float *row; /* the input's width, mixed of the rows that an output row is made of */
};

static double cubic(double x)
{
    const double a = -0.75;
    x = fabs(x);
    return x < 1   ? ((a + 2) * x - (a + 3)) * x * x + 1
           : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                   : 0;
}

static double lanczos4(double x)
{
    const double pi = 3.14159265358979323846;
    return fabs(x) < 1e-7 ? 1 : 4 * sin(pi * x) * sin(pi * x / 4) / (pi * pi * x * x);
}

/* The weights of the 4 or 8 places around `at`. */
static int64_t weigh_around(int32_t mode, double at, int64_t taps, float *weight)
{
    double base = floor(at), t = at - base, sum = 0;
    int64_t before = taps / 2 - 1;
    for (int64_t k = 0; k < taps; k++) {
        double x = t - (double)(k - before);
        double w = mode == CUBIC ? cubic(x) : lanczos4(x);
        weight[k] = (float)w;
        sum += w;
    }
    for (int64_t k = 0; k < taps; k++)
        weight[k] /= (float)sum;
    return (int64_t)base - before;
}

/* The share of each place in [from, to). */
static int64_t weigh_area(double from, double to, int64_t taps, float *weight)
{
    int64_t first = (int64_t)floor(from + 1e-9);
    for (int64_t k = 0; k < taps; k++) {
        double low = fmax(from, (double)(first + k)), high = fmin(to, (double)(first + k + 1));
        weight[k] = high - low > 1e-6 ? (float)((high - low) / (to - from)) : 0;
    }
    return first;
}

static int64_t weigh_blend(double scale, int64_t o, float *weight)
{
    double base = floor((double)o * scale), t = (double)(o + 1) - (base + 1) / scale;
    t = t <= 0 ? 0 : t - floor(t);
    weight[0] = (float)(1 - t);
    weight[1] = (float)t;
    return (int64_t)base;
}

/* In OpenCV's own steps of double and float. */
static int64_t weigh_linear(int64_t in, int64_t out, int64_t o, float *weight)
{
    float at = (float)(((double)o + 0.5) * (1 / ((double)out / (double)in)) - 0.5);
    float base = floorf(at), t = at - base;
    weight[0] = rintf((1 - t) * ONE);
    weight[1] = rintf(t * ONE);
    return (int64_t)base;
}

static dn_status make_axis(axis *a, const dni_heap *heap, int32_t mode, int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    int64_t taps = mode == CUBIC      ? 4
                   : mode == LANCZOS4 ? 8
                   : mode == NEAREST  ? 1
                   : mode == AREA     ? (int64_t)ceil(scale) + 1
                                      : 2;
    size_t count;
    *a = (axis){.in = in, .out = out, .taps = taps};
    if (!dni_mul((size_t)out, (size_t)taps, &count))
        return dni_fail(DN_E_DATA, "an image of %lld is too large", (long long)out);
    a->first = dni_alloc(heap, (size_t)out, sizeof *a->first);
    a->weight = dni_alloc(heap, count, sizeof *a->weight);
    if (!a->first || !a->weight)
        return DN_E_NOMEM;
    for (int64_t o = 0; o < out; o++) {
        float *w = a->weight + o * taps;
        double at = (double)o * scale;
        if (mode == NEAREST)
            w[0] = 1, a->first[o] = (int64_t)floor(at);
        else
            a->first[o] = mode == AREA    ? weigh_area(at, at + scale, taps, w)
                          : mode == BLEND ? weigh_blend(scale, o, w)
                          : mode == LINEAR
                              ? weigh_linear(in, out, o, w)
                              : weigh_around(mode, at + 0.5 * scale - 0.5, taps, w);
    }
    return DN_OK;
}

static void free_axis(axis *a)
{
    dni_free(a->first);
    dni_free(a->weight);
}

static int64_t place(const axis *a, int64_t o, int64_t k)
{
    int64_t at = a->first[o] + k;
    return at < 0 ? 0 : at >= a->in ? a->in - 1 : at;
}

/* row: the in.width pixels that output row h is made of. */
static void mix_rows(const dni_image *in, const axis *rows, int64_t h, float *row)
{
    int64_t C = in->channels;
    memset(row, 0, (size_t)(in->width * C) * sizeof *row);
    for (int64_t k = 0; k < rows->taps; k++) {
        float w = rows->weight[h * rows->taps + k];
        const uint8_t *from = in->u8 + place(rows, h, k) * in->row_stride;
        for (int64_t x = 0; w != 0 && x < in->width; x++)
            for (int64_t c = 0; c < C; c++)
                row[x * C + c] += w * from[x * in->pixel_stride + c * in->channel_stride];
    }
}

static void mix_columns(const float *row, const axis *columns, int64_t C, uint8_t *out)
{
    for (int64_t x = 0; x < columns->out; x++)
        for (int64_t c = 0; c < C; c++) {
            float sum = 0;
            for (int64_t k = 0; k < columns->taps; k++)
                sum +=
                    columns->weight[x * columns->taps + k] * row[place(columns, x, k) * C + c];
            *out++ = (uint8_t)(sum <= 0 ? 0 : sum >= 255 ? 255 : lrintf(sum));
        }
}

/* The pixels between columns a and b of a row, in 1 / ONE. */
static int32_t between(const uint8_t *row, int64_t a, int64_t b, const int32_t weight[2])
{
    return row[a] * weight[0] + row[b] * weight[1];
}

/* Row h of LINEAR: in whole numbers, rounded where OpenCV does it. */
static void mix_linear(const dni_image *in, const dni_resampler *r, int64_t h, uint8_t *out)
{
    const float *v = r->rows.weight + 2 * h, *u = r->columns.weight;
    const int32_t y[2] = {(int32_t)v[0], (int32_t)v[1]};
    const uint8_t *top = in->u8 + place(&r->rows, h, 0) * in->row_stride;
    const uint8_t *low = in->u8 + place(&r->rows, h, 1) * in->row_stride;
    for (int64_t o = 0; o < r->columns.out; o++, u += 2) {
        const int32_t x[2] = {(int32_t)u[0], (int32_t)u[1]};
        int64_t a = place(&r->columns, o, 0) * in->pixel_stride;
        int64_t b = place(&r->columns, o, 1) * in->pixel_stride;
        for (int64_t c = 0; c < in->channels; c++, a += in->channel_stride) {
            int32_t s = (between(top, a, b, x) >> 4) * y[0] >> 16;
            int32_t t = (between(low, a, b, x) >> 4) * y[1] >> 16;
            *out++ = (uint8_t)((s + t + 2) >> 2);
            b += in->channel_stride;
        }
    }
}

dn_status dni_resampler_create(dni_resampler **out, const dni_heap *heap, const dni_image *in,
                               int64_t height, int64_t width, int32_t mode)
{
    if (mode == AREA && (in->height < height || in->width < width))
        mode = BLEND;
    dni_resampler *r = dni_alloc(heap, 1, sizeof *r);
    if (!r)
        return DN_E_NOMEM;
    r->mode = mode;
    r->row = dni_alloc(heap, (size_t)in->width, (size_t)in->channels * sizeof *r->row);
    dn_status st = r->row ? make_axis(&r->rows, heap, mode, in->height, height) : DN_E_NOMEM;
    if (!st)
        st = make_axis(&r->columns, heap, mode, in->width, width);
    if (st)
        dni_resampler_free(r);
    else
        *out = r;
    return st;
}

void dni_resampler_run(const dni_resampler *r, const dni_image *in, uint8_t *out)
{
    for (int64_t h = 0; h < r->rows.out; h++, out += r->columns.out * in->channels) {
        if (r->mode == LINEAR) {
            mix_linear(in, r, h, out);
            continue;
        }
        mix_rows(in, &r->rows, h, r->row);
        mix_columns(r->row, &r->columns, in->channels, out);
    }
}

void dni_resampler_free(dni_resampler *r)
{
    if (!r)
        return;
    free_axis(&r->rows);
    free_axis(&r->columns);
    dni_free(r->row);
    dni_free(r);
}

dn_status dni_resample(const dni_heap *heap, const dni_image *in, int64_t height, int64_t width,
                       int32_t mode, uint8_t *out)
{
    dni_resampler *r = NULL;
    dn_status st = dni_resampler_create(&r, heap, in, height, width, mode);
    if (!st)
        dni_resampler_run(r, in, out);
    dni_resampler_free(r);
    return st;
}
