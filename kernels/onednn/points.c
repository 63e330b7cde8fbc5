/* SPDX-License-Identifier: BSD-2-Clause
 * points.c: CONV_BWD_WEIGHTS of 1x1 windows in NHWC: the product of dy, turned, and x over all
 * pixels, which oneDNN's matmul makes from both as they lie and writes where the gradient lies.
 * A piece is a range of dw's rows, whose part of dy is copied first (oneDNN wants no gaps), or,
 * where dw is small, a part of the pixels: then each makes a sum of its own, and they are added
 * in order. */
#include <stdio.h>
#include <string.h>

#include "onednn.h"

enum { FULL, LAST, SIZES, WIDTH = 64, PIECES = 8, COLUMNS = 64, ROWS = 256 };

typedef struct points_op {
    dn_op base;
    one_geo geo;
    one_prim mul[SIZES], thin;
    int64_t pixels, width, ranges, part, parts; /* ranges or parts is 1 */
    bool add, bias, add_bias;
    size_t partial_bytes, thin_bytes, copy_bytes, lane_bytes;
} points_op;

typedef struct points_call {
    points_op *op;
    char *x, *dy, *thin, *partial, *lanes;
    float *dw, *db;
} points_call;

/* ---- run --------------------------------------------------------------------------------- */

static size_t size_of(const one_geo *g)
{
    return (size_t)one_size(g->type == dnnl_bf16);
}

static dnnl_status_t thin_task(void *arg, int64_t n, int32_t worker)
{
    const points_call *c = arg;
    const one_geo *g = &c->op->geo;
    int64_t from = n * g->x.C * g->x.H * g->x.W, to = n * g->x.C * g->y.H * g->y.W;
    void *data[] = {c->x + from * (int64_t)size_of(g), c->thin + to * (int64_t)size_of(g)};
    return one_prim_run(&c->op->thin, worker, data,
                        c->lanes + (size_t)worker * c->op->lane_bytes);
}

/* Columns [k, k + width) of dy. */
static void copy_columns(const points_op *op, char *to, const char *dy, int64_t k,
                         int64_t width)
{
    size_t size = size_of(&op->geo), row = (size_t)op->geo.y.C * size;
    for (int64_t i = 0; i < op->pixels; i++)
        memcpy(to + (size_t)(i * width) * size, dy + (size_t)i * row + (size_t)k * size,
               (size_t)width * size);
}

static dnnl_status_t mul_task(void *arg, int64_t task, int32_t worker)
{
    const points_call *c = arg;
    points_op *op = c->op;
    const one_geo *g = &op->geo;
    int64_t size = (int64_t)size_of(g), row = op->parts > 1 ? task * op->part : 0;
    bool last = task == op->ranges * op->parts - 1;
    char *lane = c->lanes + (size_t)worker * op->lane_bytes, *dy = c->dy + row * g->y.C * size;
    char *dw = op->parts > 1 ? c->partial + (size_t)task * op->partial_bytes : (char *)c->dw;
    if (op->ranges > 1) {
        int64_t k = task * op->width;
        copy_columns(op, lane, dy, k, one_min(op->width, g->y.C - k));
        dy = lane;
        dw += k * g->x.C * (int64_t)sizeof(float);
    }
    void *data[] = {dy, (g->thinned ? c->thin : c->x) + row * g->x.C * size, dw};
    return one_prim_run(&op->mul[last ? LAST : FULL], worker, data, lane + op->copy_bytes);
}

/* Some rows of dw from the parts. */
static dnnl_status_t sum_task(void *arg, int64_t k, int32_t worker)
{
    const points_call *c = arg;
    const points_op *op = c->op;
    int64_t n = op->geo.x.C;
    float *dw = c->dw + k * n;
    (void)worker;
    for (int64_t p = 0; p < op->parts; p++) {
        const float *from = (const float *)(c->partial + (size_t)p * op->partial_bytes) + k * n;
        if (p == 0 && !op->add)
            memcpy(dw, from, (size_t)n * sizeof *dw);
        else
            for (int64_t i = 0; i < n; i++)
                dw[i] += from[i];
    }
    return dnnl_success;
}

static inline __attribute__((always_inline)) void
sum_columns(const points_call *c, int64_t from, int64_t n, bool narrow, double *total)
{
    const points_op *op = c->op;
    for (int64_t r = 0; r < op->pixels; r += ROWS) {
        float sum[COLUMNS] = {0};
        for (int64_t i = r; i < one_min(r + ROWS, op->pixels); i++)
            for (int64_t k = 0; k < n; k++)
                sum[k] += one_read(c->dy, narrow, i * op->geo.y.C + from + k);
        for (int64_t k = 0; k < n; k++)
            total[k] += sum[k];
    }
}

static dnnl_status_t bias_task(void *arg, int64_t task, int32_t worker)
{
    const points_call *c = arg;
    const points_op *op = c->op;
    int64_t from = task * COLUMNS, n = one_min(COLUMNS, op->geo.y.C - from);
    double total[COLUMNS] = {0};
    (void)worker;
    if (op->geo.type == dnnl_bf16)
        sum_columns(c, from, n, true, total);
    else
        sum_columns(c, from, n, false, total);
    for (int64_t k = 0; k < n; k++)
        c->db[from + k] = (float)((op->add_bias ? c->db[from + k] : 0) + total[k]);
    return dnnl_success;
}

static dn_status points_run(dn_op *base, const dn_op_io *io)
{
    points_op *op = (points_op *)base;
    const dn_backend *backend = base->backend;
    points_call call = {.op = op,
                        .x = io->in[0],
                        .dy = io->in[1],
                        .thin = io->scratch,
                        .dw = io->out[0],
                        .db = op->bias ? io->out[1] : NULL};
    dn_status st = DN_OK;
    call.partial = call.thin + op->thin_bytes;
    call.lanes = call.partial + (op->parts > 1 ? (size_t)op->parts * op->partial_bytes : 0);
    if (op->geo.thinned)
        st = one_for(backend, op->geo.x.N, thin_task, &call);
    if (!st)
        st = one_for(backend, op->ranges * op->parts, mul_task, &call);
    if (!st && op->parts > 1)
        st = one_for(backend, op->geo.y.C, sum_task, &call);
    if (!st && op->bias)
        st = one_for(backend, (op->geo.y.C + COLUMNS - 1) / COLUMNS, bias_task, &call);
    return st;
}

static void points_release(dn_op *base)
{
    points_op *op = (points_op *)base;
    for (int i = 0; i < SIZES; i++)
        one_prim_free(&op->mul[i]);
    one_prim_free(&op->thin);
}

/* ---- create ------------------------------------------------------------------------------ */

/* By what is moved: parts write, and read again, all of dw; ranges copy dy, and each reads x.
 * With AMX that may take longer than the product. */
static void cut(points_op *op)
{
    const one_geo *g = &op->geo;
    const dn_backend *backend = op->base.backend;
    bool tiles = backend->amx && g->type == dnnl_bf16;
    int64_t pieces = one_min(PIECES, tiles ? one_geo_gradients(backend, g) : one_geo_pieces(g));
    int64_t parts = one_max(1, one_min(pieces, op->pixels / ROWS));
    double dw = 4 * (double)one_geo_weight_count(g), size = (double)size_of(g);
    double by_part = dw * (double)(2 * parts + 1);
    op->width = ((g->y.C + pieces - 1) / pieces + WIDTH - 1) / WIDTH * WIDTH;
    op->ranges = (g->y.C + op->width - 1) / op->width;
    op->part = op->pixels;
    op->parts = 1;
    double by_range = size * (double)op->pixels * (double)(2 * g->y.C + op->ranges * g->x.C);
    if (parts > 1 && (op->ranges == 1 || by_part < by_range)) {
        op->width = g->y.C;
        op->ranges = 1;
        op->part = ((op->pixels + parts - 1) / parts + 1) / 2 * 2;
        op->parts = (op->pixels + op->part - 1) / op->part;
    }
}

static dnnl_status_t mul_desc(dnnl_primitive_desc_t *out, const points_op *op, bool last,
                              const_dnnl_primitive_attr_t attr)
{
    const one_geo *g = &op->geo;
    int64_t m = last ? g->y.C - (op->ranges - 1) * op->width : op->width, n = g->x.C;
    int64_t pixels = last ? op->pixels - (op->parts - 1) * op->part : op->part;
    one_desc a, b, c;
    dnnl_status_t st = one_matrix(&a, g->type, m, pixels, 1, m);
    if (st)
        return st;
    st = one_matrix(&b, g->type, pixels, n, n, 1);
    if (!st) {
        st = one_matrix(&c, dnnl_f32, m, n, n, 1);
        if (!st) {
            st = one_matmul_create(out, op->base.backend->engine, one_view(&a), one_view(&b),
                                   NULL, one_view(&c), attr);
            one_desc_free(&c);
        }
        one_desc_free(&b);
    }
    one_desc_free(&a);
    if (!st && strncmp(one_desc_name(*out), "brg", 3) != 0) {
        dnnl_primitive_desc_destroy(*out);
        st = dnnl_unimplemented;
    }
    return st;
}

static dn_status make_products(points_op *op, dn_op_info *info)
{
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    const dn_backend *backend = op->base.backend;
    dnnl_primitive_attr_t attr;
    dn_status st = one_result(
        backend, one_attributes(&attr, op->add && op->parts == 1, DN_FN_NONE, 0), info);
    if (st)
        return st;
    for (int i = op->ranges * op->parts > 1 ? FULL : LAST; i < SIZES && !st; i++) {
        dnnl_primitive_desc_t desc;
        st = one_result(backend, mul_desc(&desc, op, i == LAST, attr), info);
        if (!st)
            st = one_prim_init(&op->mul[i], backend, desc, args, 3, info);
    }
    dnnl_primitive_attr_destroy(attr);
    return st;
}

/* One image of x without the pixels that no window sees. */
static dn_status make_thin(points_op *op, dn_op_info *info)
{
    static const int args[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    const dn_backend *backend = op->base.backend;
    const one_geo *g = &op->geo;
    const dnnl_dim_t dims[3] = {g->y.H, g->y.W, g->x.C};
    const dnnl_dim_t skips[3] = {g->sh * g->x.W * g->x.C, g->sw * g->x.C, 1};
    const dnnl_dim_t dense[3] = {g->y.W * g->x.C, g->x.C, 1};
    one_desc from, to;
    dnnl_primitive_desc_t desc;
    dn_status st = one_result(backend, one_desc_init(&from, 3, dims, g->type, skips), info);
    if (st)
        return st;
    dnnl_status_t status = one_desc_init(&to, 3, dims, g->type, dense);
    if (!status) {
        status = one_reorder_create(&desc, backend, one_view(&from), one_view(&to), false);
        one_desc_free(&to);
    }
    one_desc_free(&from);
    st = one_result(backend, status, info);
    return st ? st : one_prim_init(&op->thin, backend, desc, args, 2, info);
}

static void plan_memory(points_op *op, dn_op_info *info)
{
    size_t most = op->thin.scratch;
    for (int i = 0; i < SIZES; i++)
        most = op->mul[i].scratch > most ? op->mul[i].scratch : most;
    if (op->ranges > 1)
        op->copy_bytes = one_round((size_t)(op->pixels * op->width) * size_of(&op->geo));
    op->lane_bytes = op->copy_bytes + one_round(most);
    op->partial_bytes = one_round((size_t)one_geo_weight_count(&op->geo) * sizeof(float));
    op->thin_bytes =
        op->geo.thinned ? one_round((size_t)(op->pixels * op->geo.x.C) * size_of(&op->geo)) : 0;
    info->scratch = op->thin_bytes +
                    (op->parts > 1 ? (size_t)op->parts * op->partial_bytes : 0) +
                    op->lane_bytes * (size_t)op->base.backend->num_streams;
}

/* Measured on one core of a Zen 4: matmul reaches 101 GFLOP/s, 205 in bf16. */
static double cost_of(const points_op *op)
{
    const one_geo *g = &op->geo;
    const dn_backend *backend = op->base.backend;
    double rate = backend->avx512 ? 101 : 50, dw = 4.0 * (double)one_geo_weight_count(g);
    if (g->type == dnnl_bf16)
        rate *= backend->amx ? 6 : 2;
    double bytes = (double)size_of(g) * (double)op->pixels * (double)(g->x.C + g->y.C);
    double work = g->flops / rate, touched = bytes / 10;
    if (op->ranges > 1)
        touched += bytes / 22;
    return (work > touched ? work : touched) + 1e3 * (double)(op->ranges * op->parts) +
           dw / 16 * (double)(op->parts > 1 ? 2 * op->parts : 1) +
           (g->thinned ? bytes / 11 : 0);
}

dn_status one_points_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    one_geo g;
    if (!one_geo_init(&g, backend, desc, info))
        return DN_DECLINED;
    if (g.R * g.S != 1 || g.group != 1 || g.ph + g.pw != 0 || g.x.layout != DN_LAYOUT_NHWC ||
        g.y.layout != DN_LAYOUT_NHWC || g.x.type != g.type || g.y.type != g.type)
        return one_decline(info, "not a 1x1 window in NHWC, in the type that is multiplied");
    if (one_min(g.x.C, g.y.C) < WIDTH)
        return one_decline(info, "few channels, which convolutions are better at");
    points_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = points_run;
    op->base.release = points_release;
    op->geo = g;
    op->pixels = g.y.N * g.y.H * g.y.W;
    op->add = args->base.accumulate & 1;
    op->bias = one_present(desc->outputs, desc->num_outputs, 1);
    op->add_bias = args->base.accumulate & 2;
    cut(op);
    dn_status st = make_products(op, info);
    if (!st && g.thinned)
        st = make_thin(op, info);
    if (st) {
        one_op_free(&op->base);
        return st;
    }
    plan_memory(op, info);
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s 1x1",
             one_desc_name(op->mul[LAST].desc));
    info->cost = cost_of(op);
    *out = &op->base;
    return DN_OK;
}
