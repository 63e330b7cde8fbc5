/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.cu: LRN and LRN_BWD: a thread walks the neighbours of an element. Across channels and
 * within a channel, plain and channels-last differ only in where the neighbours lie. Across
 * channels a thread takes several elements where it can: channels that lie together, whose
 * neighbours are loaded once for all, or pixels. */
#include "some.cuh"

#define HALO 4 /* neighbours on either side, at most, of channels that are taken together */

typedef struct lrn_args {
    values x, y_in, scale_in, dy, out, scale;
    int64_t length[2], step[2]; /* the two axes neighbours are on */
    int32_t half[2], add;
    float k, weight, beta;
} lrn_args;

typedef struct neighbours {
    int64_t base, begin[2], end[2];
} neighbours;

DEVICE neighbours neighbours_of(const lrn_args *a, int64_t i)
{
    neighbours n;
    n.base = i;
    for (int d = 0; d < 2; d++) {
        int64_t at = middle_of(i, a->length[d], a->step[d]);
        n.begin[d] = at > a->half[d] ? at - a->half[d] : 0;
        n.end[d] = at + a->half[d] + 1 < a->length[d] ? at + a->half[d] + 1 : a->length[d];
        n.base -= at * a->step[d];
    }
    return n;
}

/* scale ^ -beta; Caffe's default by square roots, which take half as long. */
DEVICE float inverse_power(const lrn_args *a, float scale)
{
    return a->beta == 0.75f ? 1 / (sqrtf(scale) * sqrtf(sqrtf(scale)))
                            : powf(scale, -a->beta);
}

/* v: some channels from c on, whose first is element i, and HALO on either side, of which those
 * that are no neighbours are `outside`. */
DEVICE void get_row(const lrn_args *a, values x, int64_t i, int64_t c, int some, float outside,
                    float *v)
{
    get_some(x, i, some, v + HALO);
    UNROLL
    for (int k = 1; k <= HALO; k++) {
        bool near = k <= a->half[0];
        v[HALO - k] = near && c - k >= 0 ? get(x, i - k) : outside;
        v[HALO + some - 1 + k] =
            near && c + some - 1 + k < a->length[0] ? get(x, i + some - 1 + k) : outside;
    }
}

/* The sum of the terms of channel k and its neighbours. */
DEVICE float sum_of_row(const lrn_args *a, int k, const float *term)
{
    float sum = 0;
    UNROLL
    for (int j = 0; j <= 2 * HALO; j++)
        if (j >= HALO - a->half[0] && j <= HALO + a->half[0])
            sum += term[k + j];
    return sum;
}

MAP_SEVERAL(lrn_rows, lrn_args)
{
    float x[MOST + 2 * HALO], term[MOST + 2 * HALO], scale[MOST], y[MOST];
    get_row(a, a->x, i, middle_of(i, a->length[0], 1), some, 0, x);
    UNROLL
    for (int j = 0; j < some + 2 * HALO; j++)
        term[j] = x[j] * x[j];
    UNROLL
    for (int k = 0; k < some; k++) {
        scale[k] = a->k + a->weight * sum_of_row(a, k, term);
        y[k] = x[HALO + k] * inverse_power(a, scale[k]);
    }
    set_some(a->scale, i, some, scale);
    put_some(a->out, i, some, a->add, y);
}

MAP_SEVERAL(lrn_rows_bwd, lrn_args)
{
    float dy[MOST + 2 * HALO], term[MOST + 2 * HALO], scale[MOST + 2 * HALO], x[MOST];
    int64_t c = middle_of(i, a->length[0], 1);
    get_row(a, a->dy, i, c, some, 0, dy);
    get_row(a, a->y_in, i, c, some, 0, term);
    get_row(a, a->scale_in, i, c, some, 1, scale);
    get_some(a->x, i, some, x);
    UNROLL
    for (int j = 0; j < some + 2 * HALO; j++)
        term[j] = dy[j] * term[j] / scale[j];
    UNROLL
    for (int k = 0; k < some; k++)
        x[k] = dy[HALO + k] * inverse_power(a, scale[HALO + k]) -
               2 * a->beta * a->weight * x[k] * sum_of_row(a, k, term);
    put_some(a->out, i, some, a->add, x);
}

MAP_SEVERAL(lrn_planes, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float x[MOST], scale[MOST];
    UNROLL
    for (int k = 0; k < some; k++)
        scale[k] = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++) {
        get_some(a->x, n.base + u * a->step[0], some, x);
        UNROLL
        for (int k = 0; k < some; k++)
            scale[k] += x[k] * x[k];
    }
    get_some(a->x, i, some, x);
    UNROLL
    for (int k = 0; k < some; k++) {
        scale[k] = a->k + a->weight * scale[k];
        x[k] *= inverse_power(a, scale[k]);
    }
    set_some(a->scale, i, some, scale);
    put_some(a->out, i, some, a->add, x);
}

MAP_SEVERAL(lrn_planes_bwd, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float x[MOST], dy[MOST], scale[MOST], sum[MOST];
    UNROLL
    for (int k = 0; k < some; k++)
        sum[k] = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++) {
        int64_t j = n.base + u * a->step[0];
        get_some(a->dy, j, some, dy);
        get_some(a->y_in, j, some, x);
        get_some(a->scale_in, j, some, scale);
        UNROLL
        for (int k = 0; k < some; k++)
            sum[k] += dy[k] * x[k] / scale[k];
    }
    get_some(a->dy, i, some, dy);
    get_some(a->scale_in, i, some, scale);
    get_some(a->x, i, some, x);
    UNROLL
    for (int k = 0; k < some; k++)
        x[k] = dy[k] * inverse_power(a, scale[k]) - 2 * a->beta * a->weight * x[k] * sum[k];
    put_some(a->out, i, some, a->add, x);
}

MAP(lrn, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float sum = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++)
        for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
            float near = get(a->x, n.base + u * a->step[0] + v * a->step[1]);
            sum += near * near;
        }
    float scale = a->k + a->weight * sum;
    set(a->scale, i, scale);
    put_value(a->out, i, a->add, get(a->x, i) * inverse_power(a, scale));
}

MAP(lrn_bwd, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float sum = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++)
        for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
            int64_t j = n.base + u * a->step[0] + v * a->step[1];
            sum += get(a->dy, j) * get(a->y_in, j) / get(a->scale_in, j);
        }
    put_value(a->out, i, a->add,
              get(a->dy, i) * inverse_power(a, get(a->scale_in, i)) -
                  2 * a->beta * a->weight * get(a->x, i) * sum);
}

static lrn_args args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lrn *l = &op->args.lrn;
    const dn_operand *x = &op->in[0].info;
    bool last = x->layout == DN_LAYOUT_NHWC, within = l->region == DN_LRN_WITHIN;
    int64_t C = x->shape.dim[1], pixels = 1;
    lrn_args a = {{0}};
    for (int32_t d = 2; d < x->shape.axes; d++)
        pixels *= x->shape.dim[d];
    a.x = values_in(op, io, 0);
    a.out = values_out(op, io, 0);
    a.length[0] = within ? x->shape.dim[2] : C;
    a.step[0] = within ? x->shape.dim[3] * (last ? C : 1) : last ? 1 : pixels;
    a.length[1] = within ? x->shape.dim[3] : 1;
    a.step[1] = within && last ? C : 1;
    a.half[0] = l->size / 2;
    a.half[1] = within ? l->size / 2 : 0;
    a.add = cuda_adds(op, 0);
    a.k = within ? 1 : (float)l->k;
    a.weight = (float)(l->alpha / l->size / (within ? l->size : 1));
    a.beta = (float)l->beta;
    return a;
}

static dn_status prepare(dn_op *op, dn_op_info *info)
{
    int32_t layout = op->in[0].info.layout;
    bool alike = true;
    for (int32_t i = 1; i < op->num_inputs; i++)
        alike = alike && op->in[i].info.layout == layout;
    for (int32_t i = 0; i < op->num_outputs; i++)
        alike = alike && op->out[i].info.layout == layout;
    return alike ? DN_OK : cuda_decline(info, "some of it is NHWC, some is not");
}

/* How many elements a thread takes; not 1: of `rows` of channels, or of planes. */
static int some_in(const dn_op *op, const lrn_args *a, bool *rows)
{
    bool narrow = a->out.narrow;
    for (int32_t i = 0; i < op->num_inputs; i++)
        narrow = narrow || op->in[i].info.dtype == DN_BF16;
    *rows = a->step[0] == 1;
    if (op->args.lrn.region == DN_LRN_WITHIN || (*rows && a->half[0] > HALO))
        return 1;
    return some_of(*rows ? a->length[0] : a->step[0], narrow);
}

static dn_status run_lrn(const dn_op *op, const dn_op_io *io)
{
    lrn_args a = args_of(op, io);
    bool rows;
    int some = some_in(op, &a, &rows);
    a.scale = values_out(op, io, 1);
    if (some == 1)
        lrn(op, &a, op->out[0].count);
    else
        (rows ? lrn_rows : lrn_planes)(op, &a, op->out[0].count, some);
    return DN_OK;
}

const cuda_kind cuda_lrn = {"LRN", sizeof(dn_args_lrn), prepare, run_lrn, CUDA_NARROW(1, 3)};

static dn_status run_lrn_bwd(const dn_op *op, const dn_op_io *io)
{
    lrn_args a = args_of(op, io);
    a.y_in = values_in(op, io, 1);
    a.scale_in = values_in(op, io, 2);
    a.dy = values_in(op, io, 3);
    bool rows;
    int some = some_in(op, &a, &rows);
    if (some == 1)
        lrn_bwd(op, &a, op->out[0].count);
    else
        (rows ? lrn_rows_bwd : lrn_planes_bwd)(op, &a, op->out[0].count, some);
    return DN_OK;
}

const cuda_kind cuda_lrn_bwd = {"LRN_BWD", sizeof(dn_args_lrn), prepare, run_lrn_bwd,
                                CUDA_NARROW(15, 1)};
