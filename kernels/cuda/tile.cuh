/* SPDX-License-Identifier: BSD-2-Clause
 * tile.cuh: one matrix product, C (m, n) = sum over k of A (m, k) B (k, n), whose elements come
 * from and go to functions: so GEMM and the convolutions (which build their columns on the fly)
 * are the same kernel. A block makes a tile of 64 x 64, a thread 4 x 4 of it. To be included
 * once for each, with TILE (name), TILE_ARGS (type, with a member `tile` of type tile_shape),
 * TILE_A, TILE_B (args, matrix, row, column) and TILE_PUT (args, matrix, piece, m, n, sum). */
BLOCKS_OF(TILE, TILE_ARGS)
{
    SHARED float A[TILE_DEPTH][TILE_SIDE + 1], B[TILE_DEPTH][TILE_SIDE + 1];
    PER_THREAD(float, sum, 16);
    const tile_shape *s = &a->tile;
    int64_t rest = block / s->tiles_n, matrix;
    int n0 = (int)(block - rest * s->tiles_n) * TILE_SIDE, m0, piece;
    m0 = (int)(rest % s->tiles_m) * TILE_SIDE;
    rest /= s->tiles_m;
    piece = (int)(rest % s->pieces);
    matrix = rest / s->pieces;
    int begin = piece * s->piece;
    int end = s->k - begin < s->piece ? s->k : begin + s->piece;

    THREADS(t)
        UNROLL
        for (int j = 0; j < 16; j++)
            sum[LANE(t)][j] = 0;
    for (int k0 = begin; k0 < end; k0 += TILE_DEPTH) {
        THREADS(t)
        {
            for (int load = 0; load < TILE_LOADS; load++) {
                int index = t + load * BLOCK;
                int k = tile_k(index, s->a_by_k), m = tile_side(index, s->a_by_k);
                A[k][m] = k0 + k < end && m0 + m < s->m ? TILE_A(a, matrix, m0 + m, k0 + k) : 0;
                int n = tile_side(index, s->b_by_k);
                k = tile_k(index, s->b_by_k);
                B[k][n] = k0 + k < end && n0 + n < s->n ? TILE_B(a, matrix, k0 + k, n0 + n) : 0;
            }
        }
        THREADS(t)
        {
            int m = t / 16 * 4, n = t % 16;
            if (IDLE(m0 + m >= s->m || n0 + n >= s->n))
                continue;
            UNROLL
            for (int k = 0; k < TILE_DEPTH; k++)
                UNROLL
                for (int i = 0; i < 4; i++)
                    UNROLL
                    for (int j = 0; j < 4; j++)
                        sum[LANE(t)][4 * i + j] =
                            fmaf(A[k][m + i], B[k][n + 16 * j], sum[LANE(t)][4 * i + j]);
        }
    }
    THREADS(t)
    {
        UNROLL
        for (int i = 0; i < 4; i++) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                int m = m0 + t / 16 * 4 + i, n = n0 + t % 16 + 16 * j;
                if (m < s->m && n < s->n)
                    TILE_PUT(a, matrix, piece, m, n, sum[LANE(t)][4 * i + j]);
            }
        }
    }
}

#undef TILE
#undef TILE_ARGS
#undef TILE_A
#undef TILE_B
#undef TILE_PUT
