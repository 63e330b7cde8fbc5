/* SPDX-License-Identifier: BSD-2-Clause
 * pool.cu: POOL and POOL_BWD. The gradient is gathered: an input pixel asks the windows that
 * cover it, so nothing is added twice at once and the order is fixed. Of channels-last images a
 * thread takes several channels, whose window is found once. */
#include "some.cuh"
#include "window.cuh"

#include "deepnet/sys/random.h"

#define AHEAD 4 /* pixels of a mean that a thread loads before it adds them */

typedef struct pool_args {
    window w;
    values x, y;
    const int64_t *state;
    int32_t *mask;
    image x_at, y_at;
    int64_t C;
    uint64_t stream;
    function f;
    int32_t method, exclude_pad, add;
} pool_args;

/* Elements of window q: cut at in + pad, as Caffe counts, or those inside. */
DEVICE int window_size(const pool_args *a, const int o[AXES])
{
    int size = 1;
    for (int d = 0; d < AXES; d++) {
        int begin = o[d] * a->w.stride[d] - a->w.pad[d], end = begin + a->w.kernel[d];
        int limit = a->w.in[d] + (a->exclude_pad ? 0 : a->w.pad[d]);
        if (a->exclude_pad && begin < 0)
            begin = 0;
        end = end < limit ? end : limit;
        size *= a->exclude_pad && end < begin ? 0 : end - begin;
    }
    return size;
}

/* One window's pixels in order: next(&at) goes on, false at the end. */
typedef struct walker {
    int begin[AXES], end[AXES], at[AXES];
} walker;

DEVICE bool walker_init(walker *v, const window *w, const int o[AXES])
{
    bool any = true;
    for (int d = 0; d < AXES; d++) {
        int begin = o[d] * w->stride[d] - w->pad[d], end = begin + w->kernel[d];
        v->begin[d] = v->at[d] = begin > 0 ? begin : 0;
        v->end[d] = end < w->in[d] ? end : w->in[d];
        any = any && v->begin[d] < v->end[d];
    }
    return any;
}

DEVICE bool walker_next(walker *v)
{
    if (++v->at[2] < v->end[2])
        return true;
    v->at[2] = v->begin[2];
    if (++v->at[1] < v->end[1])
        return true;
    v->at[1] = v->begin[1];
    return ++v->at[0] < v->end[0];
}

DEVICE int walker_pixel(const walker *v, const window *w)
{
    return (v->at[0] * w->in[1] + v->at[1]) * w->in[2] + v->at[2];
}

DEVICE void set_mask(int32_t *mask, int64_t i, int some, const int32_t *v)
{
    if (some > 1 && ((uintptr_t)mask & 15) == 0) {
        UNROLL
        for (int k = 0; k < some; k += 4)
            *(int4 *)(mask + i + k) = make_int4(v[k], v[k + 1], v[k + 2], v[k + 3]);
        return;
    }
    UNROLL
    for (int k = 0; k < some; k++)
        mask[i + k] = v[k];
}

DEVICE void get_mask(const int32_t *mask, int64_t i, int some, int32_t *v)
{
    if (some > 1 && ((uintptr_t)mask & 15) == 0) {
        UNROLL
        for (int k = 0; k < some; k += 4) {
            int4 four = *(const int4 *)(mask + i + k);
            v[k] = four.x;
            v[k + 1] = four.y;
            v[k + 2] = four.z;
            v[k + 3] = four.w;
        }
        return;
    }
    UNROLL
    for (int k = 0; k < some; k++)
        v[k] = mask[i + k];
}

/* The window o of element i of y, and where its first channel begins. */
DEVICE int64_t window_of(const pool_args *a, int64_t i, int o[AXES])
{
    int64_t n, c;
    int q;
    locate(i, a->C, a->w.Q, &a->y_at, &n, &c, &q);
    split(q, a->w.by_out, o);
    return n * a->x_at.n + c * a->x_at.c;
}

MAP_SOME(pool_largest, pool_args)
{
    int o[AXES];
    int32_t which[MOST];
    float largest[MOST], x[MOST];
    int64_t base = window_of(a, i, o);
    walker v;
    UNROLL
    for (int k = 0; k < some; k++) {
        largest[k] = -FLT_MAX;
        which[k] = -1;
    }
    for (bool more = walker_init(&v, &a->w, o); more; more = walker_next(&v)) {
        int pixel = walker_pixel(&v, &a->w);
        get_some(a->x, base + pixel * a->x_at.p, some, x);
        UNROLL
        for (int k = 0; k < some; k++)
            if (x[k] > largest[k]) {
                largest[k] = x[k];
                which[k] = pixel;
            }
    }
    put_some_through(a->y, i, some, a->add, largest, &a->f);
    if (a->mask)
        set_mask(a->mask, i, some, which);
}

/* Adds `count` pixels that lie in a row, in their order; AHEAD of them are on their way at a
 * time, as a window may be all of an image, whose loads a thread would wait for one by one. */
DEVICE void add_pixels(const pool_args *a, int64_t at, int count, int some, double *sum)
{
    for (int p = 0; p < count; p += AHEAD) {
        float x[AHEAD][MOST];
        UNROLL
        for (int j = 0; j < AHEAD; j++)
            if (p + j < count)
                get_some(a->x, at + (p + j) * a->x_at.p, some, x[j]);
        UNROLL
        for (int j = 0; j < AHEAD; j++) {
            UNROLL
            for (int k = 0; p + j < count && k < some; k++)
                sum[k] += x[j][k];
        }
    }
}

MAP_SOME(pool_mean, pool_args)
{
    int o[AXES];
    double sum[MOST];
    float y[MOST];
    int64_t base = window_of(a, i, o);
    walker v;
    UNROLL
    for (int k = 0; k < some; k++)
        sum[k] = 0;
    if (walker_init(&v, &a->w, o)) {
        int row = v.end[2] - v.begin[2], rows = v.end[1] - v.begin[1];
        bool whole = row == a->w.in[2]; /* rows that follow one another are one */
        for (; v.at[0] < v.end[0]; v.at[0]++)
            for (v.at[1] = v.begin[1]; v.at[1] < v.end[1]; v.at[1] += whole ? rows : 1)
                add_pixels(a, base + walker_pixel(&v, &a->w) * a->x_at.p,
                           whole ? row * rows : row, some, sum);
    }
    int size = window_size(a, o);
    UNROLL
    for (int k = 0; k < some; k++)
        y[k] = size > 0 ? (float)(sum[k] / size) : 0;
    put_some_through(a->y, i, some, a->add, y, &a->f);
}

/* ---- one of the window is drawn, or they are weighed ------------------------------------- */

typedef struct totals {
    double sum, squares;
} totals;

/* base: the first pixel of the channel. */
DEVICE totals total_of(const pool_args *a, int64_t base, const int o[AXES])
{
    totals s = {0, 0};
    walker v;
    for (bool more = walker_init(&v, &a->w, o); more; more = walker_next(&v)) {
        float value = get(a->x, base + walker_pixel(&v, &a->w) * a->x_at.p);
        s.sum += value;
        s.squares += (double)value * value;
    }
    return s;
}

/* The first whose running sum reaches u * sum; else the last. */
DEVICE int draw_from(const pool_args *a, int64_t base, const int o[AXES], double sum, float u)
{
    int pixel = -1;
    double running = 0;
    walker v;
    for (bool more = walker_init(&v, &a->w, o); more; more = walker_next(&v)) {
        pixel = walker_pixel(&v, &a->w);
        running += get(a->x, base + pixel * a->x_at.p);
        if (running >= u * sum)
            break;
    }
    return pixel;
}

MAP(pool_stochastic, pool_args)
{
    int64_t n, c;
    int q, o[AXES], which = -1;
    float value;
    locate(i, a->C, a->w.Q, &a->y_at, &n, &c, &q);
    split(q, a->w.by_out, o);
    int64_t base = n * a->x_at.n + c * a->x_at.c;
    totals s = total_of(a, base, o);
    if (a->method == DN_POOL_STOCHASTIC_TRAIN) {
        uint32_t word[4];
        uint64_t at = (uint64_t)((n * a->C + c) * a->w.Q + q);
        dn_random_block(word, (uint64_t)a->state[0], a->stream, (uint64_t)a->state[1], at / 4);
        which = draw_from(a, base, o, s.sum, dn_random_unit(word[at % 4]));
        value = which < 0 ? 0 : get(a->x, base + which * a->x_at.p);
    } else {
        value = (float)(s.squares / (FLT_MIN + s.sum));
    }
    put_some_through(a->y, i, 1, a->add, &value, &a->f);
    if (a->mask)
        a->mask[i] = which;
}

/* Of dy (x here) at `from`, what a window gives to the input pixel it had the largest in. */
DEVICE void add_largest(const pool_args *a, int64_t from, int pixel, int some, double *sum)
{
    float dy[MOST];
    int32_t which[MOST];
    bool any = false;
    get_mask(a->mask, from, some, which);
    UNROLL
    for (int k = 0; k < some; k++)
        any = any || which[k] == pixel;
    if (!any)
        return;
    get_some(a->x, from, some, dy);
    UNROLL
    for (int k = 0; k < some; k++)
        sum[k] += which[k] == pixel ? dy[k] : 0;
}

/* The same of window o where it has the mean. */
DEVICE void add_mean(const pool_args *a, const int o[AXES], int64_t from, int some, double *sum)
{
    float dy[MOST];
    int size = window_size(a, o);
    get_some(a->x, from, some, dy);
    UNROLL
    for (int k = 0; k < some; k++)
        sum[k] += size > 0 ? (double)dy[k] / size : 0;
}

/* i: an element of dx (y here); x: dy. */
MAP_SOME(pool_bwd, pool_args)
{
    int64_t n, c;
    int pixel, at[AXES], first[AXES], last[AXES], o[AXES];
    double sum[MOST];
    locate(i, a->C, a->w.I, &a->x_at, &n, &c, &pixel);
    split(pixel, a->w.by_in, at);
    for (int d = 0; d < AXES; d++) {
        int to = at[d] + a->w.pad[d], from = to - a->w.kernel[d] + 1;
        first[d] = from > 0 ? over(from + a->w.stride[d] - 1, &a->w.by_stride[d]) : 0;
        last[d] = over(to, &a->w.by_stride[d]);
        last[d] = last[d] < a->w.out[d] ? last[d] : a->w.out[d] - 1;
    }
    UNROLL
    for (int k = 0; k < some; k++)
        sum[k] = 0;
    int64_t base = n * a->y_at.n + c * a->y_at.c;
    for (o[0] = first[0]; o[0] <= last[0]; o[0]++)
        for (o[1] = first[1]; o[1] <= last[1]; o[1]++)
            for (o[2] = first[2]; o[2] <= last[2]; o[2]++) {
                int q = (o[0] * a->w.out[1] + o[1]) * a->w.out[2] + o[2];
                if (a->mask)
                    add_largest(a, base + q * a->y_at.p, pixel, some, sum);
                else
                    add_mean(a, o, base + q * a->y_at.p, some, sum);
            }
    float before[MOST];
    if (a->add)
        get_some(a->y, i, some, before);
    UNROLL
    for (int k = 0; k < some; k++)
        before[k] = (float)(a->add ? before[k] + sum[k] : sum[k]);
    set_some(a->y, i, some, before);
}

/* Channels that a thread takes: they lie together in both. */
static int channels_of(const pool_args *a)
{
    return a->x_at.c == 1 && a->y_at.c == 1 ? some_of(a->C, a->x.narrow || a->y.narrow) : 1;
}

static bool pool_init(pool_args *a, const dn_op *op, const cuda_operand *x,
                      const cuda_operand *y)
{
    const dn_args_pool *p = &op->args.pool;
    if (!window_init(&a->w, p->spatial, p->kernel, p->stride, p->pad, NULL, &x->info.shape,
                     &y->info.shape))
        return false;
    a->state = NULL;
    a->mask = NULL;
    a->C = x->info.shape.dim[1];
    a->x_at = image_of(&x->info, a->C, a->w.I);
    a->y_at = image_of(&y->info, a->C, a->w.Q);
    a->stream = p->stream;
    a->f = function_of(p->activation, 0, 0, 0);
    a->method = p->method;
    a->exclude_pad = p->exclude_pad;
    a->add = cuda_adds(op, 0);
    return true;
}

/* mask: NULL where there is none */
static dn_status check(dn_op *op, dn_op_info *info, const cuda_operand *x,
                       const cuda_operand *y, const cuda_operand *mask)
{
    pool_args a;
    if (!pool_init(&a, op, x, y))
        return cuda_decline(info, "more than 3 spatial axes, or 2^30 pixels");
    if (mask && mask->info.layout != y->info.layout)
        return cuda_decline(info, "a mask that does not lie as y does");
    return DN_OK;
}

static dn_status prepare_pool(dn_op *op, dn_op_info *info)
{
    return check(op, info, &op->in[0], &op->out[0], cuda_has_out(op, 1) ? &op->out[1] : NULL);
}

static dn_status run_pool(const dn_op *op, const dn_op_io *io)
{
    pool_args a;
    pool_init(&a, op, &op->in[0], &op->out[0]);
    a.x = values_in(op, io, 0);
    a.state = (const int64_t *)cuda_in(op, io, 1);
    a.y = values_out(op, io, 0);
    a.mask = (int32_t *)cuda_out(op, io, 1);
    if (a.method == DN_POOL_MAX)
        pool_largest(op, &a, op->out[0].count, channels_of(&a));
    else if (a.method == DN_POOL_AVE)
        pool_mean(op, &a, op->out[0].count, channels_of(&a));
    else
        pool_stochastic(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_pool = {"POOL", sizeof(dn_args_pool), prepare_pool, run_pool,
                             CUDA_NARROW(1, 1)};

static dn_status prepare_pool_bwd(dn_op *op, dn_op_info *info)
{
    return check(op, info, &op->out[0], &op->in[0], cuda_has_in(op, 1) ? &op->in[1] : NULL);
}

static dn_status run_pool_bwd(const dn_op *op, const dn_op_io *io)
{
    pool_args a;
    pool_init(&a, op, &op->out[0], &op->in[0]);
    a.x = values_in(op, io, 0);
    a.mask = cuda_has_in(op, 1) ? (int32_t *)io->in[1] : NULL;
    a.y = values_out(op, io, 0);
    pool_bwd(op, &a, op->out[0].count, channels_of(&a));
    return DN_OK;
}

const cuda_kind cuda_pool_bwd = {"POOL_BWD", sizeof(dn_args_pool), prepare_pool_bwd,
                                 run_pool_bwd, CUDA_NARROW(1, 1)};
