/* SPDX-License-Identifier: BSD-2-Clause
 * conv.cu: CONV, CONV_BWD_DATA, CONV_BWD_WEIGHTS as implicit matrix products: the columns are
 * never stored. Where a group has few channels a tile would be mostly empty: a thread then sums
 * a result by itself (depthwise.cu: of channels-last images). Images are taken so many at a
 * time that 32 bits count their pixels. What cuDNN takes goes there. IM2COL and COL2IM. */
#include "conv.cuh"
#include "dnn.h"

#define FEW          8   /* channels of a group: below it no tiles */
#define WANTED       512 /* blocks that fill a large device */
#define SMALLEST     256 /* terms a block should sum at least */
#define LEAST        16  /* a thread, where each sums by itself */
#define MOST_SCRATCH ((int64_t)1 << 26)

/* ---- forward: y (Kg, N Q) = w (Kg, Cg R) x columns (Cg R, N Q), per group ---------------- */

DEVICE float conv_w(const conv_args *a, int64_t group, int k, int r)
{
    return a->weights[((group * a->Kg + k) * a->Cg) * a->w.R + r];
}

DEVICE float conv_column(const conv_args *a, int64_t group, int cr, int nq)
{
    int c = over(cr, &a->w.by_R), n = over(nq, &a->w.by_Q);
    int pixel = tap(&a->w, nq - n * a->w.by_Q.value, cr - c * a->w.by_R.value);
    if (pixel < 0)
        return 0;
    return get(a->x,
               n * a->x_at.n + (group * a->Cg + c) * a->x_at.c + pixel * a->x_at.p);
}

DEVICE void conv_put(const conv_args *a, int64_t group, int piece, int k, int nq, float sum)
{
    int64_t channel = group * a->Kg + k;
    int n = over(nq, &a->w.by_Q), q = nq - n * a->w.by_Q.value;
    if (a->bias)
        sum += a->bias[channel];
    put_some_through(a->out, n * a->y_at.n + channel * a->y_at.c + q * a->y_at.p, 1, a->add,
                     &sum, &a->f);
}

#define TILE      conv_tile
#define TILE_ARGS conv_args
#define TILE_A    conv_w
#define TILE_B    conv_column
#define TILE_PUT  conv_put
#include "tile.cuh"

/* i: an element of y as it lies */
MAP(conv_direct, conv_args)
{
    int64_t n, k;
    int q;
    locate(i, a->K, a->w.Q, &a->y_at, &n, &k, &q);
    int64_t group = quotient(k, a->Kg);
    int o[AXES], R = (int)a->w.R;
    float sum = 0;
    split(q, a->w.by_out, o);
    for (int c = 0; c < (int)a->Cg; c++) {
        const float *w = a->weights + (k * a->Cg + c) * R;
        int64_t base = n * a->x_at.n + (group * a->Cg + c) * a->x_at.c;
        for (int r = 0; r < R; r++) {
            int pixel = tap_at(&a->w, o, r);
            if (pixel >= 0)
                sum = fmaf(w[r], get(a->x, base + pixel * a->x_at.p), sum);
        }
    }
    conv_put(a, group, 0, (int)(k - group * a->Kg), (int)n * a->w.by_Q.value + q, sum);
}

/* ---- to the data: dx (Cg, N I) = w^T (Cg, Kg R) x rows of dy (Kg R, N I) ----------------- */

DEVICE float data_w(const conv_args *a, int64_t group, int c, int kr)
{
    int k = over(kr, &a->w.by_R), r = kr - k * a->w.by_R.value;
    return a->weights[((group * a->Kg + k) * a->Cg + c) * a->w.R + r];
}

DEVICE float data_row(const conv_args *a, int64_t group, int kr, int ni)
{
    int k = over(kr, &a->w.by_R), n = over(ni, &a->w.by_I);
    int q = untap(&a->w, ni - n * a->w.by_I.value, kr - k * a->w.by_R.value);
    if (q < 0)
        return 0;
    return get(a->dy, n * a->y_at.n + (group * a->Kg + k) * a->y_at.c + q * a->y_at.p);
}

DEVICE void data_put(const conv_args *a, int64_t group, int piece, int c, int ni, float sum)
{
    int64_t channel = group * a->Cg + c;
    int n = over(ni, &a->w.by_I), pixel = ni - n * a->w.by_I.value;
    if (a->bias)
        sum += a->bias[channel];
    put_some_through(a->out, n * a->x_at.n + channel * a->x_at.c + pixel * a->x_at.p, 1,
                     a->add, &sum, &a->f);
}

#define TILE      data_tile
#define TILE_ARGS conv_args
#define TILE_A    data_w
#define TILE_B    data_row
#define TILE_PUT  data_put
#include "tile.cuh"

/* i: an element of dx as it lies */
MAP(data_direct, conv_args)
{
    int64_t n, c;
    int pixel;
    locate(i, a->C, a->w.I, &a->x_at, &n, &c, &pixel);
    int64_t group = quotient(c, a->Cg);
    int x[AXES], R = (int)a->w.R, own = (int)(c - group * a->Cg);
    float sum = 0;
    split(pixel, a->w.by_in, x);
    for (int64_t k = group * a->Kg; k < (group + 1) * a->Kg; k++) {
        const float *w = a->weights + (k * a->Cg + own) * R;
        int64_t base = n * a->y_at.n + k * a->y_at.c;
        for (int r = 0; r < R; r++) {
            int q = untap_at(&a->w, x, r);
            if (q >= 0)
                sum = fmaf(w[r], get(a->dy, base + q * a->y_at.p), sum);
        }
    }
    data_put(a, group, 0, own, (int)n * a->w.by_I.value + pixel, sum);
}

/* ---- to the weights: dw (Kg, Cg R) = dy (Kg, N Q) x columns^T (N Q, Cg R) ---------------- */

DEVICE float weights_dy(const conv_args *a, int64_t group, int k, int nq)
{
    int n = over(nq, &a->w.by_Q), q = nq - n * a->w.by_Q.value;
    return get(a->dy, n * a->y_at.n + (group * a->Kg + k) * a->y_at.c + q * a->y_at.p);
}

DEVICE float weights_column(const conv_args *a, int64_t group, int nq, int cr)
{
    return conv_column(a, group, cr, nq);
}

/* Pieces of the sum over images and outputs: (piece, K, Cg, R), added up afterwards. */
DEVICE void weights_put(const conv_args *a, int64_t group, int piece, int k, int cr, float sum)
{
    int64_t row = (int64_t)piece * a->K + group * a->Kg + k;
    a->pieces[row * a->tile.n + cr] = sum;
}

#define TILE      weights_tile
#define TILE_ARGS conv_args
#define TILE_A    weights_dy
#define TILE_B    weights_column
#define TILE_PUT  weights_put
#include "tile.cuh"

/* block: (piece, strip of output channels, c, some taps). A thread has one of the channels and
 * every (BLOCK / strip)-th output, whose gradient it reads once for all taps. */
BLOCKS(weights_direct, conv_args)
{
    SHARED double sums[BLOCK];
    PER_THREAD(float, sum, TAPS);
    int width = a->strip, lanes = BLOCK / width;
    int64_t rest = quotient(block, a->tap_groups), strips = (a->K + width - 1) / width;
    int r0 = (int)(block - rest * a->tap_groups) * TAPS, taps = (int)a->w.R - r0;
    int64_t row = quotient(rest, a->Cg), c = rest - row * a->Cg;
    int64_t piece = quotient(row, strips), first = (row - piece * strips) * width;
    int begin = (int)piece * a->tile.piece;
    int end = a->tile.k - begin < a->tile.piece ? a->tile.k : begin + a->tile.piece;
    THREADS(t)
    {
        int64_t k = first + t % width, group = quotient(k, a->Kg);
        UNROLL
        for (int j = 0; j < TAPS; j++)
            sum[LANE(t)][j] = 0;
        for (int nq = begin + t / width; k < a->K && nq < end; nq += lanes) {
            int n = over(nq, &a->w.by_Q), q = nq - n * a->w.by_Q.value, o[AXES];
            int64_t base = n * a->x_at.n + (group * a->Cg + c) * a->x_at.c;
            float dy = get(a->dy, n * a->y_at.n + k * a->y_at.c + q * a->y_at.p);
            split(q, a->w.by_out, o);
            UNROLL
            for (int j = 0; j < TAPS; j++) {
                int pixel = j < taps ? tap_at(&a->w, o, r0 + j) : -1;
                if (pixel >= 0)
                    sum[LANE(t)][j] =
                        fmaf(dy, get(a->x, base + pixel * a->x_at.p), sum[LANE(t)][j]);
            }
        }
    }
    UNROLL
    for (int j = 0; j < TAPS; j++) {
        THREADS(t)
            sums[t] = sum[LANE(t)][j];
        for (int half = BLOCK / 2; half >= width; half /= 2)
            THREADS(t)
                if (t < half)
                    sums[t] += sums[t + half];
        THREADS(t)
            if (t < width && first + t < a->K && j < taps)
                a->pieces[((piece * a->K + first + t) * a->Cg + c) * a->w.R + r0 + j] =
                    (float)sums[t];
    }
}

typedef struct pieces_args {
    const float *pieces;
    float *dw;
    int64_t count;
    int32_t num, add;
} pieces_args;

MAP(add_pieces, pieces_args)
{
    double sum = 0;
    for (int p = 0; p < a->num; p++)
        sum += a->pieces[p * a->count + i];
    put_wide(&a->dw[i], a->add, sum);
}

/* ---- around cuDNN ------------------------------------------------------------------------ */

typedef struct finish_args {
    values bias, y;
    int64_t C, pixels;
    function f;
    int32_t last;
} finish_args;

MAP_SOME(conv_finish, finish_args)
{
    float y[MOST], bias[MOST];
    get_some(a->y, i, some, y);
    if (a->bias.at) {
        get_channels(a->bias, middle_of(i, a->C, a->last ? 1 : a->pixels), some,
                     a->last || a->pixels == 1, bias);
        UNROLL
        for (int k = 0; k < some; k++)
            y[k] += bias[k];
    }
    apply_some(&a->f, some, y);
    set_some(a->y, i, some, y);
}

typedef struct repack_args {
    values from, to;
    int64_t C, R; /* channels of a group, taps */
    int32_t add;
} repack_args;

/* As they lie, in another type. */
MAP_SOME(convert, repack_args)
{
    float v[MOST];
    get_some(a->from, i, some, v);
    set_some(a->to, i, some, v);
}

/* i: (k, c): its taps, which lie together in `from`; those of neighbours do in `to`. */
MAP(repack, repack_args)
{
    int64_t k = quotient(i, a->C), to = k * a->R * a->C + (i - k * a->C);
    for (int64_t r = 0; r < a->R; r++)
        set(a->to, to + r * a->C, get(a->from, i * a->R + r));
}

/* i: (k, c, r), from (k, r, c) */
MAP(unpack, repack_args)
{
    int64_t row = quotient(i, a->R), k = quotient(row, a->C), c = row - k * a->C;
    put_value(a->to, i, a->add, get(a->from, (k * a->R + (i - row * a->R)) * a->C + c));
}

/* Weights, and the bias behind them, in the form that cuDNN wants them in. */
static void pack_weights(const dn_op *op, const dn_op_io *io, const conv_args *a, void *to)
{
    const cuda_dnn_wants *want = cuda_dnn_wants_of(op);
    int64_t n = a->K * a->Cg * a->w.R;
    repack_args r = {values_in(op, io, 1), values_at(to, want->narrow_w), a->Cg, a->w.R, 0};
    if (want->taps_first)
        repack(op, &r, a->K * a->Cg);
    else
        convert(op, &r, n, some_of(n, true));
    if (want->bias_at) {
        values narrow = values_at((char *)to + want->bias_at, 1);
        repack_args b = {values_in(op, io, 2), narrow, 1, 1, 0};
        convert(op, &b, op->in[2].count, some_of(op->in[2].count, true));
    }
}

/* Image i in the type that cuDNN wants; *space goes on behind it. */
static const void *stage(const dn_op *op, const dn_op_io *io, int32_t i, char **space)
{
    const cuda_dnn_wants *want = cuda_dnn_wants_of(op);
    if (!want->staged[i])
        return io->in[i];
    repack_args r = {values_in(op, io, i), values_at(*space, want->narrow), 1, 1, 0};
    convert(op, &r, op->in[i].count, some_of(op->in[i].count, true));
    *space += want->staged[i];
    return r.to.at;
}

/* CONV and CONV_BWD_DATA: from, weights -> to. */
static dn_status dnn_to_image(const dn_op *op, const dn_op_io *io, const conv_args *a)
{
    bool finished;
    const cuda_dnn_wants *want = cuda_dnn_wants_of(op);
    const float *bias = cuda_in(op, io, 2);
    char *space = (char *)io->scratch, *packed = op->keep ? (char *)io->keep : space;
    if (want->packed && !op->keep) {
        pack_weights(op, io, a, packed);
        space += want->packed;
    }
    const void *w = want->packed ? packed : io->in[1], *x = stage(op, io, 0, &space);
    dn_status status =
        cuda_dnn_run(op, x, w, io->out[0], a->add != 0,
                     want->bias_at ? packed + want->bias_at : (const char *)bias, space,
                     &finished);
    if (status != DN_OK || finished || (!bias && !a->f.fn))
        return status;
    const dn_operand *y = &op->out[0].info;
    finish_args f = {floats(bias), values_out(op, io, 0),      y->shape.dim[1], 1,
                     a->f,         y->layout == DN_LAYOUT_NHWC};
    for (int32_t d = 2; d < y->shape.axes; d++)
        f.pixels *= y->shape.dim[d];
    conv_finish(op, &f, op->out[0].count,
                some_of(f.last ? f.C : row_of_view(f.C, f.pixels), f.y.narrow));
    return DN_OK;
}

static dn_status dnn_to_weights(const dn_op *op, const dn_op_io *io, const conv_args *a)
{
    const cuda_dnn_wants *want = cuda_dnn_wants_of(op);
    bool finished, packed = want->packed != 0;
    repack_args r = {floats((const float *)io->scratch), values_out(op, io, 0), a->Cg, a->w.R,
                     a->add};
    char *space = (char *)io->scratch + want->packed;
    const void *x = stage(op, io, 0, &space), *dy = stage(op, io, 1, &space);
    dn_status status = cuda_dnn_run(op, x, dy, packed ? io->scratch : io->out[0],
                                    !packed && a->add, NULL, space, &finished);
    if (status == DN_OK && packed)
        unpack(op, &r, a->K * a->Cg * a->w.R);
    return status;
}

/* cuDNN loads 16 bytes at once: a host's memory may lie otherwise. */
static bool lies_for_dnn(const dn_op *op, const dn_op_io *io)
{
    uintptr_t all = (uintptr_t)io->out[0];
    for (int32_t i = 0; i < op->num_inputs; i++)
        all |= cuda_has_in(op, i) && !(op->keep && i > 0) ? (uintptr_t)io->in[i] : 0;
    return all % 16 == 0;
}

static dn_status by_dnn(const dn_op *op, const dn_op_io *io, const conv_args *a,
                        dn_status (*run)(const dn_op *, const dn_op_io *, const conv_args *))
{
    return op->dnn && !cuda_dnn_refused(op) && lies_for_dnn(op, io) ? run(op, io, a)
                                                                    : DN_DECLINED;
}

/* Of a 1 x 1 kernel on channels-last images: dw (K, C) = dy^T (K, N Q) x (N Q, C). */
static dn_args_gemm product_of(const conv_args *a)
{
    dn_args_gemm g = {{sizeof(dn_args_gemm), 0, 0}};
    g.trans_a = 1;
    g.m = g.lda = a->K;
    g.n = g.ldb = g.ldc = a->C;
    g.k = a->N * a->w.Q;
    g.batch = 1;
    g.alpha = 1;
    return g;
}

/* cuDNN has no such sums of bf16 numbers in f32. */
static bool is_product(const dn_op *op, const conv_args *a)
{
    bool plain = a->w.R == 1 && a->C == a->Cg && a->x_at.p == a->C && a->y_at.p == a->K;
    for (int d = 0; d < AXES; d++)
        plain = plain && a->w.stride[d] == 1 && a->w.pad[d] == 0;
    return plain && cuda_has_blas(op->backend) && op->in[0].info.dtype == DN_BF16 &&
           op->in[1].info.dtype == DN_BF16;
}

static dn_status product_to_weights(const dn_op *op, const dn_op_io *io, const conv_args *a)
{
    dn_args_gemm g = product_of(a);
    return cuda_blas_gemm(op->backend, &g, DN_COMPUTE_BF16, io->in[1], io->in[0], true,
                          cuda_out(op, io, 0), a->add != 0);
}

/* ---- preparing and running --------------------------------------------------------------- */

static bool conv_window(const dn_op *op, const cuda_operand *x, window *w)
{
    const dn_args_conv *c = &op->args.conv;
    return window_init(w, c->spatial, c->kernel, c->stride, c->pad, c->dilation,
                       &x->info.shape, NULL);
}

/* x and y: the operands with the input's and the output's shape. */
static bool conv_init(conv_args *a, const dn_op *op, const cuda_operand *x,
                      const cuda_operand *y)
{
    const dn_args_conv *c = &op->args.conv;
    if (!conv_window(op, x, &a->w))
        return false;
    a->x = a->dy = a->out = floats(NULL);
    a->weights = a->bias = NULL;
    a->pieces = NULL;
    a->N = x->info.shape.dim[0];
    a->C = x->info.shape.dim[1];
    a->K = y->info.shape.dim[1];
    a->Cg = a->C / c->group;
    a->Kg = a->K / c->group;
    a->x_at = image_of(&x->info, a->C, a->w.I);
    a->y_at = image_of(&y->info, a->K, a->w.Q);
    a->f = function_of(c->activation, c->activation_a, 0, 0);
    a->add = cuda_adds(op, 0);
    int64_t limit = ((int64_t)1 << 31) - 1 - BLOCK;
    return a->Cg * a->w.R <= limit && a->Kg * a->w.R <= limit && a->K < limit;
}

/* Depthwise: few channels in a group, and many groups. */
static bool is_thin(const conv_args *a)
{
    return a->Cg < FEW && a->Kg < FEW && a->C > a->Cg;
}

/* Images whose pixels 32 bits can count. */
static int64_t images_at_a_time(int64_t N, int64_t pixels)
{
    int64_t most = (((int64_t)1 << 31) - 1 - BLOCK) / (pixels > 0 ? pixels : 1);
    return N < most ? N : most;
}

static dn_status prepare_conv(dn_op *op, dn_op_info *info)
{
    conv_args a;
    if (cuda_has_in(op, 3) || cuda_has_out(op, 1))
        return cuda_decline(info, "x is normalised on the way, or moments made as well");
    if (!conv_init(&a, op, &op->in[0], &op->out[0]))
        return cuda_decline(info, "more than 3 spatial axes, or 2^30 pixels");
    op->choice = a.Kg < FEW || a.Cg * a.w.R < FEW;
    return is_thin(&a) ? DN_OK
                       : cuda_dnn_take(op, CUDA_DNN_FORWARD, &op->in[0], &op->out[0]);
}

static dn_status run_conv(const dn_op *op, const dn_op_io *io)
{
    conv_args a;
    conv_init(&a, op, &op->in[0], &op->out[0]);
    dn_status status = by_dnn(op, io, &a, dnn_to_image);
    if (status != DN_DECLINED)
        return status;
    int64_t step = images_at_a_time(a.N, a.w.Q);
    a.weights = cuda_in(op, io, 1);
    a.bias = cuda_in(op, io, 2);
    for (int64_t n = 0; n < a.N; n += step) {
        int64_t images = step < a.N - n ? step : a.N - n;
        a.x = values_from(values_in(op, io, 0), n * a.x_at.n);
        a.out = values_from(values_out(op, io, 0), n * a.y_at.n);
        a.tile = tile_shape_of(a.Kg, images * a.w.Q, a.Cg * a.w.R, 1, 0);
        if (cuda_is_depthwise(&a))
            cuda_depthwise(op, &a, images * a.w.Q, false);
        else if (op->choice)
            conv_direct(op, &a, images * a.K * a.w.Q);
        else
            conv_tile(op, &a, tile_blocks(&a.tile, op->args.conv.group));
    }
    return DN_OK;
}

static dn_status pack_conv(const dn_op *op, const dn_op_io *io)
{
    conv_args a;
    conv_init(&a, op, &op->in[0], &op->out[0]);
    pack_weights(op, io, &a, io->keep);
    return DN_OK;
}

const cuda_kind cuda_conv = {"CONV",   sizeof(dn_args_conv), prepare_conv,
                             run_conv, CUDA_NARROW(1, 1),    pack_conv};

static dn_status prepare_conv_bwd_data(dn_op *op, dn_op_info *info)
{
    conv_args a;
    if (!conv_init(&a, op, &op->out[0], &op->in[0]))
        return cuda_decline(info, "more than 3 spatial axes, or 2^30 pixels");
    op->choice = a.Cg < FEW || a.Kg * a.w.R < FEW;
    return is_thin(&a) ? DN_OK : cuda_dnn_take(op, CUDA_DNN_DATA, &op->out[0], &op->in[0]);
}

static dn_status run_conv_bwd_data(const dn_op *op, const dn_op_io *io)
{
    conv_args a;
    conv_init(&a, op, &op->out[0], &op->in[0]);
    dn_status status = by_dnn(op, io, &a, dnn_to_image);
    if (status != DN_DECLINED)
        return status;
    int64_t step = images_at_a_time(a.N, a.w.I);
    a.weights = cuda_in(op, io, 1);
    a.bias = cuda_in(op, io, 2);
    for (int64_t n = 0; n < a.N; n += step) {
        int64_t images = step < a.N - n ? step : a.N - n;
        a.dy = values_from(values_in(op, io, 0), n * a.y_at.n);
        a.out = values_from(values_out(op, io, 0), n * a.x_at.n);
        a.tile = tile_shape_of(a.Cg, images * a.w.I, a.Kg * a.w.R, 0, 0);
        if (cuda_is_depthwise(&a))
            cuda_depthwise(op, &a, images * a.w.I, true);
        else if (op->choice)
            data_direct(op, &a, images * a.C * a.w.I);
        else
            data_tile(op, &a, tile_blocks(&a.tile, op->args.conv.group));
    }
    return DN_OK;
}

static dn_status pack_conv_bwd_data(const dn_op *op, const dn_op_io *io)
{
    conv_args a;
    conv_init(&a, op, &op->out[0], &op->in[0]);
    pack_weights(op, io, &a, io->keep);
    return DN_OK;
}

const cuda_kind cuda_conv_bwd_data = {
    "CONV_BWD_DATA",   sizeof(dn_args_conv), prepare_conv_bwd_data,
    run_conv_bwd_data, CUDA_NARROW(1, 1),    pack_conv_bwd_data};

/* Cuts the sum over images and outputs so that there is work for every multiprocessor: a
 * function of the shapes alone, as the order of summation is. */
static void cut_weights(conv_args *a, const dn_op *op)
{
    int64_t columns = a->Cg * a->w.R, terms = a->N * a->w.Q;
    a->tile = tile_shape_of(a->Kg, columns, terms, 1, 1);
    int64_t tiles = tile_blocks(&a->tile, op->args.conv.group);
    int64_t pieces = WANTED / (tiles > 0 ? tiles : 1), most = terms / SMALLEST;
    int64_t fit = MOST_SCRATCH / (a->K * columns > 0 ? a->K * columns : 1);
    pieces = pieces < most ? pieces : most;
    pieces = pieces < fit ? pieces : fit;
    pieces = pieces > 1 ? pieces : 1;
    a->tile.piece = (int32_t)((terms + pieces - 1) / pieces);
    a->tile.pieces = a->tile.piece ? (int32_t)((terms + a->tile.piece - 1) / a->tile.piece) : 1;
}

/* Of a piece. */
static int64_t direct_blocks(const conv_args *a)
{
    return (a->K + a->strip - 1) / a->strip * a->Cg * a->tap_groups;
}

/* The same where a thread sums by itself. */
static void cut_direct(conv_args *a)
{
    int64_t terms = a->N * a->w.Q;
    a->strip = a->y_at.p == 1 ? 1 : STRIP;
    a->tap_groups = (a->w.R + TAPS - 1) / TAPS;
    int64_t blocks = direct_blocks(a);
    int64_t pieces = WANTED > blocks && blocks > 0 ? WANTED / blocks : 1;
    int64_t piece = (terms + pieces - 1) / pieces, least = BLOCK / a->strip * LEAST;
    piece = piece > least ? piece : least;
    a->tile = tile_shape_of(a->Kg, a->Cg * a->w.R, terms, 1, 1);
    a->tile.piece = (int32_t)piece;
    a->tile.pieces = terms > piece ? (int32_t)((terms + piece - 1) / piece) : 1;
}

static bool weights_init(conv_args *a, const dn_op *op)
{
    if (!conv_init(a, op, &op->in[0], &op->in[1]) ||
        images_at_a_time(a->N, a->w.Q) < a->N)
        return false;
    if (a->Kg < FEW && a->Cg < FEW)
        cut_direct(a);
    else
        cut_weights(a, op);
    return true;
}

/* dy as the bias's gradient sums it: (outer, K, inner), which depends on how it lies. */
static void bias_view(const conv_args *a, int64_t *outer, int64_t *inner)
{
    bool planes = a->y_at.p == 1;
    *outer = planes ? a->N : a->N * a->w.Q;
    *inner = planes ? a->w.Q : 1;
}

static dn_status prepare_conv_bwd_weights(dn_op *op, dn_op_info *info)
{
    conv_args a;
    if (cuda_has_in(op, 2) || cuda_has_out(op, 2) || cuda_has_in(op, 7))
        return cuda_decline(info, "x is normalised on the way, dx made as well, or dy masked");
    if (!weights_init(&a, op))
        return cuda_decline(info, "more than 3 spatial axes, or 2^31 pixels");
    op->choice = a.Kg < FEW && a.Cg < FEW;
    op->scratch = (size_t)(a.tile.pieces * a.K * a.Cg * a.w.R) * sizeof(float);
    op->blas = is_product(op, &a);
    if (op->blas)
        op->compute = DN_COMPUTE_BF16;
    else if (!is_thin(&a)) {
        dn_status status = cuda_dnn_take(op, CUDA_DNN_WEIGHTS, &op->in[0], &op->in[1]);
        if (status != DN_OK)
            return status;
    }
    int64_t outer, inner;
    bias_view(&a, &outer, &inner);
    size_t sums = cuda_channel_scratch(outer, a.K, inner);
    if (cuda_has_out(op, 1) && sums > op->scratch)
        op->scratch = sums;
    return DN_OK;
}

static void bias_gradient(const dn_op *op, const dn_op_io *io, const conv_args *a)
{
    int64_t outer, inner;
    bias_view(a, &outer, &inner);
    cuda_channel_sum(op, io->scratch, a->dy.at, a->dy.narrow != 0, outer, a->K, inner,
                     cuda_adds(op, 1), cuda_out(op, io, 1));
}

static dn_status run_weights_part(const dn_op *op, const dn_op_io *io, int32_t part)
{
    conv_args a = {{0}};
    weights_init(&a, op);
    a.x = values_in(op, io, 0);
    a.dy = values_in(op, io, 1);
    if (part > 0) {
        bias_gradient(op, io, &a);
        return DN_OK;
    }
    a.pieces = (float *)io->scratch;
    pieces_args p = {a.pieces, cuda_out(op, io, 0), a.K * a.Cg * a.w.R, a.tile.pieces, a.add};
    dn_status status = op->blas ? product_to_weights(op, io, &a)
                                : by_dnn(op, io, &a, dnn_to_weights);
    if (status != DN_OK && status != DN_DECLINED)
        return status;
    if (status == DN_DECLINED) {
        if (cuda_is_depthwise(&a))
            cuda_depthwise_weights(op, &a, a.tile.pieces * direct_blocks(&a));
        else if (op->choice)
            weights_direct(op, &a, a.tile.pieces * direct_blocks(&a));
        else
            weights_tile(op, &a, tile_blocks(&a.tile, op->args.conv.group));
        add_pieces(op, &p, p.count);
    }
    return DN_OK;
}

static dn_status run_conv_bwd_weights(const dn_op *op, const dn_op_io *io)
{
    dn_status status = run_weights_part(op, io, 0);
    return status || !cuda_has_out(op, 1) ? status : run_weights_part(op, io, 1);
}

const cuda_kind cuda_conv_bwd_weights = {"CONV_BWD_WEIGHTS", sizeof(dn_args_conv),
                                         prepare_conv_bwd_weights, run_conv_bwd_weights,
                                         CUDA_NARROW(3, 0), NULL, 0, run_weights_part};

/* ---- IM2COL, COL2IM: columns (N C, R, Q) ------------------------------------------------- */

typedef struct columns_args {
    window w;
    const float *x;
    float *y;
    int32_t add;
} columns_args;

MAP(im2col, columns_args)
{
    int64_t row = quotient(i, a->w.Q), plane = quotient(row, a->w.R);
    int pixel = tap(&a->w, (int)(i - row * a->w.Q), (int)(row - plane * a->w.R));
    put(&a->y[i], a->add, pixel < 0 ? 0 : a->x[plane * a->w.I + pixel]);
}

MAP(col2im, columns_args)
{
    int64_t plane = quotient(i, a->w.I);
    int pixel = (int)(i - plane * a->w.I);
    double sum = 0;
    for (int r = 0; r < (int)a->w.R; r++) {
        int q = untap(&a->w, pixel, r);
        if (q >= 0)
            sum += a->x[(plane * a->w.R + r) * a->w.Q + q];
    }
    put_wide(&a->y[i], a->add, sum);
}

static dn_status prepare_im2col(dn_op *op, dn_op_info *info)
{
    window w;
    if (!conv_window(op, &op->in[0], &w))
        return cuda_decline(info, "more than 3 spatial axes, or 2^30 pixels");
    return DN_OK;
}

static dn_status run_im2col(const dn_op *op, const dn_op_io *io)
{
    columns_args a;
    conv_window(op, &op->in[0], &a.w);
    a.x = cuda_in(op, io, 0);
    a.y = cuda_out(op, io, 0);
    a.add = cuda_adds(op, 0);
    im2col(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_im2col = {"IM2COL", sizeof(dn_args_conv), prepare_im2col, run_im2col};

static dn_status prepare_col2im(dn_op *op, dn_op_info *info)
{
    window w;
    if (!conv_window(op, &op->out[0], &w))
        return cuda_decline(info, "more than 3 spatial axes, or 2^30 pixels");
    return DN_OK;
}

static dn_status run_col2im(const dn_op *op, const dn_op_io *io)
{
    columns_args a;
    conv_window(op, &op->out[0], &a.w);
    a.x = cuda_in(op, io, 0);
    a.y = cuda_out(op, io, 0);
    a.add = cuda_adds(op, 0);
    col2im(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_col2im = {"COL2IM", sizeof(dn_args_conv), prepare_col2im, run_col2im};
