/* SPDX-License-Identifier: BSD-2-Clause
 * narrow_copy.c: COPY from or to bf16, or both. Axes that continue each other are merged; what
 * is left is a walk over runs of the last one, or, where x is dense along one axis and y along
 * another (an image to NHWC, or back), over tiles of both. */
#include "narrow.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 }; /* of a tile along x's dense axis, so that y's lines are written whole */

typedef struct copy_op {
    dn_op base;
    int32_t axes;                                                      /* at least 1 */
    int64_t dim[DN_MAX_STRIDED], x[DN_MAX_STRIDED], y[DN_MAX_STRIDED]; /* strides */
    int64_t x_offset, y_offset, runs, tasks;
    bool from_narrow, to_narrow, add, tiled; /* tiled: x is dense in the last but one axis */
    float alpha;
} copy_op;

typedef struct copy_call {
    const copy_op *op;
    const char *x;
    char *y;
} copy_call;

static inline void write(void *y, bool narrow, int64_t i, float value)
{
    uint32_t word;
    if (!narrow) {
        ((float *)y)[i] = value;
        return;
    }
    memcpy(&word, &value, sizeof word);
    word = value != value ? word | 0x400000 : word + 0x7FFF + (word >> 16 & 1);
    ((one_bf16 *)y)[i] = (one_bf16)(word >> 16);
}

static inline __attribute__((always_inline)) void one_by_one(const copy_op *op, char *y,
                                                             const char *x, bool from, bool to)
{
    int32_t last = op->axes - 1;
    for (int64_t i = 0; i < op->dim[last]; i++) {
        float value = op->alpha * one_read(x, from, i * op->x[last]);
        if (op->add)
            value += one_read(y, to, i * op->y[last]);
        write(y, to, i * op->y[last], value);
    }
}

static void copy_one_run(const copy_op *op, char *y, const char *x)
{
    int64_t n = op->dim[op->axes - 1];
    bool dense = op->x[op->axes - 1] == 1 && op->y[op->axes - 1] == 1;
    if (!dense || op->alpha != 1 || op->add) {
        if (op->from_narrow && op->to_narrow)
            one_by_one(op, y, x, true, true);
        else if (op->from_narrow)
            one_by_one(op, y, x, true, false);
        else
            one_by_one(op, y, x, false, true);
    } else if (op->from_narrow && op->to_narrow) {
        memcpy(y, x, (size_t)n * sizeof(one_bf16));
    } else if (op->from_narrow) {
        nk_widen((float *)y, (const one_bf16 *)x, n);
    } else {
        nk_narrow((one_bf16 *)y, (const float *)x, n);
    }
}

static dnnl_status_t copy_task(void *arg, int64_t task, int32_t worker)
{
    const copy_call *call = arg;
    const copy_op *op = call->op;
    int64_t from, to, index[DN_MAX_STRIDED], x = op->x_offset, y = op->y_offset;
    (void)worker;
    one_split(op->runs, op->tasks, task, &from, &to);
    int64_t rest = from;
    for (int32_t a = op->axes - 2; a >= 0; a--) {
        index[a] = rest % op->dim[a];
        rest /= op->dim[a];
        x += index[a] * op->x[a];
        y += index[a] * op->y[a];
    }
    for (int64_t r = from; r < to; r++) {
        copy_one_run(op, call->y + y * one_size(op->to_narrow),
                     call->x + x * one_size(op->from_narrow));
        for (int32_t a = op->axes - 2; a >= 0; a--) {
            x += op->x[a];
            y += op->y[a];
            if (++index[a] < op->dim[a])
                break;
            index[a] = 0;
            x -= op->dim[a] * op->x[a];
            y -= op->dim[a] * op->y[a];
        }
    }
    return dnnl_success;
}

/* Block r of x's dense axis, and of y's all. */
static void copy_block(const copy_call *call, int64_t r)
{
    const copy_op *op = call->op;
    int32_t i = op->axes - 2, j = op->axes - 1;
    int64_t blocks = (op->dim[i] + BLOCK - 1) / BLOCK, from = r % blocks * BLOCK;
    int64_t to = one_min(from + BLOCK, op->dim[i]), rest = r / blocks;
    int64_t x = op->x_offset, y = op->y_offset;
    for (int32_t a = op->axes - 3; a >= 0; a--) {
        x += rest % op->dim[a] * op->x[a];
        y += rest % op->dim[a] * op->y[a];
        rest /= op->dim[a];
    }
    bool planes =
        op->x[j] > op->y[i]; /* which side has them: 16 lines of those are walked along */
    int64_t n = to - from, m = op->dim[j];
    for (int64_t p = 0; p < (planes ? m : n); p += 16)
        for (int64_t q = 0; q < (planes ? n : m); q += 16) {
            int64_t u = from + (planes ? q : p), v = planes ? p : q;
            nk_turn(call->y + (y + u * op->y[i] + v) * one_size(op->to_narrow), op->to_narrow,
                    op->y[i], call->x + (x + v * op->x[j] + u) * one_size(op->from_narrow),
                    op->from_narrow, op->x[j], to - u, m - v);
        }
}

static dnnl_status_t tiles_task(void *arg, int64_t task, int32_t worker)
{
    const copy_call *call = arg;
    int64_t from, to;
    (void)worker;
    one_split(call->op->runs, call->op->tasks, task, &from, &to);
    for (; from < to; from++)
        copy_block(call, from);
    return dnnl_success;
}

static dn_status copy_run(dn_op *base, const dn_op_io *io)
{
    copy_call call = {(copy_op *)base, io->in[0], io->out[0]};
    return one_for(base->backend, call.op->tasks, call.op->tiled ? tiles_task : copy_task,
                   &call);
}

static void merge(copy_op *op, const dn_args_copy *a)
{
    for (int32_t d = 0; d < a->axes; d++) {
        int32_t last = op->axes - 1;
        if (a->dim[d] == 1)
            continue;
        if (last >= 0 && op->x[last] == a->dim[d] * a->x_stride[d] &&
            op->y[last] == a->dim[d] * a->y_stride[d]) {
            op->dim[last] *= a->dim[d];
        } else {
            last = op->axes++;
            op->dim[last] = a->dim[d];
        }
        op->x[last] = a->x_stride[d];
        op->y[last] = a->y_stride[d];
    }
    if (!op->axes) {
        op->axes = 1;
        op->dim[0] = op->x[0] = op->y[0] = 1;
    }
}

static void move_last(copy_op *op, int32_t axis)
{
    int64_t dim = op->dim[axis], x = op->x[axis], y = op->y[axis];
    for (; axis < op->axes - 1; axis++) {
        op->dim[axis] = op->dim[axis + 1];
        op->x[axis] = op->x[axis + 1];
        op->y[axis] = op->y[axis + 1];
    }
    op->dim[axis] = dim;
    op->x[axis] = x;
    op->y[axis] = y;
}

static int32_t dense_axis(const int64_t *stride, int32_t axes)
{
    int32_t a = axes - 1;
    while (a >= 0 && stride[a] != 1)
        a--;
    return a;
}

static void find_tiles(copy_op *op)
{
    int32_t i = dense_axis(op->x, op->axes), j = dense_axis(op->y, op->axes);
    op->tiled = i >= 0 && j >= 0 && i != j && op->alpha == 1 && !op->add;
    if (!op->tiled)
        return;
    move_last(op, i);
    move_last(op, dense_axis(op->y, op->axes));
}

/* A dense walk is one run: the workers get pieces of it. */
static void cut_run(copy_op *op, int64_t pieces)
{
    if (op->axes > 1 || pieces < 2)
        return;
    while (pieces > 1 && op->dim[0] % pieces)
        pieces--;
    op->axes = 2;
    op->dim[1] = op->dim[0] / pieces;
    op->x[1] = op->x[0];
    op->y[1] = op->y[0];
    op->dim[0] = pieces;
    op->x[0] *= op->dim[1];
    op->y[0] *= op->dim[1];
}

/* No two indices share an element of y: strides, from the smallest, step over what is below. */
static bool separate(const dn_args_copy *a)
{
    bool used[DN_MAX_STRIDED] = {false};
    int64_t extent = 0;
    for (int32_t n = 0; n < a->axes; n++) {
        int32_t least = -1;
        for (int32_t d = 0; d < a->axes; d++)
            if (!used[d] && (least < 0 || llabs(a->y_stride[d]) < llabs(a->y_stride[least])))
                least = d;
        used[least] = true;
        if (a->dim[least] == 1)
            continue;
        if (llabs(a->y_stride[least]) <= extent)
            return false;
        extent += (a->dim[least] - 1) * llabs(a->y_stride[least]);
    }
    return true;
}

dn_status one_narrow_copy(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    const dn_args_copy *a = desc->args;
    int32_t from = desc->inputs[0].dtype, to = desc->outputs[0].dtype;
    if (!one_is_narrow(backend, desc) || (from != DN_BF16 && from != DN_F32) ||
        (to != DN_BF16 && to != DN_F32))
        return one_decline(info, "not from or to bf16");
    if (a->axes < 0 || a->axes > DN_MAX_STRIDED || !separate(a))
        return one_decline(info, "places that are written more than once");
    copy_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return DN_E_NOMEM;
    op->base.run = copy_run;
    op->x_offset = a->x_offset;
    op->y_offset = a->y_offset;
    op->alpha = (float)a->alpha;
    op->add = a->base.accumulate & 1;
    op->from_narrow = from == DN_BF16;
    op->to_narrow = to == DN_BF16;
    int64_t count = 1;
    for (int32_t d = 0; d < a->axes; d++)
        count *= a->dim[d];
    merge(op, a);
    cut_run(op, one_tasks(count));
    find_tiles(op);
    op->runs = count / one_max(1, op->dim[op->axes - 1]);
    if (op->tiled)
        op->runs = op->runs / one_max(1, op->dim[op->axes - 2]) *
                   ((op->dim[op->axes - 2] + BLOCK - 1) / BLOCK);
    op->tasks = one_min(op->runs, one_tasks(count)); /* none where there is nothing */
    one_narrow_info(desc, info, "copy");
    /* What it walks over may be a part of its operands: concat. */
    info->cost = (double)(count * (one_size(op->from_narrow) + one_size(op->to_narrow))) /
                 ONE_BYTES_PER_NS;
    *out = &op->base;
    return DN_OK;
}
