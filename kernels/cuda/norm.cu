/* SPDX-License-Identifier: BSD-2-Clause
 * norm.cu: BATCH_NORM, NORM_SCALE, MVN, their gradients, and PRELU_BWD. All of them need two
 * sums per channel of a view (outer, dim, inner): blocks sum pieces in double into scratch,
 * some threads for each channel add them in a fixed order, a last pass goes over the
 * elements. Neighbours, of a channel or one of each, are taken together where rows allow. */
#include "some.cuh"

#define NARROW       32   /* channels that a block takes together where inner is short */
#define WANTED       1024 /* blocks that fill a large device */
#define LEAST        8    /* terms that a thread should sum at least, */
#define LEAST_NARROW 64   /* or there */
#define ADDERS       32   /* threads that add the pieces of a channel */
#define WHOLE        32   /* terms of a thread up to which one block has a channel by itself */

enum { TERM_SQUARES, TERM_PRODUCTS, TERM_SCALED, TERM_PRELU, TERM_SUM };

typedef struct norm_args {
    values x, y_in, dy, out; /* y_in: y of the gradients */
    values mean_in, inv_in, gamma, beta;
    float *mean, *inv_std, *running_mean, *running_var, *factor;
    float *dgamma, *dbeta;
    double *partial; /* (dim, pieces, 2) */
    values p, q;     /* per channel, of the finish for the last pass */
    int64_t outer, dim, inner, pieces, piece, width; /* piece: terms of one */
    double eps, fraction;
    function f;
    int32_t term, use_global, variance, add, add_gamma, add_beta, shared;
    int32_t whole; /* TERM_SUM: a piece is all of a channel, its sum goes to out */
} norm_args;

/* n: (x - mean) inv_std */
DEVICE void normalised(const norm_args *a, int64_t d, int some, bool apart, const float *x,
                       float *n)
{
    float mean[MOST], inverse[MOST];
    get_channels(a->mean_in, d, some, apart, mean);
    get_channels(a->inv_in, d, some, apart, inverse);
    UNROLL
    for (int k = 0; k < some; k++)
        n[k] = (x[k] - mean[k]) * inverse[k];
}

/* What the forward made of x. */
DEVICE void made_of(const norm_args *a, int64_t d, int some, bool apart, const float *x,
                    float *y)
{
    float mean[MOST], inverse[MOST], gamma[MOST], beta[MOST];
    get_channels(a->mean_in, d, some, apart, mean);
    get_channels(a->inv_in, d, some, apart, inverse);
    get_channels(a->gamma, d, some, apart, gamma);
    get_channels(a->beta, d, some, apart, beta);
    UNROLL
    for (int k = 0; k < some; k++)
        y[k] = gamma[k] * inverse[k] * (x[k] - mean[k]) + beta[k];
    apply_some(&a->f, some, y);
}

/* dy f'(y): the gradient below the activation. */
DEVICE void under(const norm_args *a, int64_t at, int64_t d, int some, bool apart,
                  const float *x, float *dz)
{
    float y[MOST];
    get_some(a->dy, at, some, dz);
    if (a->f.fn == DN_FN_NONE)
        return;
    if (a->y_in.at)
        get_some(a->y_in, at, some, y);
    else
        made_of(a, d, some, apart, x, y);
    slopes_from_y(&a->f, some, y, dz);
}

/* v and w: what is summed of neighbours from element `at` on; alone: x is all it is made of,
 * so that a kernel for these has registers for many threads. */
DEVICE void terms_of(const norm_args *a, int64_t at, int64_t d, int some, bool apart,
                     bool alone, float *v, float *w)
{
    if (alone || a->term == TERM_SQUARES || a->term == TERM_SUM) {
        get_some(a->x, at, some, v);
        UNROLL
        for (int k = 0; k < some; k++)
            w[k] = v[k];
    } else if (a->term == TERM_PRODUCTS) {
        get_some(a->dy, at, some, v);
        get_some(a->y_in, at, some, w);
    } else if (a->term == TERM_PRELU) {
        get_some(a->dy, at, some, v);
        get_some(a->x, at, some, w);
    } else {
        float x[MOST];
        get_some(a->x, at, some, x);
        under(a, at, d, some, apart, x, v);
        normalised(a, d, some, apart, x, w);
    }
}

DEVICE void add_term(const norm_args *a, double v, double w, double sum[2])
{
    if (a->term == TERM_PRELU) {
        sum[0] += w > 0 ? 0 : v * w;
        return;
    }
    sum[0] += v;
    if (a->term != TERM_SUM)
        sum[1] += v * w;
}

/* block: (channels / width, piece). A thread takes `some` neighbours at a time: of the block's
 * one channel; or one of each of so many channels (apart), and every so-manieth term. */
DEVICE void sum_channels(const norm_args *a, int64_t block, int some, bool apart, bool alone,
                         double *sums, double *more)
{
    PER_THREAD(double, sum, 2 * MOST);
    int width = (int)a->width, each = apart ? some : 1, across = width / each;
    int64_t strip = quotient(block, a->pieces), piece = block - strip * a->pieces;
    int64_t terms = a->outer * a->inner, begin = piece * a->piece;
    int64_t end = begin + a->piece < terms ? begin + a->piece : terms;
    int64_t lanes = BLOCK / across, step = apart ? 1 : some;
    THREADS(t)
    {
        int64_t d = strip * width + t % across * each;
        UNROLL
        for (int k = 0; k < 2 * each; k++)
            sum[LANE(t)][k] = 0;
        for (int64_t j = begin + t / across * step; d < a->dim && j < end; j += lanes * step) {
            int64_t o = a->inner == 1 ? j : quotient(j, a->inner);
            int64_t at = (o * a->dim + d) * a->inner + (j - o * a->inner);
            float v[MOST], w[MOST];
            terms_of(a, at, d, some, apart, alone, v, w);
            UNROLL
            for (int k = 0; k < some; k++)
                add_term(a, v[k], w[k], &sum[LANE(t)][apart ? 2 * k : 0]);
        }
    }
    UNROLL
    for (int k = 0; k < each; k++) {
        THREADS(t)
        {
            sums[t] = sum[LANE(t)][2 * k];
            more[t] = sum[LANE(t)][2 * k + 1];
        }
        for (int half = BLOCK / 2; half >= across; half /= 2)
            THREADS(t)
                if (t < half) {
                    sums[t] += sums[t + half];
                    more[t] += more[t + half];
                }
        THREADS(t)
        {
            int64_t d = strip * width + t * each + k;
            if (t < across && d < a->dim && a->whole) {
                put_value_wide(a->out, d, a->add, sums[t]);
            } else if (t < across && d < a->dim) {
                a->partial[2 * (d * a->pieces + piece)] = sums[t];
                a->partial[2 * (d * a->pieces + piece) + 1] = more[t];
            }
        }
    }
}

#define CHANNEL_SUMS(name, some, apart, alone)                                                 \
    BLOCKS(name, norm_args)                                                                    \
    {                                                                                          \
        SHARED double sums[BLOCK], more[BLOCK];                                                \
        sum_channels(a, block, some, apart, alone, sums, more);                                \
    }
CHANNEL_SUMS(rows_8_alone, 8, true, true)
CHANNEL_SUMS(rows_4_alone, 4, true, true)
CHANNEL_SUMS(rows_8, 8, true, false)
CHANNEL_SUMS(rows_4, 4, true, false)
CHANNEL_SUMS(planes_8, 8, false, false)
CHANNEL_SUMS(planes_4, 4, false, false)
CHANNEL_SUMS(one_by_one, 1, false, false)

/* block: so many channels, ADDERS threads each: sums[t] and more[t] are the channel's where t
 * is the first of its threads. */
DEVICE void add_pieces(const norm_args *a, int64_t block, double *sums, double *more)
{
    THREADS(t)
    {
        int64_t d = block * (BLOCK / ADDERS) + t / ADDERS;
        sums[t] = more[t] = 0;
        for (int64_t p = t % ADDERS; d < a->dim && p < a->pieces; p += ADDERS) {
            sums[t] += a->partial[2 * (d * a->pieces + p)];
            more[t] += a->partial[2 * (d * a->pieces + p) + 1];
        }
    }
    for (int half = ADDERS / 2; half > 0; half /= 2)
        THREADS(t)
            if (t % ADDERS < half) {
                sums[t] += sums[t + half];
                more[t] += more[t + half];
            }
}

/* name(op, a): the body once for each channel i, with its two sums. */
#define FINISH(name)                                                                           \
    DEVICE void name##_of(const norm_args *a, int64_t i, double sum, double more);             \
    BLOCKS(name##_all, norm_args)                                                              \
    {                                                                                          \
        SHARED double sums[BLOCK], more[BLOCK];                                                \
        add_pieces(a, block, sums, more);                                                      \
        THREADS(t)                                                                             \
        {                                                                                      \
            int64_t i = block * (BLOCK / ADDERS) + t / ADDERS;                                 \
            if (t % ADDERS == 0 && i < a->dim)                                                 \
                name##_of(a, i, sums[t], more[t]);                                             \
        }                                                                                      \
    }                                                                                          \
    static void name(const dn_op *op, const norm_args *a)                                      \
    {                                                                                          \
        name##_all(op, a, (a->dim + BLOCK / ADDERS - 1) / (BLOCK / ADDERS));                   \
    }                                                                                          \
    DEVICE void name##_of(const norm_args *a, int64_t i, double sum, double more)

static int64_t width_of(int64_t inner)
{
    return inner < NARROW ? NARROW : 1;
}

/* A function of the shape alone, as the order of summation is. */
static int64_t piece_of(int64_t outer, int64_t dim, int64_t inner)
{
    int64_t width = width_of(inner), strips = (dim + width - 1) / width, terms = outer * inner;
    int64_t least = BLOCK / width * (width > 1 ? LEAST_NARROW : LEAST);
    int64_t pieces = WANTED > strips && strips > 0 ? WANTED / strips : 1;
    int64_t piece = ((terms + pieces - 1) / pieces + MOST - 1) / MOST * MOST;
    return piece > least ? piece : least;
}

static int64_t pieces_of(int64_t outer, int64_t dim, int64_t inner)
{
    int64_t piece = piece_of(outer, dim, inner), pieces = (outer * inner + piece - 1) / piece;
    return pieces > 0 ? pieces : 1;
}

/* Neighbours that a thread takes. */
static int some_in(const norm_args *a)
{
    bool narrow = a->x.narrow || a->y_in.narrow || a->dy.narrow || a->out.narrow;
    return some_of(row_of_view(a->dim, a->inner), narrow);
}

static void run_sums(const dn_op *op, const norm_args *a)
{
    int64_t blocks = (a->dim + a->width - 1) / a->width * a->pieces;
    int some = some_in(a);
    bool alone = a->term == TERM_SQUARES || a->term == TERM_SUM;
    if (some > 1 && a->inner == 1 && alone)
        (some == 8 ? rows_8_alone : rows_4_alone)(op, a, blocks);
    else if (some > 1 && a->inner == 1)
        (some == 8 ? rows_8 : rows_4)(op, a, blocks);
    else if (some > 1 && a->width == 1)
        (some == 8 ? planes_8 : planes_4)(op, a, blocks);
    else
        one_by_one(op, a, blocks);
}

/* Partial sums, then two floats per channel. */
size_t cuda_channel_scratch(int64_t outer, int64_t dim, int64_t inner)
{
    return (size_t)(dim * pieces_of(outer, dim, inner) * 2) * sizeof(double) +
           (size_t)(2 * dim) * sizeof(float);
}

static norm_args view_of(int64_t outer, int64_t dim, int64_t inner, void *scratch)
{
    norm_args a = {{0}};
    a.outer = outer;
    a.dim = dim;
    a.inner = inner;
    a.piece = piece_of(outer, dim, inner);
    a.pieces = pieces_of(outer, dim, inner);
    a.width = width_of(inner);
    a.partial = (double *)scratch;
    a.p = floats((float *)(a.partial + dim * a.pieces * 2));
    a.q = floats((float *)a.p.at + dim);
    return a;
}

FINISH(sum_finish)
{
    (void)more;
    put_value_wide(a->out, i, a->add, sum);
}

void cuda_channel_sum(const dn_op *op, void *scratch, const void *x, bool narrow, int64_t outer,
                      int64_t dim, int64_t inner, int32_t add, float *y)
{
    norm_args a = view_of(outer, dim, inner, scratch);
    a.x = values_at((void *)x, narrow);
    a.out = floats(y);
    a.add = add;
    a.term = TERM_SUM;
    a.whole = outer * inner <= WHOLE * BLOCK / a.width;
    if (a.whole) {
        a.pieces = 1;
        a.piece = outer * inner;
    }
    run_sums(op, &a);
    if (!a.whole)
        sum_finish(op, &a);
}

/* ---- BATCH_NORM and NORM_SCALE forward, MVN -------------------------------------------------
 * p and q turn x into y: y = f(p (x - mean) + q). */

DEVICE void moments(const norm_args *a, double sum, double squares, double *mean,
                    double *variance)
{
    double m = (double)(a->outer * a->inner);
    *mean = sum / m;
    *variance = squares / m - *mean * *mean;
    *variance = *variance < 0 ? 0 : *variance;
}

DEVICE void keep_running(const norm_args *a, int64_t d, double mean, double variance)
{
    double m = (double)(a->outer * a->inner), unbiased = m > 1 ? m / (m - 1) : 1;
    a->running_mean[d] = (float)(a->fraction * a->running_mean[d] + mean);
    a->running_var[d] = (float)(a->fraction * a->running_var[d] + variance * unbiased);
}

FINISH(norm_finish)
{
    double mean, variance, inverse;
    if (a->use_global) {
        double share = *a->factor == 0 ? 0 : 1 / (double)*a->factor;
        mean = a->running_mean[i] * share;
        variance = a->running_var[i] * share;
    } else {
        moments(a, sum, more, &mean, &variance);
    }
    inverse = 1 / sqrt(variance + a->eps);
    a->mean[i] = (float)mean;
    a->inv_std[i] = (float)inverse;
    set(a->p, i, (float)(a->gamma.at ? inverse * get(a->gamma, i) : inverse));
    set(a->q, i, a->beta.at ? get(a->beta, i) : 0);
    if (a->use_global)
        return;
    keep_running(a, i, mean, variance);
    if (i == 0)
        *a->factor = (float)(a->fraction * *a->factor + 1);
}

MAP_SOME(normalise, norm_args)
{
    int64_t d = middle_of(i, a->dim, a->inner);
    float v[MOST], p[MOST], q[MOST], mean[MOST];
    bool apart = a->inner == 1;
    get_some(a->x, i, some, v);
    get_channels(a->p, d, some, apart, p);
    get_channels(a->q, d, some, apart, q);
    get_channels(a->mean_in, d, some, apart, mean);
    UNROLL
    for (int k = 0; k < some; k++)
        v[k] = p[k] * (v[k] - mean[k]) + q[k];
    put_some_through(a->out, i, some, a->add, v, &a->f);
}

static dn_status norm_forward(const dn_op *op, norm_args *a)
{
    a->term = TERM_SQUARES;
    if (a->use_global)
        a->pieces = 0;
    else
        run_sums(op, a);
    norm_finish(op, a);
    a->mean_in = floats(a->mean);
    normalise(op, a, a->outer * a->dim * a->inner, some_in(a));
    return DN_OK;
}

static dn_status prepare_batch_norm(dn_op *op, dn_op_info *info)
{
    const dn_args_batch_norm *b = &op->args.batch_norm;
    (void)info;
    op->scratch = cuda_channel_scratch(b->outer, b->dim, b->inner);
    return DN_OK;
}

static dn_status run_batch_norm(const dn_op *op, const dn_op_io *io)
{
    const dn_args_batch_norm *b = &op->args.batch_norm;
    norm_args a = view_of(b->outer, b->dim, b->inner, io->scratch);
    a.x = values_in(op, io, 0);
    a.out = values_out(op, io, 0);
    a.mean = cuda_out(op, io, 1);
    a.inv_std = cuda_out(op, io, 2);
    a.running_mean = cuda_out(op, io, 3);
    a.running_var = cuda_out(op, io, 4);
    a.factor = cuda_out(op, io, 5);
    a.eps = b->eps;
    a.fraction = b->fraction;
    a.use_global = b->use_global;
    a.add = cuda_adds(op, 0);
    return norm_forward(op, &a);
}

const cuda_kind cuda_batch_norm = {"BATCH_NORM", sizeof(dn_args_batch_norm), prepare_batch_norm,
                                   run_batch_norm};

static dn_status prepare_norm_scale(dn_op *op, dn_op_info *info)
{
    const dn_args_norm_scale *n = &op->args.norm_scale;
    if (!cuda_has_out(op, 0))
        return cuda_decline(info, "statistics alone");
    if (cuda_has_in(op, 7) || (op->kind == &cuda_norm_scale && cuda_has_in(op, 3)))
        return cuda_decline(info, "sums that others made");
    op->scratch = cuda_channel_scratch(n->outer, n->dim, n->inner);
    return DN_OK;
}

static dn_status run_norm_scale(const dn_op *op, const dn_op_io *io)
{
    const dn_args_norm_scale *n = &op->args.norm_scale;
    norm_args a = view_of(n->outer, n->dim, n->inner, io->scratch);
    a.x = values_in(op, io, 0);
    a.gamma = values_in(op, io, 1);
    a.beta = values_in(op, io, 2);
    a.out = values_out(op, io, 0);
    a.mean = cuda_out(op, io, 1);
    a.inv_std = cuda_out(op, io, 2);
    a.running_mean = cuda_out(op, io, 3);
    a.running_var = cuda_out(op, io, 4);
    a.factor = cuda_out(op, io, 5);
    a.eps = n->eps;
    a.fraction = n->fraction;
    a.use_global = n->use_global;
    a.f = function_of(n->activation, n->activation_a, 0, 0);
    a.add = cuda_adds(op, 0);
    return norm_forward(op, &a);
}

const cuda_kind cuda_norm_scale = {"NORM_SCALE", sizeof(dn_args_norm_scale), prepare_norm_scale,
                                   run_norm_scale, CUDA_NARROW(1, 1)};

FINISH(mvn_finish)
{
    double mean, variance, inverse = 1;
    moments(a, sum, more, &mean, &variance);
    if (a->variance)
        inverse = 1 / (sqrt(variance) + a->eps);
    a->mean[i] = (float)mean;
    a->inv_std[i] = (float)inverse;
}

MAP_FLOATS(mvn_normalise, norm_args)
{
    float v[MOST];
    get_some(a->x, i, some, v);
    normalised(a, quotient(i, a->inner), some, a->inner == 1, v, v);
    put_some(a->out, i, some, a->add, v);
}

static dn_status prepare_mvn(dn_op *op, dn_op_info *info)
{
    (void)info;
    op->scratch = cuda_channel_scratch(1, op->args.mvn.rows, op->args.mvn.cols);
    return DN_OK;
}

static dn_status run_mvn(const dn_op *op, const dn_op_io *io)
{
    const dn_args_mvn *v = &op->args.mvn;
    norm_args a = view_of(1, v->rows, v->cols, io->scratch);
    a.x = values_in(op, io, 0);
    a.out = values_out(op, io, 0);
    a.mean = (float *)a.p.at;
    a.inv_std = cuda_out(op, io, 1);
    a.mean_in = a.p;
    a.inv_in = floats(a.inv_std);
    a.eps = v->eps;
    a.variance = v->normalize_variance;
    a.add = cuda_adds(op, 0);
    a.term = TERM_SQUARES;
    run_sums(op, &a);
    mvn_finish(op, &a);
    mvn_normalise(op, &a, v->rows * v->cols, some_in(&a));
    return DN_OK;
}

const cuda_kind cuda_mvn = {"MVN", sizeof(dn_args_mvn), prepare_mvn, run_mvn};

/* ---- gradients: p and q hold the two means ----------------------------------------------- */

FINISH(means_finish)
{
    double m = (double)(a->outer * a->inner);
    set(a->p, i, (float)(sum / m));
    set(a->q, i, a->variance ? (float)(more / m) : 0);
}

/* dx = inv_std (dy - mean(dy) - y mean(dy y)) */
MAP_FLOATS(normalise_bwd, norm_args)
{
    int64_t d = middle_of(i, a->dim, a->inner);
    float v[MOST], y[MOST], p[MOST], q[MOST];
    bool apart = a->inner == 1;
    get_some(a->dy, i, some, v);
    if (!a->use_global) {
        get_some(a->y_in, i, some, y);
        get_channels(a->p, d, some, apart, p);
        get_channels(a->q, d, some, apart, q);
        UNROLL
        for (int k = 0; k < some; k++)
            v[k] = v[k] - p[k] - y[k] * q[k];
    }
    if (a->inv_in.at) {
        get_channels(a->inv_in, d, some, apart, p);
        UNROLL
        for (int k = 0; k < some; k++)
            v[k] = p[k] * v[k];
    }
    put_some(a->out, i, some, a->add, v);
}

static dn_status norm_backward(const dn_op *op, const dn_op_io *io, norm_args *a)
{
    a->y_in = values_in(op, io, 0);
    a->dy = values_in(op, io, 2);
    a->out = values_out(op, io, 0);
    a->add = cuda_adds(op, 0);
    a->term = TERM_PRODUCTS;
    if (!a->use_global) {
        run_sums(op, a);
        means_finish(op, a);
    }
    normalise_bwd(op, a, a->outer * a->dim * a->inner, some_in(a));
    return DN_OK;
}

static dn_status run_batch_norm_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_batch_norm *b = &op->args.batch_norm;
    norm_args a = view_of(b->outer, b->dim, b->inner, io->scratch);
    a.inv_in = values_in(op, io, 1);
    a.use_global = b->use_global;
    a.variance = 1;
    return norm_backward(op, io, &a);
}

const cuda_kind cuda_batch_norm_bwd = {"BATCH_NORM_BWD", sizeof(dn_args_batch_norm),
                                       prepare_batch_norm, run_batch_norm_bwd};

static dn_status run_mvn_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_mvn *v = &op->args.mvn;
    norm_args a = view_of(1, v->rows, v->cols, io->scratch);
    a.inv_in = v->normalize_variance ? values_in(op, io, 1) : floats(NULL);
    a.variance = v->normalize_variance;
    return norm_backward(op, io, &a);
}

const cuda_kind cuda_mvn_bwd = {"MVN_BWD", sizeof(dn_args_mvn), prepare_mvn, run_mvn_bwd};

FINISH(scaled_finish)
{
    double m = (double)(a->outer * a->inner);
    set(a->p, i, (float)(sum / m));
    set(a->q, i, (float)(more / m));
    if (a->dgamma)
        put_wide(&a->dgamma[i], a->add_gamma, more);
    if (a->dbeta)
        put_wide(&a->dbeta[i], a->add_beta, sum);
}

/* dx = gamma inv_std (dz - mean(dz) - n mean(dz n)) */
MAP_SOME(scaled_bwd, norm_args)
{
    int64_t d = middle_of(i, a->dim, a->inner);
    float x[MOST], dz[MOST], n[MOST], p[MOST], q[MOST];
    bool apart = a->inner == 1;
    get_some(a->x, i, some, x);
    under(a, i, d, some, apart, x, dz);
    if (!a->use_global) {
        normalised(a, d, some, apart, x, n);
        get_channels(a->p, d, some, apart, p);
        get_channels(a->q, d, some, apart, q);
        UNROLL
        for (int k = 0; k < some; k++)
            dz[k] = dz[k] - p[k] - n[k] * q[k];
    }
    get_channels(a->gamma, d, some, apart, p);
    get_channels(a->inv_in, d, some, apart, q);
    UNROLL
    for (int k = 0; k < some; k++)
        dz[k] = p[k] * q[k] * dz[k];
    put_some(a->out, i, some, a->add, dz);
}

static dn_status run_norm_scale_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_norm_scale *n = &op->args.norm_scale;
    norm_args a = view_of(n->outer, n->dim, n->inner, io->scratch);
    a.x = values_in(op, io, 0);
    a.y_in = values_in(op, io, 1);
    a.mean_in = values_in(op, io, 2);
    a.inv_in = values_in(op, io, 3);
    a.gamma = values_in(op, io, 4);
    a.dy = values_in(op, io, 5);
    a.beta = values_in(op, io, 6);
    a.out = values_out(op, io, 0);
    a.dgamma = cuda_out(op, io, 1);
    a.dbeta = cuda_out(op, io, 2);
    a.f = function_of(n->activation, n->activation_a, 0, 0);
    a.use_global = n->use_global;
    a.add = cuda_adds(op, 0);
    a.add_gamma = cuda_adds(op, 1);
    a.add_beta = cuda_adds(op, 2);
    a.term = TERM_SCALED;
    run_sums(op, &a);
    scaled_finish(op, &a);
    if (a.out.at)
        scaled_bwd(op, &a, a.outer * a.dim * a.inner, some_in(&a));
    return DN_OK;
}

const cuda_kind cuda_norm_scale_bwd = {"NORM_SCALE_BWD", sizeof(dn_args_norm_scale),
                                       prepare_norm_scale, run_norm_scale_bwd,
                                       CUDA_NARROW(35, 1)};

/* ---- PRELU_BWD --------------------------------------------------------------------------- */

FINISH(slope_finish)
{
    (void)more;
    put_wide(&a->dgamma[i], a->add_gamma, sum);
}

/* The one slope of all channels: a block. */
BLOCKS(shared_finish, norm_args)
{
    SHARED double sums[BLOCK];
    THREADS(t)
    {
        sums[t] = 0;
        for (int64_t p = t; p < a->dim * a->pieces; p += BLOCK)
            sums[t] += a->partial[2 * p];
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0 && block == 0)
            put_wide(&a->dgamma[0], a->add_gamma, sum);
}

MAP_FLOATS(prelu_bwd, norm_args)
{
    int64_t d = a->shared ? 0 : middle_of(i, a->dim, a->inner);
    float dy[MOST], x[MOST], slope[MOST];
    get_some(a->dy, i, some, dy);
    get_some(a->x, i, some, x);
    get_channels(a->gamma, d, some, a->inner == 1 && !a->shared, slope);
    UNROLL
    for (int k = 0; k < some; k++)
        dy[k] = x[k] > 0 ? dy[k] : slope[k] * dy[k];
    put_some(a->out, i, some, a->add, dy);
}

static dn_status prepare_prelu_bwd(dn_op *op, dn_op_info *info)
{
    const dn_args_prelu *p = &op->args.prelu;
    (void)info;
    op->scratch = cuda_channel_scratch(p->outer, p->dim, p->inner);
    return DN_OK;
}

static dn_status run_prelu_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_prelu *p = &op->args.prelu;
    norm_args a = view_of(p->outer, p->dim, p->inner, io->scratch);
    a.x = values_in(op, io, 0);
    a.gamma = values_in(op, io, 1);
    a.dy = values_in(op, io, 2);
    a.out = values_out(op, io, 0);
    a.dgamma = cuda_out(op, io, 1);
    a.shared = p->shared;
    a.add = cuda_adds(op, 0);
    a.add_gamma = cuda_adds(op, 1);
    a.term = TERM_PRELU;
    if (a.dgamma) {
        run_sums(op, &a);
        if (p->shared)
            shared_finish(op, &a, 1);
        else
            slope_finish(op, &a);
    }
    if (a.out.at)
        prelu_bwd(op, &a, p->outer * p->dim * p->inner, some_in(&a));
    return DN_OK;
}

const cuda_kind cuda_prelu_bwd = {"PRELU_BWD", sizeof(dn_args_prelu), prepare_prelu_bwd,
                                  run_prelu_bwd};
