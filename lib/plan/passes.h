/* SPDX-License-Identifier: BSD-2-Clause
 * passes.h: rewriting a program before it is compiled. A pass takes a program to one that gives
 * the same values with less work; a new one is a file and a row in passes.c. While it runs, it
 * is noted which ops touch which storage (facts.h). */
#ifndef DNI_PASSES_H
#define DNI_PASSES_H

#include "plan/facts.h"

typedef struct dni_rewrite {
    dn_context *context;
    dni_program *program; /* the plan's own copy */
} dni_rewrite;

/* All passes, in order. */
dn_status dni_rewrite_program(dni_rewrite *r);

dn_status dni_split_values(dni_rewrite *r); /* values.c: no value shares memory with another */
dn_status dni_drop_copies(dni_rewrite *r);  /* drop_copies.c: copies that are only a name */
dn_status dni_widen_lines(dni_rewrite *r);  /* lines.c: one spatial axis becomes two */
dn_status dni_fuse_norms(dni_rewrite *r);   /* fuse_norms.c: BatchNorm + Scale */
dn_status dni_fold_norms(dni_rewrite *r);   /* fold_norms.c: into weights, in TEST */
dn_status dni_fuse_sums(dni_rewrite *r);    /* fuse_sums.c: sums into what makes a summand */
dn_status dni_fuse_swish(dni_rewrite *r);   /* fuse_swish.c: hard swish of several layers */
dn_status
dni_fuse_activations(dni_rewrite *r); /* fuse_activations.c: y = f(x) into x's maker */

/* pool_gradients.c: through functions before MAX pooling, taken after it */
dn_status dni_pool_functions(dni_rewrite *r);
dn_status dni_choose_layouts(dni_rewrite *r); /* layout.c: NHWC where that is faster */
/* choose.c: where no backend multiplies in what the program asks for, it is one of f32 */
dn_status dni_settle_compute(dni_rewrite *r);
dn_status dni_pass_norms(dni_rewrite *r); /* pass_norms.c: into the convolutions that read y */
dn_status dni_join_gradients(dni_rewrite *r);    /* join_gradients.c: dx and dw of one op */
dn_status dni_pool_weights(dni_rewrite *r);      /* pool_gradients.c: dw from a pooled dy */
dn_status dni_pass_sums(dni_rewrite *r);         /* pass_sums.c: of norms, by what they read */
dn_status dni_choose_types(dni_rewrite *r);      /* types.c: bf16 where compute says so */
dn_status dni_put_off_gradients(dni_rewrite *r); /* late.c: what an update may make, last */

/* An op on trial: a copy whose arguments can be changed without touching the program's. */
typedef struct dni_trial {
    dni_op op;
    union {
        dn_args base;
        dn_args_gemm gemm;
        dn_args_conv conv;
        dn_args_pool pool;
        dn_args_reduce reduce;
        dn_args_copy copy;
        dn_args_unary unary;
        dn_args_bcast bcast;
        dn_args_norm_scale norm_scale;
        unsigned char bytes[512];
    } args;
} dni_trial;
void dni_trial_of(dni_trial *trial, const dni_op *op);
/* The op at `index` becomes what the trial is (of the same kind). */
dn_status dni_trial_adopt(const dni_trial *trial, dni_program *p, size_t index);
/* Takes the op out of the program; swept after the pass. */
void dni_kill(dni_op *op);

/* The first op that touches root writes it, by itself. */
bool dni_starts_written(const dni_program *p, dni_tensor root);

/* Would the chain take `op` as well as it takes ops [0, num) of `replaced`: not by its last
 * resort alone, and not at a higher cost? *accepted is the answer. */
dn_status dni_accepts(const dni_rewrite *r, const dni_op *op, const dni_op *const *replaced,
                      int32_t num, bool *accepted);
/* Are ops [0, num) (NULL: none) known to cost less than those of `replaced`, none by the last
 * resort? */
dn_status dni_saves(const dni_rewrite *r, const dni_op *const *ops,
                    const dni_op *const *replaced, int32_t num, bool *saves);

#endif
