/* SPDX-License-Identifier: BSD-2-Clause
 * walk.cuh: strided walks: axes with a stride in each of three operands. They are simplified
 * once (axes of length 1 dropped, neighbours merged), as every axis costs two divisions. */
#ifndef DN_KERNELS_CUDA_WALK_CUH
#define DN_KERNELS_CUDA_WALK_CUH

#include "grid.cuh"

typedef struct walk {
    int32_t axes;
    int64_t total, dim[DN_MAX_STRIDED], stride[DN_MAX_STRIDED][3];
} walk;

static inline void walk_init(walk *w)
{
    w->axes = 0;
    w->total = 1;
}

/* Appends an axis, last axis fastest, or merges it into the one before. */
static inline void walk_add(walk *w, int64_t dim, int64_t s0, int64_t s1, int64_t s2)
{
    int64_t s[3] = {s0, s1, s2};
    bool merges = w->axes > 0;
    w->total *= dim;
    if (dim == 1)
        return;
    for (int k = 0; merges && k < 3; k++)
        merges = w->stride[w->axes - 1][k] == s[k] * dim;
    int32_t at = merges ? w->axes - 1 : w->axes++;
    w->dim[at] = merges ? w->dim[at] * dim : dim;
    for (int k = 0; k < 3; k++)
        w->stride[at][k] = s[k];
}

/* No two indices share an element of operand k (or this cannot be told simply). */
static inline bool walk_is_one_to_one(const walk *w, int k)
{
    bool used[DN_MAX_STRIDED] = {false};
    int64_t span = 0;
    for (int32_t n = 0; n < w->axes; n++) {
        int32_t next = -1;
        int64_t least = 0;
        for (int32_t d = 0; d < w->axes; d++) {
            int64_t s = w->stride[d][k] < 0 ? -w->stride[d][k] : w->stride[d][k];
            if (!used[d] && (next < 0 || s < least)) {
                next = d;
                least = s;
            }
        }
        used[next] = true;
        if (least <= span)
            return false;
        span += (w->dim[next] - 1) * least;
    }
    return true;
}

/* Adds to at[] where step t of the walk is. */
DEVICE void walk_to(const walk *w, int64_t t, int64_t at[3])
{
    for (int32_t d = w->axes - 1; d >= 0; d--) {
        int64_t rest = d ? quotient(t, w->dim[d]) : 0, index = t - rest * w->dim[d];
        for (int k = 0; k < 3; k++)
            at[k] += index * w->stride[d][k];
        t = rest;
    }
}

#endif
