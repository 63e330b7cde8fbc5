/* SPDX-License-Identifier: BSD-2-Clause
 * conv.h: the geometry of a 2-D convolution and its prepared image: padded, and with a stride
 * split into phases, so that every kernel tap reads runs of consecutive floats. */
#ifndef CPU_CONV_H
#define CPU_CONV_H

#include "mul.h"

typedef struct cpu_geo {
    int64_t N, C, K, group, Cg, Kg; /* channels, and per group */
    int64_t H, W, P, Q, R, S;       /* image, output, kernel */
    int64_t sh, sw, ph, pw, dh, dw; /* stride, pad, dilation */
    int64_t D, T, E, sd, pd, dd;    /* frames alike: of NHWC alone; else one */
    int64_t hp, wp, plane;          /* prepared: sh * sw phases of hp x wp */
    bool frames;                    /* a third axis that is not folded into N */
    bool ready;                     /* 1x1 as it lies: prepared is the image itself */
} cpu_geo;

/* From CONV's operands (BWD: the same three in their roles). False with info->reason set. */
bool cpu_geo_init(cpu_geo *geo, const dn_args_conv *args, const dn_shape *x, const dn_shape *w,
                  const dn_shape *y, dn_op_info *info);
/* The same from a NHWC convolution of any direction, of three axes too; with `more` x may be
 * planes, or forward alone, y may be of any function. Frames that one alone sees are images. */
enum { CPU_PLANES = 1, CPU_FUNCTIONS = 2 };
bool cpu_conv_nhwc_geo(cpu_geo *geo, const dn_op_desc *desc, uint32_t more, dn_op_info *info);
/* Of `count` steps, [from, to) are in [0, size), the first being `at`. */
void cpu_inside(int64_t at, int64_t step, int64_t size, int64_t count, int64_t *from,
                int64_t *to);
/* Of a NHWC convolution's outputs times taps, the part that sees the image; 1 where leaving the
 * others out is not worth it. */
double cpu_geo_seen(const cpu_geo *geo, bool back);
/* Sets hp, wp, plane and ready from the rest. */
void cpu_geo_plan(cpu_geo *geo);
/* Offset of tap (r, s) in a prepared plane. */
int64_t cpu_geo_tap(const cpu_geo *geo, int64_t r, int64_t s);
/* One plane to its prepared form, and a prepared gradient back, cut and merged:
 * dx (+)= prepared + bias, then ReLU. */
void cpu_geo_prepare(const cpu_geo *geo, float *out, const float *x);
void cpu_geo_restore(const cpu_geo *geo, float *dx, const float *in, float bias,
                     const cpu_end *end);
/* Where the n x n pixels from (h, w) on lie in H x W pixels of vl images, as lines of n;
 * those outside: in the pixel after the last. Returns what follows in the table. */
int64_t *cpu_geo_tile(int64_t *at, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W,
                      int64_t vl);
/* Rows [h, h + rows) of `lanes` planes (H x W) at x, ld apart: vectors of vl of them, `zeros`
 * (rows * W) for those that are not there, and after the last pixel one of zeros. */
void cpu_geo_lay(const cpu_kernels *ker, float *strip, const float *x, int64_t ld,
                 int64_t lanes, int64_t h, int64_t rows, int64_t H, int64_t W,
                 const float *zeros);
/* Runs of `images` * P * Q columns: at pixel + image * src_image in B (rows of B wp wide with
 * `windowed`, else the output's Q) and, with the widths exchanged, in C. NULL on failure. */
bool cpu_geo_runs(const cpu_geo *geo, dn_op *op, cpu_mul *mul, int64_t images,
                  int64_t src_image, int64_t src_width, int64_t dst_image, int64_t dst_width);

#endif
