/* SPDX-License-Identifier: BSD-2-Clause
 * pool.c: POOL and POOL_BWD in any number of dimensions, over the table of taps (window.h).
 * What the size of y is (Caffe's ceiling and clipping) is the layer's business: y says it here.
 */
#include "ref.h"

static dn_status check_shapes(dn_op *op, const ref_operand *image, const ref_operand *output)
{
    const dn_args_pool *a = &op->args.pool;
    const dn_shape *x = &image->info.shape, *y = &output->info.shape;
    ref_window *w = &op->window;
    if (a->method < DN_POOL_MAX || a->method > DN_POOL_STOCHASTIC_TEST)
        return ref_fail(op, DN_E_INVALID, "there is no method %d", (int)a->method);
    if (a->spatial < 0 || a->spatial > DN_MAX_SPATIAL || x->axes != a->spatial + 2 ||
        y->axes != x->axes || x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1])
        return ref_fail(op, DN_E_SHAPE, "x and y do not both have 2 + %d axes with one N and C",
                        (int)a->spatial);
    w->spatial = a->spatial;
    for (int32_t d = 0; d < w->spatial; d++) {
        w->kernel[d] = a->kernel[d];
        w->stride[d] = a->stride[d];
        w->pad[d] = a->pad[d];
        w->dilation[d] = 1;
        w->in[d] = x->dim[2 + d];
        w->out[d] = y->dim[2 + d];
    }
    size_t taps;
    if (!ref_window_init(w) || !ref_window_bytes(w, &taps))
        return ref_fail(op, DN_E_SHAPE, "%d-D window with impossible sizes", (int)w->spatial);
    op->scratch = taps + (size_t)w->I * sizeof(double);
    return DN_OK;
}

static bool has_mask(const dn_op *op)
{
    return op->args.pool.method == DN_POOL_MAX ||
           op->args.pool.method == DN_POOL_STOCHASTIC_TRAIN;
}

static dn_status check_pool(dn_op *op)
{
    REF_TRY(check_shapes(op, &op->in[0], &op->out[0]));
    REF_TRY(ref_need_activation(op, op->args.pool.activation));
    if (op->args.pool.method == DN_POOL_STOCHASTIC_TRAIN && !ref_has_in(op, 1))
        return ref_fail(op, DN_E_INVALID, "method %d draws: it needs random state",
                        (int)op->args.pool.method);
    if (ref_has_out(op, 1) && !has_mask(op))
        return ref_fail(op, DN_E_INVALID, "method %d has no mask", (int)op->args.pool.method);
    return REF_NEED(op, REF_ANY, 2, REF_ANY, op->out[0].count);
}

/* Each takes the taps of one window, x's plane, the distance of its elements, and how many
 * taps there are. */
static real pool_max(const real *x, int64_t step, const int64_t *taps, int64_t R,
                     int32_t *which)
{
    real best = -FLT_MAX;
    for (int64_t r = 0; r < R; r++)
        if (taps[r] >= 0 && x[taps[r] * step] > best) {
            best = x[taps[r] * step];
            *which = (int32_t)taps[r];
        }
    return best;
}

static int64_t average_size(const dn_op *op, const int64_t *taps, int64_t q)
{
    if (!op->args.pool.exclude_pad)
        return ref_window_size(&op->window, q);
    int64_t inside = 0;
    for (int64_t r = 0; r < op->window.R; r++)
        inside += taps[r] >= 0;
    return inside;
}

static real pool_average(const dn_op *op, const real *x, int64_t step, const int64_t *taps,
                         int64_t q)
{
    double sum = 0;
    int64_t size = average_size(op, taps, q);
    for (int64_t r = 0; r < op->window.R; r++)
        if (taps[r] >= 0)
            sum += x[taps[r] * step];
    return (real)(size > 0 ? sum / (double)size : 0);
}

static real pool_draw(const real *x, int64_t step, const int64_t *taps, int64_t R, float u,
                      int32_t *which)
{
    double sum = 0, running = 0;
    for (int64_t r = 0; r < R; r++)
        if (taps[r] >= 0)
            sum += x[taps[r] * step];
    for (int64_t r = 0; r < R; r++)
        if (taps[r] >= 0) {
            *which = (int32_t)taps[r];
            running += x[taps[r] * step];
            if (running >= u * sum)
                break;
        }
    return *which < 0 ? 0 : x[*which * step];
}

static real pool_expected(const real *x, int64_t step, const int64_t *taps, int64_t R)
{
    double sum = FLT_MIN, squares = 0;
    for (int64_t r = 0; r < R; r++)
        if (taps[r] >= 0) {
            double value = x[taps[r] * step];
            sum += value;
            squares += value * value;
        }
    return (real)(squares / sum);
}

static real pool_value(const dn_op *op, const real *plane, int64_t step, const int64_t *taps,
                       int64_t q, const int64_t *state, int64_t index, int32_t *which)
{
    const dn_args_pool *a = &op->args.pool;
    int64_t R = op->window.R;
    switch (a->method) {
    case DN_POOL_MAX:
        return pool_max(plane, step, taps, R, which);
    case DN_POOL_AVE:
        return pool_average(op, plane, step, taps, q);
    case DN_POOL_STOCHASTIC_TRAIN:
        return pool_draw(plane, step, taps, R, ref_unit(state, a->stream, index), which);
    default:
        return pool_expected(plane, step, taps, R);
    }
}

dn_status REF(ref_run_pool)(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *shape = &op->in[0].info.shape;
    int64_t C = shape->dim[1], planes = shape->dim[0] * C;
    int64_t Q = op->window.Q, R = op->window.R, *taps = io->scratch;
    const dn_shape *out = &op->out[0].info.shape;
    ref_image at_x = ref_image_of(shape, op->in[0].info.layout);
    ref_image at_y = ref_image_of(out, op->out[0].info.layout);
    ref_image at_mask = ref_has_out(op, 1) ? ref_image_of(out, op->out[1].info.layout) : at_y;
    const real *x = io->in[0];
    real *y = io->out[0];
    int32_t *mask = ref_out(op, io, 1);
    ref_window_taps(&op->window, taps);
    for (int64_t p = 0; p < planes; p++)
        for (int64_t q = 0; q < Q; q++) {
            int64_t n = p / C, c = p % C;
            int32_t which = -1;
            real value = pool_value(op, x + n * at_x.n + c * at_x.c, at_x.i, taps + q * R, q,
                                    ref_in(op, io, 1), p * Q + q, &which);
            put_through(&y[n * at_y.n + c * at_y.c + q * at_y.i], ref_adds(op, 0), value,
                        op->args.pool.activation, 0);
            if (mask)
                mask[n * at_mask.n + c * at_mask.c + q * at_mask.i] = which;
        }
    return DN_OK;
}

REF_KIND(pool) = {"POOL", "Xs:Xn", sizeof(dn_args_pool), 1, check_pool, REF_RUNS(pool)};

static dn_status check_pool_bwd(dn_op *op)
{
    REF_TRY(check_shapes(op, &op->out[0], &op->in[0]));
    if (op->args.pool.method == DN_POOL_STOCHASTIC_TEST)
        return ref_fail(op, DN_E_UNSUPPORTED, "method %d has no gradient",
                        (int)op->args.pool.method);
    if (has_mask(op) != ref_has_in(op, 1))
        return ref_fail(op, DN_E_INVALID, "method %d and the mask do not go together",
                        (int)op->args.pool.method);
    return ref_need_in(op, 1, op->in[0].count);
}

/* The gradient of output q, spread over what it was made of. */
static void spread(const dn_op *op, const int64_t *taps, int64_t q, double dy, double *sum)
{
    int64_t size = average_size(op, taps, q);
    for (int64_t r = 0; r < op->window.R; r++)
        if (taps[r] >= 0 && size > 0)
            sum[taps[r]] += dy / (double)size;
}

dn_status REF(ref_run_pool_bwd)(const dn_op *op, const dn_op_io *io)
{
    const dn_shape *shape = &op->out[0].info.shape;
    int64_t C = shape->dim[1], planes = shape->dim[0] * C;
    int64_t I = op->window.I, Q = op->window.Q, R = op->window.R, *taps = io->scratch;
    const dn_shape *in = &op->in[0].info.shape;
    ref_image at_y = ref_image_of(in, op->in[0].info.layout);
    ref_image at_x = ref_image_of(shape, op->out[0].info.layout);
    ref_image at_mask = ref_has_in(op, 1) ? ref_image_of(in, op->in[1].info.layout) : at_y;
    const int32_t *mask = ref_in(op, io, 1);
    double *sum = (double *)(taps + Q * R);
    ref_window_taps(&op->window, taps);
    for (int64_t p = 0; p < planes; p++) {
        int64_t n = p / C, c = p % C;
        const real *dy = (const real *)io->in[0] + n * at_y.n + c * at_y.c;
        real *dx = (real *)io->out[0] + n * at_x.n + c * at_x.c;
        for (int64_t i = 0; i < I; i++)
            sum[i] = 0;
        for (int64_t q = 0; q < Q; q++) {
            int64_t at = mask ? mask[n * at_mask.n + c * at_mask.c + q * at_mask.i] : -1;
            if (!mask)
                spread(op, taps + q * R, q, dy[q * at_y.i], sum);
            else if (at >= 0 && at < I)
                sum[at] += dy[q * at_y.i];
        }
        for (int64_t i = 0; i < I; i++)
            put(&dx[i * at_x.i], ref_adds(op, 0), sum[i]);
    }
    return DN_OK;
}

REF_KIND(pool_bwd) = {"POOL_BWD", "Xn:X",         sizeof(dn_args_pool),
                      1,          check_pool_bwd, REF_RUNS(pool_bwd)};
