/* SPDX-License-Identifier: BSD-2-Clause
 * narrow.h: ops on bf16 activations that oneDNN has no primitive for, or not with Caffe's
 * meaning: read as bf16, computed in f32, rounded to nearest even. Images are NHWC: channels
 * are the vectors. narrow_kernels.c alone is compiled for AVX512_BF16; where the compiler lacks
 * it none of this is built, where the machine does all of it is declined. */
#ifndef ONEDNN_NARROW_H
#define ONEDNN_NARROW_H

#include "onednn.h"

typedef uint16_t one_bf16;

#define ONE_BYTES_PER_NS 10.0 /* moved by ops that do little else; Zen 4, one core */

one_create_fn one_narrow_cast, one_narrow_copy, one_narrow_unary, one_narrow_unary_bwd,
    one_narrow_sum, one_narrow_pool, one_narrow_norm, one_narrow_norm_bwd, one_narrow_lrn,
    one_few_op;

/* ---- narrow.c: what the ops share -------------------------------------------------------- */

/* Is some operand bf16, on a machine that has bf16? */
bool one_is_narrow(const dn_backend *backend, const dn_op_desc *desc);
/* Bits as in relayout: inputs in the low half, outputs in the high half. Those whose bit is set
 * are bf16 of this layout or absent, the others plain and not bf16. */
bool one_narrow_fits(const dn_op_desc *desc, uint32_t bits, int32_t layout);
int64_t one_count(const dn_operand *operand);
/* Says name and cost of an op that moves its operands once. */
void one_narrow_info(const dn_op_desc *desc, dn_op_info *info, const char *name);
int64_t one_tasks(int64_t elements); /* worth waking workers for */
/* Task `task` of `tasks` has [from, to) of n. */
static inline void one_split(int64_t n, int64_t tasks, int64_t task, int64_t *from, int64_t *to)
{
    *from = n * task / tasks;
    *to = n * (task + 1) / tasks;
}

/* ---- narrow_kernels.c -------------------------------------------------------------------- */

void nk_widen(float *y, const one_bf16 *x, int64_t n);
void nk_narrow(one_bf16 *y, const float *x, int64_t n);
/* y[i * y_next + j] = x[j * x_next + i] for i < n and j < m, 16 of each at most. */
void nk_turn(void *y, bool to, int64_t y_next, const void *x, bool from, int64_t x_next,
             int64_t n, int64_t m);
/* Up to 16 rows of up to 32 columns, `row` and `step` floats apart: y + j * next gets columns
 * 2j and 2j + 1 of 16 rows, zeros for those that are not there. */
void nk_turn_rows(one_bf16 *y, int64_t next, const float *x, int64_t row, int64_t step,
                  int64_t rows, int64_t cols);
/* Two such rows of up to 16 columns side by side: (16, 2). */
void nk_turn_pairs(one_bf16 *y, const float *x, int64_t row, int64_t step, int64_t rows,
                   int64_t cols);
/* sums (rows, 16) = x (pairs, rows, 2) times panel (pairs, 16, 2); rows: 1, 2, 4, 8, 16. */
void nk_few(float *sums, const one_bf16 *x, const one_bf16 *panel, int64_t pairs, int32_t rows);
/* x > 0 ? x : slope x; and dy or slope dy by the sign of y. */
void nk_relu(one_bf16 *y, const one_bf16 *x, float slope, bool add, int64_t n);
/* min(max(x, low), high); dy where x is between them or at them. */
void nk_clip(one_bf16 *y, const one_bf16 *x, float low, float high, bool add, int64_t n);
void nk_clip_bwd(one_bf16 *dx, const one_bf16 *dy, const one_bf16 *x, float low, float high,
                 bool add, int64_t n);
void nk_affine(one_bf16 *y, const one_bf16 *x, float a, float b, bool add, int64_t n);
void nk_relu_bwd(one_bf16 *dx, const one_bf16 *dy, const one_bf16 *y, float slope, bool add,
                 int64_t n);
void nk_sum(one_bf16 *y, const one_bf16 *const *x, const float *coeff, int32_t inputs, bool add,
            int64_t n);

/* A pixel's window: where its taps begin, and the index or the share of each. */
typedef struct nk_window {
    const int64_t *at;
    const int32_t *index;
    const float *share;
    int64_t taps, C;
} nk_window;

/* mask may be NULL. relu: after the largest. */
void nk_pool_max(const nk_window *w, one_bf16 *y, int32_t *mask, const one_bf16 *x, bool relu);
void nk_pool_sum(const nk_window *w, one_bf16 *y, const one_bf16 *x, bool relu, bool add);
/* Of a pixel: the sum of dy where the mask of a window that holds it names it. */
void nk_pool_max_bwd(const nk_window *w, one_bf16 *dx, const one_bf16 *dy, const int32_t *mask,
                     int32_t pixel, bool add);

/* Batch normalisation of rows of n channels: y = f(a (x - mean) + b), dx = a dz + b (x - mean)
 * + c, with dz = dy f'(y). beta: backward, y is not read but made of x with it. */
typedef struct nk_norm {
    const float *mean, *a, *b, *c, *beta;
    float slope;
    bool relu, add;
} nk_norm;

void nk_norm_apply(const nk_norm *k, one_bf16 *y, const one_bf16 *x, int64_t rows, int64_t n);
/* x NULL: the term is left out. */
void nk_norm_bwd(const nk_norm *k, one_bf16 *dx, const one_bf16 *dy, const one_bf16 *x,
                 const one_bf16 *y, int64_t rows, int64_t n);
/* Adds to sum and square: x - mean and its square, or dz and dz (x - mean) if dy is there. */
void nk_norm_sums(const nk_norm *k, float *sum, float *square, const one_bf16 *dy,
                  const one_bf16 *x, const one_bf16 *y, int64_t rows, int64_t n);

/* LRN of one pixel's channels with beta 0.75; `line`: C + 32 floats, zero at both ends. */
void nk_lrn(one_bf16 *y, one_bf16 *scale, const one_bf16 *x, int64_t C, int64_t size,
            float alpha, float k, float *line);
void nk_lrn_bwd(one_bf16 *dx, const one_bf16 *x, const one_bf16 *y, const one_bf16 *scale,
                const one_bf16 *dy, int64_t C, int64_t size, float alpha, bool add,
                float *line);

#endif
