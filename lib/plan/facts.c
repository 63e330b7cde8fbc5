/* SPDX-License-Identifier: BSD-2-Clause
 * facts.c: see facts.h. Programs have a few thousand ops at most and passes ask about
 * neighbours far more often than about the whole, so questions are scans from a place; between
 * which ops they go, a pass that asks much has noted. */
#include "plan/facts.h"

#include <stdlib.h>

#define FLOPS_PER_NS 240.0
#define BYTES_PER_NS 16.0

bool dni_is_placed(const dni_tensor_info *t)
{
    return t->role == DNI_DATA || t->role == DNI_DIFF || t->role == DNI_TEMP;
}

size_t dni_tensor_bytes(const dni_tensor_info *t)
{
    return (size_t)dni_shape_count(&t->shape) * dni_dtype_size(t->dtype);
}

dni_tensor dni_root(const dni_program *p, dni_tensor t)
{
    return t == DNI_NONE ? DNI_NONE : p->tensors[t].storage;
}

bool dni_op_writes(const dni_program *p, const dni_op *op, dni_tensor root)
{
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (dni_root(p, dni_output(op, k)) == root)
            return true;
    return false;
}

bool dni_op_reads(const dni_program *p, const dni_op *op, dni_tensor root)
{
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (dni_root(p, op->inputs[k]) == root)
            return true;
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (dni_root(p, dni_output(op, k)) == root && !dni_overwrites(p, op, k))
            return true;
    return false;
}

/* ---- by kind ----------------------------------------------------------------------------- */

static int64_t count_of(const dni_program *p, dni_tensor t)
{
    return dni_shape_count(&p->tensors[t].shape);
}

/* The strides reach `count` elements, each once and without gaps: taken by size, each is the
 * product of the dims below it. Axes with stride 0 do not count. */
static bool is_dense(int32_t axes, const int64_t *dim, const int64_t *stride, int64_t count)
{
    int64_t reached = 1;
    bool taken[DN_MAX_STRIDED] = {false};
    for (int32_t n = 0; n < axes; n++) {
        int32_t next = -1;
        for (int32_t a = 0; a < axes && next < 0; a++)
            if (!taken[a] && (dim[a] == 1 || stride[a] == 0 || llabs(stride[a]) == reached))
                next = a;
        if (next < 0)
            return false;
        taken[next] = true;
        if (dim[next] != 1 && stride[next] != 0)
            reached *= dim[next];
    }
    return reached == count;
}

bool dni_overwrites(const dni_program *p, const dni_op *op, int32_t k)
{
    if (op->kind == DN_OP_UPDATE || op->outputs[k] == DNI_NONE || op->args->accumulate >> k & 1)
        return false;
    int64_t count = count_of(p, op->outputs[k]);
    switch (op->kind) {
    case DN_OP_HOST_CALL:
    case DN_OP_SCALE_CLIP:
        return false;
    case DN_OP_BATCH_NORM:
    case DN_OP_NORM_SCALE:
        return k < 3;
    case DN_OP_COPY: {
        const dn_args_copy *a = (const dn_args_copy *)op->args;
        return is_dense(a->axes, a->dim, a->y_stride, count);
    }
    case DN_OP_REDUCE: {
        const dn_args_reduce *a = (const dn_args_reduce *)op->args;
        return is_dense(a->axes, a->dim, a->y_stride, count);
    }
    case DN_OP_GEMM: {
        const dn_args_gemm *a = (const dn_args_gemm *)op->args;
        return a->offset_c == 0 && a->batch * a->m * a->n == count &&
               (a->ldc == a->n || a->m == 1) && (a->stride_c == a->m * a->n || a->batch == 1);
    }
    default:
        return true;
    }
}

bool dni_may_alias(const dni_op *op, int32_t input, int32_t output)
{
    if (output != 0 || op->args->accumulate & 1)
        return false;
    switch (op->kind) {
    case DN_OP_ELTWISE:
        return true;
    case DN_OP_UNARY:
    case DN_OP_BCAST:
    case DN_OP_SOFTMAX:
    case DN_OP_BATCH_NORM:
    case DN_OP_DROPOUT:
    case DN_OP_DROPOUT_BWD:
    case DN_OP_PRELU:
        return input == 0;
    case DN_OP_SOFTMAX_BWD:
        return input == 1;
    case DN_OP_UNARY_BWD:
    case DN_OP_BATCH_NORM_BWD:
    case DN_OP_PRELU_BWD:
        return input == 2;
    case DN_OP_NORM_SCALE_BWD:
        return input == 5;
    default:
        return false;
    }
}

static bool copies_all(const dni_program *p, const dni_op *op)
{
    const dn_args_copy *a = (const dn_args_copy *)op->args;
    if (a->alpha != 1 || a->x_offset || a->y_offset)
        return false;
    for (int32_t i = 0; i < a->axes; i++)
        if (a->dim[i] != 1 && a->x_stride[i] != a->y_stride[i])
            return false;
    return is_dense(a->axes, a->dim, a->y_stride, count_of(p, op->outputs[0]));
}

bool dni_is_copy(const dni_program *p, const dni_op *op)
{
    if (op->num_inputs < 1 || op->num_outputs < 1 || op->inputs[0] == DNI_NONE ||
        op->outputs[0] == DNI_NONE || op->args->accumulate ||
        p->tensors[op->inputs[0]].dtype != p->tensors[op->outputs[0]].dtype ||
        count_of(p, op->inputs[0]) != count_of(p, op->outputs[0]))
        return false;
    const dn_args_unary *u = (const dn_args_unary *)op->args;
    const dn_args_eltwise *e = (const dn_args_eltwise *)op->args;
    switch (op->kind) {
    case DN_OP_COPY:
        return copies_all(p, op);
    case DN_OP_UNARY:
        return u->fn == DN_FN_NONE || (u->fn == DN_FN_AFFINE && u->a == 1 && u->b == 0);
    case DN_OP_ELTWISE:
        return op->num_inputs == 1 && e->op == DN_ELTWISE_SUM && e->coeff[0] == 1;
    default:
        return false;
    }
}

/* A copy may walk over a part of its operands. */
static double walked(const dni_program *p, const dni_op *op, dni_tensor t)
{
    const dn_args_copy *a = (const dn_args_copy *)op->args;
    double bytes = (double)dni_dtype_size(p->tensors[t].dtype);
    if (op->kind != DN_OP_COPY)
        return (double)dni_tensor_bytes(&p->tensors[t]);
    for (int32_t i = 0; i < a->axes; i++)
        bytes *= (double)a->dim[i];
    return bytes;
}

double dni_op_bytes(const dni_program *p, const dni_op *op)
{
    double bytes = 0;
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (op->inputs[k] != DNI_NONE)
            bytes += walked(p, op, op->inputs[k]);
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (dni_output(op, k) != DNI_NONE) {
            bool added = op->kind == DN_OP_UPDATE || op->args->accumulate >> k & 1;
            bytes += (added ? 2 : 1) * walked(p, op, dni_output(op, k));
        }
    return bytes;
}

double dni_op_limit(const dni_program *p, const dni_op *op)
{
    double compute = (double)dni_op_flops(p, op) / FLOPS_PER_NS;
    double move = dni_op_bytes(p, op) / BYTES_PER_NS;
    return compute > move ? compute : move;
}

/* ---- by place ---------------------------------------------------------------------------- */

typedef bool touches(const dni_program *p, const dni_op *op, dni_tensor root);

/* Of what is noted, an array each, as long as the first: in which no op touches the storage
 * any more, or writes it; before which none did, as what is left to the largest number; the way
 * from each tensor to the next of its storage. */
enum { ENDS, WRITTEN, BEGINS, NEXT, NOTES };

static size_t *noted(const dni_program *p, int what)
{
    return p->ends + what * (p->written - p->ends);
}

/* The ops of [*from, *end) that may touch root, or write it. */
static void narrow(const dni_program *p, dni_tensor root, int what, size_t *from, size_t *end)
{
    if (!p->ends || root == DNI_NONE)
        return;
    size_t begin = ~noted(p, BEGINS)[root], stop = noted(p, what)[root];
    *from = begin > *from ? begin : *from;
    *end = stop < *end ? stop : *end;
}

static size_t next(const dni_program *p, dni_tensor root, int what, size_t from, size_t end)
{
    touches *does = what == ENDS ? dni_op_reads : dni_op_writes;
    size_t stop = end;
    narrow(p, root, what, &from, &stop);
    for (; from < stop; from++)
        if (does(p, &p->ops[from], root))
            return from;
    return end;
}

static size_t last(const dni_program *p, dni_tensor root, int what, size_t end)
{
    touches *does = what == ENDS ? dni_op_reads : dni_op_writes;
    size_t from = 0;
    narrow(p, root, what, &from, &end);
    while (end-- > from)
        if (does(p, &p->ops[end], root))
            return end;
    return SIZE_MAX;
}

size_t dni_next_read(const dni_program *p, dni_tensor root, size_t from, size_t end)
{
    return next(p, root, ENDS, from, end);
}

size_t dni_next_write(const dni_program *p, dni_tensor root, size_t from, size_t end)
{
    return next(p, root, WRITTEN, from, end);
}

bool dni_unwritten(const dni_program *p, dni_tensor t, size_t from, size_t end)
{
    return t == DNI_NONE || dni_next_write(p, dni_root(p, t), from, end) >= end;
}

size_t dni_last_write(const dni_program *p, dni_tensor root, size_t end)
{
    return last(p, root, WRITTEN, end);
}

size_t dni_last_read(const dni_program *p, dni_tensor root, size_t end)
{
    return last(p, root, ENDS, end);
}

bool dni_untouched(const dni_program *p, dni_tensor root, size_t from, size_t end)
{
    return dni_next_read(p, root, from, end) == end &&
           dni_next_write(p, root, from, end) == end;
}

static bool overwritten_by(const dni_program *p, const dni_op *op, dni_tensor root)
{
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (dni_root(p, dni_output(op, k)) == root && dni_overwrites(p, op, k))
            return true;
    return false;
}

bool dni_only_reader(const dni_program *p, dni_tensor root, size_t writer, size_t reader)
{
    if (!dni_is_placed(&p->tensors[root]) || dni_last_write(p, root, reader) != writer)
        return false;
    size_t end = p->ends ? p->ends[root] : p->num_ops;
    for (size_t i = writer + 1; i < end; i++) {
        if (i != reader && dni_op_reads(p, &p->ops[i], root))
            return false;
        if (overwritten_by(p, &p->ops[i], root))
            return i >= reader;
    }
    return !p->tensors[root].keep;
}

dn_status dni_begin_ends(dni_program *p)
{
    p->ends = dni_alloc(p->heap, NOTES * p->num_tensors, sizeof *p->ends);
    if (!p->ends)
        return DN_E_NOMEM;
    p->written = p->ends + p->num_tensors;
    for (size_t t = 0, *way = noted(p, NEXT); t < p->num_tensors; t++) {
        size_t root = (size_t)p->tensors[t].storage;
        if (root != t) {
            way[t] = root + way[root] - t;
            way[root] = t - root;
        }
    }
    return DN_OK;
}

dn_status dni_note_all(dni_program *p)
{
    dn_status st = dni_begin_ends(p);
    for (size_t i = 0; !st && i < p->num_ops; i++)
        dni_note_ends(p, i);
    return st;
}

static void note(const dni_program *p, dni_tensor root, int what, size_t value)
{
    size_t *place = &noted(p, what)[root];
    *place = value > *place ? value : *place;
}

void dni_note_ends(dni_program *p, size_t op)
{
    const dni_op *o = &p->ops[op];
    for (int32_t k = 0; k < o->num_inputs + o->num_outputs; k++) {
        dni_tensor root = dni_root(p, dni_operand(o, k));
        if (root == DNI_NONE)
            continue;
        note(p, root, ENDS, op + 1);
        note(p, root, BEGINS, ~op);
        if (k >= o->num_inputs)
            note(p, root, WRITTEN, op + 1);
    }
}

void dni_stop_ends(dni_program *p)
{
    dni_free(p->ends);
    p->ends = NULL;
}

void dni_merge_storage(dni_program *p, dni_tensor from, dni_tensor to)
{
    size_t *way = noted(p, NEXT), t = (size_t)from, first = way[from];
    do {
        p->tensors[t].storage = to;
        t += way[t];
    } while (t != (size_t)from);
    way[from] = (size_t)to + way[to] - (size_t)from;
    way[to] = (size_t)from + first - (size_t)to;
    for (int what = ENDS; what <= BEGINS; what++)
        note(p, to, what, noted(p, what)[from]);
}
