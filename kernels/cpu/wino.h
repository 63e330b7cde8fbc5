/* SPDX-License-Identifier: BSD-2-Clause
 * wino.h: a convolution cut into tiles of size x size outputs, each seen through 6x6 inputs:
 * 4x4 of a 3x3 kernel (36 products for 144), 2x2 of a 5x5 (36 for 100), 5x5 of a 2x2 (36 for
 * 100). With a dilation of d a tile is of every d-th row or column, which see only inputs as
 * far apart. With a stride of s every s-th tap sees every s-th input: s * s kernels, whose
 * outputs are summed forward, and apart backward. A kernel of one line is flat: a tile is six
 * pieces, each a line with a corner of its own (6x4 outputs of 3 taps: 36 products for 72). */
#ifndef CPU_WINO_H
#define CPU_WINO_H

#include "conv.h"

enum { CPU_WINO_FREQ = 36 };

typedef struct cpu_wino {
    int64_t N, H, W, P, Q; /* images read and written */
    int64_t Cx, Kx, C, K;  /* channels read and written: of a pixel, of a group */
    int64_t group, taps, size;
    int64_t pieces, count; /* of a tile: pieces of tall x wide outputs, and taps */
    int64_t tall, wide;
    int64_t on_h, on_w;   /* from pixel to pixel of a line */
    int64_t kernel, area; /* of w: a side, and all; with a stride a tile's taps are fewer */
    int64_t pad_h, pad_w, dh, dw;
    int64_t in, out, phases;     /* the stride, forward and backward; of y, each a group's K */
    int64_t lead_h, lead_w;      /* backward: pad of the convolution */
    int64_t D, T, E, sd, pd, dd; /* frames read and written, those that a frame of y sees */
    int64_t rows, cols, tiles;   /* pieces of an image, and tiles of all */
} cpu_wino;

/* Sets info->cost too. False with info->reason set, also where the direct convolution is
 * expected to be faster. */
bool cpu_wino_init(cpu_wino *wino, const dn_backend *backend, const dn_op_desc *desc,
                   dn_op_info *info);
/* A tile's pixels of x, of the e'th frame that it sees, or of y; (h, w): from its corner to the
 * first. `outside` for those that are not there. */
void cpu_wino_patch(const cpu_wino *wino, const float **at, const float *images, bool of_y,
                    int64_t tile, int64_t e, int64_t h, int64_t w, const float *outside);
/* What n x n pixels have in columns from `first` on is wanted soon. */
void cpu_wino_fetch(const float *const *at, int64_t n, int64_t first, int64_t channels);
/* The 6x6 inputs in frame, or phase of x, e of a tile in y's phase. */
void cpu_wino_look(const cpu_wino *wino, const float **at, const float *x, int64_t tile,
                   int64_t e, int64_t phase, const float *zeros);

/* Floats from frequency to frequency, so that each begins in another set of the first cache. */
static inline int64_t cpu_wino_step(int64_t floats)
{
    return (((floats + 15) >> 4) | 1) << 4;
}

#endif
