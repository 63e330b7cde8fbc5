/* SPDX-License-Identifier: BSD-2-Clause
 * lattice.cu: LATTICE and LATTICE_FILTER. All corners of all pixels look for a slot of a hash
 * table at once: which slot a corner has hangs on who came first, but of its pixels the first
 * is known in any order, and corners are numbered by that. What pixels spread is added up in
 * whole numbers, whose sums are the same in any order. */
#include "grid.cuh"

#define LATTICE_FUNCTION DEVICE
#include "../lattice.h"

enum { PIECE = 2048, EACH = PIECE / BLOCK }; /* of what a block works on */

/* ---- filter ------------------------------------------------------------------------------ */

/* Some planes, from `first` on. */
typedef struct filter_args {
    lattice l;
    const float *x; /* NULL: ones; y is then 1 over what comes of them */
    float *y;
    const int32_t *table;
    const float *share, *norm;
    int64_t first, each; /* each: how many planes have one lattice */
    int32_t back, axis;  /* axis: the blur's, in turn */
    /* scratch: for each plane the corners' values, of which 0 is none */
    int64_t *sum;
    float *now, *next;
    int32_t *most; /* (planes) bits of the largest value */
} filter_args;

static size_t filter_plane_bytes(const lattice *l)
{
    return (size_t)(l->corners + 1) * (sizeof(int64_t) + 2 * sizeof(float)) + sizeof(int64_t);
}

/* As many planes at a time as take 32 MB. */
static int64_t filter_planes(const lattice *l, int64_t planes)
{
    int64_t some = (int64_t)(((size_t)32 << 20) / filter_plane_bytes(l));
    return some < 1 ? 1 : some < planes ? some : planes;
}

DEVICE const int32_t *filter_table(const filter_args *a, int64_t plane)
{
    return a->table + (a->first + plane) / a->each * a->l.table;
}

DEVICE float filter_value(const filter_args *a, int64_t plane, int64_t p)
{
    int64_t n = (a->first + plane) / a->each;
    if (!filter_table(a, plane)[1 + p * (a->l.F + 1)])
        return 0;
    if (!a->x)
        return 1;
    float x = a->x[(a->first + plane) * a->l.P + p];
    return a->back ? x * a->norm[n * a->l.P + p] : x;
}

/* i: a corner of a plane */
MAP(filter_clear, filter_args)
{
    int64_t plane = quotient(i, a->l.corners + 1), corner = i - plane * (a->l.corners + 1);
    if (!corner)
        a->most[plane] = 0;
    if (corner <= filter_table(a, plane)[0])
        a->sum[i] = 0;
}

/* block: a piece of a plane. Bits of numbers are in their order, and those of what is none come
 * last. */
BLOCKS(filter_most, filter_args)
{
    SHARED int32_t most[BLOCK];
    int64_t pieces = (a->l.P + PIECE - 1) / PIECE, plane = quotient(block, pieces);
    int64_t begin = (block - plane * pieces) * PIECE;
    int64_t end = begin + PIECE < a->l.P ? begin + PIECE : a->l.P;
    THREADS(t)
    {
        most[t] = 0;
        for (int64_t p = begin + t; p < end; p += BLOCK) {
            int32_t bits = (int32_t)(bits_of(filter_value(a, plane, p)) & 0x7FFFFFFF);
            most[t] = bits > most[t] ? bits : most[t];
        }
    }
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half && most[t + half] > most[t])
                most[t] = most[t + half];
    THREADS(t)
        if (t == 0)
            raise_to(&a->most[plane], most[0]);
}

enum { FILTER_BITS = 61 }; /* sums are below 2^61; blurred, they are parts of that */

/* By which power of two values are multiplied, as a corner may have those of all pixels. */
DEVICE int filter_shift(const filter_args *a, int64_t plane)
{
    int shift = FILTER_BITS + 126 - (a->most[plane] >> 23);
    for (int64_t P = a->l.P; P > 0; P >>= 1)
        shift--;
    return shift;
}

DEVICE bool filter_finite(const filter_args *a, int64_t plane)
{
    return a->most[plane] < 0x7F800000;
}

/* i: a corner of a pixel of a plane */
MAP(filter_spread, filter_args)
{
    int64_t plane = quotient(i, a->l.corners), at = i - plane * a->l.corners;
    int64_t n = (a->first + plane) / a->each;
    double value = (double)filter_value(a, plane, quotient(at, a->l.F + 1)) *
                   (double)a->share[n * a->l.corners + at];
    int32_t corner = filter_table(a, plane)[1 + at];
    if (corner && filter_finite(a, plane))
        add_whole(a->sum + plane * (a->l.corners + 1) + corner,
                  (int64_t)rint(ldexp(value, filter_shift(a, plane))));
}

DEVICE float filter_now(const filter_args *a, int64_t plane, int64_t corner)
{
    int64_t at = plane * (a->l.corners + 1) + corner;
    if (a->axis)
        return a->now[at];
    if (!filter_finite(a, plane))
        return corner ? NAN : 0;
    return (float)ldexp((double)a->sum[at], -FILTER_BITS);
}

/* i: a corner of a plane */
MAP(filter_blur, filter_args)
{
    int64_t plane = quotient(i, a->l.corners + 1), corner = i - plane * (a->l.corners + 1);
    const int32_t *table = filter_table(a, plane);
    int64_t count = table[0], axis = a->back ? a->l.F - a->axis : a->axis;
    if (corner > count)
        return;
    const int32_t *near = table + 1 + a->l.corners + 2 * (axis * count + corner - 1);
    a->next[i] = corner ? filter_now(a, plane, corner) +
                              0.5f * (filter_now(a, plane, near[0]) +
                                      filter_now(a, plane, near[1]))
                        : 0;
}

/* i: a pixel of a plane */
MAP(filter_slice, filter_args)
{
    int64_t plane = quotient(i, a->l.P), p = i - plane * a->l.P, n = (a->first + plane) / a->each;
    const float *share = a->share + n * a->l.corners, *now = a->now + plane * (a->l.corners + 1);
    const int32_t *corner = filter_table(a, plane) + 1;
    double sum = 0;
    for (int64_t k = p * (a->l.F + 1); k < (p + 1) * (a->l.F + 1); k++)
        sum += (double)now[corner[k]] * (double)share[k];
    sum = ldexp(sum * lattice_alpha(a->l.F), FILTER_BITS - filter_shift(a, plane));
    if (!corner[p * (a->l.F + 1)])
        sum = 0;
    else if (!a->x)
        sum = 1 / (sum + 1e-20);
    else if (!a->back)
        sum *= (double)a->norm[n * a->l.P + p];
    a->y[a->first * a->l.P + i] = (float)sum;
}

/* All planes; scratch: filter_planes of filter_plane_bytes. */
static void filter(const dn_op *op, filter_args *a, int64_t planes, void *scratch)
{
    const lattice *l = &a->l;
    int64_t some = filter_planes(l, planes), room = some * (l->corners + 1);
    a->sum = (int64_t *)scratch;
    a->now = (float *)(a->sum + room);
    a->next = a->now + room;
    a->most = (int32_t *)(a->next + room);
    for (a->first = 0; a->first < planes; a->first += some) {
        int64_t count = planes - a->first < some ? planes - a->first : some;
        filter_clear(op, a, count * (l->corners + 1));
        filter_most(op, a, count * ((l->P + PIECE - 1) / PIECE));
        filter_spread(op, a, count * l->corners);
        for (a->axis = 0; a->axis <= l->F; a->axis++) {
            float *made = a->next;
            filter_blur(op, a, count * (l->corners + 1));
            a->next = a->now;
            a->now = made;
        }
        filter_slice(op, a, count * l->P);
    }
}

static dn_status prepare_lattice_filter(dn_op *op, dn_op_info *info)
{
    const dn_args_lattice *p = &op->args.lattice;
    const lattice l = lattice_of(p);
    (void)info;
    op->scratch = (size_t)filter_planes(&l, p->N * p->C) * filter_plane_bytes(&l);
    return DN_OK;
}

static dn_status run_lattice_filter(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lattice *p = &op->args.lattice;
    filter_args a;
    a.l = lattice_of(p);
    a.x = cuda_in(op, io, 0);
    a.y = cuda_out(op, io, 0);
    a.table = (const int32_t *)io->in[1];
    a.share = cuda_in(op, io, 2);
    a.norm = cuda_in(op, io, 3);
    a.each = p->lattices > 1 ? p->C : p->N * p->C;
    a.back = p->back;
    if (op->in[0].count)
        filter(op, &a, p->N * p->C, io->scratch);
    return DN_OK;
}

const cuda_kind cuda_lattice_filter = {"LATTICE_FILTER", sizeof(dn_args_lattice),
                                       prepare_lattice_filter, run_lattice_filter};

/* ---- lattice ----------------------------------------------------------------------------- */

typedef struct lattice_args {
    dn_args_lattice p;
    lattice l;
    const float *image, *size;
    int32_t *table;
    float *share;
    int64_t pieces;
    /* scratch, of each lattice */
    int32_t *slot;   /* (slots) a corner of a pixel, from 1; then the corner's number */
    int32_t *first;  /* (slots) the first corner of a pixel that is this */
    int32_t *key;    /* (corners, F) */
    int32_t *leader; /* (corners) where a corner's key is */
    int32_t *part;   /* (pieces) how many corners come first there, then before it */
} lattice_args;

static int64_t lattice_words(const lattice *l)
{
    return 2 * l->slots + (l->F + 1) * l->corners + (l->corners + PIECE - 1) / PIECE;
}

/* i: a slot */
MAP(lattice_clear, lattice_args)
{
    a->slot[i] = 0;
    a->first[i] = INT32_MAX;
}

/* i: a pixel */
MAP(lattice_spread, lattice_args)
{
    int64_t n = quotient(i, a->l.P), p = i - n * a->l.P, F = a->l.F;
    lattice_simplex s;
    double f[LATTICE_MOST], size[2] = {0, 0};
    if (a->size) {
        size[0] = (double)a->size[2 * n];
        size[1] = (double)a->size[2 * n + 1];
    }
    bool has = lattice_has(&a->p, p, a->size ? size : NULL);
    for (int64_t c = 0; c < a->p.colours; c++)
        f[2 + c] = (double)a->image[(n * a->p.colours + c) * a->l.P + p];
    lattice_place(&s, &a->p, p, f);
    for (int64_t r = 0; r <= F; r++) {
        int64_t at = i * (F + 1) + r;
        lattice_key(a->key + at * F, &s, F, r);
        a->share[at] = has ? (float)s.share[r] : 0;
        a->table[n * a->l.table + 1 + p * (F + 1) + r] = has ? 0 : -1;
    }
}

/* i: a corner of a pixel. Its slot stands in the table meanwhile; -1: there is no pixel. */
MAP(lattice_claim, lattice_args)
{
    int64_t n = quotient(i, a->l.corners), own = i - n * a->l.corners, F = a->l.F;
    const int32_t *keys = a->key + n * a->l.corners * F;
    int32_t *slot = a->slot + n * a->l.slots, *where = a->table + n * a->l.table + 1 + own;
    int64_t at = lattice_hash(keys + own * F, F) & (a->l.slots - 1);
    if (*where < 0)
        return;
    for (;; at = (at + 1) & (a->l.slots - 1)) {
        int32_t taken = look(&slot[at]);
        taken = taken ? taken : claim(&slot[at], (int32_t)own + 1);
        if (!taken || lattice_same(keys + (taken - 1) * F, keys + own * F, F))
            break;
    }
    if (look(&a->first[n * a->l.slots + at]) > own)
        lower_to(&a->first[n * a->l.slots + at], (int32_t)own);
    *where = (int32_t)at;
}

/* Is this corner of a pixel, in the table, the first of its kind? */
DEVICE int lattice_leads(const lattice_args *a, int64_t n, int64_t own)
{
    int32_t where = a->table[n * a->l.table + 1 + own];
    return where >= 0 && a->first[n * a->l.slots + where] == own;
}

/* sum[t]: that of sum[0 .. t] */
DEVICE void add_before(int32_t *sum, int32_t *other)
{
    for (int step = 1; step < BLOCK; step *= 2) {
        THREADS(t)
            other[t] = t >= step ? sum[t - step] : 0;
        THREADS(t)
            sum[t] += other[t];
    }
}

/* Of a piece, how many of each thread's neighbours lead, in sums up to it. */
DEVICE int64_t lattice_sums(const lattice_args *a, int64_t block, int32_t *sum, int32_t *other,
                            int64_t *begin)
{
    int64_t n = quotient(block, a->pieces);
    *begin = (block - n * a->pieces) * PIECE;
    THREADS(t)
    {
        sum[t] = 0;
        for (int64_t k = *begin + t * EACH; k < *begin + (t + 1) * EACH; k++)
            sum[t] += k < a->l.corners && lattice_leads(a, n, k);
    }
    add_before(sum, other);
    return n;
}

/* block: a piece of a lattice */
BLOCKS(lattice_count, lattice_args)
{
    SHARED int32_t sum[BLOCK], other[BLOCK];
    int64_t begin;
    lattice_sums(a, block, sum, other, &begin);
    THREADS(t)
        if (t == 0)
            a->part[block] = sum[BLOCK - 1];
}

/* block: a lattice */
BLOCKS(lattice_total, lattice_args)
{
    SHARED int32_t sum[BLOCK], other[BLOCK];
    int32_t *part = a->part + block * a->pieces;
    int64_t each = (a->pieces + BLOCK - 1) / BLOCK;
    THREADS(t)
    {
        sum[t] = 0;
        for (int64_t k = t * each; k < (t + 1) * each && k < a->pieces; k++)
            sum[t] += part[k];
    }
    add_before(sum, other);
    THREADS(t)
    {
        int32_t before = t ? sum[t - 1] : 0;
        for (int64_t k = t * each; k < (t + 1) * each && k < a->pieces; k++) {
            int32_t own = part[k];
            part[k] = before;
            before += own;
        }
        if (t == BLOCK - 1)
            a->table[block * a->l.table] = sum[t];
    }
}

/* block: a piece of a lattice */
BLOCKS(lattice_number, lattice_args)
{
    SHARED int32_t sum[BLOCK], other[BLOCK];
    int64_t begin, n = lattice_sums(a, block, sum, other, &begin);
    THREADS(t)
    {
        int32_t number = a->part[block] + (t ? sum[t - 1] : 0);
        for (int64_t k = begin + t * EACH; k < begin + (t + 1) * EACH; k++)
            if (k < a->l.corners && lattice_leads(a, n, k)) {
                a->leader[n * a->l.corners + number] = (int32_t)k;
                a->slot[n * a->l.slots + a->table[n * a->l.table + 1 + k]] = ++number;
            }
    }
}

/* i: a corner of a pixel */
MAP(lattice_corner, lattice_args)
{
    int64_t n = quotient(i, a->l.corners);
    int32_t *own = a->table + n * a->l.table + 1 + (i - n * a->l.corners);
    *own = *own < 0 ? 0 : a->slot[n * a->l.slots + *own];
}

DEVICE int32_t lattice_find(const lattice_args *a, int64_t n, const int32_t *key)
{
    const int32_t *slot = a->slot + n * a->l.slots;
    const int32_t *leader = a->leader + n * a->l.corners;
    const int32_t *keys = a->key + n * a->l.corners * a->l.F;
    int64_t at = lattice_hash(key, a->l.F) & (a->l.slots - 1);
    while (slot[at] && !lattice_same(keys + leader[slot[at] - 1] * a->l.F, key, a->l.F))
        at = (at + 1) & (a->l.slots - 1);
    return slot[at];
}

/* i: a corner, of as many as there may be, and an axis */
MAP(lattice_near, lattice_args)
{
    int64_t row = quotient(i, a->l.corners), own = i - row * a->l.corners;
    int64_t n = quotient(row, a->l.F + 1), axis = row - n * (a->l.F + 1);
    int32_t *table = a->table + n * a->l.table, key[LATTICE_MOST];
    if (own >= table[0])
        return;
    int32_t *near = table + 1 + a->l.corners + 2 * (axis * table[0] + own);
    int64_t from = n * a->l.corners + a->leader[n * a->l.corners + own];
    for (int side = 0; side < 2; side++) {
        lattice_beside(key, a->key + from * a->l.F, a->l.F, axis, side ? 1 : -1);
        near[side] = lattice_find(a, n, key);
    }
}

static dn_status prepare_lattice(dn_op *op, dn_op_info *info)
{
    const dn_args_lattice *p = &op->args.lattice;
    const lattice l = lattice_of(p);
    (void)info;
    size_t build = (size_t)(p->lattices * lattice_words(&l)) * sizeof(int32_t);
    size_t norms = (size_t)filter_planes(&l, p->lattices) * filter_plane_bytes(&l);
    op->scratch = build > norms ? build : norms;
    return DN_OK;
}

static dn_status run_lattice(const dn_op *op, const dn_op_io *io)
{
    lattice_args a;
    filter_args f;
    a.p = op->args.lattice;
    a.l = lattice_of(&a.p);
    int64_t n = a.p.lattices;
    a.image = cuda_in(op, io, 0);
    a.size = cuda_in(op, io, 1);
    a.table = (int32_t *)io->out[0];
    a.share = cuda_out(op, io, 1);
    a.pieces = (a.l.corners + PIECE - 1) / PIECE;
    a.slot = (int32_t *)io->scratch;
    a.first = a.slot + n * a.l.slots;
    a.key = a.first + n * a.l.slots;
    a.leader = a.key + n * a.l.corners * a.l.F;
    a.part = a.leader + n * a.l.corners;
    lattice_clear(op, &a, n * a.l.slots);
    lattice_spread(op, &a, n * a.l.P);
    lattice_claim(op, &a, n * a.l.corners);
    lattice_count(op, &a, n * a.pieces);
    lattice_total(op, &a, n);
    lattice_number(op, &a, n * a.pieces);
    lattice_corner(op, &a, n * a.l.corners);
    lattice_near(op, &a, n * (a.l.F + 1) * a.l.corners);
    f.l = a.l;
    f.x = NULL;
    f.y = cuda_out(op, io, 2);
    f.table = a.table;
    f.share = a.share;
    f.norm = NULL;
    f.each = 1;
    f.back = 0;
    filter(op, &f, n, io->scratch);
    return DN_OK;
}

const cuda_kind cuda_lattice = {"LATTICE", sizeof(dn_args_lattice), prepare_lattice,
                                run_lattice};
