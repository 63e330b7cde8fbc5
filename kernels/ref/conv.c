/* SPDX-License-Identifier: BSD-2-Clause
 * conv.c: CONV, CONV_BWD_DATA, CONV_BWD_WEIGHTS, IM2COL, COL2IM, in any number of dimensions:
 * direct loops over the table of taps (window.h). Scratch: the taps, then a few planes of sums.
 * Images are read and written through strides (ref_image), so the layout costs no loop. Sums of
 * REF_SUMS channels are made side by side: each waits for itself alone, and a tap is looked up
 * once for all. */
#include "ref.h"

typedef struct geometry {
    const ref_window *w;
    int64_t N, C, K, Cg, Kg; /* Cg, Kg: channels per group */
    ref_image image, output;
} geometry;

/* image: (N, C, spatial); output: (N, K, out). */
static geometry geometry_of(const dn_op *op, const ref_operand *image,
                            const ref_operand *output)
{
    int64_t group = op->args.conv.group;
    geometry g = {.w = &op->window};
    g.N = image->info.shape.dim[0];
    g.C = image->info.shape.dim[1];
    g.K = output->info.shape.dim[1];
    g.Cg = g.C / group;
    g.Kg = g.K / group;
    g.image = ref_image_of(&image->info.shape, image->info.layout);
    g.output = ref_image_of(&output->info.shape, output->info.layout);
    return g;
}

/* Fills op->window from the arguments and the image; out follows from them. */
static dn_status take_window(dn_op *op, const ref_operand *image)
{
    const dn_args_conv *a = &op->args.conv;
    const dn_shape *shape = &image->info.shape;
    ref_window *w = &op->window;
    w->spatial = a->spatial;
    if (a->spatial < 0 || a->spatial > DN_MAX_SPATIAL || shape->axes != a->spatial + 2)
        return ref_fail(op, DN_E_SHAPE, "the image has %d axes, with %d spatial ones wanted",
                        (int)shape->axes, (int)a->spatial);
    for (int32_t d = 0; d < w->spatial; d++) {
        w->kernel[d] = a->kernel[d];
        w->stride[d] = a->stride[d];
        w->pad[d] = a->pad[d];
        w->dilation[d] = a->dilation[d];
        w->in[d] = shape->dim[2 + d];
    }
    if (!ref_window_init(w))
        return ref_fail(op, DN_E_SHAPE, "%d-D window with impossible sizes", (int)w->spatial);
    for (int32_t d = 0; d < w->spatial; d++) {
        int64_t room = w->in[d] + 2 * w->pad[d] - (w->dilation[d] * (w->kernel[d] - 1) + 1);
        if (room < 0)
            return ref_fail(op, DN_E_SHAPE, "the kernel is larger than padded axis %d", (int)d);
        w->out[d] = room / w->stride[d] + 1;
    }
    size_t taps;
    if (!ref_window_init(w) || !ref_window_bytes(w, &taps))
        return ref_fail(op, DN_E_SHAPE, "%d-D window with impossible sizes", (int)w->spatial);
    op->scratch = taps + (size_t)w->I * REF_SUMS * sizeof(double);
    return DN_OK;
}

/* output: of the size that follows, or with `any` of any but for N and K. */
static dn_status check_shapes(dn_op *op, const ref_operand *image, const ref_operand *output,
                              bool any)
{
    int64_t group = op->args.conv.group;
    REF_TRY(take_window(op, image));
    const dn_shape *x = &image->info.shape, *y = &output->info.shape;
    if (group < 1 || x->dim[1] % group || y->dim[1] % group)
        return ref_fail(op, DN_E_SHAPE, "%lld channels cannot be in %lld groups",
                        (long long)x->dim[1], (long long)group);
    bool same = y->axes == x->axes && y->dim[0] == x->dim[0];
    for (int32_t d = 0; same && !any && d < op->window.spatial; d++)
        same = y->dim[2 + d] == op->window.out[d];
    if (!same)
        return ref_fail(op, DN_E_SHAPE, "the output's shape is not that of %d-D windows here",
                        (int)op->window.spatial);
    return DN_OK;
}

static dn_status weights_count(const dn_op *op, const ref_operand *image,
                               const ref_operand *output, int64_t *count)
{
    geometry g = geometry_of(op, image, output);
    return ref_count3(op, g.K, g.Cg, g.w->R, count);
}

static const int64_t *make_taps(const dn_op *op, const dn_op_io *io)
{
    ref_window_taps(&op->window, io->scratch);
    return io->scratch;
}

static double *sums_of(const dn_op *op, const dn_op_io *io)
{
    return (double *)((int64_t *)io->scratch + op->window.Q * op->window.R);
}

/* How many channels from c on are summed side by side, of one group. */
static int64_t side_by_side(int64_t c, int64_t group)
{
    int64_t left = group - c % group;
    return left < REF_SUMS ? left : REF_SUMS;
}

/* What an element of x stands for: itself, or what a normalisation makes of it. */
typedef struct source {
    const double *x, *mean, *inv_std, *gamma, *beta;
    int32_t activation;
} source;

static dn_status check_source(const dn_op *op, int32_t first)
{
    bool all = ref_has_in(op, first);
    for (int32_t i = first; i < first + 4; i++) {
        REF_TRY(ref_need_in(op, i, op->in[0].info.shape.dim[1]));
        if (ref_has_in(op, i) != all)
            return ref_fail(op, DN_E_INVALID, "input %d is missing: all four or none", (int)i);
    }
    int32_t f = op->args.conv.x_activation;
    if (f != DN_FN_NONE && f != DN_FN_RELU)
        return ref_fail(op, DN_E_INVALID, "x_activation %d is neither none nor ReLU", (int)f);
    return DN_OK;
}

static source source_of(const dn_op *op, const dn_op_io *io, int32_t first)
{
    return (source){io->in[0],
                    ref_in(op, io, first),
                    ref_in(op, io, first + 1),
                    ref_in(op, io, first + 2),
                    ref_in(op, io, first + 3),
                    op->args.conv.x_activation};
}

static double x_at(const source *s, int64_t c, int64_t at)
{
    double y;
    if (!s->mean)
        return s->x[at];
    put_through(&y, false, s->gamma[c] * ((s->x[at] - s->mean[c]) * s->inv_std[c]) + s->beta[c],
                s->activation, 0);
    return y;
}

static dn_status check_conv(dn_op *op)
{
    int64_t weights;
    REF_TRY(ref_need_activation(op, op->args.conv.activation));
    REF_TRY(check_shapes(op, &op->in[0], &op->out[0], false));
    REF_TRY(check_source(op, 3));
    REF_TRY(weights_count(op, &op->in[0], &op->out[0], &weights));
    REF_TRY(ref_need_in(op, 1, weights));
    REF_TRY(ref_need_in(op, 2, op->out[0].info.shape.dim[1]));
    return ref_need_out(op, 1, 2 * op->out[0].info.shape.dim[1]);
}

/* Mean and biased variance of y, by channel. */
static void moments_of(const geometry *g, const double *y, double *moments)
{
    double count = (double)(g->N * g->w->Q);
    for (int64_t k = 0; k < g->K; k++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < g->N * g->w->Q; i++)
            mean += y[i / g->w->Q * g->output.n + k * g->output.c + i % g->w->Q * g->output.i];
        mean /= count;
        for (int64_t i = 0; i < g->N * g->w->Q; i++) {
            double away =
                y[i / g->w->Q * g->output.n + k * g->output.c + i % g->w->Q * g->output.i] -
                mean;
            squares += away * away;
        }
        put(&moments[k], false, mean);
        put(&moments[g->K + k], false, squares / count);
    }
}

dn_status ref_run_conv_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_args_conv *a = &op->args.conv;
    geometry g = geometry_of(op, &op->in[0], &op->out[0]);
    int64_t Q = g.w->Q, R = g.w->R;
    const int64_t *taps = make_taps(op, io);
    const source x = source_of(op, io, 3);
    const double *w = io->in[1], *b = ref_in(op, io, 2);
    double *y = io->out[0];
    for (int64_t n = 0; n < g.N; n++)
        for (int64_t k = 0, m; k < g.K; k += m) {
            m = side_by_side(k, g.Kg);
            for (int64_t q = 0; q < Q; q++) {
                double sum[REF_SUMS];
                for (int64_t j = 0; j < m; j++)
                    sum[j] = b ? b[k + j] : 0;
                for (int64_t c = 0; c < g.Cg; c++) {
                    int64_t channel = k / g.Kg * g.Cg + c;
                    int64_t plane = n * g.image.n + channel * g.image.c;
                    for (int64_t r = 0; r < R; r++)
                        if (taps[q * R + r] >= 0)
                            add_products(sum, m,
                                         x_at(&x, channel, plane + taps[q * R + r] * g.image.i),
                                         &w[(k * g.Cg + c) * R + r], g.Cg * R);
                }
                for (int64_t j = 0; j < m; j++)
                    put_through(&y[n * g.output.n + (k + j) * g.output.c + q * g.output.i],
                                ref_adds(op, 0), sum[j], a->activation, a->activation_a);
            }
        }
    if (ref_has_out(op, 1))
        moments_of(&g, y, io->out[1]);
    return DN_OK;
}

const ref_kind ref_conv = {"CONV", "XTttttt:Xt", sizeof(dn_args_conv),
                           1,      check_conv,   REF_WIDE(conv)};

static dn_status check_conv_bwd_data(dn_op *op)
{
    int64_t weights;
    REF_TRY(ref_need_activation(op, op->args.conv.activation));
    REF_TRY(check_shapes(op, &op->out[0], &op->in[0], false));
    REF_TRY(weights_count(op, &op->out[0], &op->in[0], &weights));
    REF_TRY(ref_need_in(op, 1, weights));
    return ref_need_in(op, 2, op->out[0].info.shape.dim[1]);
}

/* dx: an image as g->image, laid out as it. */
static void data_gradient(const dn_op *op, const dn_op_io *io, const geometry *g,
                          const double *dy, const double *w, const double *b, double *dx,
                          bool add, const dn_args_conv *a)
{
    int64_t I = g->w->I, Q = g->w->Q, R = g->w->R;
    const int64_t *taps = make_taps(op, io);
    double *sum = sums_of(op, io);
    for (int64_t n = 0; n < g->N; n++)
        for (int64_t c = 0, m; c < g->C; c += m) {
            int64_t first = c / g->Cg * g->Kg; /* of the outputs in this channel's group */
            m = side_by_side(c, g->Cg);
            for (int64_t i = 0; i < I * m; i++)
                sum[i] = b ? b[c + i % m] : 0;
            for (int64_t k = first; k < first + g->Kg; k++)
                for (int64_t q = 0; q < Q; q++)
                    for (int64_t r = 0; r < R; r++)
                        if (taps[q * R + r] >= 0)
                            add_products(
                                &sum[taps[q * R + r] * m], m,
                                dy[n * g->output.n + k * g->output.c + q * g->output.i],
                                &w[(k * g->Cg + c % g->Cg) * R + r], R);
            for (int64_t i = 0; i < I * m; i++)
                put_through(&dx[n * g->image.n + (c + i % m) * g->image.c + i / m * g->image.i],
                            add, sum[i], a ? a->activation : DN_FN_NONE,
                            a ? a->activation_a : 0);
        }
}

dn_status ref_run_conv_bwd_data_f64(const dn_op *op, const dn_op_io *io)
{
    geometry g = geometry_of(op, &op->out[0], &op->in[0]);
    data_gradient(op, io, &g, io->in[0], io->in[1], ref_in(op, io, 2), io->out[0],
                  ref_adds(op, 0), &op->args.conv);
    return DN_OK;
}

const ref_kind ref_conv_bwd_data = {"CONV_BWD_DATA",      "XTt:X",
                                    sizeof(dn_args_conv), 1,
                                    check_conv_bwd_data,  REF_WIDE(conv_bwd_data)};

enum { MASK = 7 };

static dn_status check_conv_bwd_weights(dn_op *op)
{
    int64_t weights;
    bool masked = ref_has_in(op, MASK);
    REF_TRY(check_shapes(op, &op->in[0], &op->in[1], masked));
    REF_TRY(ref_need_in(op, MASK, op->in[1].count));
    if (masked && (ref_has_in(op, 6) || op->in[MASK].info.layout != op->in[1].info.layout))
        return ref_fail(op, DN_E_INVALID, "a mask (input %d) lies as dy, and w is absent",
                        MASK);
    REF_TRY(check_source(op, 2));
    REF_TRY(weights_count(op, &op->in[0], &op->in[1], &weights));
    int64_t C = op->in[0].info.shape.dim[1];
    REF_TRY(REF_NEED(op, REF_ANY, REF_ANY, REF_ANY, REF_ANY, REF_ANY, REF_ANY, weights, REF_ANY,
                     weights, op->in[1].info.shape.dim[1], op->in[0].count, 2 * C));
    if (ref_has_out(op, 2) != ref_has_in(op, 6) ||
        (ref_has_out(op, 2) && op->out[2].info.layout != op->in[0].info.layout))
        return ref_fail(op, DN_E_INVALID, "dx (output %d) wants w, and to lie as x does", 2);
    if (ref_has_out(op, 3) && !(ref_has_out(op, 2) && ref_has_in(op, 2)))
        return ref_fail(op, DN_E_INVALID, "sums (output %d) are of dx and what normalises x",
                        3);
    return DN_OK;
}

/* dy, and where its elements belong: in order without a mask. */
typedef struct sink {
    const double *dy;
    const int32_t *mask;
    int64_t count; /* in a plane */
} sink;

static int64_t plane_of(const ref_operand *dy)
{
    int64_t count = 1;
    for (int32_t d = 2; d < dy->info.shape.axes; d++)
        count *= dy->info.shape.dim[d];
    return count;
}

/* The output that element i of a plane of dy belongs to; -1: none. */
static int64_t output_of(const geometry *g, const sink *s, int64_t plane, int64_t i)
{
    int64_t q = s->mask ? s->mask[plane + i * g->output.i] : i;
    return q < g->w->Q ? q : -1;
}

static void bias_gradient(const dn_op *op, const geometry *g, const sink *s, double *db)
{
    for (int64_t k = 0; k < g->K; k++) {
        double sum = 0;
        for (int64_t n = 0; n < g->N; n++) {
            int64_t plane = n * g->output.n + k * g->output.c;
            for (int64_t i = 0; i < s->count; i++)
                sum += output_of(g, s, plane, i) < 0 ? 0 : s->dy[plane + i * g->output.i];
        }
        put(&db[k], ref_adds(op, 1), sum);
    }
}

/* Of dz = dx f'(y), and of dz (x - mean), by channel. */
static void sums_for_norm(const geometry *g, const source *x, const double *dx, double *sums)
{
    for (int64_t c = 0; c < g->C; c++) {
        double sum = 0, dot = 0;
        for (int64_t n = 0; n < g->N; n++)
            for (int64_t i = 0; i < g->w->I; i++) {
                int64_t at = n * g->image.n + c * g->image.c + i * g->image.i;
                double dz = x->activation == DN_FN_NONE || x_at(x, c, at) > 0 ? dx[at] : 0;
                sum += dz;
                dot += dz * (x->x[at] - x->mean[c]);
            }
        put(&sums[c], false, sum);
        put(&sums[g->C + c], false, dot);
    }
}

dn_status ref_run_conv_bwd_weights_f64(const dn_op *op, const dn_op_io *io)
{
    geometry g = geometry_of(op, &op->in[0], &op->in[1]);
    int64_t R = g.w->R;
    const int64_t *taps = make_taps(op, io);
    const source x = source_of(op, io, 2);
    const double *dy = io->in[1];
    const sink s = {dy, ref_in(op, io, MASK), plane_of(&op->in[1])};
    double *dw = io->out[0], *db = ref_out(op, io, 1);
    for (int64_t k = 0, m; k < g.K; k += m) {
        m = s.mask ? 1 : side_by_side(k, g.Kg); /* each has places of its own */
        for (int64_t c = 0; c < g.Cg; c++)
            for (int64_t r = 0; r < R; r++) {
                double sum[REF_SUMS] = {0};
                for (int64_t n = 0; n < g.N; n++) {
                    int64_t channel = k / g.Kg * g.Cg + c;
                    int64_t plane = n * g.image.n + channel * g.image.c;
                    int64_t at_dy = n * g.output.n + k * g.output.c;
                    for (int64_t j = 0; j < s.count; j++) {
                        int64_t q = output_of(&g, &s, at_dy, j);
                        if (q >= 0 && taps[q * R + r] >= 0)
                            add_products(sum, m,
                                         x_at(&x, channel, plane + taps[q * R + r] * g.image.i),
                                         &dy[at_dy + j * g.output.i], g.output.c);
                    }
                }
                for (int64_t j = 0; j < m; j++)
                    put(&dw[((k + j) * g.Cg + c) * R + r], ref_adds(op, 0), sum[j]);
            }
    }
    if (db)
        bias_gradient(op, &g, &s, db);
    if (ref_has_out(op, 2))
        data_gradient(op, io, &g, dy, io->in[6], NULL, io->out[2], false, NULL);
    if (ref_has_out(op, 3))
        sums_for_norm(&g, &x, io->out[2], io->out[3]);
    return DN_OK;
}

const ref_kind ref_conv_bwd_weights = {"CONV_BWD_WEIGHTS",     "XXtttttn:Ttxt",
                                       sizeof(dn_args_conv),   3,
                                       check_conv_bwd_weights, REF_WIDE(conv_bwd_weights)};

/* columns: (N, C * R, out) */
static dn_status check_columns(dn_op *op, const ref_operand *image, const ref_operand *columns)
{
    int64_t count, per_item;
    REF_TRY(take_window(op, image));
    const ref_window *w = &op->window;
    REF_TRY(ref_count3(op, image->info.shape.dim[1], w->R, w->Q, &per_item));
    REF_TRY(ref_count3(op, image->info.shape.dim[0], per_item, 1, &count));
    return columns == &op->in[0] ? ref_need_in(op, 0, count) : ref_need_out(op, 0, count);
}

static dn_status check_im2col(dn_op *op)
{
    return check_columns(op, &op->in[0], &op->out[0]);
}

dn_status ref_run_im2col_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *shape = &op->in[0].info.shape;
    int64_t planes = shape->dim[0] * shape->dim[1];
    int64_t I = op->window.I, Q = op->window.Q, R = op->window.R;
    const int64_t *taps = make_taps(op, io);
    const double *x = io->in[0];
    double *columns = io->out[0];
    for (int64_t c = 0; c < planes; c++)
        for (int64_t r = 0; r < R; r++)
            for (int64_t q = 0; q < Q; q++) {
                int64_t tap = taps[q * R + r];
                put(&columns[(c * R + r) * Q + q], ref_adds(op, 0),
                    tap < 0 ? 0 : x[c * I + tap]);
            }
    return DN_OK;
}

const ref_kind ref_im2col = {"IM2COL", "T:T",        sizeof(dn_args_conv),
                             1,        check_im2col, REF_WIDE(im2col)};

static dn_status check_col2im(dn_op *op)
{
    return check_columns(op, &op->out[0], &op->in[0]);
}

dn_status ref_run_col2im_f64(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *shape = &op->out[0].info.shape;
    int64_t planes = shape->dim[0] * shape->dim[1];
    int64_t I = op->window.I, Q = op->window.Q, R = op->window.R;
    const int64_t *taps = make_taps(op, io);
    const double *columns = io->in[0];
    double *x = io->out[0];
    double *sum = sums_of(op, io);
    for (int64_t c = 0; c < planes; c++) {
        for (int64_t i = 0; i < I; i++)
            sum[i] = 0;
        for (int64_t r = 0; r < R; r++)
            for (int64_t q = 0; q < Q; q++)
                if (taps[q * R + r] >= 0)
                    sum[taps[q * R + r]] += columns[(c * R + r) * Q + q];
        for (int64_t i = 0; i < I; i++)
            put(&x[c * I + i], ref_adds(op, 0), sum[i]);
    }
    return DN_OK;
}

const ref_kind ref_col2im = {"COL2IM", "T:T",        sizeof(dn_args_conv),
                             1,        check_col2im, REF_WIDE(col2im)};
