/* SPDX-License-Identifier: BSD-2-Clause
 * pool.cu: POOL and POOL_BWD. The gradient is gathered: an input pixel asks the windows that
 * cover it, so nothing is added twice at once and the order is fixed. */
#include "functions.cuh"
#include "window.cuh"

#include "deepnet/sys/random.h"

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

typedef struct totals {
    double sum, squares;
    float largest;
    int which; /* pixel of the largest, or of the last */
} totals;

/* base: the first pixel of the channel. */
DEVICE totals total_of(const pool_args *a, int64_t base, const int o[AXES])
{
    totals s = {0, 0, -FLT_MAX, -1};
    walker v;
    for (bool more = walker_init(&v, &a->w, o); more; more = walker_next(&v)) {
        int pixel = walker_pixel(&v, &a->w);
        float value = get(a->x, base + pixel * a->x_at.p);
        if (value > s.largest) {
            s.largest = value;
            s.which = pixel;
        }
        if (a->method != DN_POOL_MAX) {
            s.sum += value;
            s.squares += (double)value * value;
        }
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

MAP(pool, pool_args)
{
    int64_t n, c;
    int q, o[AXES];
    float value;
    locate(i, a->C, a->w.Q, &a->y_at, &n, &c, &q);
    split(q, a->w.by_out, o);
    int64_t base = n * a->x_at.n + c * a->x_at.c;
    totals s = total_of(a, base, o);
    if (a->method == DN_POOL_MAX) {
        value = s.largest;
    } else if (a->method == DN_POOL_AVE) {
        int size = window_size(a, o);
        value = size > 0 ? (float)(s.sum / size) : 0;
    } else if (a->method == DN_POOL_STOCHASTIC_TRAIN) {
        uint32_t word[4];
        uint64_t at = (uint64_t)((n * a->C + c) * a->w.Q + q);
        dn_random_block(word, (uint64_t)a->state[0], a->stream, (uint64_t)a->state[1], at / 4);
        s.which = draw_from(a, base, o, s.sum, dn_random_unit(word[at % 4]));
        value = s.which < 0 ? 0 : get(a->x, base + s.which * a->x_at.p);
    } else {
        value = (float)(s.squares / (FLT_MIN + s.sum));
    }
    put_through(a->y, i, a->add, value, &a->f);
    if (a->mask)
        a->mask[i] = s.which;
}

/* i: an element of dx (y here); x: dy. */
MAP(pool_bwd, pool_args)
{
    int64_t n, c;
    int pixel, at[AXES], first[AXES], last[AXES], o[AXES];
    double sum = 0;
    locate(i, a->C, a->w.I, &a->x_at, &n, &c, &pixel);
    split(pixel, a->w.by_in, at);
    for (int d = 0; d < AXES; d++) {
        int to = at[d] + a->w.pad[d], from = to - a->w.kernel[d] + 1;
        first[d] = from > 0 ? over(from + a->w.stride[d] - 1, &a->w.by_stride[d]) : 0;
        last[d] = over(to, &a->w.by_stride[d]);
        last[d] = last[d] < a->w.out[d] ? last[d] : a->w.out[d] - 1;
    }
    int64_t base = n * a->y_at.n + c * a->y_at.c;
    for (o[0] = first[0]; o[0] <= last[0]; o[0]++)
        for (o[1] = first[1]; o[1] <= last[1]; o[1]++)
            for (o[2] = first[2]; o[2] <= last[2]; o[2]++) {
                int q = (o[0] * a->w.out[1] + o[1]) * a->w.out[2] + o[2];
                int64_t from = base + q * a->y_at.p;
                if (a->mask) {
                    sum += a->mask[from] == pixel ? get(a->x, from) : 0;
                } else {
                    int size = window_size(a, o);
                    sum += size > 0 ? (double)get(a->x, from) / size : 0;
                }
            }
    put_value_wide(a->y, i, a->add, sum);
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
    pool(op, &a, op->out[0].count);
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
    pool_bwd(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_pool_bwd = {"POOL_BWD", sizeof(dn_args_pool), prepare_pool_bwd,
                                 run_pool_bwd, CUDA_NARROW(1, 1)};
