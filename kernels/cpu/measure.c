/* SPDX-License-Identifier: BSD-2-Clause
 * measure.c: ACCURACY, and ARGMAX of the first alone: strips of positions, channel by channel,
 * or rows. */
#include <math.h>
#include <string.h>

#include "../label.h"
#include "cpu.h"

enum { STRIP = 512 };

typedef struct measure_op {
    dn_op base;
    dn_args_argmax argmax;
    dn_args_accuracy accuracy;
    int64_t outer, dim, inner, strips, tasks;
} measure_op;

typedef struct measure_call {
    const measure_op *op;
    const float *x, *t;
    float *y;
    int32_t *counts; /* ACCURACY: of each position, how many values reach the label's; or -1 */
    int64_t *bad;    /* of each task: the first position with a wrong label, or -1 */
} measure_call;

/* ---- ARGMAX ------------------------------------------------------------------------------ */

/* The last of the largest; a NaN is below everything. */
static int64_t best_of(const float *x, int64_t dim, int64_t step)
{
    int64_t best = 0;
    float top = x[0] == x[0] ? x[0] : -INFINITY;
    for (int64_t d = 1; d < dim; d++) {
        float v = x[d * step] == x[d * step] ? x[d * step] : -INFINITY;
        best = top > v ? best : d;
        top = top > v ? top : v;
    }
    return best;
}

static void argmax_strip(const measure_op *op, const float *x, float *y, int64_t n)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    float top[STRIP], sum = ker->reduce(DN_REDUCE_SUM, x, NULL, n);
    int32_t at[STRIP] = {0};
    memcpy(top, x, (size_t)n * sizeof(float));
    for (int64_t d = 1; d < op->dim; d++) {
        sum += ker->reduce(DN_REDUCE_SUM, x + d * op->inner, NULL, n);
        ker->pick(top, at, x + d * op->inner, (int32_t)d, true, n);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t best = sum == sum ? at[i] : best_of(x + i, op->dim, op->inner);
        y[i] = op->argmax.out_max_val ? x[best * op->inner + i] : (float)best;
    }
}

static void argmax_task(void *arg, int64_t task, int32_t worker)
{
    const measure_call *call = arg;
    const measure_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->outer * op->strips, op->tasks, task, &from, &to);
    for (int64_t s = from; s < to; s++) {
        int64_t o = s / op->strips, i = s % op->strips * STRIP;
        const float *x = call->x + o * op->dim * op->inner + i;
        if (op->inner > 1) {
            argmax_strip(op, x, call->y + o * op->inner + i, cpu_min(STRIP, op->inner - i));
            continue;
        }
        int64_t best = best_of(x, op->dim, 1);
        call->y[o] = op->argmax.out_max_val ? x[best] : (float)best;
    }
}

static dn_status argmax_run(dn_op *base, const dn_op_io *io)
{
    measure_op *op = (measure_op *)base;
    measure_call call = {.op = op, .x = io->in[0], .y = io->out[0]};
    cpu_for(base->backend, op->tasks, argmax_task, &call);
    return DN_OK;
}

/* ---- ACCURACY ---------------------------------------------------------------------------- */

static void count_strip(const measure_op *op, const float *x, const float *wanted, float *count,
                        int64_t n)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    float reached[STRIP];
    if (op->inner > 1)
        for (int64_t d = 0; d < op->dim; d++)
            ker->bcast_row(CPU_BCAST_REACHES, count, x + d * op->inner, wanted, NULL, d > 0, n);
    else if (op->dim < 64) /* less than the calls cost */
        for (int64_t d = 0; d < op->dim; d++)
            *count = (float)(x[d] >= *wanted) + (d > 0 ? *count : 0);
    else
        for (int64_t d = 0; d < op->dim; d += STRIP) {
            int64_t m = cpu_min(STRIP, op->dim - d);
            ker->bcast(CPU_BCAST_REACHES, reached, x + d, *wanted, 0, false, m);
            *count = ker->reduce(DN_REDUCE_SUM, reached, NULL, m) + (d > 0 ? *count : 0);
        }
}

static void accuracy_task(void *arg, int64_t task, int32_t worker)
{
    const measure_call *call = arg;
    const measure_op *op = call->op;
    const dn_args_accuracy *a = &op->accuracy;
    int64_t from, to;
    (void)worker;
    call->bad[task] = -1;
    cpu_split(op->outer * op->strips, op->tasks, task, &from, &to);
    for (int64_t s = from; s < to; s++) {
        float wanted[STRIP], count[STRIP];
        int64_t o = s / op->strips, i = s % op->strips * STRIP, first = o * op->inner + i;
        int64_t n = cpu_min(STRIP, op->inner - i);
        const float *x = call->x + o * op->dim * op->inner + i;
        for (int64_t j = 0; j < n; j++) {
            int64_t label;
            int answer =
                label_of(call->t[first + j], op->dim, a->has_ignore, a->ignore_label, &label);
            if (answer == LABEL_BAD && call->bad[task] < 0)
                call->bad[task] = first + j;
            wanted[j] = answer == LABEL_OK ? x[label * op->inner + j] : INFINITY;
            call->counts[first + j] = answer == LABEL_OK ? 0 : -1;
        }
        count_strip(op, x, wanted, count, n);
        for (int64_t j = 0; j < n; j++)
            if (call->counts[first + j] == 0) /* but for the label itself */
                call->counts[first + j] = (int32_t)count[j] - (wanted[j] == wanted[j]);
    }
}

/* classes: 2 of each, zero */
static void tally(const measure_call *call, int64_t *classes, float *accuracy, float *per_class)
{
    const measure_op *op = call->op;
    int64_t right = 0, all = 0;
    for (int64_t p = 0; p < op->outer * op->inner; p++) {
        if (call->counts[p] < 0)
            continue;
        int64_t *own = classes + 2 * label_whole(call->t[p]);
        own[0] += call->counts[p] < op->accuracy.top_k;
        own[1]++;
    }
    for (int64_t d = 0; d < op->dim; d++) {
        int64_t *own = classes + 2 * d;
        right += own[0], all += own[1];
        if (per_class)
            per_class[d] = own[1] ? (float)own[0] / (float)own[1] : 0;
    }
    *accuracy = all ? (float)right / (float)all : 0;
}

static dn_status accuracy_run(dn_op *base, const dn_op_io *io)
{
    measure_op *op = (measure_op *)base;
    measure_call call = {.op = op, .x = io->in[0], .t = io->in[1], .bad = io->scratch};
    int64_t *classes = call.bad + op->tasks;
    call.counts = (int32_t *)(classes + 2 * op->dim);
    memset(classes, 0, (size_t)op->dim * 16);
    cpu_for(base->backend, op->tasks, accuracy_task, &call);
    for (int64_t i = 0; i < op->tasks; i++)
        if (call.bad[i] >= 0)
            return label_fail(&base->backend->host, call.t[call.bad[i]],
                              call.bad[i] / op->inner, op->dim);
    tally(&call, classes, io->out[0], cpu_out(base, io, 1));
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

static measure_op *create(dn_backend *backend, dn_op_info *info, const char *name,
                          dn_status (*run)(dn_op *, const dn_op_io *), int64_t outer,
                          int64_t dim, int64_t inner)
{
    measure_op *op = cpu_op_new(backend, sizeof *op, run, info, name);
    if (!op)
        return NULL;
    op->outer = outer, op->dim = dim, op->inner = inner;
    op->strips = cpu_ceil(inner, STRIP);
    op->tasks = cpu_min(outer * op->strips, cpu_tasks_for(outer * dim * inner));
    return op;
}

dn_status cpu_argmax_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                            dn_op_info *info)
{
    const dn_args_argmax *a = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->top_k != 1 || a->pairs || a->outer < 1 || a->dim < 1 || a->inner < 1 ||
        a->dim > INT32_MAX)
        return cpu_decline(info, "more than the first");
    measure_op *op =
        create(backend, info, "cpu:argmax", argmax_run, a->outer, a->dim, a->inner);
    if (!op)
        return DN_E_NOMEM;
    op->argmax = *a;
    *out = &op->base;
    return DN_OK;
}

dn_status cpu_accuracy_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    const dn_args_accuracy *a = desc->args;
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->outer < 1 || a->dim < 1 || a->inner < 1 || a->dim > 1 << 24)
        return cpu_decline(info, "nothing to do, or too many classes to count in floats");
    measure_op *op =
        create(backend, info, "cpu:accuracy", accuracy_run, a->outer, a->dim, a->inner);
    if (!op)
        return DN_E_NOMEM;
    op->accuracy = *a;
    info->scratch = cpu_round64((size_t)(op->tasks + 2 * a->dim) * sizeof(int64_t) +
                                (size_t)(a->outer * a->inner) * sizeof(int32_t));
    *out = &op->base;
    return DN_OK;
}
