/* SPDX-License-Identifier: BSD-2-Clause
 * harness.h: one case of the kernel check: an op, its operands, how they are filled, and how
 * far a float result may be from the double one of `ref`. */
#ifndef DN_TESTS_KERNELS_HARNESS_H
#define DN_TESTS_KERNELS_HARNESS_H

#include <stdbool.h>

#include "deepnet/sys/backend.h"

enum {              /* how an operand is filled; `limit` where it says n */
       POISON,      /* outputs that are only written: NaN */
       NORMAL,      /* gaussian */
       COARSE,      /* multiples of a half: many ties */
       POSITIVE,    /* [0.5, 1.5) */
       SHARE,       /* (0, 1) */
       WHOLE,       /* whole numbers in [0, n) */
       WINDOW_MASK, /* of POOL_BWD: a pixel of the element's window (or bin), or -1; or of n, or outside */
       STATE,       /* a seed and a step */
       SPOILT,      /* gaussian, one in 16 NaN */
       REGIONS,     /* of ROI_POOL: items and corners, in and about the map */
       TRUTHS,      /* of YOLO_LOSS: class, centre and size; one row in 16 is the end */
       PRIORS,      /* of MULTI_BOX: corners, some beyond the image, then variances */
       OBJECTS,     /* of MULTI_BOX: true boxes of n - 1 classes and a background */
       LATTICE,     /* of LATTICE_FILTER: a table */
       WILD         /* gaussian, every second one NaN, infinite, zero, subnormal or far off */
};

typedef union case_args {
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
} case_args;

enum { MOST_OPERANDS = 200 }; /* of a side of a case: UPDATE has many outputs */

typedef struct side {
    int32_t count;
    dn_operand operand[MOST_OPERANDS];
    int32_t fill[MOST_OPERANDS];
    int64_t limit[MOST_OPERANDS];
} side;

typedef struct kernel_case {
    int32_t kind;
    case_args args;
    side in, out;
    uint32_t constant; /* bit i: input i is announced as constant */
    int32_t compute; /* DN_COMPUTE_*; of BF16, of operands in it, and of TF32, inputs are such
                        numbers */
    int32_t alias;   /* the input that output 0 is, or -1 */
    double tolerance; /* relative to the largest element of the operand, at least 1; 0: rounded
                       * once, the same bits */
    int32_t number;   /* counted over all cases: part of the random stream */
} kernel_case;

typedef void (*case_fn)(const kernel_case *c, void *user);

/* cases_*.c: calls fn for every row of the table. */
void cases_elementwise(case_fn fn, void *user);
void cases_spatial(case_fn fn, void *user);
void cases_network(case_fn fn, void *user);
void cases_tf32(case_fn fn, void *user);
/* Of so many convolutions, products and poolings by chance. */
void cases_random(case_fn fn, void *user, uint64_t seed, int count);

/* harness.c: a case's numbers, and what ref makes of them: once for all candidates. */
typedef struct subject subject;
subject *subject_new(const kernel_case *c, uint64_t seed);
void subject_free(subject *s);

/* What happened, with the reason in words. */
enum { CASE_PASSED, CASE_DECLINED, CASE_FAILED };
int check_case(subject *s, const dn_backend_ops *ref, const dn_backend_ops *candidate,
               char *reason, size_t size);
/* The same numbers from two backends, but where gradients are added into an image by
 * gemm+col2im (counted as declined). */
int same_case(subject *s, const dn_backend_ops *one, const dn_backend_ops *other, char *reason,
              size_t size);
/* Makes and runs the op, of zeros: for a candidate that does not launch anything now. */
void rehearse_case(const kernel_case *c, const dn_backend_ops *candidate);
/* From here on devices have no guards around operands: for one that holds each access against
 * the bounds of its piece of memory. */
void check_unguarded(void);
/* Closes the device that check_case keeps open. */
void check_close(void);
/* False: a device that was opened does nothing any more. */
bool check_lives(void);
const char *kind_name(int32_t kind);
/* operands.c */
int64_t operand_count(const dn_operand *operand);
size_t operand_bytes(const dn_operand *operand);

/* host.c: a host that counts, whose workers take the tasks in an order of its own. */
enum { MAX_HOST_THREADS = 3 };
void host_init(dn_backend_host *host, int32_t num_threads);
const char *host_message(void);
int64_t host_live_allocations(void);
int64_t host_spoilt_allocations(void); /* written past their end */

/* liar.c: ref, but every result is wrong in one way. */
enum {
    LIE_NEGATED,
    LIE_OFF_BY_ONE,
    LIE_OVERRUN,
    LIE_SCRATCH,
    LIE_KEEP,
    LIE_THREADS,
    LIE_STALE, /* constant inputs stay what they were at the first op_prepare */
    LIE_COUNT
};
const dn_backend_ops *liar(const dn_backend_ops *ref, int lie);

#endif
