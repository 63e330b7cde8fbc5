/* SPDX-License-Identifier: BSD-2-Clause
 * cuda.h: what the files of this folder share. An op keeps a copy of its arguments and
 * operands; its kind says how it is prepared (accept or decline, scratch) and run (launches
 * only). `ref` is the judge of arguments: an op that it would refuse never gets this far. */
#ifndef DN_KERNELS_CUDA_H
#define DN_KERNELS_CUDA_H

#include <stdbool.h>
#include <stddef.h>

#include "deepnet/sys/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a kernel found wrong with the data. It lies in memory that host and device both see. */
enum {
    CUDA_FAULT_NONE = 0,
    CUDA_FAULT_LABEL = 1,
    CUDA_FAULT_INDEX = 2,
    CUDA_FAULT_REGION = 3,
    CUDA_FAULT_TRUTH = 4
};
typedef struct cuda_fault {
    int32_t what;
    float value;
    int64_t item, limit;
} cuda_fault;

typedef struct cuda_device cuda_device;         /* device.h */
typedef struct cuda_dnn_conv cuda_dnn_conv;     /* dnn.c */
typedef struct cuda_lt_product cuda_lt_product; /* lt.c */
typedef struct cuda_chain cuda_chain;           /* chain.cu */
typedef struct cuda_tape cuda_tape;             /* lanes.c */

struct dn_backend {
    dn_backend_host host;
    dn_backend *ref; /* checks arguments */
    cuda_fault *fault;
    void *stream;
    int32_t processors; /* multiprocessors of the device */
    /* What it can do at best, by its data sheet: f32 operations, of tensor cores in TF32 (0: it
     * has none), bytes from memory. 0: not known. */
    double flops_per_ns, tensor_per_ns, bytes_per_ns;
    cuda_device *device; /* NULL: kernels were compiled as plain C */
    cuda_chain *chain;   /* small ops of what is recorded that are not launched yet */
    cuda_tape *tape;     /* what is recorded; */
    bool recording;      /* it is */
};

typedef union cuda_args {
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
    dn_args_norm_scale norm_scale;
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
    dn_args_roi roi;
    dn_args_rank rank;
    dn_args_yolo_loss yolo_loss;
    dn_args_multi_box multi_box;
    dn_args_detect detect;
    dn_args_overlap overlap;
    dn_args_ctc ctc;
    dn_args_targets targets;
    dn_args_lattice lattice;
} cuda_args;

typedef struct cuda_operand {
    dn_operand info;
    int64_t count;
} cuda_operand;

struct cuda_kind;

struct dn_op {
    dn_backend *backend;
    const struct cuda_kind *kind;
    cuda_args args;
    size_t scratch; /* bytes, set by prepare */
    size_t keep;    /* likewise; not 0: constant inputs are packed there by `pack` */
    uint32_t constant;
    int32_t num_inputs, num_outputs;
    int32_t choice;      /* the kind's own: which of its kernels */
    bool blas;           /* cuBLAS does it */
    bool unordered;      /* what it sums comes in any order: only with allow_nondeterministic */
    int32_t compute;     /* DN_COMPUTE_* that its products are done in */
    cuda_dnn_conv *dnn;  /* cuDNN does it; NULL: a kernel of ours */
    cuda_lt_product *lt; /* cuBLASLt does it, where it lies well for it; else cuBLAS */
    const char *absent; /* why cuDNN does not do it; NULL: it does, or it was not asked */
    cuda_operand *in, *out;
};

typedef struct cuda_kind {
    const char *name;
    size_t args_size;
    /* Once: DN_OK, or cuda_decline. NULL: always takes it, without scratch. */
    dn_status (*prepare)(dn_op *op, dn_op_info *info);
    dn_status (*run)(const dn_op *op, const dn_op_io *io);
    /* Operands that may be bf16: bit i input i, bit 16 + i output i. */
    uint32_t narrow;
    /* Before the first run and after constant inputs changed, where there is something to keep.
     */
    dn_status (*pack)(const dn_op *op, const dn_op_io *io);
    uint32_t wide; /* operands that are doubles, as in narrow */
    /* `run` as two, of which neither needs the other: what goes to output 0, and the rest.
     * NULL: it is one. */
    dn_status (*run_part)(const dn_op *op, const dn_op_io *io, int32_t part);
} cuda_kind;

#define CUDA_NARROW(in, out) ((uint32_t)(in) | (uint32_t)(out) << 16)

/* Every kind: its number and the name of its cuda_kind. */
#define CUDA_KINDS(X)                                                                          \
    X(FILL, fill)                                                                              \
    X(RANDOM, random)                                                                          \
    X(COPY, copy)                                                                              \
    X(UNARY, unary)                                                                            \
    X(UNARY_BWD, unary_bwd)                                                                    \
    X(ELTWISE, eltwise)                                                                        \
    X(SELECT, select)                                                                          \
    X(BCAST, bcast)                                                                            \
    X(REDUCE, reduce)                                                                          \
    X(GEMM, gemm)                                                                              \
    X(CONV, conv)                                                                              \
    X(CONV_BWD_DATA, conv_bwd_data)                                                            \
    X(CONV_BWD_WEIGHTS, conv_bwd_weights)                                                      \
    X(IM2COL, im2col)                                                                          \
    X(COL2IM, col2im)                                                                          \
    X(POOL, pool)                                                                              \
    X(POOL_BWD, pool_bwd)                                                                      \
    X(LRN, lrn)                                                                                \
    X(LRN_BWD, lrn_bwd)                                                                        \
    X(BATCH_NORM, batch_norm)                                                                  \
    X(BATCH_NORM_BWD, batch_norm_bwd)                                                          \
    X(MVN, mvn)                                                                                \
    X(MVN_BWD, mvn_bwd)                                                                        \
    X(SOFTMAX, softmax)                                                                        \
    X(SOFTMAX_BWD, softmax_bwd)                                                                \
    X(LOSS, loss)                                                                              \
    X(LOSS_BWD, loss_bwd)                                                                      \
    X(ACCURACY, accuracy)                                                                      \
    X(ARGMAX, argmax)                                                                          \
    X(DROPOUT, dropout)                                                                        \
    X(DROPOUT_BWD, dropout_bwd)                                                                \
    X(PRELU, prelu)                                                                            \
    X(PRELU_BWD, prelu_bwd)                                                                    \
    X(GATHER, gather)                                                                          \
    X(SCATTER_ADD, scatter_add)                                                                \
    X(LSTM_UNIT, lstm_unit)                                                                    \
    X(LSTM_UNIT_BWD, lstm_unit_bwd)                                                            \
    X(UPDATE, update)                                                                          \
    X(CAST, cast)                                                                              \
    X(SUMSQ_ALL, sumsq_all)                                                                    \
    X(SCALE_CLIP, scale_clip)                                                                  \
    X(NORM_SCALE, norm_scale)                                                                  \
    X(NORM_SCALE_BWD, norm_scale_bwd)                                                          \
    X(ROI_POOL, roi_pool)                                                                      \
    X(ROI_POOL_BWD, roi_pool_bwd)                                                              \
    X(RANK, rank)                                                                              \
    X(YOLO_LOSS, yolo_loss)                                                                    \
    X(MULTI_BOX, multi_box)                                                                    \
    X(DETECT, detect)                                                                          \
    X(OVERLAP, overlap)                                                                        \
    X(CTC, ctc)                                                                                \
    X(TARGETS, targets)                                                                        \
    X(LATTICE, lattice)                                                                        \
    X(LATTICE_FILTER, lattice_filter)

#define CUDA_DECLARE(number, name) extern const cuda_kind cuda_##name;
CUDA_KINDS(CUDA_DECLARE)
#undef CUDA_DECLARE

/* ---- backend.c --------------------------------------------------------------------------- */

/* op_create and op_destroy of every table that is made of these kinds. */
dn_status cuda_op_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info);
void cuda_op_destroy(dn_op *op);
/* The table's op_describe. */
void cuda_op_describe(dn_op *op, char *buffer, size_t size);
dn_status cuda_decline(dn_op_info *info, const char *reason);
/* The fault that a kernel noted, as a status with words; forgotten then. */
dn_status cuda_take_fault(dn_backend *backend);

/* cost.c: nanoseconds that a run is expected to take; 0: not known. */
double cuda_cost(const dn_op *op);
double cuda_time(const dn_op *op, int32_t part); /* likewise, of any op; never 0 */

/* ---- for kinds --------------------------------------------------------------------------- */

static inline bool cuda_has_in(const dn_op *op, int32_t i)
{
    return i < op->num_inputs && op->in[i].info.dtype >= 0;
}

static inline bool cuda_has_out(const dn_op *op, int32_t i)
{
    return i < op->num_outputs && op->out[i].info.dtype >= 0;
}

/* An operand's pointer, NULL where it is absent. */
static inline const float *cuda_in(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return cuda_has_in(op, i) ? (const float *)io->in[i] : NULL;
}

static inline float *cuda_out(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return cuda_has_out(op, i) ? (float *)io->out[i] : NULL;
}

static inline int32_t cuda_adds(const dn_op *op, int32_t output)
{
    return (int32_t)(op->args.base.accumulate >> output & 1);
}

/* norm.cu: y[d] = (added to it) the sum of x (narrow: bf16) over outer and inner; scratch as
 * cuda_channel_scratch says. In a fixed order, whatever the device. */
size_t cuda_channel_scratch(int64_t outer, int64_t dim, int64_t inner);
void cuda_channel_sum(const dn_op *op, void *scratch, const void *x, bool narrow, int64_t outer,
                      int64_t dim, int64_t inner, int32_t add, float *y);

/* chain.cu: what is taken is launched by the next cuda_chain_run, all in one. False: launch it
 * by itself, after that. */
#define CUDA_CHAIN_MOST 8
cuda_chain *cuda_chain_make(dn_backend *backend);
/* Before anything is recorded: a kernel is loaded by its first launch, which may wait for the
 * device. */
void cuda_chain_load(dn_backend *backend);
bool cuda_chain_may(const dn_op *op, const dn_op_io *io); /* would it be taken? */
bool cuda_chain_take(cuda_chain *c, const dn_op *op, const dn_op_io *io);
void cuda_chain_run(cuda_chain *c);

/* blas.c: C = alpha op(A) op(B) (+ C with add) through cuBLAS; row-major as dn_args_gemm says,
 * pointers with offsets applied; narrow: A and B are bf16. False: there is no cuBLAS. */
bool cuda_has_blas(const dn_backend *backend);
dn_status cuda_blas_gemm(dn_backend *backend, const dn_args_gemm *a, int32_t compute,
                         const void *A, const void *B, bool narrow, float *C, bool add);

/* lt.c: GEMM with its bias and ReLU in one launch. Where cuBLASLt takes it op->lt is set. Run:
 * DN_DECLINED where it will not have these pointers, and nothing was done. */
dn_status cuda_lt_take(dn_op *op);
void cuda_lt_drop(dn_op *op);
bool cuda_lt_refused(const dn_op *op); /* by itself: cuBLAS does it for good */
dn_status cuda_lt_run(const dn_op *op, const float *A, const float *B, const float *bias,
                      float *C);

#ifdef __cplusplus
}
#endif
#endif
