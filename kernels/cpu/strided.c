/* SPDX-License-Identifier: BSD-2-Clause
 * strided.c: COPY and REDUCE over strided axes. Axes that continue each other are merged first;
 * what is left is a few loops around one contiguous run, which goes to a vector kernel. */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

enum { STREAMS = 3 }; /* x, y, x2 */
enum { PIECE = 1024, SUM_PIECE = 8192, TURN = 128, SHORT = 4 };

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
    int64_t pieces; /* of a transposition (else 0): its longer axis is cut */
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

/* The last two axes: i, along which x lies, and j, along which y does. */
static void turn_task(void *arg, int64_t task, int32_t worker)
{
    const copy_call *call = arg;
    const copy_op *op = call->op;
    int32_t last = op->w.axes - 1;
    int64_t ldx = op->w.stride[0][last], ldy = op->w.stride[1][last - 1], from, to;
    (void)worker;
    cpu_split(op->rows * op->pieces, op->tasks, task, &from, &to);
    for (int64_t t = from; t < to; t++) {
        int64_t at[STREAMS], n[2] = {op->w.dim[last - 1], op->w.dim[last]}, cut = n[1] > n[0];
        int64_t first = t % op->pieces * TURN;
        offsets(&op->w, last - 1, t / op->pieces, at);
        n[cut] = cpu_min(TURN, n[cut] - first);
        op->base.backend->kernels->turn(call->y + at[1] + first * (cut ? 1 : ldy), ldy,
                                        call->x + at[0] + first * (cut ? ldx : 1), ldx, n[0],
                                        n[1], op->alpha, op->add);
    }
}

static dn_status copy_run(dn_op *base, const dn_op_io *io)
{
    copy_op *op = (copy_op *)base;
    copy_call call = {op, (const float *)io->in[0] + op->x_offset,
                      (float *)io->out[0] + op->y_offset};
    cpu_for(base->backend, op->tasks, op->pieces ? turn_task : copy_task, &call);
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

static void to_end(walk *w, int32_t axis)
{
    for (; axis + 1 < w->axes; axis++) {
        walk was = *w;
        w->dim[axis] = was.dim[axis + 1], w->dim[axis + 1] = was.dim[axis];
        for (int32_t s = 0; s < STREAMS; s++) {
            w->stride[s][axis] = was.stride[s][axis + 1];
            w->stride[s][axis + 1] = was.stride[s][axis];
        }
    }
}

/* The axis along which both lie comes last; if there is none to speak of, those along which x
 * and y lie, and the copy is a transposition. */
static bool arrange(walk *w)
{
    int32_t both = -1, along[2] = {-1, -1};
    for (int32_t d = 0; d < w->axes; d++)
        if (w->stride[0][d] == 1 && w->stride[1][d] == 1)
            both = d;
        else
            for (int32_t s = 0; s < 2; s++)
                along[s] = w->stride[s][d] == 1 ? d : along[s];
    if (both >= 0 && w->dim[both] >= SHORT)
        to_end(w, both);
    if (both >= 0 || along[0] < 0 || along[1] < 0)
        return false;
    to_end(w, along[0]);
    to_end(w, along[1] - (along[1] > along[0]));
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
    bool apart = separate(&w), turned = apart && arrange(&w);
    copy_op *op =
        cpu_op_new(backend, sizeof *op, copy_run, info, turned ? "cpu:transpose" : "cpu:copy");
    if (!op)
        return DN_E_NOMEM;
    op->w = w;
    op->x_offset = a->x_offset;
    op->y_offset = a->y_offset;
    op->alpha = (float)a->alpha;
    op->add = a->base.accumulate & 1;
    op->rows = product(&w, w.axes - 1);
    op->run = w.dim[w.axes - 1];
    op->tasks = !apart ? 1 : cpu_tasks_for(op->rows * op->run);
    if (turned) {
        int64_t i = w.dim[w.axes - 2];
        op->rows /= i;
        op->pieces = cpu_ceil(cpu_max(i, op->run), TURN);
        op->tasks = cpu_max(1, cpu_min(op->tasks, op->rows * op->pieces));
        *out = &op->base;
        return DN_OK;
    }
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
    int64_t pieces, bands; /* of a run; parts of an output's sums that are added in order */
    bool columns;          /* the run is kept: rows are added up */
} reduce_op;

typedef struct reduce_call {
    const reduce_op *op;
    const float *x, *x2;
    float *y;
    void *parts; /* with bands: a double each, or with columns a run of floats each */
} reduce_call;

static void put_sum(const reduce_call *call, int64_t output, double sum)
{
    const dn_args_reduce *a = &call->op->a;
    int64_t at[STREAMS];
    offsets(&call->op->kept, call->op->kept.axes, output, at);
    float *y = call->y + at[1], value = (float)(a->alpha * sum);
    *y = a->base.accumulate & 1 ? *y + value : value;
}

/* Pieces [from, to) of the runs of one output. */
static double sum_runs(const reduce_call *call, int64_t output, int64_t from, int64_t to)
{
    const reduce_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at[STREAMS], in[STREAMS], length = op->pieces > 1 ? SUM_PIECE : op->run;
    double sum = 0;
    offsets(&op->kept, op->kept.axes, output, at);
    for (int64_t i = from; i < to; i++) {
        int64_t first = i % op->pieces * length;
        offsets(&op->summed, op->summed.axes, i / op->pieces, in);
        sum += ker->reduce(op->a.op, call->x + at[0] + in[0] + first,
                           call->x2 ? call->x2 + at[2] + in[2] + first : NULL,
                           cpu_min(length, op->run - first));
    }
    return sum;
}

/* acc (+)= what a row of n adds */
static void add_row(const reduce_op *op, float *acc, const float *x, const float *x2, bool add,
                    int64_t n)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_unary magnitude = {.fn = DN_FN_ABS};
    if (op->a.op == DN_REDUCE_SUM)
        ker->axpby(acc, x, 1, add, n);
    else if (op->a.op == DN_REDUCE_ASUM)
        ker->unary(&magnitude, acc, x, add, n);
    else
        ker->eltwise(DN_ELTWISE_PROD, acc, x, x2 ? x2 : x, 1, 1, add, n);
}

/* Columns [from, to) of one output, of rows [first, end): to y, or as they are to a part. */
static void sum_columns(const reduce_call *call, int64_t output, int64_t from, int64_t to,
                        int64_t first, int64_t end, float *part)
{
    const reduce_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t at[STREAMS], in[STREAMS];
    float acc[PIECE];
    offsets(&op->kept, op->kept.axes, output, at);
    for (int64_t c = from; c < to; c += PIECE) {
        int64_t n = cpu_min(PIECE, to - c);
        for (int64_t i = first; i < end; i++) {
            offsets(&op->summed, op->summed.axes, i, in);
            add_row(op, acc, call->x + at[0] + in[0] + c,
                    call->x2 ? call->x2 + at[2] + in[2] + c : NULL, i > first, n);
        }
        if (part)
            memcpy(part + c, acc, (size_t)n * sizeof(float));
        else
            ker->axpby(call->y + at[1] + c, acc, (float)op->a.alpha, op->a.base.accumulate & 1,
                       n);
    }
}

static void band_task(void *arg, int64_t task, int32_t worker)
{
    const reduce_call *call = arg;
    const reduce_op *op = call->op;
    int64_t from, to;
    (void)worker;
    cpu_split(op->sums * op->pieces, op->bands, task % op->bands, &from, &to);
    if (op->columns)
        sum_columns(call, 0, 0, op->run, from, to, (float *)call->parts + task * op->run);
    else
        ((double *)call->parts)[task] = sum_runs(call, task / op->bands, from, to);
}

static void reduce_task(void *arg, int64_t task, int32_t worker)
{
    const reduce_call *call = arg;
    const reduce_op *op = call->op;
    int64_t from, to;
    (void)worker;
    if (op->columns && op->outputs == 1) {
        cpu_split(op->run, op->tasks, task, &from, &to);
        sum_columns(call, 0, from, to, 0, op->sums, NULL);
        return;
    }
    cpu_split(op->outputs, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++)
        if (op->columns)
            sum_columns(call, i, 0, op->run, 0, op->sums, NULL);
        else
            put_sum(call, i, sum_runs(call, i, 0, op->sums * op->pieces));
}

static void add_bands(const reduce_call *call)
{
    const reduce_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    float *rows = call->parts;
    if (op->columns) {
        for (int64_t b = 1; b < op->bands; b++)
            ker->axpby(rows, rows + b * op->run, 1, true, op->run);
        ker->axpby(call->y, rows, (float)op->a.alpha, op->a.base.accumulate & 1, op->run);
        return;
    }
    for (int64_t o = 0; o < op->outputs; o++) {
        double sum = 0;
        for (int64_t b = 0; b < op->bands; b++)
            sum += ((double *)call->parts)[o * op->bands + b];
        put_sum(call, o, sum);
    }
}

static dn_status reduce_run(dn_op *base, const dn_op_io *io)
{
    reduce_op *op = (reduce_op *)base;
    bool two = op->a.op == DN_REDUCE_DOT;
    reduce_call call = {op, (const float *)io->in[0] + op->a.x_offset,
                        two ? (const float *)io->in[1] + op->a.x2_offset : NULL,
                        (float *)io->out[0] + op->a.y_offset, io->scratch};
    cpu_for(base->backend, op->bands > 1 ? op->outputs * op->bands : op->tasks,
            op->bands > 1 ? band_task : reduce_task, &call);
    if (op->bands > 1)
        add_bands(&call);
    return DN_OK;
}

/* Fewer outputs, or columns, than tasks: their sums are cut. */
static void plan_bands(reduce_op *op, dn_op_info *info)
{
    int64_t wanted = cpu_tasks_for(op->outputs * op->sums * op->run);
    int64_t most = op->columns && op->outputs == 1 ? op->run / 64 : op->outputs;
    op->pieces = op->columns ? 1 : cpu_ceil(op->run, SUM_PIECE);
    op->tasks = cpu_max(1, cpu_min(wanted, most));
    op->bands = 1;
    if (op->tasks * 2 > wanted || (op->columns && op->outputs > 1))
        return;
    op->bands = cpu_min(cpu_ceil(wanted, op->columns ? 1 : op->outputs), op->sums * op->pieces);
    size_t part = op->columns ? (size_t)op->run * sizeof(float) : sizeof(double);
    if (op->bands > 1)
        info->scratch = cpu_round64((size_t)(op->outputs * op->bands) * part);
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
    bool columns = !sum && unit && w.stride[1][last] == 1 && w.stride[2][last] == 1;
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
    plan_bands(op, info);
    *out = &op->base;
    return DN_OK;
}
