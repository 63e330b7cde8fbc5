/* SPDX-License-Identifier: BSD-2-Clause
 * lattice.h: which corners of the permutohedral lattice a pixel is spread over, and by which
 * shares, in double: a corner hangs on the last bit, so there is one copy. Whoever includes
 * this may say how functions begin. */
#ifndef DN_KERNELS_LATTICE_H
#define DN_KERNELS_LATTICE_H

#include <math.h>

#include "deepnet/sys/backend.h"

#ifndef LATTICE_FUNCTION
#define LATTICE_FUNCTION static inline
#endif

enum { LATTICE_MOST = DN_LATTICE_COLOURS + 2 }; /* features of a pixel */

/* Sizes of one lattice. Corners are found by `keys`, their first F coordinates, in `slots`. */
typedef struct lattice {
    int64_t P, F, corners, table, slots;
} lattice;

static inline lattice lattice_of(const dn_args_lattice *a)
{
    lattice l = {a->H * a->W, a->colours + 2, 0, 0, 1};
    l.corners = l.P * (l.F + 1);
    l.table = 1 + l.corners + 2 * (l.F + 1) * l.corners;
    while (l.slots < 2 * l.corners)
        l.slots *= 2;
    return l;
}

LATTICE_FUNCTION uint32_t lattice_hash(const int32_t *key, int64_t F)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < F; i++)
        hash = (hash + (uint32_t)key[i]) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32);
}

/* Whether corners a and b are one. */
LATTICE_FUNCTION int lattice_same(const int32_t *a, const int32_t *b, int64_t F)
{
    int64_t i = 0;
    while (i < F && a[i] == b[i])
        i++;
    return i == F;
}

/* The neighbour of a corner along an axis, side -1 or 1. */
LATTICE_FUNCTION void lattice_beside(int32_t *key, const int32_t *of, int64_t F, int64_t axis,
                                     int32_t side)
{
    for (int64_t i = 0; i < F; i++)
        key[i] = of[i] + side - (i == axis ? side * (int32_t)(F + 1) : 0);
}

typedef struct lattice_simplex {
    int32_t origin[LATTICE_MOST + 1]; /* the corner of remainder 0 */
    int32_t rank[LATTICE_MOST + 1];   /* the order of the coordinates in it */
    double share[LATTICE_MOST + 1];   /* of each corner, by remainder */
} lattice_simplex;

/* Of pixel p, which has these colours behind two free places in f: whatever an image holds, it
 * has a place. */
LATTICE_FUNCTION void lattice_place(lattice_simplex *s, const dn_args_lattice *a, int64_t p,
                                    double *f)
{
    int64_t F = a->colours + 2;
    double y[LATTICE_MOST + 1], sum = 0, deviation = sqrt(2.0 / 3) * (double)(F + 1);
    int32_t off = 0;
    f[0] = (double)(p % a->W) / a->place;
    f[1] = (double)(p / a->W) / a->place;
    for (int64_t i = F; i > 0; i--) {
        double v = i > 2 ? f[i - 1] / a->colour : f[i - 1];
        v = v != v ? 0 : fmin(fmax(v, -1e6), 1e6);
        v = v * deviation / sqrt((double)(i * (i + 1)));
        y[i] = sum - (double)i * v;
        sum += v;
    }
    y[0] = sum;
    for (int64_t i = 0; i <= F; i++) {
        int32_t nearest = (int32_t)floor(y[i] / (double)(F + 1) + 0.5);
        off += nearest;
        s->origin[i] = nearest * (int32_t)(F + 1);
        s->rank[i] = 0;
        s->share[i] = 0;
    }
    for (int64_t i = 0; i <= F; i++)
        for (int64_t j = i + 1; j <= F; j++)
            s->rank[y[i] - s->origin[i] < y[j] - s->origin[j] ? i : j]++;
    double last = 1;
    for (int64_t i = 0; i <= F; i++) {
        int32_t rank = s->rank[i] + off;
        int32_t wrap = rank < 0 ? (int32_t)F + 1 : rank > F ? -((int32_t)F + 1) : 0;
        s->rank[i] = rank += wrap;
        s->origin[i] += wrap;
        double v = (y[i] - s->origin[i]) / (double)(F + 1);
        s->share[F - rank] += v;
        if (rank)
            s->share[F - rank + 1] -= v;
        else
            last -= v;
    }
    s->share[0] += last;
}

/* Whether pixel p is of the part that counts: size, if there is one: its height and width. */
LATTICE_FUNCTION int lattice_has(const dn_args_lattice *a, int64_t p, const double *size)
{
    return !size || ((double)(p / a->W) + 1 <= size[0] && (double)(p % a->W) + 1 <= size[1]);
}

/* The corner of remainder r. */
LATTICE_FUNCTION void lattice_key(int32_t *key, const lattice_simplex *s, int64_t F, int64_t r)
{
    for (int64_t i = 0; i < F; i++)
        key[i] = s->origin[i] + (int32_t)(s->rank[i] <= F - r ? r : r - (F + 1));
}

/* What all blurs together make of a value spread evenly. */
LATTICE_FUNCTION double lattice_alpha(int64_t F)
{
    return 1 / (1 + ldexp(1.0, -(int)F));
}

#endif
