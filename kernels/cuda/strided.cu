/* SPDX-License-Identifier: BSD-2-Clause
 * strided.cu: COPY and REDUCE over strided walks. Where several indices share an element of y a
 * single thread takes them in order: rare, and the order is part of the result, unless the
 * context allows any. */
#include "some.cuh"
#include "walk.cuh"

#define SIDE 32 /* of the tiles in which axes are turned */

typedef struct copy_args {
    values x, y;
    walk w;
    int64_t x_offset, y_offset;
    float alpha;
    int32_t add;
} copy_args;

DEVICE void copy_one(const copy_args *a, int64_t i)
{
    int64_t at[3] = {a->x_offset, a->y_offset, 0};
    walk_to(&a->w, i, at);
    put_value(a->y, at[1], a->add, a->alpha * get(a->x, at[0]));
}

MAP_SOME(copy, copy_args)
{
    float v[MOST];
    int64_t at[3] = {a->x_offset, a->y_offset, 0};
    walk_to(&a->w, i, at);
    get_some(a->x, at[0], some, v);
    UNROLL
    for (int k = 0; k < some; k++)
        v[k] = a->alpha * v[k];
    put_some(a->y, at[1], some, a->add, v);
}

/* Neighbours of both that lie at multiples of so many. */
static int some_of_copy(const copy_args *a)
{
    const walk *w = &a->w;
    int64_t all = a->x_offset | a->y_offset;
    for (int32_t d = 0; d < w->axes - 1; d++)
        all |= w->stride[d][0] | w->stride[d][1];
    bool rows = w->axes > 0 && w->stride[w->axes - 1][0] == 1 && w->stride[w->axes - 1][1] == 1;
    return rows ? some_of(all | w->dim[w->axes - 1], a->x.narrow || a->y.narrow) : 1;
}

/* Where neighbours in x are not neighbours in y (an image is turned, axes are permuted): tiles
 * through shared memory, so that both are read and written row by row. */
typedef struct turn_args {
    values x, y;
    walk rest; /* the other axes */
    int64_t x_offset, y_offset, fast, slow, x_step, y_step, tiles_fast, tiles_slow;
    float alpha;
    int32_t add;
} turn_args;

BLOCKS(turn, turn_args)
{
    SHARED float tile[SIDE][SIDE + 1];
    int64_t row = quotient(block, a->tiles_fast), fast = (block - row * a->tiles_fast) * SIDE;
    int64_t other = quotient(row, a->tiles_slow), slow = (row - other * a->tiles_slow) * SIDE;
    int64_t at[3] = {a->x_offset, a->y_offset, 0};
    walk_to(&a->rest, other, at);
    THREADS(t)
        for (int r = t / SIDE; r < SIDE; r += BLOCK / SIDE)
            if (slow + r < a->slow && fast + t % SIDE < a->fast)
                tile[r][t % SIDE] =
                    get(a->x, at[0] + (slow + r) * a->x_step + fast + t % SIDE);
    THREADS(t)
        for (int r = t / SIDE; r < SIDE; r += BLOCK / SIDE)
            if (fast + r < a->fast && slow + t % SIDE < a->slow)
                put_value(a->y, at[1] + (fast + r) * a->y_step + slow + t % SIDE, a->add,
                          a->alpha * tile[t % SIDE][r]);
}

/* False: no such axes, or they are too short. */
static bool turn_of(const walk *w, turn_args *a)
{
    int32_t fast = -1, slow = -1;
    for (int32_t d = 0; d < w->axes; d++) {
        if (w->stride[d][0] == 1 && w->dim[d] >= SIDE / 2)
            fast = d;
        if (w->stride[d][1] == 1 && w->dim[d] >= SIDE / 2)
            slow = d;
    }
    if (fast < 0 || slow < 0 || fast == slow)
        return false;
    walk_init(&a->rest);
    for (int32_t d = 0; d < w->axes; d++)
        if (d != fast && d != slow)
            walk_add(&a->rest, w->dim[d], w->stride[d][0], w->stride[d][1], 0);
    a->fast = w->dim[fast];
    a->slow = w->dim[slow];
    a->x_step = w->stride[slow][0];
    a->y_step = w->stride[fast][1];
    a->tiles_fast = (a->fast + SIDE - 1) / SIDE;
    a->tiles_slow = (a->slow + SIDE - 1) / SIDE;
    return true;
}

MAP(copy_unordered, copy_args)
{
    int64_t at[3] = {a->x_offset, a->y_offset, 0};
    walk_to(&a->w, i, at);
    add_unordered((float *)a->y.at + at[1], a->alpha * get(a->x, at[0]));
}

MAP(copy_in_order, copy_args)
{
    for (int64_t t = i; t < a->w.total; t++)
        copy_one(a, t);
}

static walk walk_of(const dn_args_copy *c)
{
    walk w;
    walk_init(&w);
    for (int32_t d = 0; d < c->axes; d++)
        walk_add(&w, c->dim[d], c->x_stride[d], c->y_stride[d], 0);
    return w;
}

enum { APART, TURNED, IN_ORDER };

static dn_status prepare_copy(dn_op *op, dn_op_info *info)
{
    walk w = walk_of(&op->args.copy);
    turn_args turned;
    (void)info;
    op->choice = !walk_is_one_to_one(&w, 1) ? IN_ORDER : turn_of(&w, &turned) ? TURNED : APART;
    op->unordered = op->choice == IN_ORDER && op->backend->host.allow_nondeterministic &&
                    cuda_adds(op, 0) && op->out[0].info.dtype == DN_F32;
    return DN_OK;
}

static void run_turn(const dn_op *op, const copy_args *c)
{
    turn_args a;
    turn_of(&c->w, &a);
    a.x = c->x;
    a.y = c->y;
    a.x_offset = c->x_offset;
    a.y_offset = c->y_offset;
    a.alpha = c->alpha;
    a.add = c->add;
    turn(op, &a, a.rest.total * a.tiles_fast * a.tiles_slow);
}

static dn_status run_copy(const dn_op *op, const dn_op_io *io)
{
    const dn_args_copy *c = &op->args.copy;
    copy_args a;
    a.x = values_in(op, io, 0);
    a.y = values_out(op, io, 0);
    a.x_offset = c->x_offset;
    a.y_offset = c->y_offset;
    a.alpha = (float)c->alpha;
    a.add = cuda_adds(op, 0);
    a.w = walk_of(c);
    if (op->choice == APART)
        copy(op, &a, a.w.total, some_of_copy(&a));
    else if (op->choice == TURNED)
        run_turn(op, &a);
    else if (op->unordered)
        copy_unordered(op, &a, a.w.total);
    else
        copy_in_order(op, &a, a.w.total ? 1 : 0);
    return DN_OK;
}

const cuda_kind cuda_copy = {"COPY", sizeof(dn_args_copy), prepare_copy, run_copy,
                             CUDA_NARROW(1, 1)};

/* ---- REDUCE ------------------------------------------------------------------------------ */

#define PIECE   8192 /* terms that one block sums */
#define FEW     8    /* a sum this short is one thread's work, */
#define SOME    64   /* this short that of LANES of them; so is, */
#define MANY    512  /* where neighbours in y are neighbours in x, one this short */
#define LANES   8

typedef struct reduce_args {
    const float *x, *x2;
    float *y;
    double *partial; /* (kept, pieces) */
    walk kept, summed;
    int64_t origin[3], pieces;
    double alpha;
    int32_t op, add;
} reduce_args;

DEVICE double reduce_term(const reduce_args *a, const int64_t at[3])
{
    double x = a->x[at[0]];
    switch (a->op) {
    case DN_REDUCE_SUM:
        return x;
    case DN_REDUCE_ASUM:
        return fabs(x);
    case DN_REDUCE_SUMSQ:
        return x * x;
    default:
        return x * a->x2[at[1]];
    }
}

DEVICE double reduce_walk(const reduce_args *a, const int64_t from[3], int64_t first,
                          int64_t step, int64_t end)
{
    double sum = 0;
    for (int64_t s = first; s < end; s += step) {
        int64_t at[3] = {from[0], from[1], from[2]};
        walk_to(&a->summed, s, at);
        sum += reduce_term(a, at);
    }
    return sum;
}

DEVICE void reduce_start(const reduce_args *a, int64_t k, int64_t at[3])
{
    for (int j = 0; j < 3; j++)
        at[j] = a->origin[j];
    walk_to(&a->kept, k, at);
}

MAP(reduce_few, reduce_args)
{
    int64_t at[3];
    reduce_start(a, i, at);
    put_wide(&a->y[at[2]], a->add, a->alpha * reduce_walk(a, at, 0, 1, a->summed.total));
}

/* block: so many kept indices, of which neighbours are those of threads side by side. */
BLOCKS(reduce_lanes, reduce_args)
{
    SHARED double sums[BLOCK];
    int64_t first = block * (BLOCK / LANES);
    THREADS(t)
    {
        int64_t k = first + t % (BLOCK / LANES), at[3];
        sums[t] = 0;
        if (k < a->kept.total) {
            reduce_start(a, k, at);
            sums[t] = reduce_walk(a, at, t / (BLOCK / LANES), LANES, a->summed.total);
        }
    }
    for (int half = BLOCK / 2; half >= BLOCK / LANES; half /= 2)
        THREADS(t)
            if (t < half)
                sums[t] += sums[t + half];
    THREADS(t)
    {
        int64_t k = first + t, at[3];
        if (t < BLOCK / LANES && k < a->kept.total) {
            reduce_start(a, k, at);
            put_wide(&a->y[at[2]], a->add, a->alpha * sums[t]);
        }
    }
}

BLOCKS(reduce_piece, reduce_args)
{
    SHARED double sums[BLOCK];
    int64_t kept = quotient(block, a->pieces), first = (block - kept * a->pieces) * PIECE;
    int64_t end = first + PIECE < a->summed.total ? first + PIECE : a->summed.total;
    THREADS(t)
    {
        int64_t at[3];
        reduce_start(a, kept, at);
        sums[t] = reduce_walk(a, at, first + t, BLOCK, end);
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0)
            a->partial[block] = sum;
}

DEVICE void reduce_finish_one(const reduce_args *a, int64_t k, int32_t add)
{
    int64_t at[3];
    double sum = 0;
    for (int64_t p = 0; p < a->pieces; p++)
        sum += a->partial[k * a->pieces + p];
    reduce_start(a, k, at);
    put_wide(&a->y[at[2]], add, a->alpha * sum);
}

MAP(reduce_finish, reduce_args)
{
    reduce_finish_one(a, i, a->add);
}

/* Kept indices that share an element add up, and two may not make it zero at once. */
MAP(reduce_finish_in_order, reduce_args)
{
    for (int64_t k = i; !a->add && k < a->kept.total; k++) {
        int64_t at[3];
        reduce_start(a, k, at);
        a->y[at[2]] = 0;
    }
    for (int64_t k = i; k < a->kept.total; k++)
        reduce_finish_one(a, k, 1);
}

static void split_axes(const dn_op *op, walk *kept, walk *summed)
{
    const dn_args_reduce *r = &op->args.reduce;
    walk_init(kept);
    walk_init(summed);
    for (int32_t d = 0; d < r->axes; d++)
        walk_add(r->y_stride[d] ? kept : summed, r->dim[d], r->x_stride[d], r->x2_stride[d],
                 r->y_stride[d]);
}

static bool by_lanes(const reduce_args *a)
{
    const walk *k = &a->kept;
    bool side_by_side = k->axes > 0 && k->stride[k->axes - 1][0] == 1;
    return a->summed.total <= SOME ||
           (a->summed.total <= MANY && side_by_side && k->total >= MANY);
}

static dn_status prepare_reduce(dn_op *op, dn_op_info *info)
{
    walk kept, summed;
    (void)info;
    split_axes(op, &kept, &summed);
    int64_t pieces = (summed.total + PIECE - 1) / PIECE;
    op->scratch = (size_t)(kept.total * (pieces ? pieces : 1)) * sizeof(double);
    return DN_OK;
}

static dn_status run_reduce(const dn_op *op, const dn_op_io *io)
{
    const dn_args_reduce *r = &op->args.reduce;
    reduce_args a;
    split_axes(op, &a.kept, &a.summed);
    a.x = cuda_in(op, io, 0);
    a.x2 = cuda_in(op, io, 1);
    a.y = cuda_out(op, io, 0);
    a.partial = (double *)io->scratch;
    a.origin[0] = r->x_offset;
    a.origin[1] = r->x2_offset;
    a.origin[2] = r->y_offset;
    a.alpha = r->alpha;
    a.op = r->op;
    a.add = cuda_adds(op, 0);
    a.pieces = (a.summed.total + PIECE - 1) / PIECE;
    bool apart = walk_is_one_to_one(&a.kept, 2);
    if (apart && a.summed.total <= FEW) {
        reduce_few(op, &a, a.kept.total);
        return DN_OK;
    }
    if (apart && by_lanes(&a)) {
        reduce_lanes(op, &a, (a.kept.total + BLOCK / LANES - 1) / (BLOCK / LANES));
        return DN_OK;
    }
    reduce_piece(op, &a, a.kept.total * a.pieces);
    if (apart) {
        reduce_finish(op, &a, a.kept.total);
        return DN_OK;
    }
    reduce_finish_in_order(op, &a, a.kept.total ? 1 : 0);
    return DN_OK;
}

const cuda_kind cuda_reduce = {"REDUCE", sizeof(dn_args_reduce), prepare_reduce, run_reduce};
