/* SPDX-License-Identifier: BSD-2-Clause
 * cases_elementwise.c: cases of the ops that work element by element, by channel or by stride.
 */
#include "builder.h"

#include <math.h>

typedef struct view {
    int64_t outer, dim, inner;
} view;

static const view views[] = {{1, 1, 1},    {2, 3, 5},   {1, 7, 16}, {3, 8, 17},  {4, 1, 33},
                             {2, 31, 1},   {5, 64, 1},  {1, 5, 65}, {2, 10, 12}, {3, 1, 1},
                             {3, 40, 257}, {700, 33, 1}}; /* worth several tasks */
#define NUM_VIEWS ((int)(sizeof(views) / sizeof(views[0])))

static void fill_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        BEGIN(b, DN_OP_FILL, dn_args_fill);
        b->c.args.fill.value = n % 2 ? 0 : -1.5;
        out(b, SHAPE(builder_lengths[n]));
        emit_added(b, 1);
    }
}

static void random_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++)
        for (int32_t dist = 0; dist <= DN_DIST_BERNOULLI; dist++) {
            BEGIN(b, DN_OP_RANDOM, dn_args_random);
            b->c.args.random.dist = dist;
            b->c.args.random.a = dist == DN_DIST_UNIFORM ? -2 : 0.3;
            b->c.args.random.b = 1.25;
            b->c.args.random.stream = 0x123456789abcdefu + (uint64_t)n;
            b->c.tolerance = 0; /* the same seed is the same numbers */
            in_state(b);
            out(b, SHAPE(builder_lengths[n]));
            emit_added(b, 1);
        }
}

typedef struct copy_row {
    int32_t axes;
    int64_t dim[4], x_stride[4], y_stride[4], x_offset, y_offset, x_count, y_count;
} copy_row;

static const copy_row copies[] = {
    {0, {0}, {0}, {0}, 2, 1, 3, 2},                                    /* one element */
    {1, {17}, {1}, {1}, 0, 0, 17, 17},                                 /* plain */
    {2, {4, 15}, {15, 1}, {40, 1}, 0, 7, 60, 160},                     /* into a concat */
    {2, {4, 8}, {33, 1}, {8, 1}, 3, 0, 132, 32},                       /* out of a slice */
    {4, {2, 3, 4, 5}, {60, 20, 5, 1}, {60, 1, 15, 3}, 0, 0, 120, 120}, /* permuted */
    {3, {3, 4, 8}, {8, 0, 1}, {32, 8, 1}, 0, 0, 24, 96},               /* tiled */
    {2, {3, 9}, {9, -1}, {9, 1}, 8, 0, 27, 27},                        /* flipped */
    {3, {3, 4, 8}, {32, 8, 1}, {8, 0, 1}, 0, 0, 96, 24},               /* summed when added */
    {2, {0, 5}, {5, 1}, {5, 1}, 0, 0, 4, 4},                           /* nothing */
    {2, {0, 5}, {7, 1}, {7, 1}, 0, 0, 4, 4},                           /* no rows of 5 */
    {2, {31, 33}, {1, 31}, {33, 1}, 0, 0, 1023, 1023},                 /* transposed */
    {3, {2, 37, 70}, {2590, 70, 1}, {2590, 1, 37}, 0, 0, 5180, 5180},  /* images to NHWC */
    {4, {3, 20, 2, 33}, {1320, 66, 33, 1}, {20, 1, 60, 120}, 5, 7, 3965, 3967},
    {3, {3, 300, 33}, {9900, 1, 300}, {9900, 33, 1}, 0, 0, 29700, 29700}, /* to NHWC */
    {3, {2, 3000, 3}, {9000, 1, 3000}, {9000, 3, 1}, 0, 0, 18000, 18000},
    {3, {2, 3, 3000}, {9000, 1, 3}, {9000, 3000, 1}, 0, 0, 18000, 18000}, /* from NHWC */
    {3, {2, 3, 30}, {90, 1, 3}, {91, 30, 1}, 0, 1, 180, 182},
    {4, {9, 2, 37, 2}, {37, 0, 1, 0}, {148, 74, 2, 1}, 0, 0, 333, 1332}, /* upsampled */
    {3, {40, 40, 16}, {16, 640, 1}, {640, 16, 1}, 0, 0, 25600, 25600},   /* permuted runs */
    {3, {16, 40, 40}, {1, 640, 16}, {1, 16, 640}, 0, 0, 25600, 25600},   /* the run first */
    {2, {5, 24}, {24, 1}, {64, 1}, 0, 16, 120, 300}, /* neighbours together; not by */
    {2, {5, 16}, {16, 1}, {42, 1}, 0, 8, 80, 196},   /* where a row begins, */
    {2, {5, 16}, {40, 1}, {16, 1}, 3, 0, 180, 80},   /* or all of x, */
    {2, {5, 16}, {16, 1}, {40, 1}, 0, 6, 80, 190}};  /* or y */

static void copy_cases(builder *b)
{
    for (size_t r = 0; r < sizeof(copies) / sizeof(copies[0]); r++) {
        const copy_row *row = &copies[r];
        BEGIN(b, DN_OP_COPY, dn_args_copy);
        dn_args_copy *a = &b->c.args.copy;
        a->axes = row->axes;
        for (int32_t d = 0; d < row->axes; d++) {
            a->dim[d] = row->dim[d];
            a->x_stride[d] = row->x_stride[d];
            a->y_stride[d] = row->y_stride[d];
        }
        a->x_offset = row->x_offset;
        a->y_offset = row->y_offset;
        a->alpha = r % 2 ? 1 : -0.75;
        in(b, NORMAL, SHAPE(row->x_count));
        out_as(b, DN_F32, NORMAL, SHAPE(row->y_count));
        emit_added(b, 1);
        emit_narrow_in_place(b, 1, -1, 1, 1);
        emit_narrow_in_place(b, 1, -1, 1, 0);
        emit_narrow_in_place(b, 1, -1, 0, 1);
    }
}

typedef struct function_row {
    int32_t fn;
    double a, b, c;
    int32_t fill;
} function_row;

static const function_row functions[] = {
    {DN_FN_NONE, 0, 0, 0, NORMAL},        {DN_FN_RELU, 0, 0, 0, COARSE},
    {DN_FN_RELU, 0.1, 0, 0, COARSE},      {DN_FN_SIGMOID, 0, 0, 0, NORMAL},
    {DN_FN_TANH, 0, 0, 0, NORMAL},        {DN_FN_ABS, 0, 0, 0, COARSE},
    {DN_FN_EXP, 0.7, -0.2, 0, NORMAL},    {DN_FN_LOG, 2, 0.5, 1.3, POSITIVE},
    {DN_FN_POWER, 0.5, 1, 2, NORMAL},     {DN_FN_POWER, 1, 0, -0.75, POSITIVE},
    {DN_FN_POWER, 2, 1, 0, COARSE},       {DN_FN_POWER, -3, 1, 1, COARSE},
    {DN_FN_POWER, 1, 0, 3, COARSE},       {DN_FN_BNLL, 0, 0, 0, NORMAL},
    {DN_FN_ELU, 0.8, 0, 0, COARSE},       {DN_FN_CLIP, -0.5, 1, 0, COARSE},
    {DN_FN_THRESHOLD, 0.5, 0, 0, COARSE}, {DN_FN_SWISH, 1.5, 0, 0, NORMAL},
    {DN_FN_AFFINE, -2, 0.5, 0, NORMAL},   {DN_FN_SQRT, 0, 0, 0, POSITIVE},
    {DN_FN_SIGN, 0, 0, 0, COARSE},        {DN_FN_SELU, 1.6733, 1.0507, 0, NORMAL},
    {DN_FN_SMOOTH_L1, 2, 0, 0, NORMAL},   {DN_FN_HARD_SWISH, 0.2, 0, 0, NORMAL},
    {DN_FN_RELU_TO, 1, 0, 0, COARSE}};
#define NUM_FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

static void function_args(builder *b, const function_row *f)
{
    b->c.args.unary.fn = f->fn;
    b->c.args.unary.a = f->a;
    b->c.args.unary.b = f->b;
    b->c.args.unary.c = f->c;
}

static void unary_cases(builder *b)
{
    for (size_t f = 0; f < NUM_FUNCTIONS; f++)
        for (int n = (int)f % 3; n < NUM_LENGTHS; n += 3) {
            BEGIN(b, DN_OP_UNARY, dn_args_unary);
            function_args(b, &functions[f]);
            in(b, functions[f].fill, SHAPE(builder_lengths[n]));
            out(b, SHAPE(builder_lengths[n]));
            emit_in_place(b, 1, 0);
            emit_narrow_in_place(b, 1, 0, 1, 1);
            b->c.in.fill[0] = WILD;
            emit(b);
        }
}

/* what: 1 with x, 2 with y alone, 3 with both */
static void unary_bwd_case(builder *b, const function_row *f, int64_t n, int what)
{
    BEGIN(b, DN_OP_UNARY_BWD, dn_args_unary);
    function_args(b, f);
    if (what & 1)
        in(b, f->fill, SHAPE(n));
    else
        in_absent(b);
    if (what & 2)
        in(b, f->fill, SHAPE(n));
    else
        in_absent(b);
    in(b, NORMAL, SHAPE(n));
    out(b, SHAPE(n));
    emit_in_place(b, 1, 2);
    emit_narrow_in_place(b, 1, 2, 7, 1);
    b->c.in.fill[2] = SPOILT; /* NaN times 0 is NaN, too */
    emit(b);
    emit_narrow_in_place(b, 0, -1, 7, 1);
    b->c.in.fill[2] = NORMAL;
    b->c.in.fill[what == 2] = WILD;
    emit(b);
}

static void unary_bwd_cases(builder *b)
{
    for (size_t f = 0; f < NUM_FUNCTIONS; f++)
        for (int n = (int)f % 3; n < NUM_LENGTHS; n += 3) {
            unary_bwd_case(b, &functions[f], builder_lengths[n], 1);
            if (DN_FN_FROM_Y >> functions[f].fn & 1)
                unary_bwd_case(b, &functions[f], builder_lengths[n], 2);
        }
}

static void eltwise_cases(builder *b)
{
    for (int32_t op = 0; op <= DN_ELTWISE_DIV; op++)
        for (int n = 0; n < NUM_LENGTHS; n++)
            for (int32_t inputs = 1; inputs <= 4; inputs++) {
                if (op == DN_ELTWISE_DIV && inputs != 2)
                    continue;
                dn_shape shape = SHAPE(builder_lengths[n]);
                BEGIN(b, DN_OP_ELTWISE, dn_args_eltwise);
                b->c.args.eltwise.op = op;
                for (int32_t k = 0; k < inputs; k++) {
                    b->c.args.eltwise.coeff[k] = k == 1 ? -1 : 1 + 0.25 * k * (n % 2);
                    in(b, op == DN_ELTWISE_MAX ? COARSE : POSITIVE, shape);
                }
                out(b, shape);
                emit_in_place(b, 1, inputs - 1);
                emit_narrow_in_place(b, 1, inputs - 1, 15, 1);
                if (op == DN_ELTWISE_MAX) {
                    out_as(b, DN_I32, POISON, shape);
                    emit_in_place(b, 1, 0);
                }
            }
}

static void select_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        BEGIN(b, DN_OP_SELECT, dn_args_select);
        b->c.args.select.index = n % 3;
        in(b, NORMAL, SHAPE(builder_lengths[n]));
        in_whole(b, DN_I32, n < 3 ? 1 + n % 3 : 3, SHAPE(builder_lengths[n]));
        out(b, SHAPE(builder_lengths[n]));
        emit_added(b, 1);
    }
}

static void bcast_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t op = 0; op <= DN_BCAST_MULADD; op++) {
            view w = views[v];
            BEGIN(b, DN_OP_BCAST, dn_args_bcast);
            b->c.args.bcast.op = op;
            b->c.args.bcast.outer = w.outer;
            b->c.args.bcast.dim = w.dim;
            b->c.args.bcast.inner = w.inner;
            in(b, NORMAL, SHAPE(w.outer, w.dim, w.inner));
            in(b, POSITIVE, SHAPE(w.dim));
            if (op == DN_BCAST_MULADD)
                in(b, NORMAL, SHAPE(w.dim));
            out(b, SHAPE(w.outer, w.dim, w.inner));
            emit_in_place(b, 1, 0);
        }
    for (int v = 0; v < NUM_VIEWS; v++) /* a set of channels for each image, and a function */
        for (int32_t op = DN_BCAST_MUL; op <= DN_BCAST_MULADD; op += 2) {
            view w = views[v];
            BEGIN(b, DN_OP_BCAST, dn_args_bcast);
            dn_args_bcast *a = &b->c.args.bcast;
            a->op = op, a->sets = 3;
            a->outer = 3 * w.outer, a->dim = w.dim, a->inner = w.inner;
            a->activation = v % 3 ? DN_FN_RELU : DN_FN_TANH;
            a->activation_a = v % 2 * 0.25;
            in(b, NORMAL, SHAPE(3 * w.outer, w.dim, w.inner));
            in(b, POSITIVE, SHAPE(3, w.dim));
            if (op == DN_BCAST_MULADD)
                in(b, NORMAL, SHAPE(3, w.dim));
            out(b, SHAPE(3 * w.outer, w.dim, w.inner));
            emit_in_place(b, 1, 0);
        }
}

/* keep: bit of each axis (outer, dim, inner) that stays. */
static void reduce_case(builder *b, view v, int32_t op, int keep, bool x2_broadcast)
{
    const int64_t dim[3] = {v.outer, v.dim, v.inner};
    int64_t x_count = 1, y_count = 1, x2_count = 1;
    BEGIN(b, DN_OP_REDUCE, dn_args_reduce);
    dn_args_reduce *a = &b->c.args.reduce;
    a->op = op;
    a->axes = 3;
    a->alpha = keep % 2 ? 1 : 0.5;
    for (int d = 2; d >= 0; d--) {
        a->dim[d] = dim[d];
        a->x_stride[d] = x_count;
        x_count *= dim[d];
        a->x2_stride[d] = x2_broadcast && d != 1 ? 0 : x2_count;
        x2_count *= a->x2_stride[d] ? dim[d] : 1;
        a->y_stride[d] = keep >> d & 1 ? y_count : 0;
        y_count *= keep >> d & 1 ? dim[d] : 1;
    }
    /* what rounding adds grows with the sums on the way, which are about the root of the terms
     */
    b->c.tolerance = 1e-6 * fmax(30, sqrt((double)x_count / (double)y_count));
    in(b, NORMAL, SHAPE(x_count));
    if (op == DN_REDUCE_DOT)
        in(b, NORMAL, SHAPE(x2_count));
    out_as(b, DN_F32, NORMAL, SHAPE(y_count));
    emit_added(b, 1);
}

static void reduce_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t op = 0; op <= DN_REDUCE_DOT; op++)
            for (int keep = 0; keep < 8; keep++) {
                reduce_case(b, views[v], op, keep, false);
                if (op == DN_REDUCE_DOT)
                    reduce_case(b, views[v], op, keep, true);
            }
}

static void dropout_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        dn_shape shape = SHAPE(builder_lengths[n]);
        BEGIN(b, DN_OP_DROPOUT, dn_args_dropout);
        b->c.args.dropout = (dn_args_dropout){b->c.args.base, 0.4, 1 / 0.6, 77 + (uint64_t)n};
        in(b, NORMAL, shape);
        in_state(b);
        out(b, shape);
        out_as(b, DN_U8, POISON, shape);
        emit_in_place(b, 1, 0);
        BEGIN(b, DN_OP_DROPOUT_BWD, dn_args_dropout);
        b->c.args.dropout.ratio = 0.4;
        b->c.args.dropout.scale = 1 / 0.6;
        in(b, NORMAL, shape);
        in_whole(b, DN_U8, 2, shape);
        out(b, shape);
        emit_in_place(b, 1, 0);
    }
}

static void prelu_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t shared = 0; shared < 2; shared++) {
            view w = views[v];
            dn_shape shape = SHAPE(w.outer, w.dim, w.inner);
            BEGIN(b, DN_OP_PRELU, dn_args_prelu);
            b->c.args.prelu =
                (dn_args_prelu){b->c.args.base, shared, 0, w.outer, w.dim, w.inner};
            in(b, COARSE, shape);
            in(b, NORMAL, SHAPE(shared ? 1 : w.dim));
            out(b, shape);
            emit_in_place(b, 1, 0);
            b->c.kind = DN_OP_PRELU_BWD;
            in(b, NORMAL, shape);
            emit_in_place(b, 1, 2); /* dx alone */
            out(b, SHAPE(shared ? 1 : w.dim));
            /* of up to 30840 terms, whose sums on the way are near 200 */
            b->c.tolerance = shared ? 1e-4 : 3e-5;
            emit_in_place(b, 3, 2);
            b->c.out.operand[0].dtype = -1; /* dslope alone */
            emit_added(b, 2);
        }
}

static void cast_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++)
        for (int32_t from = DN_F32; from <= DN_U8; from++)
            for (int32_t to = DN_F32; to <= DN_U8; to++) {
                bool whole = from > DN_F64 || to > DN_BF16;
                BEGIN(b, DN_OP_CAST, dn_args);
                if (whole)
                    in_whole(b, from, 200, SHAPE(builder_lengths[n]));
                else
                    add_operand(&b->c.in, from, NORMAL, 0, SHAPE(builder_lengths[n]));
                out_as(b, to, POISON, SHAPE(builder_lengths[n]));
                emit(b);
            }
}

static void norm_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        BEGIN(b, DN_OP_SUMSQ_ALL, dn_args);
        b->c.tolerance = 3e-5;
        for (int32_t k = 0; k <= n % 4; k++)
            in(b, NORMAL, SHAPE(builder_lengths[(n + 5 * k) % NUM_LENGTHS]));
        out(b, SHAPE(1));
        emit_added(b, 1);
        b->c.in.count = 0;
        for (int32_t k = 0; k < DN_MAX_OPERANDS; k++) /* as many as there may be, some empty */
            in(b, NORMAL, SHAPE(k % 5 ? builder_lengths[(n + 3 * k) % NUM_LENGTHS] : 0));
        emit(b);
        BEGIN(b, DN_OP_SCALE_CLIP, dn_args_scale_clip);
        b->c.args.scale_clip.clip = n % 3 ? 0.3 : 5;
        in(b, POSITIVE, SHAPE(1));
        for (int32_t k = 0; k <= n % 2; k++)
            out_as(b, DN_F32, NORMAL, SHAPE(builder_lengths[n]));
        emit(b);
    }
}

/* Sums that share an element of y: element (i, k) of them is added to y[i + k]. */
static void diagonal_cases(builder *b)
{
    const int64_t lengths[] = {0, 1, 3, 70, 5000};
    for (int n = 0; n < 5; n++)
        for (int32_t op = 0; op <= DN_REDUCE_DOT; op++) {
            BEGIN(b, DN_OP_REDUCE, dn_args_reduce);
            b->c.args.reduce = (dn_args_reduce){.base = b->c.args.base,
                                                .op = op,
                                                .axes = 3,
                                                .alpha = 0.5,
                                                .dim = {5, 4, lengths[n]},
                                                .x_stride = {4 * lengths[n], lengths[n], 1},
                                                .x2_stride = {0, lengths[n], 1},
                                                .y_stride = {1, 1, 0}};
            b->c.tolerance = 1e-6 * fmax(30, sqrt((double)lengths[n]));
            in(b, NORMAL, SHAPE(20 * lengths[n]));
            if (op == DN_REDUCE_DOT)
                in(b, NORMAL, SHAPE(4 * lengths[n]));
            out_as(b, DN_F32, NORMAL, SHAPE(8));
            emit_added(b, 1);
        }
}

static dn_status twice(void *user, void *const *in, void *const *out)
{
    const int32_t *x = in[0];
    int32_t *y = out[0];
    for (int64_t i = 0; i < *(const int64_t *)user; i++)
        y[i] = 2 * x[i];
    return DN_OK;
}

static void host_call_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        int64_t length = builder_lengths[n];
        BEGIN(b, DN_OP_HOST_CALL, dn_args_host_call);
        b->c.args.host_call.fn = twice;
        b->c.args.host_call.user = &length;
        in_whole(b, DN_I32, 1000, SHAPE(length));
        out_as(b, DN_I32, POISON, SHAPE(length));
        emit(b);
    }
}

void cases_elementwise(case_fn fn, void *user)
{
    int32_t number = 1000000;
    builder b = {.fn = fn, .user = user, .number = &number};
    fill_cases(&b);
    random_cases(&b);
    copy_cases(&b);
    unary_cases(&b);
    unary_bwd_cases(&b);
    eltwise_cases(&b);
    select_cases(&b);
    bcast_cases(&b);
    reduce_cases(&b);
    dropout_cases(&b);
    prelu_cases(&b);
    cast_cases(&b);
    norm_cases(&b);
    host_call_cases(&b);
    diagonal_cases(&b);
}
