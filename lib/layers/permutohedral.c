/* SPDX-License-Identifier: BSD-2-Clause
 * permutohedral.c: see permutohedral.h. The table: how many corners are in use; of each pixel
 * its corners; along each axis the two neighbours of each corner. Corner 0 is none, and is 0.
 */
#include "layers/permutohedral.h"

#include <math.h>
#include <string.h>

#include "layers/values.h"

enum { MOST = DNI_LATTICE_COLOURS + 2 }; /* features of a pixel */

static int64_t features_of(const dni_lattice *l)
{
    return l->colours + 2;
}

static int64_t corners_of(const dni_lattice *l)
{
    return l->H * l->W * (features_of(l) + 1);
}

static int64_t slots_of(const dni_lattice *l)
{
    int64_t slots = 1;
    while (slots < 2 * corners_of(l))
        slots *= 2;
    return slots;
}

dni_lattice_sizes dni_lattice_sizes_of(const dni_lattice *l)
{
    int64_t d = features_of(l), corners = corners_of(l);
    return (dni_lattice_sizes){.table = 1 + corners + 2 * (d + 1) * corners,
                               .shares = corners,
                               .keys = slots_of(l) + d * corners,
                               .values = 2 * (corners + 1)};
}

/* Corners by their first d coordinates: slots, each a corner's number or 0, then the keys. */
typedef struct corners {
    int32_t *slot, *key;
    int64_t d, mask, count;
} corners;

static int32_t corner_at(corners *c, const int32_t *key, bool add)
{
    uint64_t hash = 0;
    size_t bytes = (size_t)c->d * sizeof *key;
    for (int64_t i = 0; i < c->d; i++)
        hash = (hash + (uint32_t)key[i]) * 0x9E3779B97F4A7C15u;
    int64_t at = (int64_t)(hash >> 32) & c->mask;
    for (; c->slot[at]; at = (at + 1) & c->mask)
        if (!memcmp(c->key + (c->slot[at] - 1) * c->d, key, bytes))
            return c->slot[at];
    if (!add)
        return 0;
    memcpy(c->key + c->count * c->d, key, bytes);
    return c->slot[at] = (int32_t)++c->count;
}

/* The features of a pixel, in deviations; whatever the image holds, they have a place. */
static void features(const dni_lattice *l, const void *image, int64_t p, double *f)
{
    f[0] = (double)(p % l->W) / l->place;
    f[1] = (double)(p / l->W) / l->place;
    for (int64_t c = 0; c < l->colours; c++)
        f[2 + c] = dni_get(image, l->dtype, c * l->H * l->W + p) / l->colour;
    for (int64_t i = 0; i < features_of(l); i++)
        f[i] = f[i] != f[i] ? 0 : fmin(fmax(f[i], -1e6), 1e6);
}

/* The simplex of a pixel: the corner of remainder 0, the order of the coordinates in it, and
 * the share of each corner, by remainder. */
static void simplex(int64_t d, const double *f, int32_t *origin, int64_t *rank, double *share)
{
    double y[MOST + 1], sum = 0, deviation = sqrt(2.0 / 3) * (double)(d + 1);
    int64_t off = 0;
    for (int64_t i = d; i > 0; i--) {
        double v = f[i - 1] * deviation / sqrt((double)(i * (i + 1)));
        y[i] = sum - (double)i * v;
        sum += v;
    }
    y[0] = sum;
    for (int64_t i = 0; i <= d; i++) {
        int64_t nearest = (int64_t)floor(y[i] / (double)(d + 1) + 0.5);
        off += nearest;
        origin[i] = (int32_t)(nearest * (d + 1));
        rank[i] = 0;
        share[i] = 0;
    }
    for (int64_t i = 0; i <= d; i++)
        for (int64_t j = i + 1; j <= d; j++)
            rank[y[i] - origin[i] < y[j] - origin[j] ? i : j]++;
    double last = 1;
    for (int64_t i = 0; i <= d; i++) {
        rank[i] += off;
        int64_t wrap = rank[i] < 0 ? d + 1 : rank[i] > d ? -(d + 1) : 0;
        rank[i] += wrap;
        origin[i] += (int32_t)wrap;
        double v = (y[i] - origin[i]) / (double)(d + 1);
        share[d - rank[i]] += v;
        if (rank[i])
            share[d - rank[i] + 1] -= v;
        else
            last -= v;
    }
    share[0] += last;
}

static void find_neighbours(corners *c, int32_t *near)
{
    for (int64_t axis = 0; axis <= c->d; axis++)
        for (int64_t i = 0; i < c->count; i++)
            for (int32_t side = -1; side <= 1; side += 2) {
                int32_t key[MOST + 1];
                for (int64_t k = 0; k < c->d; k++)
                    key[k] = c->key[i * c->d + k] + side;
                if (axis < c->d)
                    key[axis] -= side * (int32_t)(c->d + 1);
                *near++ = corner_at(c, key, false);
            }
}

void dni_lattice_build(const dni_lattice *l, const void *image, int32_t *table, void *shares,
                       void *norm, int32_t *keys, void *values)
{
    int64_t d = features_of(l), slots = slots_of(l);
    corners c = {keys, keys + slots, d, slots - 1, 0};
    memset(keys, 0, (size_t)slots * sizeof *keys);
    for (int64_t p = 0; p < l->H * l->W; p++) {
        double f[MOST], share[MOST + 1];
        int32_t origin[MOST + 1], key[MOST];
        int64_t rank[MOST + 1];
        features(l, image, p, f);
        simplex(d, f, origin, rank, share);
        for (int64_t r = 0; r <= d; r++) {
            for (int64_t i = 0; i < d; i++)
                key[i] = origin[i] + (int32_t)(rank[i] <= d - r ? r : r - (d + 1));
            table[1 + p * (d + 1) + r] = corner_at(&c, key, true);
            dni_put(shares, l->dtype, p * (d + 1) + r, share[r]);
        }
    }
    table[0] = (int32_t)c.count;
    find_neighbours(&c, table + 1 + corners_of(l));
    dni_lattice_filter(l, table, shares, NULL, false, NULL, norm, values);
    for (int64_t p = 0; p < l->H * l->W; p++)
        dni_put(norm, l->dtype, p, 1 / (dni_get(norm, l->dtype, p) + 1e-20));
}

/* values[k] of every corner k: y = x + half of both neighbours along an axis. */
static void blur(int32_t dtype, int64_t count, const int32_t *near, const void *x, void *y)
{
    for (int64_t i = 0; i < count; i++)
        dni_put(y, dtype, i + 1,
                dni_get(x, dtype, i + 1) + 0.5 * (dni_get(x, dtype, near[2 * i]) +
                                                  dni_get(x, dtype, near[2 * i + 1])));
}

/* The blurs in turn; back: in the other order, each being its own transpose. */
void dni_lattice_filter(const dni_lattice *l, const int32_t *table, const void *shares,
                        const void *norm, bool back, const void *x, void *y, void *values)
{
    int64_t P = l->H * l->W, d = features_of(l), count = table[0];
    size_t bytes = (size_t)(count + 1) * dni_dtype_size(l->dtype);
    const int32_t *corner = table + 1, *near = corner + corners_of(l);
    void *now = values, *next = (char *)values + bytes;
    double alpha = 1 / (1 + ldexp(1, -(int)d));
    memset(values, 0, 2 * bytes);
    for (int64_t p = 0; p < P; p++) {
        double v = x ? dni_get(x, l->dtype, p) : 1;
        if (back)
            v *= dni_get(norm, l->dtype, p);
        for (int64_t i = p * (d + 1); i < (p + 1) * (d + 1); i++)
            dni_put(now, l->dtype, corner[i],
                    dni_get(now, l->dtype, corner[i]) + v * dni_get(shares, l->dtype, i));
    }
    for (int64_t axis = 0; axis <= d; axis++) {
        void *made = next;
        blur(l->dtype, count, near + (back ? d - axis : axis) * 2 * count, now, next);
        next = now;
        now = made;
    }
    for (int64_t p = 0; p < P; p++) {
        double sum = 0;
        for (int64_t i = p * (d + 1); i < (p + 1) * (d + 1); i++)
            sum += dni_get(now, l->dtype, corner[i]) * dni_get(shares, l->dtype, i);
        if (norm && !back)
            sum *= dni_get(norm, l->dtype, p);
        dni_put(y, l->dtype, p, alpha * sum);
    }
}
