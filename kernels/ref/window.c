/* SPDX-License-Identifier: BSD-2-Clause
 * window.c: builds the table of taps. It costs Q * R words of scratch; the loops that use it
 * stay free of coordinates. */
#include "window.h"

#define LIMIT ((int64_t)1 << 40) /* of every extent: products of two then fit with room */

static bool product(const int64_t *dim, int32_t axes, int64_t *out)
{
    int64_t count = 1;
    for (int32_t i = 0; i < axes; i++) {
        if (dim[i] < 0 || (dim[i] && count > LIMIT / dim[i]))
            return false;
        count *= dim[i];
    }
    *out = count;
    return true;
}

bool ref_window_init(ref_window *w)
{
    const int64_t small = (int64_t)1 << 31;
    if (w->spatial < 0 || w->spatial > DN_MAX_SPATIAL)
        return false;
    for (int32_t a = 0; a < w->spatial; a++)
        if (w->kernel[a] < 1 || w->stride[a] < 1 || w->pad[a] < 0 || w->dilation[a] < 1 ||
            w->kernel[a] > small || w->stride[a] > small || w->pad[a] > small ||
            w->dilation[a] > small || w->in[a] > small || w->out[a] > small)
            return false;
    return product(w->in, w->spatial, &w->I) && product(w->out, w->spatial, &w->Q) &&
           product(w->kernel, w->spatial, &w->R);
}

bool ref_window_bytes(const ref_window *w, size_t *bytes)
{
    if (w->R && w->Q > LIMIT / w->R)
        return false;
    *bytes = (size_t)(w->Q * w->R) * sizeof(int64_t);
    return *bytes / sizeof(int64_t) == (size_t)(w->Q * w->R);
}

static int64_t tap(const ref_window *w, int64_t q, int64_t r)
{
    int64_t index = 0, plane = 1;
    for (int32_t a = w->spatial - 1; a >= 0; a--) {
        int64_t i =
            q % w->out[a] * w->stride[a] - w->pad[a] + r % w->kernel[a] * w->dilation[a];
        if (i < 0 || i >= w->in[a])
            return -1;
        index += i * plane;
        plane *= w->in[a];
        q /= w->out[a];
        r /= w->kernel[a];
    }
    return index;
}

void ref_window_taps(const ref_window *w, int64_t *taps)
{
    for (int64_t q = 0; q < w->Q; q++)
        for (int64_t r = 0; r < w->R; r++)
            taps[q * w->R + r] = tap(w, q, r);
}

int64_t ref_window_size(const ref_window *w, int64_t q)
{
    int64_t size = 1;
    for (int32_t a = w->spatial - 1; a >= 0; a--) {
        int64_t begin = q % w->out[a] * w->stride[a] - w->pad[a], end = begin + w->kernel[a];
        int64_t limit = w->in[a] + w->pad[a];
        size *= (end < limit ? end : limit) - begin;
        q /= w->out[a];
    }
    return size;
}
