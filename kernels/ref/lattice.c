/* SPDX-License-Identifier: BSD-2-Clause
 * lattice.c: LATTICE and LATTICE_FILTER: a pixel after the other, planes likewise. */
#include <string.h>

#include "ref.h"

#include "../lattice.h"

/* What both ops have in common; planes: of the images that are filtered. */
static dn_status check_sizes(const dn_op *op, int64_t *planes)
{
    const dn_args_lattice *a = &op->args.lattice;
    int64_t corners = 0;
    if (a->colours < 0 || a->colours > DN_LATTICE_COLOURS || a->lattices < 1 ||
        (a->lattices > 1 && a->lattices != a->N))
        return ref_fail(op, DN_E_INVALID, "%lld lattices of %lld colours for %lld images",
                        (long long)a->lattices, (long long)a->colours, (long long)a->N);
    REF_TRY(ref_count3(op, a->H, a->W, a->colours + 3, &corners));
    if (corners > 1 << 28)
        return ref_fail(op, DN_E_SHAPE, "%lld corners are too many", (long long)corners);
    REF_TRY(ref_count3(op, a->lattices, lattice_of(a).table, 1, &corners));
    return ref_count3(op, a->N, a->C, a->H * a->W, planes);
}

static dn_status check_lattice(dn_op *op)
{
    const dn_args_lattice *a = &op->args.lattice;
    int64_t planes;
    REF_TRY(check_sizes(op, &planes));
    const lattice l = lattice_of(a);
    if (!(a->place > 0) || !(a->colour > 0) || (a->colours && !ref_has_in(op, 0)))
        return ref_fail(op, DN_E_INVALID, "%lld colours without an image, or a deviation of 0",
                        (long long)a->colours);
    op->scratch = (size_t)(2 * (l.corners + 1)) * sizeof(double) +
                  (size_t)(l.slots + l.F * l.corners) * sizeof(int32_t);
    return REF_NEED(op, a->lattices * a->colours * l.P, 2 * a->lattices, a->lattices * l.table,
                    a->lattices * l.corners, a->lattices * l.P);
}

static dn_status check_lattice_filter(dn_op *op)
{
    const dn_args_lattice *a = &op->args.lattice;
    int64_t planes;
    REF_TRY(check_sizes(op, &planes));
    const lattice l = lattice_of(a);
    op->scratch = (size_t)(2 * (l.corners + 1)) * sizeof(double);
    return REF_NEED(op, planes, a->lattices * l.table, a->lattices * l.corners,
                    a->lattices * l.P, planes);
}

/* The values of all corners, of which 0 is none: y = x + half of both neighbours along an axis.
 */
static void blur(int64_t count, const int32_t *near, const double *x, double *y)
{
    for (int64_t i = 1; i <= count; i++, near += 2)
        y[i] = x[i] + 0.5 * (x[near[0]] + x[near[1]]);
}

/* One plane; x NULL: ones, and y is 1 over what comes of them. */
static void filter(const lattice *l, const int32_t *table, const double *share,
                   const double *norm, bool back, const double *x, double *y, double *values)
{
    int64_t count = table[0], corners = l->F + 1;
    const int32_t *corner = table + 1, *near = corner + l->corners;
    double *now = values, *next = values + count + 1, alpha = lattice_alpha(l->F);
    memset(values, 0, 2 * (size_t)(count + 1) * sizeof *values);
    for (int64_t i = 0; i < l->corners; i++) {
        int64_t p = i / corners;
        if (corner[i])
            now[corner[i]] += (!x ? 1 : back ? x[p] * norm[p] : x[p]) * share[i];
    }
    /* back: in the other order, each blur being its own transpose */
    for (int64_t axis = 0; axis < corners; axis++) {
        double *made = next;
        blur(count, near + (back ? l->F - axis : axis) * 2 * count, now, next);
        next = now;
        now = made;
    }
    for (int64_t p = 0; p < l->P; p++) {
        double sum = 0;
        for (int64_t i = p * corners; i < (p + 1) * corners; i++)
            sum += now[corner[i]] * share[i];
        y[p] = !corner[p * corners] ? 0
               : !x                 ? 1 / (alpha * sum + 1e-20)
               : back               ? alpha * sum
                                    : alpha * sum * norm[p];
    }
}

/* Corners by their keys: slots, each a corner's number or 0, then the keys. */
typedef struct corners {
    int32_t *slot, *key;
    int64_t F, mask, count;
} corners;

static int32_t corner_at(corners *c, const int32_t *key, bool add)
{
    int64_t at = lattice_hash(key, c->F) & c->mask;
    for (; c->slot[at]; at = (at + 1) & c->mask)
        if (lattice_same(c->key + (c->slot[at] - 1) * c->F, key, c->F))
            return c->slot[at];
    if (!add)
        return 0;
    memcpy(c->key + c->count * c->F, key, (size_t)c->F * sizeof *key);
    return c->slot[at] = (int32_t)++c->count;
}

static void build(const dn_args_lattice *a, const lattice *l, const double *image,
                  const double *size, int32_t *table, double *share, corners *c)
{
    int32_t *near = table + 1 + l->corners, key[LATTICE_MOST];
    c->count = 0;
    memset(c->slot, 0, (size_t)l->slots * sizeof *c->slot);
    for (int64_t p = 0, i = 0; p < l->P; p++) {
        bool has = lattice_has(a, p, size);
        lattice_simplex s;
        double f[LATTICE_MOST];
        for (int64_t k = 0; k < a->colours; k++)
            f[2 + k] = image[k * l->P + p];
        lattice_place(&s, a, p, f);
        for (int64_t r = 0; r <= l->F; r++, i++) {
            lattice_key(key, &s, l->F, r);
            table[1 + i] = has ? corner_at(c, key, true) : 0;
            share[i] = has ? s.share[r] : 0;
        }
    }
    table[0] = (int32_t)c->count;
    for (int64_t axis = 0; axis <= l->F; axis++)
        for (int64_t i = 0; i < 2 * c->count; i++) {
            lattice_beside(key, c->key + i / 2 * l->F, l->F, axis, i % 2 ? 1 : -1);
            *near++ = corner_at(c, key, false);
        }
}

dn_status ref_run_lattice_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lattice *a = &op->args.lattice;
    const lattice l = lattice_of(a);
    double *values = io->scratch;
    int32_t *slot = (int32_t *)(values + 2 * (l.corners + 1));
    corners c = {slot, slot + l.slots, l.F, l.slots - 1, 0};
    for (int64_t n = 0; n < a->lattices; n++) {
        const double *image = ref_in(op, io, 0), *size = ref_in(op, io, 1);
        int32_t *table = (int32_t *)io->out[0] + n * l.table;
        double *share = (double *)io->out[1] + n * l.corners;
        build(a, &l, image ? image + n * a->colours * l.P : NULL, size ? size + 2 * n : NULL,
              table, share, &c);
        filter(&l, table, share, NULL, false, NULL, (double *)io->out[2] + n * l.P, values);
    }
    return DN_OK;
}

dn_status ref_run_lattice_filter_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lattice *a = &op->args.lattice;
    const lattice l = lattice_of(a);
    for (int64_t i = 0; i < a->N * a->C; i++) {
        int64_t n = a->lattices > 1 ? i / a->C : 0;
        filter(&l, (const int32_t *)io->in[1] + n * l.table,
               (const double *)io->in[2] + n * l.corners, (const double *)io->in[3] + n * l.P,
               a->back, (const double *)io->in[0] + i * l.P, (double *)io->out[0] + i * l.P,
               io->scratch);
    }
    return DN_OK;
}

const ref_kind ref_lattice = {"LATTICE", "tt:MTT",      sizeof(dn_args_lattice),
                              0,         check_lattice, REF_WIDE(lattice)};
const ref_kind ref_lattice_filter = {"LATTICE_FILTER",        "TMTT:T",
                                     sizeof(dn_args_lattice), 0,
                                     check_lattice_filter,    REF_WIDE(lattice_filter)};
