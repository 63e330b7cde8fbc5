/* SPDX-License-Identifier: BSD-2-Clause
 * strassen.c: 1x1 convolutions of many channels and pixels in NHWC, with constant weights, by
 * Winograd's form of Strassen's product, twice: 49 products of quarters of quarters for 64. A
 * block of pixels passes through all of them within the second cache, the next one is asked for
 * meanwhile; sums of weights are kept, in the order in which they are multiplied by. */
#include "conv.h"

/* Largest error on MobileNet's and ResNet-50's shapes: 2e-6 to 4e-6 of the largest output where
 * direct sums have 4e-7 to 8e-7; root mean square 5 times theirs. It is relative to the largest
 * of a block (64 to 128 pixels, of more than one image where those are small), all of whose
 * outputs an infinity or a NaN makes NaN. */
enum { BLOCK = 64, UNIT = 32, LEVELS = 2, PRODUCTS = 7 };

typedef struct strassen_op {
    dn_op base;
    int64_t M, C, K, panels; /* y (M, K) = x (M, C) w */
    int64_t blocks, lines, worker_floats;
    int64_t *at, *next; /* where a channel goes in packed weights; from panel to panel */
    cpu_end end;
} strassen_op;

typedef struct strassen_call {
    const strassen_op *op;
    const float *x, *w, *bias;
    float *y, *packed, *kept, *work;
} strassen_call;

/* ---- weights ----------------------------------------------------------------------------- */

/* B11, B12, B21, B22 in the second factor of each product, in the order of `steps`. */
static const int8_t share[PRODUCTS][4] = {{1, 0, 0, 0},  {0, 0, 1, 0},   {1, -1, 0, 1},
                                          {0, -1, 0, 1}, {-1, 1, 1, -1}, {-1, 1, 0, 0},
                                          {0, 0, 0, 1}};

/* A panel: of every channel, nr outputs. */
static void pack_task(void *arg, int64_t j, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t size = ker->nr * op->C;
    (void)worker;
    ker->pack_weights(call->packed + j * size, ker->nr, op->C, call->w + j * size, op->C,
                      op->at, op->next, 0);
}

/* A panel of one of the 49 second factors. */
static void keep_task(void *arg, int64_t task, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t panels = op->panels / 4, k = op->C / 4, j = task % panels, product = task / panels;
    float *out = call->kept + task * k * ker->nr;
    bool add = false;
    (void)worker;
    for (int32_t q = 0; q < 16; q++) { /* a quarter's quarter: rows, then columns */
        int32_t row = (q >> 3 & 1) * 2 + (q >> 1 & 1), col = (q >> 2 & 1) * 2 + (q & 1);
        int32_t times = share[product / PRODUCTS][q >> 2] * share[product % PRODUCTS][q & 3];
        if (times)
            ker->axpby(out, call->packed + ((col * panels + j) * op->C + row * k) * ker->nr,
                       (float)times, add, k * ker->nr);
        add |= times != 0;
    }
}

static dn_status strassen_prepare(dn_op *base, const dn_op_io *io)
{
    const strassen_op *op = (const strassen_op *)base;
    strassen_call call = {.op = op, .w = io->in[1], .packed = io->scratch, .kept = io->keep};
    cpu_for(base->backend, op->panels, pack_task, &call);
    cpu_for(base->backend, PRODUCTS * PRODUCTS * (op->panels / 4), keep_task, &call);
    return DN_OK;
}

/* ---- products ---------------------------------------------------------------------------- */

typedef struct ahead { /* what the next block reads */
    const float *at, *end;
    int64_t lines; /* for each panel of a product */
} ahead;

typedef struct product { /* c (m, n) = f(from + a (m, k) b) */
    int64_t m, k, n, lda, ldc;
    const float *a, *b;
    float *c, *space;
    cpu_sums from;
    cpu_end end;
} product;

static void multiply_panels(const cpu_kernels *ker, const product *p, ahead *next)
{
    cpu_sums from = p->from;
    for (int64_t j = 0; j < p->n; j += ker->nr) {
        for (int64_t i = 0; i < next->lines && next->at < next->end; i++, next->at += 16)
            __builtin_prefetch(next->at);
        ker->strassen_rows(p->m, p->k, p->a, p->lda, p->b + j * p->k, p->c + j, p->ldc, &from,
                           &p->end);
        for (int32_t f = 0; f < from.count; f++)
            from.x[f] += ker->nr;
    }
}

static void add_to(cpu_sums *from, const float *x, int64_t ld)
{
    from->x[from->count] = x;
    from->ld[from->count++] = ld;
}

/* T and W are sums of products that several quarters of c share:
 * T = A11 B11, C11 = T + A12 B21, T += S2 T2, W = S3 T3, C21 = T + W - A22 T4, T += S1 T1,
 * C12 = T + S4 B22, C22 = T + W; S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2;
 * T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12, T4 = T2 - B21. */
enum { A11, A12, A22, S1, S2, S3, S4 };
enum { TO_T = 4, TO_W };
static const struct step {
    int8_t a, to; /* to: a quarter of c, or */
    int8_t t, w;  /* what it begins with */
} steps[PRODUCTS + 1] = {{A11, TO_T, 0, 0}, {A12, 0, 1, 0}, {S2, TO_T, 1, 0},
                         {S3, TO_W, 0, 0},  {A22, 2, 1, 1}, {S1, TO_T, 1, 0},
                         {S4, 1, 1, 0},     {A11, 3, 1, 1}};

static void multiply(const cpu_kernels *ker, const product *p, int32_t level, ahead *next)
{
    int64_t m = p->m / 2, k = p->k / 2, n = p->n / 2;
    float *t = p->space, *w = t + m * n, *sums = w + m * n;
    const float *a[] = {p->a, p->a + k, p->a + m * p->lda + k};
    product q = {.m = m, .k = k, .n = n, .b = p->b, .space = sums + 4 * m * k};
    ker->strassen_sums(sums, m, k, p->a, p->lda);
    for (const struct step *s = steps; s <= steps + PRODUCTS; s++) {
        bool summed = s->a >= S1;
        int64_t row = s->to / 2 * m, col = s->to % 2 * n;
        q.a = summed ? sums + (s->a - S1) * m * k : a[s->a];
        q.lda = summed ? k : p->lda;
        q.from.count = 0;
        q.c = s->to == TO_T ? t : w, q.ldc = n, q.end = (cpu_end){0};
        if (s->to < TO_T) {
            q.c = p->c + row * p->ldc + col, q.ldc = p->ldc, q.end = p->end;
            for (int32_t f = 0; f < p->from.count; f++)
                add_to(&q.from, p->from.x[f] + row * p->from.ld[f] + col, p->from.ld[f]);
        }
        if (s->t)
            add_to(&q.from, t, n);
        if (s->w)
            add_to(&q.from, w, n);
        if (s == steps + PRODUCTS)
            q.k = 0;
        if (level > 1 && q.k)
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

static void block_task(void *arg, int64_t task, int32_t worker)
{
    const strassen_call *call = arg;
    const strassen_op *op = call->op;
    int64_t from = block_at(op, task), to = block_at(op, task + 1);
    ahead next = {call->x + to * op->C, call->x + op->M * op->C, op->lines};
    product p = {.m = to - from,
                 .k = op->C,
                 .n = op->K,
                 .lda = op->C,
                 .ldc = op->K,
                 .a = call->x + from * op->C,
                 .b = call->kept,
                 .c = call->y + from * op->K,
                 .space = call->work + worker * op->worker_floats,
                 .end = op->end};
    if (call->bias)
        add_to(&p.from, call->bias, 0);
    if (op->end.add)
        add_to(&p.from, p.c, p.ldc);
    multiply(op->base.backend->kernels, &p, LEVELS, &next);
}

static dn_status strassen_run(dn_op *base, const dn_op_io *io)
{
    const strassen_op *op = (const strassen_op *)base;
    strassen_call call = {.op = op,
                          .x = io->in[0],
                          .bias = cpu_in(base, io, 2),
                          .y = io->out[0],
                          .kept = io->keep,
                          .work = io->scratch};
    cpu_for(base->backend, op->blocks, block_task, &call);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Nanoseconds on one thread: products as fast as direct ones, sums of x and of y, and what two
 * workers lose who both read all weights. Fitted to MobileNet's and ResNet-50's shapes, Zen 4.
 */
static double cost_of(const strassen_op *op)
{
    double M = (double)op->M, C = (double)op->C, K = (double)op->K;
    return 2 * M * C * K * 49 / 64 / 106 + M * (0.1 * C + 0.5 * K) + 60e3;
}

static bool plan(strassen_op *op, dn_op_info *info)
{
    int64_t nr = op->base.backend->kernels->nr, threads = op->base.backend->host.num_threads;
    op->panels = op->K / nr;
    op->blocks = op->M / BLOCK & ~(int64_t)1; /* two workers' halves */
    int64_t rows = (cpu_ceil(op->M / UNIT, op->blocks) + 2) * UNIT;
    op->lines = cpu_ceil(BLOCK * op->C / 16, PRODUCTS * PRODUCTS * op->panels / 4);
    op->worker_floats = rows / 2 * (op->K + 2 * op->C) * 5 / 4;
    op->at = cpu_op_table(&op->base, (size_t)op->C, sizeof *op->at);
    op->next = cpu_op_table(&op->base, (size_t)op->C, sizeof *op->next);
    if (!op->at || !op->next)
        return false;
    for (int64_t c = 0; c < op->C; c++)
        op->at[c] = c * nr;
    info->unread = 2;
    info->keep = (size_t)(op->C * op->K / 16 * PRODUCTS * PRODUCTS) * sizeof(float);
    info->scratch = (size_t)cpu_max(threads * op->worker_floats, op->C * op->K) * sizeof(float);
    return true;
}

dn_status cpu_strassen_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_conv_nhwc_geo(&geo, desc, info))
        return DN_DECLINED;
    strassen_op shape = {.M = geo.N * geo.P * geo.Q, .C = geo.C, .K = geo.K};
    if (!geo.ready || geo.group > 1 || !(desc->constant & 2) || shape.M % 4 ||
        shape.M < 3 * BLOCK || shape.C % 64 || shape.K % 128 || shape.K < 256)
        return cpu_decline(info, "Strassen's product takes 1x1 of constant quarters");
    double cost = cost_of(&shape);
    if (cost > 0.95 * cpu_cost(backend, desc, "cpu:rows 1x1"))
        return cpu_decline(info, "too few channels for Strassen's product");
    strassen_op *op = cpu_op_new(backend, sizeof *op, strassen_run, info, "cpu:strassen 1x1");
    if (!op)
        return DN_E_NOMEM;
    shape.base = op->base;
    *op = shape;
    op->base.prepare = strassen_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (!plan(op, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    info->cost = cost;
    *out = &op->base;
    return DN_OK;
}
