/* SPDX-License-Identifier: BSD-2-Clause
 * permutohedral.h: sums over all pixels, weighted by a Gaussian of how far they are apart in
 * place and colour, by the permutohedral lattice (Adams et al., 2010): pixels are spread over
 * the corners of the simplex they lie in, the lattice is blurred along each of its axes, and
 * pixels take what their corners have. */
#ifndef DNI_PERMUTOHEDRAL_H
#define DNI_PERMUTOHEDRAL_H

#include <stdbool.h>
#include <stdint.h>

enum { DNI_LATTICE_COLOURS = 8 }; /* at most */

typedef struct dni_lattice {
    int64_t H, W, colours;
    double place, colour; /* deviations */
    int32_t dtype;        /* of all that is not whole numbers */
} dni_lattice;

/* What it takes, in elements: a table of int32_t and shares, which build makes and filter
 * reads; keys (int32_t) for build and values, for a single call. */
typedef struct dni_lattice_sizes {
    int64_t table, shares, keys, values;
} dni_lattice_sizes;

dni_lattice_sizes dni_lattice_sizes_of(const dni_lattice *l);
/* Of one image (colours, H, W); norm: (H, W), 1 over the sum of the weights. */
void dni_lattice_build(const dni_lattice *l, const void *image, int32_t *table, void *shares,
                       void *norm, int32_t *keys, void *values);
/* y = the sums of x, over that of the weights; back: y is x's gradient, x y's. One plane. */
void dni_lattice_filter(const dni_lattice *l, const int32_t *table, const void *shares,
                        const void *norm, bool back, const void *x, void *y, void *values);

#endif
