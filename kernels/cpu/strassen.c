/* SPDX-License-Identifier: BSD-2-Clause
 * strassen.c: 1x1 convolutions of many channels and pixels in NHWC, forward and backward to the
 * data, by Winograd's form of Strassen's product, once or twice: 7 products of quarters for 8,
 * 49 of their quarters for 64. A block of pixels passes through all of them within the second
 * cache, the next one is asked for meanwhile; sums of weights, in the order in which they are
 * multiplied by, are kept if the weights are constant. With a stride, or where they would be
 * pages apart, a block's pixels are laid side by side first. */
#include <math.h>
#include <string.h>

#include "conv.h"

/* Largest error on MobileNet's and ResNet-50's shapes: 2e-6 to 4e-6 of the largest output, once
 * 1e-6 to 2e-6, where direct sums have 4e-7 to 8e-7; root mean square 5 times theirs. It is
 * relative to the largest of a block (64 to 192 pixels, of more than one image where those are
 * small), all of whose outputs an infinity or a NaN makes NaN. */
enum { BLOCK = 64, KEPT_BLOCK = 96, LEAST = 192 }; /* pixels; where weights are kept: 96 */
enum { UNIT = 32, MAX_LEVELS = 2, PRODUCTS = 7, LINE = 16 };
enum { PACK_ROWS = 32, FIRST_ROWS = 16, MAX_PARTS = 64 }; /* as in conv_nhwc.c, and norm.c */

typedef struct strassen_op {
    dn_op base;
    int64_t M, C, K, panels; /* y (M, K) = x (M, C) w */
    int64_t blocks, tasks, lines, worker_floats;
    int64_t part_floats; /* sums of a task's rows, as cpu_moments takes them; or 0 */
    int64_t laid;        /* floats from pixel to pixel where they are laid; or 0 */
    cpu_geo geo;
    int32_t levels;
    bool back, keep;
    int64_t products, quarters; /* 7 and 4 for each level */
    int64_t *at, *next; /* where a channel goes in packed weights; from panel to panel */
    cpu_end end;
} strassen_op;

typedef struct strassen_call {
    const strassen_op *op;
    const float *x, *w, *bias;
    float *y, *packed, *kept, *work, *parts;
} strassen_call;

/* ---- weights ----------------------------------------------------------------------------- */

/* B11, B12, B21, B22 in the second factor of each product, in the order of `steps`. */
static const int8_t share[PRODUCTS][4] = {{1, 0, 0, 0},  {0, 0, 1, 0},   {1, -1, 0, 1},
                                          {0, -1, 0, 1}, {-1, 1, 1, -1}, {-1, 1, 0, 0},
                                          {0, 0, 0, 1}};

/* A panel: of every channel, nr outputs. Backward some channels of all panels, as they lie. */
static void pack_task(void *arg, int64_t j, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t size = ker->nr * op->C;
    (void)worker;
    for (int64_t c = j * PACK_ROWS; op->back && c < (j + 1) * PACK_ROWS; c++)
        for (int64_t i = 0; i < op->panels; i++)
            memcpy(call->packed + i * size + c * ker->nr, call->w + c * op->K + i * ker->nr,
                   (size_t)ker->nr * sizeof(float));
    if (!op->back)
        ker->pack_weights(call->packed + j * size, ker->nr, op->C, call->w + j * size, op->C,
                          op->at, op->next, 0);
}

/* A panel of one of the second factors, which are sums of quarters, or of quarters' quarters.
 */
static void keep_task(void *arg, int64_t task, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t panels = op->panels >> op->levels, k = op->C >> op->levels, j = task % panels;
    float *out = call->kept + task * k * ker->nr;
    bool add = false;
    (void)worker;
    for (int64_t q = 0; q < op->quarters; q++) {
        int64_t row = 0, col = 0, product = task / panels, quarter = q;
        int32_t times = 1;
        for (int32_t level = 0; level < op->levels; level++) { /* the last is the outermost */
            times *= share[product % PRODUCTS][quarter & 3];
            row |= (quarter >> 1 & 1) << level, col |= (quarter & 1) << level;
            product /= PRODUCTS, quarter >>= 2;
        }
        if (times)
            ker->axpby(out, call->packed + ((col * panels + j) * op->C + row * k) * ker->nr,
                       (float)times, add, k * ker->nr);
        add |= times != 0;
    }
}

static void sum_weights(strassen_call *call)
{
    const strassen_op *op = call->op;
    const dn_backend *backend = op->base.backend;
    cpu_for(backend, op->back ? op->C / PACK_ROWS : op->panels, pack_task, call);
    cpu_for(backend, op->products * (op->panels >> op->levels), keep_task, call);
}

static dn_status strassen_prepare(dn_op *base, const dn_op_io *io)
{
    const strassen_op *op = (const strassen_op *)base;
    strassen_call call = {.op = op, .w = io->in[1], .packed = io->scratch, .kept = io->keep};
    sum_weights(&call);
    return DN_OK;
}

/* ---- products ---------------------------------------------------------------------------- */

typedef struct ahead { /* what the next block reads */
    const float *at, *end;
    int64_t lines; /* for each panel of a product */
} ahead;

typedef struct product { /* a (m, k) b, in c */
    int64_t m, k, n, lda;
    const float *a, *b;
    float *space;
    cpu_dests c;
} product;

static void multiply_panels(const cpu_kernels *ker, product *p, ahead *next)
{
    for (int64_t j = 0; j < p->n; j += ker->nr) {
        for (int64_t i = 0; i < next->lines && next->at < next->end; i++, next->at += LINE)
            __builtin_prefetch(next->at);
        ker->strassen_rows(p->m, p->k, p->a, p->lda, p->b + j * p->k, &p->c);
        for (cpu_dest *d = p->c.dest; d < p->c.dest + p->c.count; d++) {
            d->to += ker->nr;
            for (int32_t f = 0; f < d->count; f++)
                d->x[f] += ker->nr;
        }
    }
}

static cpu_dest *add_dest(cpu_dests *c, float *to, int64_t ld)
{
    cpu_dest *d = &c->dest[c->count++];
    d->to = to, d->ld = ld, d->count = 0;
    return d;
}

static void add_to(cpu_dest *d, const float *x, int64_t ld)
{
    d->x[d->count] = x;
    d->x_ld[d->count++] = ld;
}

/* T and W are sums of products that several quarters of c share:
 * T = A11 B11, C11 = T + A12 B21, T += S2 T2, W = S3 T3, C21 = T + W - A22 T4, T += S1 T1 and
 * C22 = T + W, C12 = T + S4 B22; S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2;
 * T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12, T4 = T2 - B21. */
enum { A11, A12, A22, S1, S2, S3, S4 };
enum { C11, C12, C21, C22, NONE };
static const struct step {
    int8_t a, t, to_t, to_w; /* t: begins with T */
    int8_t c, w;             /* w: W is added to it */
} steps[PRODUCTS] = {{A11, 0, 1, 0, NONE, 0}, {A12, 1, 0, 0, C11, 0}, {S2, 1, 1, 0, NONE, 0},
                     {S3, 0, 0, 1, NONE, 0},  {A22, 1, 0, 0, C21, 1}, {S1, 1, 1, 0, C22, 1},
                     {S4, 1, 0, 0, C12, 0}};

/* Where a step's product goes: to T or W, then to a quarter of each that p goes to. */
static void plan_dests(cpu_dests *c, const product *p, const struct step *s, float *t, float *w,
                       int64_t ld)
{
    int64_t row = s->c / 2 * (p->m / 2), col = s->c % 2 * (p->n / 2);
    c->count = 0;
    c->relu = s->c != NONE && p->c.relu;
    c->slope = p->c.slope;
    if (s->to_t || s->to_w)
        add_dest(c, s->to_t ? t : w, ld);
    for (int32_t i = 0; s->c != NONE && i < p->c.count; i++) {
        const cpu_dest *all = &p->c.dest[i];
        cpu_dest *d = add_dest(c, all->to + row * all->ld + col, all->ld);
        for (int32_t f = 0; f < all->count; f++)
            add_to(d, all->x[f] + row * all->x_ld[f] + col, all->x_ld[f]);
        if (s->w && i == 0)
            add_to(d, w, ld);
    }
    if (s->t)
        add_to(&c->dest[0], t, ld);
}

static void multiply(const cpu_kernels *ker, product *p, int32_t level, ahead *next)
{
    int64_t m = p->m / 2, k = p->k / 2, n = p->n / 2;
    int64_t t_ld = 2 * n + LINE, sums_ld = 4 * k + LINE; /* no rows pages apart */
    float *t = p->space, *w = t + n, *sums = t + m * t_ld;
    const float *a[] = {p->a, p->a + k, p->a + m * p->lda + k};
    product q;
    q.m = m, q.k = k, q.n = n, q.b = p->b, q.space = sums + m * sums_ld;
    ker->strassen_sums(sums, sums_ld, m, k, p->a, p->lda);
    for (const struct step *s = steps; s < steps + PRODUCTS; s++) {
        bool summed = s->a >= S1;
        q.a = summed ? sums + (s->a - S1) * k : a[s->a];
        q.lda = summed ? sums_ld : p->lda;
        plan_dests(&q.c, p, s, t, w, t_ld);
        if (level > 1)
            multiply(ker, &q, level - 1, next);
        else
            multiply_panels(ker, &q, next);
        q.b += level > 1 ? PRODUCTS * k * n / 4 : k * n;
    }
}

/* The first pixel of a block. Each half of the pixels is cut into half of the blocks; what is
 * no whole unit of it is the last one's. */
static int64_t block_at(const strassen_op *op, int64_t block)
{
    int64_t half = op->M / 8 * 4, blocks = op->blocks / 2;
    if (block < blocks)
        return half / UNIT * block / blocks * UNIT;
    if (block < op->blocks)
        return half + (op->M - half) / UNIT * (block - blocks) / blocks * UNIT;
    return op->M;
}

/* Of rows [from, to) of y, for its moments. Their centre is the mean of the first of them. */
static void add_sums(const strassen_op *op, const float *y, int64_t rows, float *part,
                     bool first)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_tally t = {part, part + op->K, part + 2 * op->K};
    for (int64_t i = 0; first && i < FIRST_ROWS; i++)
        ker->axpby(part, y + i * op->K, 1.0f / FIRST_ROWS, i > 0, op->K);
    if (first)
        memset(t.sum, 0, (size_t)(2 * op->K + 1) * sizeof(float));
    ker->tally(&t, y, op->K, rows, op->K);
    part[3 * op->K] += (float)rows;
}

/* Pixels [from, to) of y see these of x. */
static void lay_pixels(const strassen_call *call, int64_t from, int64_t to, float *out)
{
    const strassen_op *op = call->op;
    const cpu_geo *g = &op->geo;
    for (int64_t i = from, n; i < to; i += n, out += n * op->laid) {
        int64_t q = i % g->Q, p = i / g->Q % g->P, image = i / g->Q / g->P;
        n = cpu_min(g->Q - q, to - i);
        const float *x = call->x + ((image * g->H + p * g->sh) * g->W + q * g->sw) * op->C;
        op->base.backend->kernels->lay_rows(out, op->laid, x, g->sw * op->C, n, op->C);
    }
}

static void multiply_block(const strassen_call *call, int64_t block, int32_t worker)
{
    const strassen_op *op = call->op;
    int64_t from = block_at(op, block), to = block_at(op, block + 1);
    ahead next = {call->x + to * op->C, call->x + op->M * op->C, op->lines};
    product p = {.m = to - from,
                 .k = op->C,
                 .n = op->K,
                 .lda = op->C,
                 .a = call->x + from * op->C,
                 .b = call->kept,
                 .space = call->work + worker * op->worker_floats,
                 .c = {.relu = op->end.relu, .slope = op->end.slope}};
    if (op->laid) {
        lay_pixels(call, from, to, p.space);
        p.a = p.space, p.lda = op->laid;
        p.space += p.m * op->laid;
    }
    cpu_dest *y = add_dest(&p.c, call->y + from * op->K, op->K);
    if (call->bias)
        add_to(y, call->bias, 0);
    if (op->end.add)
        add_to(y, y->to, y->ld);
    multiply(op->base.backend->kernels, &p, op->levels, &next);
}

static void blocks_task(void *arg, int64_t task, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    int64_t first, end;
    cpu_split(op->blocks, op->tasks, task, &first, &end);
    for (int64_t i = first; i < end; i++) {
        int64_t from = block_at(op, i), to = block_at(op, i + 1);
        multiply_block(call, i, worker);
        if (op->part_floats)
            add_sums(op, call->y + from * op->K, to - from,
                     call->parts + task * op->part_floats, i == first);
    }
}

static dn_status strassen_run(dn_op *base, const dn_op_io *io)
{
    const strassen_op *op = (const strassen_op *)base;
    strassen_call call = {.op = op,
                          .x = io->in[0],
                          .bias = cpu_in(base, io, 2),
                          .y = io->out[0],
                          .w = io->in[1],
                          .kept = io->keep,
                          .work = io->scratch};
    call.parts = call.work + base->backend->host.num_threads * op->worker_floats;
    if (!op->keep) {
        call.packed = call.parts + op->tasks * op->part_floats;
        call.kept = call.packed + op->C * op->K;
        sum_weights(&call);
    }
    cpu_for(base->backend, op->tasks, blocks_task, &call);
    if (op->part_floats)
        cpu_moments(base->backend->kernels, io->out[1], call.parts, op->part_floats, op->tasks,
                    op->K);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Nanoseconds on one thread: products, sums of x and of y, pixels laid, what two workers lose
 * who both read all weights, and sums of these. Fitted to MobileNet's and ResNet-50's shapes,
 * Zen 4.
 */
static double cost_of(const strassen_op *op)
{
    double M = (double)op->M, C = (double)op->C, K = (double)op->K;
    double products = op->levels == 2 ? 49.0 / 64 / 106 : 7.0 / 8 / 110;
    double sums = op->keep ? 0 : C * K * (op->levels == 2 ? 1.6 : 1.0);
    double moved = M * op->levels * (0.05 * C + 0.2 * K) + M * 0.05 * (double)op->laid;
    return 2 * M * C * K * products + moved + 60e3 + sums;
}

/* As many levels as pay; of little memory, while what is kept beyond the weights is no more
 * than x and y. INFINITY: none. */
static double choose(strassen_op *op, bool compact)
{
    double best = INFINITY;
    for (int32_t levels = 1; levels <= MAX_LEVELS; levels++) {
        strassen_op with = *op;
        with.levels = levels;
        with.products = levels == 2 ? PRODUCTS * PRODUCTS : PRODUCTS;
        with.quarters = levels == 2 ? 16 : 4;
        int64_t more = op->C * op->K / with.quarters * (with.products - with.quarters);
        double cost = cost_of(&with);
        if (op->M % (1 << levels) || op->C % (16 << levels) || op->K % (32 << levels) ||
            (compact && more > op->M * (op->C + op->K)) || cost > best)
            continue;
        best = cost;
        *op = with;
    }
    return best;
}

static bool plan(strassen_op *op, bool moments, dn_op_info *info)
{
    int64_t kept = op->C * op->K / op->quarters * op->products, scratch;
    int64_t nr = op->base.backend->kernels->nr, threads = op->base.backend->host.num_threads;
    op->panels = op->K / nr;
    int64_t block = op->keep ? KEPT_BLOCK : BLOCK;
    op->blocks = op->M / block & ~(int64_t)1; /* two workers' halves */
    int64_t rows = (cpu_ceil(op->M / UNIT, op->blocks) + 2) * UNIT;
    op->lines = cpu_ceil(block * op->C / LINE, op->products * (op->panels >> op->levels));
    op->lines = op->geo.ready ? op->lines : 0;
    op->worker_floats = rows / 2 * ((op->K + 2 * op->C) * 5 / 4 + 3 * LINE) + rows * op->laid;
    op->at = cpu_op_table(&op->base, (size_t)op->C, sizeof *op->at);
    op->next = cpu_op_table(&op->base, (size_t)op->C, sizeof *op->next);
    if (!op->at || !op->next)
        return false;
    for (int64_t c = 0; c < op->C; c++)
        op->at[c] = c * nr;
    op->tasks = moments ? cpu_min(op->blocks, MAX_PARTS) : op->blocks;
    op->part_floats = moments ? 3 * op->K + LINE : 0;
    scratch = threads * op->worker_floats + op->tasks * op->part_floats;
    info->unread = op->keep ? 2 : 0;
    info->keep = op->keep ? (size_t)kept * sizeof(float) : 0;
    scratch = op->keep ? cpu_max(scratch, op->C * op->K) : scratch + op->C * op->K + kept;
    info->scratch = (size_t)scratch * sizeof(float);
    return true;
}

/* 1x1 of pixels a stride apart, all of which are in the image. */
static bool strided(const cpu_geo *g)
{
    return g->R * g->S == 1 && g->ph + g->pw == 0 && !g->frames && (g->P - 1) * g->sh < g->H &&
           (g->Q - 1) * g->sw < g->W;
}

dn_status cpu_strassen_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_conv_nhwc_geo(&geo, desc, 0, info))
        return DN_DECLINED;
    bool back = desc->kind == DN_OP_CONV_BWD_DATA;
    strassen_op shape = {.M = geo.N * geo.P * geo.Q,
                         .C = back ? geo.K : geo.C,
                         .K = back ? geo.C : geo.K,
                         .geo = geo,
                         .back = back,
                         .keep = desc->constant & 2};
    shape.laid = geo.ready && shape.C % 1024 ? 0 : shape.C + LINE;
    double cost = choose(&shape, desc->compact);
    if (!(geo.ready || (!back && strided(&geo))) || geo.group > 1 ||
        cpu_conv_normalises(desc) || shape.M < LEAST || shape.K < 256 || shape.C < 256 ||
        cost == INFINITY)
        return cpu_decline(info, "Strassen's product takes 1x1 of whole quarters");
    const char *other = geo.ready ? "cpu:rows 1x1" : "cpu:rows";
    /* lines pages apart take `rows` a tenth longer than it says */
    double most = shape.keep ? 0.95 : shape.C % 1024 ? 0.91 : 1.01;
    if (cost > most * cpu_cost(backend, desc, other))
        return cpu_decline(info, "too few channels for Strassen's product");
    strassen_op *op = cpu_op_new(backend, sizeof *op, strassen_run, info, "cpu:strassen 1x1");
    if (!op)
        return DN_E_NOMEM;
    shape.base = op->base;
    *op = shape;
    if (op->keep)
        op->base.prepare = strassen_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, cpu_present(desc->outputs, desc->num_outputs, 1), info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    info->cost = cost;
    *out = &op->base;
    return DN_OK;
}
