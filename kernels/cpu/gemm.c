/* SPDX-License-Identifier: BSD-2-Clause
 * gemm.c: matrix products in four forms. Rows by rows (A, B^T: inner products forward) with as
 * many rows of A as a vector has lanes go to `rows`, with other few rows to `dot`, which packs
 * nothing; many rows as they lie and a packed panel of B go to `rows`, with a constant B, whose
 * panels are kept, fewer too; everything else is packed and goes to `tile`. Tasks are
 * rectangles of C. */
#include "conv_nhwc.h"

#include <string.h>

typedef struct gemm_op {
    dn_op base;
    dn_args_gemm g;
    cpu_mul mul;
    bool keep; /* B, constant, in panels */
    int64_t tasks_m, tasks_n;
    int64_t a_floats, work_floats; /* of the scratch: packed A of each matrix, per worker */
} gemm_op;

typedef struct gemm_call {
    const gemm_op *op;
    const float *a, *b, *bias;
    float *c, *scratch, *kept;
} gemm_call;

static gemm_call call_of(dn_op *base, const dn_op_io *io)
{
    const gemm_op *op = (const gemm_op *)base;
    return (gemm_call){op,
                       (const float *)io->in[0] + op->g.offset_a,
                       (const float *)io->in[1] + op->g.offset_b,
                       op->g.bias_mode ? cpu_in(base, io, 2) : NULL,
                       (float *)io->out[0] + op->g.offset_c,
                       io->scratch,
                       io->keep};
}

static cpu_end end_of(const dn_args_gemm *g, const float *bias, int64_t matrix)
{
    const float *at = bias ? bias + matrix * g->stride_bias : NULL;
    return (cpu_end){.bias_m = g->bias_mode == 2 ? at : NULL,
                     .bias_n = g->bias_mode == 1 ? at : NULL,
                     .alpha = (float)g->alpha,
                     .slope = (float)g->activation_a,
                     .add = g->base.accumulate & 1,
                     .relu = g->activation == DN_FN_RELU};
}

/* About a million multiply-adds a task: a second worker pays from there on. */
static void share_out(int64_t work, int64_t rows, int64_t cols, int64_t *tasks_m,
                      int64_t *tasks_n)
{
    int64_t tasks = cpu_max(1, cpu_min(64, work >> 20));
    *tasks_n = cpu_min(cols, tasks);
    *tasks_m = cpu_max(1, cpu_min(rows, tasks / *tasks_n));
}

/* Packing B costs more than it spares; more tasks would make its rows short. */
enum { THIN_ROWS = 28, THIN_DEPTH = 128, THIN_TASKS = 8 };
/* Where there are so many tasks, or two for each worker, rows are not cut any further. */
enum { FEW_TASKS = 16 };

/* The piece of k in which B is read as it lies; 0: it is packed. */
static int64_t in_place(const dn_args_gemm *g)
{
    bool thin = !g->trans_b && g->k >= THIN_DEPTH && g->m <= THIN_ROWS;
    return thin ? 64 : 0; /* rows read side by side: each is another page */
}

/* ---- packed ------------------------------------------------------------------------------ */

static void pack_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    const dn_args_gemm *g = &op->g;
    int64_t matrix = task / op->mul.row_panels, i = task % op->mul.row_panels;
    const float *a = call->a + matrix * g->stride_a;
    (void)worker;
    cpu_mul_pack_a(&op->mul, i, call->scratch + matrix * op->a_floats, a,
                   g->trans_a ? 1 : g->lda, g->trans_a ? g->lda : 1, (float)g->alpha);
}

static void packed_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    const dn_args_gemm *g = &op->g;
    int64_t per = op->tasks_m * op->tasks_n, matrix = task / per, rows[2], cols[2];
    cpu_split(op->mul.row_panels, op->tasks_m, task % per / op->tasks_n, &rows[0], &rows[1]);
    cpu_split(op->mul.col_panels, op->tasks_n, task % op->tasks_n, &cols[0], &cols[1]);
    cpu_end end = end_of(g, call->bias, matrix);
    cpu_mul_run(&op->mul, call->scratch + matrix * op->a_floats, call->b + matrix * g->stride_b,
                call->c + matrix * g->stride_c, &end, rows, cols,
                call->scratch + g->batch * op->a_floats + worker * op->work_floats);
}

static dn_status run_packed(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    const dn_args_gemm *g = &op->g;
    gemm_call call = call_of(base, io);
    int64_t packs = g->batch * op->mul.row_panels;
    if (g->m * g->k * g->batch < 65536)
        for (int64_t i = 0; i < packs; i++)
            pack_task(&call, i, 0);
    else
        cpu_for(base->backend, packs, pack_task, &call);
    cpu_for(base->backend, g->batch * op->tasks_m * op->tasks_n, packed_task, &call);
    return DN_OK;
}

static void plan_packed(gemm_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->g;
    const int64_t threads = op->base.backend->host.num_threads;
    op->mul = (cpu_mul){.ker = op->base.backend->kernels,
                        .m = g->m,
                        .n = g->n,
                        .k = g->k,
                        .ldb = g->ldb,
                        .b_trans = g->trans_b,
                        .exact = true,
                        .in_place = in_place(&op->g),
                        .ldc = g->ldc};
    cpu_mul_plan(&op->mul);
    share_out(g->m * g->n * g->k, op->mul.row_panels, op->mul.col_panels, &op->tasks_m,
              &op->tasks_n);
    int64_t tasks = op->tasks_m * op->tasks_n;
    /* other rows of the same columns pack the same B again */
    op->tasks_m = cpu_min(op->tasks_m, cpu_ceil(cpu_max(FEW_TASKS, 2 * threads), op->tasks_n));
    if (op->mul.in_place) /* long rows of B: what is asked for ahead lies in them */
        op->tasks_n = cpu_min(cpu_min(op->tasks_n, THIN_TASKS), threads);
    if (op->mul.row_outer) { /* long rows of C; each task packs its B */
        op->tasks_n = cpu_min(tasks, cpu_ceil(op->mul.col_panels, op->mul.block));
        op->tasks_m = cpu_min(cpu_min(tasks / op->tasks_n, THIN_TASKS), op->mul.row_panels);
    }
    op->a_floats = (int64_t)cpu_round64((size_t)cpu_mul_a_size(&op->mul) * 4) / 4;
    op->work_floats = (int64_t)cpu_round64((size_t)cpu_mul_work_size(&op->mul) * 4) / 4;
    info->scratch = (size_t)(g->batch * op->a_floats + threads * op->work_floats) * 4;
    op->base.run = run_packed;
}

/* ---- panels ------------------------------------------------------------------------------ */

/* Many rows: A is read as it lies, eight rows at a time, by a panel of B that is packed whole,
 * so that a sum is stored once. A^T: as many lines of A as k, which must stay in the first
 * cache. */
enum { PANEL_K = 2048, PANEL_ROWS = 8, MIN_ROWS = 96, MIN_DEPTH = 96, MAX_TURNED_DEPTH = 256 };

static bool fits_panels(const gemm_op *op)
{
    const dn_args_gemm *g = &op->g;
    return g->m > MIN_ROWS && g->k > MIN_DEPTH && g->n >= 32 && g->alpha == 1 &&
           g->bias_mode != 2 && (!g->trans_a || g->k <= MAX_TURNED_DEPTH);
}

/* Lines [k0, k0 + len) of panel j of B. */
static void pack_panel(const gemm_op *op, float *out, const float *b, int64_t j, int64_t k0,
                       int64_t len)
{
    const dn_args_gemm *g = &op->g;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at = j * ker->nr, width = cpu_min(ker->nr, g->n - at);
    const cpu_run all = {0, (int32_t)width, 0, 0};
    if (g->trans_b)
        ker->pack_trans(out, len, b + at * g->ldb + k0, g->ldb, width);
    else
        ker->pack(out, len, b + k0 * g->ldb + at, NULL, g->ldb, &all, 1, true);
}

static void keep_task(void *arg, int64_t j, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    (void)worker;
    pack_panel(op, call->kept + j * op->g.k * op->base.backend->kernels->nr, call->b, j, 0,
               op->g.k);
}

static dn_status gemm_prepare(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    gemm_call call = {
        .op = op, .b = (const float *)io->in[1] + op->g.offset_b, .kept = io->keep};
    cpu_for(base->backend, cpu_ceil(op->g.n, base->backend->kernels->nr), keep_task, &call);
    return DN_OK;
}

/* Rows [m0, m1) by panel j of C; a part of a vector goes through a tile. */
static void run_panel(const gemm_call *call, int64_t matrix, int64_t j, int64_t m0, int64_t m1,
                      float *work)
{
    const gemm_op *op = call->op;
    const dn_args_gemm *g = &op->g;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t nr = ker->nr, at = j * nr, width = cpu_min(nr, g->n - at);
    const float *a = call->a + matrix * g->stride_a, *b = call->b + matrix * g->stride_b;
    float *c = call->c + matrix * g->stride_c + m0 * g->ldc + at;
    float *panel = op->keep ? call->kept + j * g->k * nr : work;
    float *tile = op->keep ? work : work + cpu_min(PANEL_K, g->k) * nr;
    int64_t row = g->trans_a ? 1 : g->lda, col = g->trans_a ? g->lda : 1;
    cpu_end whole = end_of(g, call->bias, matrix);
    whole.bias_n += whole.bias_n ? at : 0;
    for (int64_t k0 = 0; k0 < g->k; k0 += PANEL_K) {
        int64_t len = cpu_min(PANEL_K, g->k - k0);
        const float *a0 = a + m0 * row + k0 * col;
        cpu_end end = whole;
        end.bias_n = k0 ? NULL : end.bias_n;
        end.add = end.add || k0;
        end.relu = end.relu && k0 + len == g->k;
        if (!op->keep)
            pack_panel(op, panel, b, j, k0, len);
        if (width % ker->vl == 0)
            ker->rows(width <= ker->vl ? 1 : 2, m1 - m0, len, a0, row, col, panel, c, g->ldc,
                      &end);
        else
            cpu_narrow_rows(ker, (int32_t)width, m1 - m0, len, a0, row, col, panel, c, g->ldc,
                            &end, tile);
        panel += op->keep ? len * nr : 0;
    }
}

static void panels_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    int64_t per = op->tasks_m * op->tasks_n, rows[2], cols[2];
    cpu_split(cpu_ceil(op->g.m, PANEL_ROWS), op->tasks_m, task % per / op->tasks_n, &rows[0],
              &rows[1]);
    cpu_split(cpu_ceil(op->g.n, op->base.backend->kernels->nr), op->tasks_n, task % op->tasks_n,
              &cols[0], &cols[1]);
    for (int64_t j = cols[0]; j < cols[1]; j++)
        run_panel(call, task / per, j, rows[0] * PANEL_ROWS,
                  cpu_min(op->g.m, rows[1] * PANEL_ROWS),
                  call->scratch + worker * op->work_floats);
}

static dn_status run_panels(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    gemm_call call = call_of(base, io);
    cpu_for(base->backend, op->g.batch * op->tasks_m * op->tasks_n, panels_task, &call);
    return DN_OK;
}

static void plan_panels(gemm_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->g;
    int64_t nr = op->base.backend->kernels->nr;
    share_out(g->m * g->n * g->k, g->m / MIN_ROWS, cpu_ceil(g->n, nr), &op->tasks_m,
              &op->tasks_n);
    op->work_floats = ((op->keep ? 0 : cpu_min(PANEL_K, g->k)) + CPU_MAX_MR) * nr;
    if (op->keep) {
        info->keep = (size_t)(cpu_ceil(g->n, nr) * nr * g->k) * sizeof(float);
        info->unread = 2;
        op->base.prepare = gemm_prepare;
    }
    info->scratch = (size_t)(op->base.backend->host.num_threads * op->work_floats) * 4;
    op->base.run = run_panels;
}

/* Whether panels of a constant B are worth as much memory again. Not so for many rows, beside
 * which packing is little, for 16 or 32, which need none (`turned`), or for fewer than four or
 * some over, which `rows` takes one by one. */
static bool worth_keeping(const gemm_op *op, const dn_op_desc *desc)
{
    enum { MOST_ROWS = 128 };
    const dn_args_gemm *g = &op->g;
    return desc->constant & 2 && g->batch == 1 && g->n >= 32 && g->k > MIN_DEPTH &&
           g->alpha == 1 && g->bias_mode != 2 && !g->trans_a && g->m <= MOST_ROWS &&
           (g->m > 32 || (g->m % 4 == 0 && g->m != 16 && g->m != 32)) &&
           (!desc->compact || g->n * g->k <= g->m * (g->n + g->k));
}

/* ---- rows by rows ------------------------------------------------------------------------ */

enum { DOT_K = 16384 }; /* k piece: each begins rows anew, for which memory is waited for */

static void dot_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    const dn_args_gemm *g = &op->g;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t matrix = task / op->tasks_n, from, to;
    int64_t groups = cpu_ceil(g->n, ker->dot_n), tall = cpu_ceil(g->m, ker->dot_m);
    const float *a = call->a + matrix * g->stride_a, *b = call->b + matrix * g->stride_b;
    float *c = call->c + matrix * g->stride_c;
    cpu_end whole = end_of(g, call->bias, matrix);
    (void)worker;
    cpu_split(groups, op->tasks_n, task % op->tasks_n, &from, &to);
    for (int64_t k0 = 0; k0 < g->k || k0 == 0; k0 += DOT_K) {
        int64_t len = cpu_min(DOT_K, g->k - k0);
        bool first = k0 == 0, last = k0 + len == g->k;
        for (int64_t t = from * tall; t < to * tall; t++) {
            int64_t n0, n1, m0, m1;
            cpu_split(g->n, groups, t / tall, &n0, &n1);
            cpu_split(g->m, tall, t % tall, &m0, &m1);
            cpu_end end = whole;
            end.bias_m = first && whole.bias_m ? whole.bias_m + m0 : NULL;
            end.bias_n = first && whole.bias_n ? whole.bias_n + n0 : NULL;
            end.add = whole.add || !first;
            end.relu = whole.relu && last;
            ker->dot((int32_t)(m1 - m0), (int32_t)(n1 - n0), len, a + m0 * g->lda + k0, g->lda,
                     b + n0 * g->ldb + k0, g->ldb, c + m0 * g->ldc + n0, g->ldc, &end);
        }
    }
}

static dn_status run_dot(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    const dn_args_gemm *g = &op->g;
    gemm_call call = call_of(base, io);
    cpu_for(base->backend, g->batch * op->tasks_n, dot_task, &call);
    return DN_OK;
}

static void plan_dot(gemm_op *op)
{
    const dn_args_gemm *g = &op->g;
    int64_t tasks_m;
    /* a thin product is bound by reading B: 64 Ki floats are worth a task */
    int64_t work = cpu_max(g->m * g->n * g->k, g->n * g->k * 16);
    share_out(work, 1, cpu_ceil(g->n, op->base.backend->kernels->dot_n), &tasks_m,
              &op->tasks_n);
    op->base.run = run_dot;
}

/* ---- turned ------------------------------------------------------------------------------ */

enum { TURNED_K = 2048 }; /* rows of A^T in the second cache */

static void turn_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const dn_args_gemm *g = &call->op->g;
    const cpu_kernels *ker = call->op->base.backend->kernels;
    int64_t k0 = task * TURNED_K, len = cpu_min(TURNED_K, g->k - k0);
    float *turned = call->scratch + k0 * ker->nr;
    (void)worker;
    for (int64_t i = 0; i < g->m; i += ker->nr, turned += g->k * ker->nr) {
        int64_t lanes = cpu_min(ker->nr, g->m - i);
        if (lanes % ker->vl) /* lanes without a row */
            memset(turned, 0, (size_t)(len * ker->nr) * sizeof(float));
        ker->turn_rows(turned, ker->nr, call->a + i * g->lda + k0, g->lda, lanes, len, false);
    }
}

/* C^T = B A^T: rows of B are read as they lie, and those of A are the lanes: [m0, m1) of them
 * for columns [from, to) of C. */
static void turned_rows(const gemm_call *call, float *sums, int64_t m0, int64_t m1,
                        int64_t from, int64_t to)
{
    const gemm_op *op = call->op;
    const dn_args_gemm *g = &op->g;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t nr = ker->nr;
    for (int64_t i = 0; call->bias && i < (to - from) * nr; i++)
        sums[i] = call->bias[from + i / nr];
    for (int64_t k0 = 0; k0 < g->k; k0 += TURNED_K) {
        int64_t len = cpu_min(TURNED_K, g->k - k0);
        cpu_end end = {.slope = (float)g->activation_a,
                       .add = call->bias || k0 > 0,
                       .relu = g->activation == DN_FN_RELU && k0 + len == g->k};
        ker->rows(m1 - m0 > ker->vl ? 2 : 1, to - from, len, call->b + from * g->ldb + k0,
                  g->ldb, 1, call->scratch + m0 * g->k + k0 * nr, sums, nr, &end);
    }
    ker->turn_rows(call->c + m0 * g->ldc + from, g->ldc, sums, nr, to - from, m1 - m0,
                   g->base.accumulate & 1);
}

static void turned_task(void *arg, int64_t task, int32_t worker)
{
    const gemm_call *call = arg;
    const gemm_op *op = call->op;
    int64_t from, to, nr = op->base.backend->kernels->nr;
    float *sums = call->scratch + op->a_floats + worker * op->work_floats;
    cpu_split(op->g.n, op->tasks_n, task, &from, &to);
    for (int64_t m = 0; m < op->g.m; m += nr)
        turned_rows(call, sums, m, cpu_min(op->g.m, m + nr), from, to);
}

static dn_status run_turned(dn_op *base, const dn_op_io *io)
{
    gemm_op *op = (gemm_op *)base;
    const dn_args_gemm *g = &op->g;
    gemm_call call = call_of(base, io);
    cpu_for(base->backend, cpu_ceil(g->k, TURNED_K), turn_task, &call);
    cpu_for(base->backend, op->tasks_n, turned_task, &call);
    return DN_OK;
}

static void plan_turned(gemm_op *op, dn_op_info *info)
{
    const dn_args_gemm *g = &op->g;
    const dn_backend *backend = op->base.backend;
    int64_t tasks_m, nr = backend->kernels->nr;
    share_out(g->m * g->n * g->k, 1, cpu_ceil(g->n, 32), &tasks_m, &op->tasks_n);
    op->a_floats = cpu_ceil(g->m, nr) * nr * g->k;
    op->work_floats = cpu_ceil(g->n, op->tasks_n) * nr;
    info->scratch = (size_t)(op->a_floats + backend->host.num_threads * op->work_floats) * 4;
    op->base.run = run_turned;
}

/* The lanes of AVX-512 are used, and what is turned is little beside B. Other vectors take the
 * same way, for the same sums. */
static bool fills_lanes(const gemm_op *op)
{
    const dn_args_gemm *g = &op->g;
    bool add = g->base.accumulate & 1;
    return g->batch == 1 && g->n >= 64 && g->n >= 2 * g->m && g->k >= 64 && g->alpha == 1 &&
           g->bias_mode != 2 && !(add && g->activation == DN_FN_RELU) &&
           4 * g->m >= 48 * cpu_ceil(g->m, 16);
}

/* Rows of A contiguous along k, and rows of B, or a single column that is a vector. */
static bool rows_by_rows(dn_args_gemm *g)
{
    if (g->n == 1 && !g->trans_b && g->ldb == 1) {
        g->trans_b = 1;
        g->ldb = g->k;
    }
    if (g->m == 1 && g->trans_a && g->lda == 1) {
        g->trans_a = 0;
        g->lda = g->k;
    }
    return !g->trans_a && g->trans_b && (g->m <= 96 || g->n <= 16);
}

dn_status cpu_gemm_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_gemm *g = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (g->activation != DN_FN_NONE && g->activation != DN_FN_RELU)
        return cpu_decline(info, "activation other than ReLU");
    if (g->m < 1 || g->n < 1 || g->k < 1 || g->batch < 1)
        return cpu_decline(info, "empty product");
    gemm_op *op = cpu_op_new(backend, sizeof *op, NULL, info, "cpu:gemm");
    if (!op)
        return DN_E_NOMEM;
    op->g = *g;
    if (!cpu_present(desc->inputs, desc->num_inputs, 2))
        op->g.bias_mode = 0;
    op->keep = worth_keeping(op, desc);
    if (op->keep)
        plan_panels(op, info);
    else if (rows_by_rows(&op->g) && fills_lanes(op))
        plan_turned(op, info);
    else if (rows_by_rows(&op->g))
        plan_dot(op);
    else if (fits_panels(op))
        plan_panels(op, info);
    else
        plan_packed(op, info);
    *out = &op->base;
    return DN_OK;
}
