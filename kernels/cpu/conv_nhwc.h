/* SPDX-License-Identifier: BSD-2-Clause
 * conv_nhwc.h: a convolution in NHWC as rows of pixels. A run is one tap's channels, or with
 * few channels those of neighbouring taps, which lie side by side in the image. */
#ifndef CPU_CONV_NHWC_H
#define CPU_CONV_NHWC_H

#include "conv.h"

enum { CPU_MAX_MR = 16, CPU_MAX_NR = 32, CPU_K_PIECE = 320 };

/* taps (r, s), (r, s + ds), ...: where output (0, 0) sees (r, s); r runs over frames, too,
 * whose d is where it is */
typedef struct cpu_taps_run {
    int64_t r, s, h, w, d;
} cpu_taps_run;

/* Outputs that see the same taps: all of them forward, one phase of the stride backward. */
typedef struct cpu_phase {
    int64_t h0, w0, step_h, step_w;    /* the outputs */
    int64_t move_h, move_w;            /* inputs from output to output */
    int64_t d0, step_d, move_d;        /* the same of frames */
    int64_t frames, rows, cols, count; /* of outputs: in an image, and in all */
    cpu_taps_run *run;
    int64_t runs, taps, ds, floats; /* of a run: its taps, and floats */
    int64_t first_piece, pieces, packed_at, tasks_m, tasks_n;
} cpu_phase;

typedef struct cpu_image { /* what runs are read from; C: floats from pixel to pixel */
    const float *x;
    int64_t D, H, W, C;
} cpu_image;

typedef struct cpu_pixel {
    int64_t n, d, h, w;
} cpu_pixel;

/* Phase i's runs and moves from its taps; taps of a row joined where a run then has up to
 * `most` floats. False with the message set. */
bool cpu_phase_plan(cpu_phase *phase, dn_op *op, const cpu_geo *geo, bool back, int64_t i,
                    int64_t channels, int64_t most);
/* Outputs [from, from + count) of a phase. */
void cpu_pixels(cpu_pixel *pixel, int64_t from, int64_t count, const cpu_phase *phase);
/* A run's floats for an output: in the image, or `zeros`, or put together in `edge`. */
const float *cpu_run_at(const cpu_image *image, const cpu_phase *phase, const cpu_taps_run *run,
                        const cpu_pixel *pixel, float *edge, const float *zeros);
/* Of `count` outputs of a row, from `at` on, [from, to) have all of a run's taps inside. */
void cpu_run_inside(const cpu_image *image, const cpu_phase *phase, const cpu_taps_run *run,
                    const cpu_pixel *at, int64_t count, int64_t *from, int64_t *to);
/* Floats [from, to) of a run for `count` outputs of a row, from `at` on, side by side: ld
 * apart. `edge`: as above. */
void cpu_lay_run(const cpu_kernels *ker, const cpu_image *image, const cpu_phase *phase,
                 const cpu_taps_run *run, const cpu_pixel *at, int64_t count, int64_t from,
                 int64_t to, float *edge, const float *zeros, float *out, int64_t ld);

/* `rows` to fewer columns than its vectors have, by way of `tile` (CPU_MAX_MR x nr). Sums begin
 * with bias and C, as they do there: no result depends on the width of vectors. */
void cpu_narrow_rows(const cpu_kernels *ker, int32_t width, int64_t m, int64_t k,
                     const float *a, int64_t row, int64_t col, const float *b, float *c,
                     int64_t ldc, const cpu_end *end, float *tile);

#endif
