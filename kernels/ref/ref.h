/* SPDX-License-Identifier: BSD-2-Clause
 * ref.h: what the loops of this folder share. Sums over many elements are kept in double and
 * rounded once: that is part of their definition. Loops over single elements are compiled
 * twice, for float and (REF_DOUBLE) for double: `real` is the element, REF(name) that build's
 * name. Those that compute in double anyway, and are not what a net waits for, have that build
 * alone, to which floats are widened (narrow.c). */
#ifndef DN_KERNELS_REF_H
#define DN_KERNELS_REF_H

#include <float.h>
#include <stdbool.h>
#include <tgmath.h>
#undef I /* of complex.h; here it counts the elements of a plane */

#include "deepnet/sys/backend.h"
#include "deepnet/sys/boxes.h"
#include "deepnet/sys/random.h"
#include "window.h"

#ifdef REF_DOUBLE
typedef double real;
#define REF(name) name##_f64
#else
typedef float real;
#define REF(name) name##_f32
#endif

typedef union ref_args {
    dn_args base;
    dn_args_fill fill;
    dn_args_random random;
    dn_args_copy copy;
    dn_args_unary unary;
    dn_args_eltwise eltwise;
    dn_args_select select;
    dn_args_bcast bcast;
    dn_args_reduce reduce;
    dn_args_gemm gemm;
    dn_args_conv conv;
    dn_args_pool pool;
    dn_args_lrn lrn;
    dn_args_batch_norm batch_norm;
    dn_args_mvn mvn;
    dn_args_axis axis;
    dn_args_loss loss;
    dn_args_accuracy accuracy;
    dn_args_argmax argmax;
    dn_args_dropout dropout;
    dn_args_prelu prelu;
    dn_args_gather gather;
    dn_args_lstm lstm;
    dn_args_update update;
    dn_args_scale_clip scale_clip;
    dn_args_host_call host_call;
    dn_args_norm_scale norm_scale;
    dn_args_roi roi;
    dn_args_rank rank;
    dn_args_yolo_loss yolo_loss;
    dn_args_multi_box multi_box;
    dn_args_detect detect;
    dn_args_overlap overlap;
    dn_args_ctc ctc;
    dn_args_targets targets;
    dn_args_lattice lattice;
} ref_args;

typedef struct ref_operand {
    dn_operand info; /* as the loops see it */
    int32_t stored;  /* its type in memory */
    int64_t count;
} ref_operand;

struct ref_kind;

struct dn_op {
    const dn_backend_host *host;
    const struct ref_kind *kind;
    ref_operand *in, *out;
    int32_t num_inputs, num_outputs;
    int32_t wide; /* 1: the loops of doubles */
    bool narrow;  /* some operand is stored in fewer bits than the loops want */
    ref_args args;
    ref_window window;     /* convolutions and poolings */
    size_t scratch;        /* bytes, set by check */
    ref_operand operand[]; /* inputs, then outputs */
};

/* One kind of op. Operands, one letter each, inputs ':' outputs: T the net's type, M an I32
 * mask, X and N the same two where the layout may be NHWC, B a U8 mask, S random state, D
 * doubles, A any type; lower case: may be absent; last '+': one or more. */
typedef struct ref_kind {
    const char *name, *operands;
    uint32_t args_size, accumulate; /* accumulate: outputs that can be added to */
    dn_status (*check)(dn_op *op);  /* once: nothing that run reads or writes is outside */
    /* Of floats, of doubles; without the former floats are widened. */
    dn_status (*run[2])(const dn_op *op, const dn_op_io *io);
} ref_kind;

/* Every kind: its number and the name of its ref_kind (and of its loops). */
/* clang-format off */
#define REF_KINDS(X)                                                                           \
    X(FILL, fill) X(RANDOM, random) X(COPY, copy) X(UNARY, unary) X(UNARY_BWD, unary_bwd)      \
    X(ELTWISE, eltwise) X(SELECT, select) X(BCAST, bcast) X(REDUCE, reduce) X(GEMM, gemm)      \
    X(CONV, conv) X(CONV_BWD_DATA, conv_bwd_data) X(CONV_BWD_WEIGHTS, conv_bwd_weights)        \
    X(IM2COL, im2col) X(COL2IM, col2im) X(POOL, pool) X(POOL_BWD, pool_bwd) X(LRN, lrn)        \
    X(LRN_BWD, lrn_bwd) X(BATCH_NORM, batch_norm) X(BATCH_NORM_BWD, batch_norm_bwd)            \
    X(MVN, mvn) X(MVN_BWD, mvn_bwd) X(SOFTMAX, softmax) X(SOFTMAX_BWD, softmax_bwd)            \
    X(LOSS, loss) X(LOSS_BWD, loss_bwd) X(ACCURACY, accuracy) X(ARGMAX, argmax)                \
    X(DROPOUT, dropout) X(DROPOUT_BWD, dropout_bwd) X(PRELU, prelu) X(PRELU_BWD, prelu_bwd)    \
    X(GATHER, gather) X(SCATTER_ADD, scatter_add) X(LSTM_UNIT, lstm_unit)                      \
    X(LSTM_UNIT_BWD, lstm_unit_bwd) X(UPDATE, update) X(CAST, cast) X(HOST_CALL, host_call)    \
    X(SUMSQ_ALL, sumsq_all)                                                                    \
    X(SCALE_CLIP, scale_clip) X(NORM_SCALE, norm_scale) X(NORM_SCALE_BWD, norm_scale_bwd)      \
    X(ROI_POOL, roi_pool) X(ROI_POOL_BWD, roi_pool_bwd) X(RANK, rank)                          \
    X(YOLO_LOSS, yolo_loss) X(MULTI_BOX, multi_box) X(DETECT, detect)                          \
    X(OVERLAP, overlap) X(CTC, ctc) X(TARGETS, targets) X(LATTICE, lattice)                   \
    X(LATTICE_FILTER, lattice_filter)
/* clang-format on */

/* The description of a kind is float's; double's build has the loops alone:
 * REF_KIND(lrn) = {..., check_lrn, REF_RUNS(lrn)}; */
#ifdef REF_DOUBLE
#define REF_KIND(name) __attribute__((unused)) static const ref_kind name##_kind
#else
#define REF_KIND(name) const ref_kind ref_##name
#endif
#define REF_RUNS(name)                                                                         \
    {                                                                                          \
        ref_run_##name##_f32, ref_run_##name##_f64                                             \
    }
#define REF_WIDE(name)                                                                         \
    {                                                                                          \
        NULL, ref_run_##name##_f64                                                             \
    }
#define REF_DECLARE(number, name)                                                              \
    extern const ref_kind ref_##name;                                                          \
    dn_status ref_run_##name##_f32(const dn_op *op, const dn_op_io *io);                       \
    dn_status ref_run_##name##_f64(const dn_op *op, const dn_op_io *io);
REF_KINDS(REF_DECLARE)

/* ---- narrow.c: compiled once ------------------------------------------------------------- */

size_t ref_narrow_scratch(const dn_op *op); /* all that the op needs */
dn_status ref_narrow_run(dn_op *op, const dn_op_io *io);

/* ---- check.c: compiled once -------------------------------------------------------------- */

/* A failure that names the op: ref_fail(op, DN_E_SHAPE, "k is %d", k). */
#define ref_fail(op, status, format, ...)                                                      \
    (op)->host->fail(status, "%s: " format, (op)->kind->name, __VA_ARGS__)

bool ref_has_in(const dn_op *op, int32_t i);
bool ref_has_out(const dn_op *op, int32_t i);
/* An optional operand's pointer, NULL where absent. */
void *ref_in(const dn_op *op, const dn_op_io *io, int32_t i);
void *ref_out(const dn_op *op, const dn_op_io *io, int32_t i);
/* The operand has exactly `count` elements, or is absent. */
dn_status ref_need_in(const dn_op *op, int32_t i, int64_t count);
dn_status ref_need_out(const dn_op *op, int32_t i, int64_t count);
/* All operands that the kind lists, in its order: how many elements each has, REF_ANY where
 * that is its own matter. */
enum { REF_ANY = -1 };
dn_status ref_need_all(const dn_op *op, const int64_t *counts);
#define REF_NEED(op, ...) ref_need_all(op, (const int64_t[]){__VA_ARGS__})
/* *count = a * b * c, refused when one is negative or the product does not fit. */
dn_status ref_count3(const dn_op *op, int64_t a, int64_t b, int64_t c, int64_t *count);
/* Offset + index * stride stays within [0, count) for every index in dim. */
dn_status ref_need_strided(const dn_op *op, const char *what, int32_t axes, const int64_t *dim,
                           const int64_t *stride, int64_t offset, int64_t count);
/* Several checks in a row: the first failure is the answer. */
#define REF_TRY(expression)                                                                    \
    do {                                                                                       \
        dn_status try_status = (expression);                                                   \
        if (try_status != DN_OK)                                                               \
            return try_status;                                                                 \
    } while (0)

/* ---- order.c: compiled once ---------------------------------------------------------------
 */

typedef struct ref_scored {
    double score;
    int64_t index;
} ref_scored;

/* Highest score first, NaN as -inf; equal scores in the order of index. */
void ref_sort(ref_scored *list, int64_t count);
/* Keeps, of list sorted, the `most` first that overlap no one kept by more than nms, which
 * falls by eta < 1 after each, down to 0.5; one: what is added to a length. How many are kept.
 */
int64_t ref_suppress(ref_scored *list, int64_t count, const dn_box *boxes, double nms,
                     double eta, double one, int64_t most);

/* ---- for the loops ----------------------------------------------------------------------- */

static inline bool ref_adds(const dn_op *op, int32_t output)
{
    return op->args.base.accumulate >> output & 1;
}

/* unary.c: f(x) of DN_FN_*. */
real REF(ref_function)(int32_t fn, real x, real a, real b, real c);

/* Writes a result, or adds it. */
static inline void put(real *y, bool add, double value)
{
    *y = (real)(add ? *y + value : value);
}

/* Writes f(result), or f(y + result). */
static inline void put_through(real *y, bool add, double value, int32_t fn, double a)
{
    double sum = add ? *y + value : value;
    *y = fn == DN_FN_NONE ? (real)sum : REF(ref_function)(fn, (real)sum, (real)a, 0, 0);
}

/* Sums that are made side by side: one waits for itself only, not for the others. */
enum { REF_SUMS = 8 };

/* sum[i] += a * b[i * stride] */
static inline void add_products(double *sum, int64_t count, double a, const real *b,
                                int64_t stride)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += a * b[i * stride];
}

/* Where element (n, c, i) of an image lies, i counted over the spatial axes: n * this.n + ...
 */
typedef struct ref_image {
    int64_t n, c, i;
} ref_image;

static inline ref_image ref_image_of(const dn_shape *s, int32_t layout)
{
    int64_t C = s->dim[1], I = 1;
    for (int32_t d = 2; d < s->axes; d++)
        I *= s->dim[d];
    if (layout == DN_LAYOUT_NHWC)
        return (ref_image){C * I, 1, C};
    return (ref_image){C * I, I, 1};
}

/* The uniform number of element i under a random state {seed, step}. */
static inline float ref_unit(const int64_t *state, uint64_t stream, int64_t i)
{
    uint32_t word[4];
    dn_random_block(word, (uint64_t)state[0], stream, (uint64_t)state[1], (uint64_t)i / 4);
    return dn_random_unit(word[i % 4]);
}

/* unary.c: f' of DN_FN_* in terms of y, for those in DN_FN_FROM_Y. */
real REF(ref_slope_from_y)(int32_t fn, real y, real a, real b);
/* There is such a function. */
dn_status ref_need_activation(const dn_op *op, int32_t fn);

#endif
