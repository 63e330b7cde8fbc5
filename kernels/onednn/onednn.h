/* SPDX-License-Identifier: BSD-2-Clause
 * onednn.h: what the files of this module share. oneDNN runs single-threaded, on our workers:
 * an op is cut into pieces by its shapes alone, each a primitive of its own, so no result
 * depends on the number of threads, and no second team of threads is ever started. */
#ifndef ONEDNN_ONEDNN_H
#define ONEDNN_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "deepnet/sys/backend.h"
#include "generation.h"

struct dn_backend {
    dn_backend_host host;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* one per worker */
    int32_t num_streams;
    bool avx512, bf16, amx;
};

struct dn_op {
    dn_backend *backend;
    dn_status (*run)(dn_op *op, const dn_op_io *io);
    dn_status (*prepare)(dn_op *op, const dn_op_io *io); /* NULL: nothing to prepare */
    void (*release)(dn_op *op); /* what the op holds; the op itself is freed after it */
};

typedef dn_status one_create_fn(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                dn_op_info *info);
one_create_fn one_conv_op, one_conv_weights_op, one_gemm_op, one_points_op;

/* ---- backend.c --------------------------------------------------------------------------- */

dn_status one_decline(dn_op_info *info, const char *reason);
/* Zeroed; NULL, with the message set, if there is no memory. */
void *one_alloc(const dn_backend *backend, size_t count, size_t size);
void one_free(const dn_backend *backend, void *ptr);
/* Zeroed, `size` bytes that begin with a dn_op. */
void *one_op_new(dn_backend *backend, size_t size);
void one_op_free(dn_op *op);
/* As DN_OK, declined (what oneDNN lacks) or a failure. */
dn_status one_result(const dn_backend *backend, dnnl_status_t status, dn_op_info *info);

/* ---- threads.c --------------------------------------------------------------------------- */

/* Between the two the calling thread has no team; the host's own setting comes back after. */
int one_enter(void);
void one_leave(int before);
bool one_threads_fit(void); /* is this oneDNN's threading one that we can do that with? */

/* body(arg, task, worker) for every task, each between one_enter and one_leave; the first
 * status that is not success is the answer. */
typedef dnnl_status_t one_task_fn(void *arg, int64_t task, int32_t worker);
dn_status one_for(const dn_backend *backend, int64_t tasks, one_task_fn *body, void *arg);

/* ---- primitive.c ------------------------------------------------------------------------- */

enum { ONE_ARGS = 6 };

/* A primitive, and for each worker the memory objects it is run with. */
typedef struct one_prim {
    const dn_backend *backend;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_memory_t *memory; /* worker * count + argument */
    void **data;           /* where each of them points */
    int32_t count;
    int arg[ONE_ARGS];
    size_t scratch; /* bytes, the last argument's */
} one_prim;

/* Takes desc. `arg`: count of DNN_ARG_*, in the order in which one_prim_run is given data. */
dn_status one_prim_init(one_prim *prim, const dn_backend *backend, dnnl_primitive_desc_t desc,
                        const int *arg, int32_t count, dn_op_info *info);
dnnl_status_t one_prim_run(one_prim *prim, int32_t worker, void *const *data, void *scratch);
void one_prim_free(one_prim *prim);
one_md one_prim_md(const one_prim *prim, int arg);
size_t one_prim_bytes(const one_prim *prim, int arg);
/* "brgconv:avx512_core" */
const char *one_desc_name(dnnl_primitive_desc_t desc);

/* Attributes: scratch from us, and what is done to the result. */
dnnl_status_t one_attributes(dnnl_primitive_attr_t *out, bool sum, int32_t activation,
                             double a);
bool one_has_activation(int32_t activation);

/* ---- pack.c ------------------------------------------------------------------------------ */

dnnl_status_t one_reorder_create(dnnl_primitive_desc_t *out, const dn_backend *backend,
                                 one_md from, one_md to, bool add);

enum { ONE_PARTS = 8 };

/* turn.c: plain f32 weights to blocks of bf16, without oneDNN. */
typedef struct one_turn {
    one_blocks to;
    bool outputs; /* that are pairs, and not inputs */
    int64_t K, C, S, taps, tasks;
} one_turn;

/* false: not a form that is known. */
bool one_turn_init(one_turn *turn, const dn_backend *backend, one_md from, one_md to, int axes,
                   const dnnl_dim_t *dims);
dn_status one_turn_run(const one_turn *turn, const dn_backend *backend, const void *from,
                       void *to);

/* A tensor to another form of memory, in parts that workers share: parts of the first axis. */
typedef struct one_pack {
    const dn_backend *backend;
    one_turn turn; /* with tasks: no parts */
    one_prim part[ONE_PARTS];
    int32_t parts;
    size_t scratch; /* of one worker */
    size_t from_bytes, to_bytes;
} one_pack;

dn_status one_pack_init(one_pack *pack, const dn_backend *backend, one_md from, one_md to,
                        int axes, const dnnl_dim_t *dims, bool add, dn_op_info *info);
dn_status one_pack_run(one_pack *pack, const void *from, void *to, void *scratch);
size_t one_pack_scratch(const one_pack *pack); /* of all workers */
void one_pack_free(one_pack *pack);

/* ---- gemm.c ------------------------------------------------------------------------------ */

/* `row` elements from one row to the next, `col` from one column to the next. */
dnnl_status_t one_matrix(one_desc *out, dnnl_data_type_t type, int64_t rows, int64_t cols,
                         int64_t row, int64_t col);
/* Why it is none of one product in bf16 with f32 operands; NULL: it is. */
const char *one_gemm_unfit(const dn_backend *backend, const dn_op_desc *desc,
                           const dn_args_gemm *args);

/* ---- geometry.c -------------------------------------------------------------------------- */

typedef struct one_image { /* x or y of a convolution, as the operand lies */
    int64_t N, C, H, W;
    int32_t layout;
    dnnl_data_type_t type;
} one_image;

typedef struct one_geo {
    one_image x, y;
    int64_t R, S, sh, sw, ph, pw, dh, dw, group;
    bool thinned;          /* pixels of x that a 1x1 window skips are left out first */
    dnnl_data_type_t type; /* what is multiplied */
    double flops;
} one_geo;

/* A part of the batch, of the rows of one image, or of the channels of y. */
typedef struct one_cut {
    int64_t images, h, p;  /* rows of x, rows of y */
    int64_t before, after; /* rows of padding */
    int64_t k;             /* channels of y */
} one_cut;

/* false: declined, with the reason. */
bool one_geo_init(one_geo *geo, const dn_backend *backend, const dn_op_desc *desc,
                  dn_op_info *info);
/* Plain weights, f32; cut NULL: all of them, else those of its channels. */
dnnl_status_t one_geo_weights(one_desc *out, const one_geo *geo, const one_cut *cut, int *axes,
                              dnnl_dim_t *dims);
int64_t one_geo_weight_count(const one_geo *geo);
/* Nanoseconds on one thread; how many pieces are worth their overhead. */
double one_geo_cost(const dn_backend *backend, const one_geo *geo, int32_t kind);
int64_t one_geo_pieces(const one_geo *geo);
/* How many of them that make a gradient of all weights each. */
int64_t one_geo_gradients(const dn_backend *backend, const one_geo *geo);

typedef struct one_piece {
    int64_t image, h, p, k; /* where it begins in x and in y */
    int32_t cut;
} one_piece;

enum { ONE_CUTS = 6 };
typedef struct one_cuts {
    one_cut cut[ONE_CUTS]; /* all that differ */
    int32_t cuts;
    one_piece *piece;
    int64_t pieces;
} one_cuts;

/* At most `most` pieces of whole images; with `rows`, rows too where images are fewer. */
dn_status one_cuts_init(one_cuts *cuts, const dn_backend *backend, const one_geo *geo,
                        int64_t most, bool rows);
/* Pieces of y's channels, each over all images: CONV and CONV_BWD_WEIGHTS alone. */
dn_status one_cuts_channels(one_cuts *cuts, const dn_backend *backend, const one_geo *geo);
/* Is that worth more than `readers` pieces that read, or make, all weights? Such pieces read
 * all of x, and copy their part of y. */
bool one_geo_by_channels(const one_geo *geo, int64_t readers);
bool one_is_part(const one_geo *geo, const one_cut *cut); /* of the channels */
/* Where a piece begins in x or y, in bytes, and in the weights, in elements. */
int64_t one_piece_x(const one_geo *geo, const one_piece *piece);
int64_t one_piece_y(const one_geo *geo, const one_piece *piece);
int64_t one_piece_w(const one_geo *geo, const one_piece *piece);

/* ---- stage.c ----------------------------------------------------------------------------- */

/* What is done for a piece: operands that are not as oneDNN wants them (NHWC, the type that is
 * multiplied, weights in its own form where a piece has some of them) pass through the worker's
 * scratch, where they stay in its cache. */
enum { ONE_PLACES = 4 };
typedef struct one_stage {
    one_prim conv, move[ONE_PLACES];
    bool moves[ONE_PLACES];
    size_t at[ONE_PLACES], scratch; /* of the moved; `at` in the scratch, and where conv's is */
} one_stage;

typedef struct one_wish {
    int32_t kind;
    bool bias, add, constant; /* constant: of a part of the channels, w comes packed */
    int32_t activation;
    double activation_a;
    one_md w; /* packed weights, or their gradient; NULL: the form oneDNN likes best */
} one_wish;

/* Places: CONV: x, w, y, b; CONV_BWD_DATA: dy, w, dx; CONV_BWD_WEIGHTS: x, dy, dw, db. */
dn_status one_stage_init(one_stage *stage, const dn_backend *backend, const one_geo *geo,
                         const one_cut *cut, const one_wish *wish, dn_op_info *info);
/* A part of the weights into the form that conv wants, ahead of the runs. */
dnnl_status_t one_stage_pack(one_stage *stage, int32_t worker, const void *w, void *packed,
                             char *scratch);
size_t one_stage_packed(const one_stage *stage); /* its bytes */
dnnl_status_t one_stage_run(one_stage *stage, int32_t worker, void *const *data, char *scratch);
/* What w of other stages must be; scratch of one worker. */
one_md one_stage_weights(const one_stage *stage, int32_t kind);
size_t one_stage_scratch(const one_stage *stage);
void one_stage_free(one_stage *stage);

static inline int64_t one_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t one_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline bool one_present(const dn_operand *operands, int32_t count, int32_t i)
{
    return i < count && operands[i].dtype >= 0;
}

/* Bytes of an f32 or a bf16. */
static inline int64_t one_size(bool narrow)
{
    return narrow ? 2 : 4;
}

/* Element i of x, bf16 or f32. */
static inline float one_read(const void *x, bool narrow, int64_t i)
{
    float value;
    if (!narrow)
        return ((const float *)x)[i];
    uint32_t word = (uint32_t)((const uint16_t *)x)[i] << 16;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline size_t one_round(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

#endif
