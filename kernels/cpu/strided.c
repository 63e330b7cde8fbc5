/* SPDX-License-Identifier: BSD-2-Clause
 * strided.c: COPY and REDUCE over strided axes. Axes that continue each other are merged first;
 * what is left is a few loops around one contiguous run, which goes to a vector kernel. */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

enum { STREAMS = 3 }; /* x, y, x2 */
enum { PIECE = 1024 };

typedef struct walk {
    int32_t axes;
    int64_t dim[DN_MAX_STRIDED + 1], stride[STREAMS][DN_MAX_STRIDED + 1];
} walk;

/* Drops axes of one element, merges neighbours; leaves at least one axis. */
static void merge_axes(walk *w)
{
    int32_t kept = 0;
    for (int32_t d = 0; d < w->axes; d++) {
        if (w->dim[d] == 1)
            continue;
        bool joins = kept > 0;
        for (int32_t s = 0; s < STREAMS; s++)
            joins = joins && w->stride[s][kept - 1] == w->dim[d] * w->stride[s][d];
        if (joins)
            w->dim[kept - 1] *= w->dim[d];
        else
            w->dim[kept++] = w->dim[d];
        for (int32_t s = 0; s < STREAMS; s++)
            w->stride[s][kept - 1] = w->stride[s][d];
    }
    if (!kept) {
        w->dim[0] = 1;
        for (int32_t s = 0; s < STREAMS; s++)
            w->stride[s][0] = 1;
        kept = 1;
    }
    w->axes = kept;
}

/* Offsets of element t of the axes [0, axes), in index order. */
static void offsets(const walk *w, int32_t axes, int64_t t, int64_t at[STREAMS])
{
    for (int32_t s = 0; s < STREAMS; s++)
        at[s] = 0;
    for (int32_t d = axes - 1; d >= 0; d--) {
        int64_t index = t % w->dim[d];
        t /= w->dim[d];
        for (int32_t s = 0; s < STREAMS; s++)
            at[s] += index * w->stride[s][d];
    }
}

static int64_t product(const walk *w, int32_t axes)
{
    int64_t count = 1;
    for (int32_t d = 0; d < axes; d++)
        count *= w->dim[d];
    return count;
}

/* ---- COPY -------------------------------------------------------------------------------- */

typedef struct copy_op {
    dn_op base;
    walk w;
    int64_t x_offset, y_offset, rows, run, tasks;
    int64_t piece; /* elements of a row copied at a time: all rows' first pieces first */
    float alpha;
    bool add;
} copy_op;

typedef struct copy_call {
    const copy_op *op;
    const float *x;
    float *y;
} copy_call;

static void copy_run_of(const copy_op *op, float *y, const float *x, int64_t n)
{
    int64_t sx = op->w.stride[0][op->w.axes - 1], sy = op->w.stride[1][op->w.axes - 1];
    if (sx == 1 && sy == 1) {
        if (op->alpha == 1 && !op->add)
            memcpy(y, x, (size_t)n * sizeof(float));
        else
            op->base.backend->kernels->axpby(y, x, op->alpha, op->add, n);
    } else if (op->add) {
        for (int64_t i = 0; i < n; i++)
            y[i * sy] += op->alpha * x[i * sx];
    } else {
        for (int64_t i = 0; i < n; i++)
            y[i * sy] = op->alpha * x[i * sx];
    }
}

static void copy_task(void *arg, int64_t task, int32_t worker)
{
    const copy_call *call = arg;
    const copy_op *op = call->op;
    int64_t from, to, at[STREAMS], first = 0, end = op->rows;
    int64_t sx = op->w.stride[0][op->w.axes - 1], sy = op->w.stride[1][op->w.axes - 1];
    (void)worker;
    if (op->piece < op->run) {
        cpu_split(op->run, op->tasks, task, &from, &to);
    } else {
        cpu_split(op->rows, op->tasks, task, &first, &end);
        from = 0, to = op->run;
    }
    for (int64_t i = from; i < to; i += op->piece)
        for (int64_t r = first; r < end; r++) {
            offsets(&op->w, op->w.axes - 1, r, at);
            copy_run_of(op, call->y + at[1] + i * sy, call->x + at[0] + i * sx,
                        cpu_min(op->piece, to - i));
        }
}

static dn_status copy_run(dn_op *base, const dn_op_io *io)
{
    copy_op *op = (copy_op *)base;
    copy_call call = {op, (const float *)io->in[0] + op->x_offset,
                      (float *)io->out[0] + op->y_offset};
    cpu_for(base->backend, op->tasks, copy_task, &call);
    return DN_OK;
}

/* No two indices share an element of y: strides, from the smallest, step over what is below. */
static bool separate(const walk *w)
{
    bool used[DN_MAX_STRIDED + 1] = {false};
    int64_t extent = 0;
    for (int32_t n = 0; n < w->axes; n++) {
        int32_t least = -1;
        for (int32_t d = 0; d < w->axes; d++)
            if (!used[d] && (least < 0 || llabs(w->stride[1][d]) < llabs(w->stride[1][least])))
                least = d;
        int64_t step = llabs(w->stride[1][least]);
        if (step <= extent)
            return false;
        extent += (w->dim[least] - 1) * step;
        used[least] = true;
    }
    return true;
}

dn_status cpu_copy_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_copy *a = desc->args;
    walk w = {.axes = a->axes};
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->axes < 0 || a->axes > DN_MAX_STRIDED)
        return cpu_decline(info, "too many axes");
    for (int32_t d = 0; d < a->axes; d++) {
        if (a->dim[d] < 1)
            return cpu_decline(info, "empty copy");
        w.dim[d] = a->dim[d];
        w.stride[0][d] = a->x_stride[d];
        w.stride[1][d] = a->y_stride[d];
    }
    merge_axes(&w);
    copy_op *op = cpu_op_new(backend, sizeof *op, copy_run, info, "cpu:copy");
    if (!op)
        return DN_E_NOMEM;
    op->w = w;
    op->x_offset = a->x_offset;
    op->y_offset = a->y_offset;
    op->alpha = (float)a->alpha;
    op->add = a->base.accumulate & 1;
    op->rows = product(&w, w.axes - 1);
    op->run = w.dim[w.axes - 1];
    op->tasks = !separate(&w) ? 1 : cpu_tasks_for(op->rows * op->run);
    /* Rows of one run, or that interleave in y, are cut along the run: a worker then has its
     * lines of y for itself, and while they are in its cache. */
    bool along = op->rows == 1 || (op->tasks > 1 && llabs(w.stride[1][w.axes - 1]) > 1);
    op->piece = along && op->run >= 2 * PIECE ? PIECE : op->run;
    op->tasks =
        cpu_max(1, cpu_min(op->tasks, op->piece < op->run ? op->run / PIECE : op->rows));
    if (w.stride[1][w.axes - 1] == 0 && op->run > 1) { /* sums in index order: ref's loop */
        cpu_op_free(&op->base);
        return cpu_decline(info, "elements of a run share one of y");
    }
    *out = &op->base;
    return DN_OK;
}

/* ---- REDUCE ------------------------------------------------------------------------------ */

typedef struct reduce_op {
    dn_op base;
    dn_args_reduce a;
    walk kept, summed; /* outer loops of either kind */
    int64_t outputs, sums, run, tasks;
    bool columns; /* the run is kept: rows are added up */
} reduce_op;

typedef struct reduce_call {
    const reduce_op *op;
    const float *x, *x2;
    float *y;
} reduce_call;

static void sum_runs(const reduce_call *call, int64_t output)
{
    const reduce_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at[STREAMS], in[STREAMS];
    double sum = 0;
    offsets(&op->kept, op->kept.axes, output, at);
    for (int64_t i = 0; i < op->sums; i++) {
        offsets(&op->summed, op->summed.axes, i, in);
        sum += ker->reduce(op->a.op, call->x + at[0] + in[0],
                           call->x2 ? call->x2 + at[2] + in[2] : NULL, op->run);
    }
    float *y = call->y + at[1], value = (float)(op->a.alpha * sum);
    *y = op->a.base.accumulate & 1 ? *y + value : value;
}

static void sum_columns(const reduce_call *call, int64_t output, int64_t from, int64_t to)
{
    const reduce_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at[STREAMS], in[STREAMS];
    offsets(&op->kept, op->kept.axes, output, at);
    for (int64_t i = 0; i < op->sums; i++) {
        offsets(&op->summed, op->summed.axes, i, in);
        ker->axpby(call->y + at[1] + from, call->x + at[0] + in[0] + from, (float)op->a.alpha,
                   i > 0 || (op->a.base.accumulate & 1), to - from);
    }
}

static void reduce_task(void *arg, int64_t task, int32_t worker)
{
    const reduce_call *call = arg;
    const reduce_op *op = call->op;
    int64_t from, to;
    (void)worker;
    if (op->columns && op->outputs == 1) {
        cpu_split(op->run, op->tasks, task, &from, &to);
        sum_columns(call, 0, from, to);
        return;
    }
    cpu_split(op->outputs, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        if (op->columns)
            sum_columns(call, i, 0, op->run);
        else
            sum_runs(call, i);
}

static dn_status reduce_run(dn_op *base, const dn_op_io *io)
{
    reduce_op *op = (reduce_op *)base;
    bool two = op->a.op == DN_REDUCE_DOT;
    reduce_call call = {op, (const float *)io->in[0] + op->a.x_offset,
                        two ? (const float *)io->in[1] + op->a.x2_offset : NULL,
                        (float *)io->out[0] + op->a.y_offset};
    cpu_for(base->backend, op->tasks, reduce_task, &call);
    return DN_OK;
}

static void add_axis(walk *to, const walk *from, int32_t d)
{
    to->dim[to->axes] = from->dim[d];
    for (int32_t s = 0; s < STREAMS; s++)
        to->stride[s][to->axes] = from->stride[s][d];
    to->axes++;
}

dn_status cpu_reduce_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                            dn_op_info *info)
{
    const dn_args_reduce *a = desc->args;
    bool two = a->op == DN_REDUCE_DOT;
    walk w = {.axes = a->axes}, kept = {.axes = 0}, summed = {.axes = 0};
    if (!cpu_all_f32(desc))
        return cpu_decline(info, "operands are not plain f32");
    if (a->op < DN_REDUCE_SUM || a->op > DN_REDUCE_DOT || a->axes < 0 ||
        a->axes > DN_MAX_STRIDED || two != cpu_present(desc->inputs, desc->num_inputs, 1))
        return cpu_decline(info, "inputs do not fit the operation");
    for (int32_t d = 0; d < a->axes; d++) {
        if (a->dim[d] < 1)
            return cpu_decline(info, "empty reduction");
        w.dim[d] = a->dim[d];
        w.stride[0][d] = a->x_stride[d];
        w.stride[1][d] = a->y_stride[d];
        w.stride[2][d] = two ? a->x2_stride[d] : a->x_stride[d];
    }
    merge_axes(&w);
    int32_t last = w.axes - 1;
    bool sum = w.stride[1][last] == 0, unit = w.stride[0][last] == 1;
    bool columns = !sum && unit && w.stride[1][last] == 1 && a->op == DN_REDUCE_SUM;
    if (w.dim[last] == 1 || (!columns && !(sum && unit && w.stride[2][last] == 1)))
        return cpu_decline(info, "no contiguous run");
    for (int32_t d = 0; d < last; d++)
        add_axis(w.stride[1][d] ? &kept : &summed, &w, d);
    walk targets = kept;
    if (columns)
        add_axis(&targets, &w, last);
    if (!separate(&targets))
        return cpu_decline(info, "overlapping outputs");
    reduce_op *op = cpu_op_new(backend, sizeof *op, reduce_run, info, "cpu:reduce");
    if (!op)
        return DN_E_NOMEM;
    op->a = *a;
    op->kept = kept;
    op->summed = summed;
    op->columns = columns;
    op->outputs = product(&kept, kept.axes);
    op->sums = product(&summed, summed.axes);
    op->run = w.dim[last];
    op->tasks = cpu_tasks_for(op->outputs * op->sums * op->run);
    int64_t most = columns && op->outputs == 1 ? cpu_ceil(op->run, 64) : op->outputs;
    op->tasks = cpu_max(1, cpu_min(op->tasks, most));
    *out = &op->base;
    return DN_OK;
}
