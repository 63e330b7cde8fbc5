/* SPDX-License-Identifier: BSD-2-Clause
 * cpu.h: what the files of this backend share: the op and its helpers, and the table of SIMD
 * kernels that each instruction set fills in. Every partition into tasks is made from shapes,
 * so no result depends on the number of threads. */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deepnet/sys/backend.h"

#define CPU_COLD __attribute__((cold)) /* beside loops over data: small rather than fast */

/* ---- kernels of one instruction set ------------------------------------------------------ */

enum { CPU_PLAIN = 0, CPU_AVX2 = 1, CPU_AVX512 = 2 };
int32_t cpu_best_isa(void);

/* For moments of C: sums of c - centre and of its square, by column. */
typedef struct cpu_tally {
    const float *centre;
    float *sum, *square;
} cpu_tally;

/* What happens to a finished tile of C: (+ bias) (+ C) (activation). */
typedef struct cpu_end {
    const float *bias_m, *bias_n; /* per row, per column; or NULL */
    float alpha;                  /* dot kernels only: packed A carries it already */
    float slope;                  /* of ReLU, or its ceiling */
    bool add, relu, ceiling;      /* ceiling: of `rows` and tiles of dw_walk */
    const float *ask; /* `rows`, of columns of A: what is used next, or NULL: the next piece */
    int64_t ask_step; /* of k; so many floats of it are asked for with each step */
    const cpu_tally *tally; /* of `rows`, of rows of A and two vectors; or NULL */
    int64_t lines, line; /* of `rows`, of rows of A: they go on in `lines` pieces of k, `line`
                            apart; 0: in one */
} cpu_end;

/* `len` columns of a panel, from `lane` on: where they are in B's row and in C's row. */
typedef struct cpu_run {
    int32_t lane, len;
    int64_t src, dst;
} cpu_run;

typedef struct cpu_unary {
    int32_t fn;
    float a, b, c;
} cpu_unary;

/* More formulas of `bcast_row` and `reduce` than the ops have: t > 0 ? x : s x, t > 0 ? 0 : x
 * t, t ? s x : 0; and x > 0 ? 0 : x x2. */
enum {
    CPU_BCAST_PRELU = 16,
    CPU_BCAST_PRELU_SLOPE = 17,
    CPU_BCAST_KEEP = 18,
    CPU_BCAST_REACHES = 19
};
enum { CPU_REDUCE_PRELU = 16 };

typedef struct cpu_sgd {
    float rate, decay, scale, momentum;
    bool l1;
} cpu_sgd;

typedef struct cpu_rule { /* of UPDATE, other than SGD; g = scale grad + l2 w + l1 sign(w) */
    int32_t rule;
    float rate, correction, scale, l1, l2, momentum, momentum2, delta, rms_decay;
} cpu_rule;

/* Constants of a batch norm: of one plane's channel, or with `rows` one for each channel. beta:
 * backward, y is not read but made of x with it. */
typedef struct cpu_norm {
    const float *mean, *a, *b, *c, *beta;
    float slope;
    bool rows, relu, add;
} cpu_norm;

/* Elements of a pooling in NHWC: `count` of them `step` floats apart; tap t of the first is at
 * at[t], of each further one `move` on. `weight`: of MAX the first one's index in the plane as
 * a float (index_step more for each further one), of AVE the share. `index`: backward, dx's. */
typedef struct cpu_window {
    const int64_t *at;
    const float *weight;
    int64_t taps, move, step, count, C;
    int32_t index, index_step;
    bool relu, add;
} cpu_window;

/* `count` elements of dy and of the mask, which is an index of `place`: where in x, whose rows
 * are ldx apart, the window begins. dw: rows of CPU_MASKED_LANES. */
enum { CPU_MASKED_ROWS = 5, CPU_MASKED_LANES = 8 };
typedef struct cpu_masked {
    const int32_t *place;
    int64_t places, count, ldx;
} cpu_masked;

/* `lines` rows (ldy apart) of n outputs of a pooling in planes, whose windows are whole: each
 * of `rows` x `cols` inputs, rows w apart, from `first` in its plane on, `stride` more for each
 * output and `next` for each line. */
typedef struct cpu_pool_lines {
    int64_t w, rows, cols, stride, n, first, lines, next, ldy;
} cpu_pool_lines;

/* Outputs of a depthwise convolution, NHWC: `count` of them ldy apart, whose first tap's inputs
 * are ldx apart; tap t is at x_at[t] in x and at w_at[t] in w. Of C channels. */
typedef struct cpu_dw {
    const int64_t *x_at, *w_at;
    int64_t taps, ldx, ldy, count, C;
} cpu_dw;

/* Rows of outputs of a convolution of groups of `few` channels, 16 channels of them: y's pixels
 * are C apart, its rows out_row. x's pixels are 16 floats, its rows `row` apart and long enough
 * for whole CPU_GROUP_COLS outputs. Step k, a channel of a group and a tap, is at at[k] in x
 * (the channel is k % few; in at[k] already where it is a vector's), and 16 weights of w. */
enum { CPU_GROUP_COLS = 8 };
typedef struct cpu_groups {
    const int64_t *at;
    int64_t steps, few, rows, cols, row, out_row, C;
} cpu_groups;

/* Up to CPU_DW_ROWS rows of outputs of a 3x3 depthwise convolution, NHWC, and all rows of
 * inputs they see: pixels of row[r] are step[r] apart, 0 where a row of zeros stands for one
 * outside the image. What the next rows will see begins `next` from base. `stride` 2:
 * padding 1. `back`: to the data and the weights; with stride 2 from two rows of dy to two of
 * dx. Does the first `count` of C channels, at least 16, the last of them twice where they are
 * no whole vectors. With a, x is normalised when it is loaded (forward, and to the weights):
 * f(a (x - mean) + b), slope being f's. With part, forward, y's sums are added to it, as
 * cpu_moments takes them; `first`: they begin here. `tiles`, where vl is 8: up to two rows,
 * padding 1, at least two columns, with stride 2 as many again of inputs; w is laid by vectors,
 * (count / 8, 9, 8), zeros are 5 pixels, bias is never NULL, and y is stored, ReLU's slope
 * being no less than 0. Of dw_walk_grad: stride 1, two rows and as many columns again, whole
 * vectors, dx is wanted. */
enum { CPU_DW_ROWS = 4, CPU_DW_BACK = 2 }; /* rows: of dw_walk, of dw_walk_grad */
/* Vectors of eight channels in a record, which dw_walk_grad with `tiles` takes for w and grad:
 * 9 weights, 9 and 2 that are added to, mean, a and b: without a 0, 1 and 0, and slope is 1. */
enum { CPU_DW_RECORD = 23 };
typedef struct cpu_walk {
    const float *row[CPU_DW_ROWS + 2], *base;
    int64_t step[CPU_DW_ROWS + 2], next;
    int64_t ins, outs, pad, stride, rows, out_row, C, count;
    bool back, first, tiles;
    const float *mean, *a, *b;
    float slope, *part;
} cpu_walk;

/* What a product goes to, one after the other: rows of `count` matrices are added, then it is
 * stored; the last is stored as f of it. */
typedef struct cpu_dest {
    const float *x[6];
    int64_t x_ld[6], ld;
    float *to;
    int32_t count;
} cpu_dest;
typedef struct cpu_dests {
    cpu_dest dest[3];
    int32_t count;
    bool relu;
    float slope;
} cpu_dests;

/* Of a part's rows, m after n others: 1 / m, m / (n + m), n m / (n + m). */
typedef struct cpu_share {
    float one, mean, square;
} cpu_share;

typedef struct cpu_kernels {
    const char *name;
    int32_t vl;
    int32_t mr, nr;       /* largest tile of `tile` */
    int32_t dot_m, dot_n; /* largest tile of `dot` */
    int32_t dw_rows;      /* of dw_walk with stride 1, half with 2; 0: there is none */

    /* gemm_kernels.c */
    /* C (mr x nr or mr x vl) = A (k x mr, packed) B (k rows, ldb apart). */
    void (*tile)(int32_t mr, int32_t vectors, int64_t k, const float *a, const float *b,
                 int64_t ldb, float *c, int64_t ldc, const cpu_end *end);
    /* rows of `tile` (nr apart) to C, run by run; row i of C begins at c_row[i] or i * ldc.
     * No bias_m: what sums begin with, the tile has. */
    void (*merge)(int32_t mr, const float *tile, const cpu_run *runs, int32_t count, float *c,
                  const int64_t *c_row, int64_t ldc, const cpu_end *end);
    /* C (m x vectors) = A B with A as it lies: element (i, p) is a[i * row + p * col], one of
     * which is 1; B's rows are nr apart. No bias_m. */
    void (*rows)(int32_t vectors, int64_t m, int64_t k, const float *a, int64_t row,
                 int64_t col, const float *b, float *c, int64_t ldc, const cpu_end *end);
    /* Of strassen.c, not in the plain set. A (m x k) B (k x nr), B's next panel being used
     * next; and of x's quarters (m x n) x21 + x22, that - x11, x11 - x21, x12 - the second. */
    void (*strassen_rows)(int64_t m, int64_t k, const float *a, int64_t row, const float *b,
                          const cpu_dests *c);
    void (*strassen_sums)(float *sums, int64_t sums_ld, int64_t m, int64_t n, const float *x,
                          int64_t ld);
    /* C (m x n) = A rows (lda apart) times B rows, of `len`. */
    void (*dot)(int32_t m, int32_t n, int64_t len, const float *a, int64_t lda, const float *b,
                int64_t ldb, float *c, int64_t ldc, const cpu_end *end);

    /* pack_kernels.c */
    /* One panel of B, k rows of nr: row p begins at b + (row ? row[p] : p * ldb). `exact`:
     * nothing beyond a run may be read, else up to vl - 1 floats are. */
    void (*pack)(float *out, int64_t k, const float *b, const int64_t *row, int64_t ldb,
                 const cpu_run *runs, int32_t count, bool exact);
    /* The same from B stored (n, k): nr rows of B, `cols` of them there. */
    void (*pack_trans)(float *out, int64_t k, const float *b, int64_t ldb, int64_t cols);
    /* A (mr rows) to (k x mr), times alpha. */
    void (*pack_a)(float *out, int32_t mr, int64_t k, const float *a, int64_t row, int64_t col,
                   float alpha);
    /* The same from mr pointers to k floats. */
    void (*pack_pointers)(float *out, int32_t mr, int64_t k, const float *const *rows);
    /* Column j of a panel: n floats from w + j * ld, float i of it to at[i] + panel * next[i].
     */
    void (*pack_weights)(float *out, int64_t cols, int64_t n, const float *w, int64_t ld,
                         const int64_t *at, const int64_t *next, int64_t panel);
    /* rows of n floats, src_ld apart, put ld apart; writes up to vl - 1 floats too many. */
    void (*lay_rows)(float *out, int64_t ld, const float *src, int64_t src_ld, int64_t rows,
                     int64_t n);
    /* Panel of B: n floats at each of k pointers, from `col` on. */
    void (*copy_rows)(float *out, int64_t k, const float *const *rows, int64_t col, int64_t n);
    /* y (cols rows of n, ld apart) (+)= x (n rows, x_ld apart) transposed. */
    void (*turn_rows)(float *y, int64_t ld, const float *x, int64_t x_ld, int64_t n,
                      int64_t cols, bool add);
    /* rows pieces of `cols` floats, src_ld apart, made contiguous; writes and reads up to
     * vl - 1 floats too many. */
    void (*gather_rows)(float *out, const float *src, int64_t rows, int64_t cols,
                        int64_t src_ld);

    /* conv_kernels.c: each element of dy adds its window of x to dw, and to db, if not NULL.
     * Reads CPU_MASKED_ROWS rows of CPU_MASKED_LANES. */
    void (*masked)(const cpu_masked *at, float *dw, float *db, const float *x, const float *dy,
                   const int32_t *mask);

    /* depthwise, on planes made ready by prepare */
    void (*dw_row)(float *y, const float *x, const float *w, const int64_t *tap, int64_t taps,
                   int64_t n, float bias, const cpu_end *end);
    void (*dw_dot)(float *dw, const float *x, const float *dy, const int64_t *tap, int64_t taps,
                   int64_t rows, int64_t cols, int64_t x_ld, int64_t dy_ld);

    /* in NHWC; the second adds to grad (laid out as w) */
    void (*dw_cols)(const cpu_dw *dw, float *y, const float *x, const float *w,
                    const float *bias, const cpu_end *end);
    void (*dw_cols_grad)(const cpu_dw *dw, float *grad, const float *x, const float *dy);

    void (*dw_walk)(const cpu_walk *walk, float *y, const float *w, const float *bias,
                    const cpu_end *end);
    /* adds to grad: dw as w lies, then two rows of C, sums of dz = dx f'(..) and dz (x - mean).
     * dx (or NULL, and w is not read): that of dw_walk. tiles: grad is records */
    void (*dw_walk_grad)(const cpu_walk *walk, float *grad, const float *w, const float *x,
                         float *dx);

    /* not in the plain set */
    void (*groups)(const cpu_groups *groups, float *y, const float *x, const float *w,
                   const float *bias, const cpu_end *end);

    /* wino_kernels.c: n channels from `col` on of pixels `at`; frequency f of 36 at f * step.
     * flat: six lines, each by itself, with one of weights */
    void (*wino_in)(bool flat, float *v, int64_t step, const float *const *at, int64_t col,
                    int64_t n);
    /* of r x r weights, or elements of dy; flat: of r, at 6 frequencies */
    void (*wino_values)(int32_t r, bool flat, float *v, int64_t step, const float *const *at,
                        int64_t col, int64_t n);
    /* size x size outputs; flat: 6 x size */
    void (*wino_out)(int32_t size, bool flat, float *const *y, const float *m, int64_t step,
                     int64_t n, const cpu_end *end);
    /* The same with 64 frequencies, of whole vectors; element e of a tile is at x[at[e]].
     * 8x8 inputs; r x r outputs (4) or taps (5); y += 8x8 gradients; 5x5 taps to y. NULL in the
     * plain set. */
    void (*wino8_in)(float *v, int64_t step, const float *x, const int64_t *at);
    void (*wino8_values)(int32_t r, float *v, int64_t step, const float *x, const int64_t *at);
    void (*wino8_add)(float *y, const int64_t *at, const float *m, int64_t step);
    void (*wino8_taps)(float *y, const float *m, int64_t step);

    /* dft_kernels.c, not in the plain set: 72 slots, `step` apart, of pairs of vectors: two
     * real frequencies in the first two, a complex one in each other. n x n elements (at[] in
     * x) of 12 x 12, others zero, to v, the second of a pair `second` on and, with `turned`, i
     * times both that far on. */
    void (*dft_in)(int32_t n, float *v, int64_t step, int64_t second, int64_t turned,
                   const float *x, const int64_t *at);
    /* The last 8 x 8 of 12 x 12 (+ bias, ReLU) that m's slots are of, to y. */
    void (*dft_out)(float *y, const int64_t *at, const float *m, int64_t step, float bias,
                    const cpu_end *end);

    /* unary_kernels.c */
    void (*unary)(const cpu_unary *u, float *y, const float *x, bool add, int64_t n);
    /* z: x, or y for functions whose gradient is known from it. */
    void (*unary_bwd)(const cpu_unary *u, float *dx, const float *dy, const float *z, bool is_y,
                      bool add, int64_t n);
    /* Softmax of a row; of n columns over `dim` rows, ld apart. */
    void (*softmax)(float *y, const float *x, int64_t n);
    void (*softmax_bwd)(float *dx, const float *y, const float *dy, int64_t n, bool add);
    void (*softmax_cols)(float *y, const float *x, int64_t dim, int64_t ld, int64_t n);
    void (*softmax_cols_bwd)(float *dx, const float *y, const float *dy, int64_t dim,
                             int64_t ld, int64_t n, bool add);

    /* vector_kernels.c */
    void (*axpby)(float *y, const float *x, float a, bool add, int64_t n); /* y (+)= a x */
    /* y (rows of n, ldy apart) += x (rows ldx apart), row after row. */
    void (*add_rows)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows,
                     int64_t n);
    /* y[i * ldy + j] (+)= a x[j * ldx + i], i < m, j < n */
    void (*turn)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t m, int64_t n,
                 float a, bool add);
    void (*eltwise)(int32_t op, float *y, const float *x0, const float *x1, float c0, float c1,
                    bool add, int64_t n);
    void (*bcast)(int32_t op, float *y, const float *x, float s, float t, bool add, int64_t n);
    void (*bcast_row)(int32_t op, float *y, const float *x, const float *s, const float *t,
                      bool add, int64_t n);
    float (*reduce)(int32_t op, const float *x, const float *x2, int64_t n);
    void (*sgd)(const cpu_sgd *u, float *w, float *grad, float *h, int64_t n);
    void (*rule)(const cpu_rule *u, float *w, float *grad, float *h1, float *h2, int64_t n);
    /* A step of a maximum: y = max(y, x), and where that is x, mask (or NULL) = index. Of two
     * that are equal, `later` takes x. */
    void (*pick)(float *y, int32_t *mask, const float *x, int32_t index, bool later, int64_t n);
    void (*select)(float *y, const float *x, const int32_t *mask, int32_t index, bool add,
                   int64_t n);
    /* The words of dn_random_block under `key`, block by block; up to vl / 2 - 1 too many. */
    void (*random)(uint32_t *out, uint64_t key, uint64_t stream, uint64_t block,
                   int64_t blocks);
    /* norm_kernels.c: y = f((+ y) (x - mean) a + b), and dx (+)= a dz + b (x - mean) + c with
     * dz = dy f'(y); x NULL: without b. A plane of n, or with k->rows `rows` rows of n
     * channels.
     */
    void (*norm)(const cpu_norm *k, float *y, const float *x, int64_t rows, int64_t n);
    void (*norm_bwd)(const cpu_norm *k, float *dx, const float *dy, const float *x,
                     const float *y, int64_t rows, int64_t n);
    /* Sums of dz and dz (x - mean), or dy NULL: of x - mean and its square. Those of a plane;
     * or added to the n of each channel. */
    void (*norm_sums)(const cpu_norm *k, const float *dy, const float *x, const float *y,
                      int64_t rows, int64_t n, float *sum, float *square);
    /* Of cpu_moments: the mean, and the sum of squares about it. */
    void (*moments)(float *moments, const float *parts, int64_t part_floats,
                    const cpu_share *share, int64_t count, int64_t dim);
    /* Added to it: `rows` rows of C, ld apart, of n columns (whole vectors). */
    void (*tally)(const cpu_tally *tally, const float *c, int64_t ld, int64_t rows, int64_t n);
    /* LRN across channels, on a strip of n positions of every channel, `inner` apart. */
    void (*lrn)(float *y, float *scale, const float *x, int64_t C, int64_t inner, int64_t n,
                int32_t size, float alpha, float beta, float k);
    void (*lrn_bwd)(float *dx, const float *x, const float *y, const float *scale,
                    const float *dy, int64_t C, int64_t inner, int64_t n, int32_t size,
                    float alpha, float beta, bool add);
    /* One pixel of NHWC; line: C + size + 2 vl floats, zeros outside [half, half + C). */
    void (*lrn_row)(float *y, float *scale, const float *x, int64_t C, int64_t from, int64_t to,
                    int32_t size, float alpha, float beta, float k, float *line);
    void (*lrn_row_bwd)(float *dx, const float *x, const float *y, const float *scale,
                        const float *dy, int64_t C, int64_t from, int64_t to, int32_t size,
                        float alpha, float beta, bool add, float *line);

    /* pool_kernels.c; nothing is read from `end` on */
    void (*pool_max)(const cpu_pool_lines *at, float *y, int32_t *mask, const float *x,
                     const float *end);
    void (*pool_sum)(const cpu_pool_lines *at, float *y, const float *x, const float *end,
                     float scale);
    /* NHWC */
    void (*pool_cols_max)(const cpu_window *win, float *y, int32_t *mask, const float *x);
    void (*pool_cols_sum)(const cpu_window *win, float *y, const float *x);
    /* mask NULL: AVE */
    void (*pool_cols_bwd)(const cpu_window *win, float *dx, const float *dy,
                          const int32_t *mask);
} cpu_kernels;

extern const cpu_kernels cpu_kernels_plain;
#ifdef CPU_HAVE_AVX2
extern const cpu_kernels cpu_kernels_avx2;
#endif
#ifdef CPU_HAVE_AVX512
extern const cpu_kernels cpu_kernels_avx512;
#endif

/* ---- backend and op ---------------------------------------------------------------------- */

struct dn_backend {
    dn_backend_host host;
    const cpu_kernels *kernels;
    int32_t isa;
};

typedef struct cpu_table {
    struct cpu_table *next;
    _Alignas(16) char bytes[];
} cpu_table;

/* Each family's op begins with this; short, so that few of its own fields lie far from it. */
struct dn_op {
    dn_backend *backend;
    int32_t num_inputs, num_outputs; /* set when it is made: what io has */
    dn_status (*run)(dn_op *op, const dn_op_io *io);
    dn_status (*prepare)(dn_op *op, const dn_op_io *io); /* NULL: nothing to prepare */
    dn_op *next;                                         /* goes with this one */
    cpu_table *tables;                                   /* likewise */
};

typedef dn_status cpu_create_fn(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info);

/* Operand i; NULL if the op was made without one. */
static inline void *cpu_in(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return i < op->num_inputs ? io->in[i] : NULL;
}
static inline void *cpu_out(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return i < op->num_outputs ? io->out[i] : NULL;
}
/* A zeroed op of `size` bytes; NULL with the message set. `name` is the implementation's. */
void *cpu_op_new(dn_backend *backend, size_t size, dn_status (*run)(dn_op *, const dn_op_io *),
                 dn_op_info *info, const char *name);
/* A table that lives as long as the op; NULL with the message set. */
void *cpu_op_table(dn_op *op, size_t count, size_t size);
void cpu_op_free(dn_op *op);
dn_status cpu_decline(dn_op_info *info, const char *reason);
cpu_create_fn cpu_op_create; /* by the first row that takes it */
/* cost.c: nanoseconds on one thread. */
double cpu_cost(const dn_backend *backend, const dn_op_desc *desc, const char *implementation);
/* body over tasks through the host; one task runs here and now. */
void cpu_for(const dn_backend *backend, int64_t tasks,
             void (*body)(void *arg, int64_t task, int32_t worker), void *arg);

/* True if every operand that is there is F32 in plain layout (I32 masks aside). */
bool cpu_all_f32(const dn_op_desc *desc);
/* True if every operand is F32 (I32 masks aside) and all with 4 axes or more whose bit is set
 * (inputs, then outputs from bit 16 on) are NHWC, the others plain. */
bool cpu_all_nhwc(const dn_op_desc *desc, uint32_t images);
bool cpu_present(const dn_operand *operands, int32_t count, int32_t i);
int64_t cpu_count(const dn_shape *shape);
/* CONV or CONV_BWD_WEIGHTS of what a normalisation makes of x. */
bool cpu_conv_normalises(const dn_op_desc *desc);
/* Or CONV_BWD_WEIGHTS that makes dx, too, or whose dy has a mask, or CONV that makes moments.
 */
bool cpu_conv_more(const dn_op_desc *desc);
static inline int64_t cpu_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t cpu_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
/* A variance that was made of sums, which round: not below 0, but a NaN stays one. */
static inline double cpu_variance(double of_sums)
{
    return of_sums < 0 ? 0 : of_sums;
}
static inline int64_t cpu_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static inline size_t cpu_round64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}
/* [*from, *to) of piece i of `pieces` of n, as even as whole units allow. */
static inline void cpu_split(int64_t n, int64_t pieces, int64_t i, int64_t *from, int64_t *to)
{
    *from = n / pieces * i + cpu_min(i, n % pieces);
    *to = *from + n / pieces + (i < n % pieces);
}
/* Where the scratch of a task is: a worker's own, so that it stays in its cache; or the task's,
 * where those are fewer than workers. */
static inline int64_t cpu_places(const dn_backend *backend, int64_t tasks)
{
    return cpu_min(tasks, backend->host.num_threads);
}
static inline int64_t cpu_place(const dn_backend *backend, int64_t tasks, int64_t task,
                                int32_t worker)
{
    return tasks < backend->host.num_threads ? task : worker;
}
/* Tasks for n elements of cheap work: 1 below what a second worker is worth. */
int64_t cpu_tasks_for(int64_t n);

/* norm.c: mean and biased variance of `dim` channels (whole vectors), of up to 64 parts of
 * their rows: a centre of each channel, the sums of x - centre and of its square, and the
 * number of rows. */
void cpu_moments(const cpu_kernels *ker, float *moments, const float *parts,
                 int64_t part_floats, int64_t count, int64_t dim);

/* ---- rows of the table ------------------------------------------------------------------- */

cpu_create_fn cpu_gemm_create, cpu_gemm_cblas_create;
cpu_create_fn cpu_conv_create, cpu_conv_bwd_data_full_create, cpu_conv_bwd_data_create,
    cpu_conv_bwd_weights_create;
cpu_create_fn cpu_conv_masked_create;
cpu_create_fn cpu_conv_nhwc_create, cpu_conv_nhwc_weights_create;
cpu_create_fn cpu_wino_create, cpu_wino_weights_create, cpu_strassen_create;
cpu_create_fn cpu_dft_planes_create, cpu_wino_planes_data_create,
    cpu_wino_planes_weights_create;
cpu_create_fn cpu_conv_frames_create, cpu_conv_groups_create, cpu_conv_whole_create,
    cpu_conv_scatter_create;
cpu_create_fn cpu_groups_nhwc_create, cpu_depthwise_create, cpu_depthwise_nhwc_create;
cpu_create_fn cpu_pool_create, cpu_pool_bwd_create, cpu_pool_nhwc_create;
cpu_create_fn cpu_unary_create, cpu_unary_bwd_create, cpu_softmax_create, cpu_loss_create;
cpu_create_fn cpu_fill_create, cpu_copy_create, cpu_eltwise_create, cpu_bcast_create,
    cpu_reduce_create, cpu_dropout_create, cpu_select_create, cpu_prelu_create, cpu_mvn_create,
    cpu_gather_create, cpu_lstm_create, cpu_argmax_create, cpu_accuracy_create;
cpu_create_fn cpu_roi_create, cpu_update_create, cpu_sumsq_all_create;
cpu_create_fn cpu_norm_create, cpu_norm_bwd_create, cpu_lrn_create, cpu_lrn_bwd_create;
const char *cpu_cblas_name(void);

#endif
