/* SPDX-License-Identifier: BSD-2-Clause
 * tile_shape.cuh: how the matrix product of tile.cuh is cut into blocks of work. */
#ifndef DN_KERNELS_CUDA_TILE_SHAPE_CUH
#define DN_KERNELS_CUDA_TILE_SHAPE_CUH

#include "grid.cuh"

#define TILE_SIDE  64
#define TILE_DEPTH 16
#define TILE_LOADS (TILE_SIDE * TILE_DEPTH / BLOCK) /* of A, and of B, by each thread */

#define BLOCKS_OF(name, args_type) BLOCKS(name, args_type) /* with the name expanded */

typedef struct tile_shape {
    int32_t m, n, k;
    int32_t pieces, piece; /* k is cut in pieces of this length, each a block's work */
    int32_t a_by_k, b_by_k; /* neighbours along k are neighbours in memory */
    int32_t tiles_m, tiles_n;
} tile_shape;

static inline tile_shape tile_shape_of(int64_t m, int64_t n, int64_t k, int32_t a_by_k,
                                       int32_t b_by_k)
{
    tile_shape s;
    s.m = (int32_t)m;
    s.n = (int32_t)n;
    s.k = (int32_t)k;
    s.pieces = 1;
    s.piece = (int32_t)k;
    s.a_by_k = a_by_k;
    s.b_by_k = b_by_k;
    s.tiles_m = (int32_t)((m + TILE_SIDE - 1) / TILE_SIDE);
    s.tiles_n = (int32_t)((n + TILE_SIDE - 1) / TILE_SIDE);
    return s;
}

static inline int64_t tile_blocks(const tile_shape *s, int64_t matrices)
{
    return matrices * s->tiles_m * s->tiles_n * s->pieces;
}

/* Which element of its tile a thread loads: index runs along k or along the side. */
DEVICE int tile_k(int index, int32_t by_k)
{
    return by_k ? index % TILE_DEPTH : index / TILE_SIDE;
}

DEVICE int tile_side(int index, int32_t by_k)
{
    return by_k ? index / TILE_DEPTH : index % TILE_SIDE;
}

#endif
