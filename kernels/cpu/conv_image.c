/* SPDX-License-Identifier: BSD-2-Clause
 * conv_image.c: images as convolutions in planes read them, padded and split into phases of the
 * stride, and back. */
#include <string.h>

#include "conv.h"

/* Columns [from, to) of a phase's row, which begins at x[at]; the others are padding. */
static void prepare_row(const cpu_geo *geo, float *out, const float *x, int64_t at,
                        int64_t from, int64_t to)
{
    for (int64_t j = 0; j < from; j++)
        out[j] = 0;
    if (geo->sw == 1)
        memcpy(out + from, x + from + at, (size_t)(to - from) * sizeof(float));
    else if (geo->sw == 2)
        for (int64_t j = from; j < to; j++)
            out[j] = x[j * 2 + at];
    else
        for (int64_t j = from; j < to; j++)
            out[j] = x[j * geo->sw + at];
    for (int64_t j = to; j < geo->wp; j++)
        out[j] = 0;
}

void cpu_geo_prepare(const cpu_geo *geo, float *out, const float *x)
{
    for (int64_t a = 0; a < geo->sh; a++)
        for (int64_t b = 0; b < geo->sw; b++) {
            int64_t from, to, h = a - geo->ph, at = b - geo->pw;
            cpu_inside(at, geo->sw, geo->W, geo->wp, &from, &to);
            for (int64_t i = 0; i < geo->hp; i++, out += geo->wp, h += geo->sh) {
                if (h < 0 || h >= geo->H)
                    memset(out, 0, (size_t)geo->wp * sizeof(float));
                else
                    prepare_row(geo, out, x + h * geo->W, at, from, to);
            }
        }
}

static float finish(float value, float before, const cpu_end *end)
{
    if (end->add)
        value += before;
    if (end->relu && !(value > 0))
        value *= end->slope;
    return value;
}

void cpu_geo_restore(const cpu_geo *geo, float *dx, const float *in, float bias,
                     const cpu_end *end)
{
    for (int64_t h = 0; h < geo->H; h++, dx += geo->W) {
        int64_t i = (h + geo->ph) / geo->sh, a = (h + geo->ph) % geo->sh;
        for (int64_t b = 0; b < geo->sw; b++) {
            const float *row = in + ((a * geo->sw + b) * geo->hp + i) * geo->wp;
            int64_t at = b - geo->pw, from, to, count = cpu_ceil(geo->W + geo->pw, geo->sw);
            cpu_inside(at, geo->sw, geo->W, count, &from, &to);
            bool there = i < geo->hp;
            if (there && geo->sw == 1 && !end->add && !end->relu && bias == 0 &&
                to <= geo->wp) {
                memcpy(dx + from + at, row + from, (size_t)(to - from) * sizeof(float));
                continue;
            }
            for (int64_t j = from; j < to; j++) {
                float *y = dx + j * geo->sw + at;
                *y = finish((there && j < geo->wp ? row[j] : 0) + bias, *y, end);
            }
        }
    }
}
