/* SPDX-License-Identifier: BSD-2-Clause
 * facts.c: see facts.h. Questions are scans from a place; while it is noted which ops touch
 * which storage, of those alone. */
#include "plan/facts.h"

#include <stdlib.h>
#include <string.h>

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

/* A copy may walk over a part of its operands; what is between the ops of a strip stays in the
 * caches. */
static double walked(const dni_program *p, const dni_op *op, dni_tensor t)
{
    const dn_args_copy *a = (const dn_args_copy *)op->args;
    double bytes = (double)dni_dtype_size(p->tensors[t].dtype);
    if (op->turns && p->tensors[t].role == DNI_TEMP)
        return 0;
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

/* Ops that may touch a storage: `count` users from `first` on, with room for more. */
typedef struct dni_uses {
    size_t first, count, room;
    size_t way; /* from this tensor to the next of its storage */
} dni_uses;

/* How many of them come before op `at`. */
static size_t users_before(const dni_program *p, const dni_uses *u, size_t at)
{
    size_t low = 0, high = u->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->users[u->first + middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first op from `at` on that may touch root, or `back` 1: the last before it; SIZE_MAX:
 * none. */
static size_t user(const dni_program *p, dni_tensor root, size_t at, size_t back)
{
    if (!p->uses || root == DNI_NONE)
        return at - back;
    if ((size_t)root >= p->cap_uses)
        return SIZE_MAX;
    const dni_uses *u = &p->uses[root];
    size_t k = users_before(p, u, at) - back;
    return k < u->count ? p->users[u->first + k] : SIZE_MAX;
}

static size_t next(const dni_program *p, dni_tensor root, touches *does, size_t from,
                   size_t end)
{
    for (size_t i = user(p, root, from, 0); i < end; i = user(p, root, i + 1, 0))
        if (does(p, &p->ops[i], root))
            return i;
    return end;
}

static size_t last(const dni_program *p, dni_tensor root, touches *does, size_t end)
{
    size_t i = user(p, root, end, 1);
    while (i != SIZE_MAX && !does(p, &p->ops[i], root))
        i = user(p, root, i, 1);
    return i;
}

size_t dni_next_read(const dni_program *p, dni_tensor root, size_t from, size_t end)
{
    return next(p, root, dni_op_reads, from, end);
}

size_t dni_next_write(const dni_program *p, dni_tensor root, size_t from, size_t end)
{
    return next(p, root, dni_op_writes, from, end);
}

bool dni_unwritten(const dni_program *p, dni_tensor t, size_t from, size_t end)
{
    return t == DNI_NONE || dni_next_write(p, dni_root(p, t), from, end) >= end;
}

size_t dni_last_write(const dni_program *p, dni_tensor root, size_t end)
{
    return last(p, root, dni_op_writes, end);
}

size_t dni_last_read(const dni_program *p, dni_tensor root, size_t end)
{
    return last(p, root, dni_op_reads, end);
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
    for (size_t i = user(p, root, writer + 1, 0); i < p->num_ops; i = user(p, root, i + 1, 0)) {
        if (i != reader && dni_op_reads(p, &p->ops[i], root))
            return false;
        if (overwritten_by(p, &p->ops[i], root))
            return i >= reader;
    }
    return !p->tensors[root].keep;
}

dn_status dni_note_all(dni_program *p)
{
    dn_status st =
        dni_grow(p->heap, &p->uses, &p->cap_uses, p->num_tensors + 1, sizeof *p->uses);
    for (size_t t = 0; !st && t < p->num_tensors; t++) {
        size_t root = (size_t)p->tensors[t].storage;
        if (root != t) {
            p->uses[t].way = root + p->uses[root].way - t;
            p->uses[root].way = t - root;
        }
    }
    for (size_t i = 0; !st && i < p->num_ops; i++)
        st = dni_note(p, i);
    return st;
}

static dn_status note(dni_program *p, dni_tensor root, size_t op)
{
    dni_uses *u = &p->uses[root];
    size_t k = users_before(p, u, op), room = u->room ? 2 * u->room : 4;
    if (k < u->count && p->users[u->first + k] == op)
        return DN_OK;
    if (u->count == u->room) {
        dn_status st =
            dni_grow(p->heap, &p->users, &p->cap_users, p->num_users + room, sizeof *p->users);
        if (st)
            return st;
        memcpy(p->users + p->num_users, p->users + u->first, u->count * sizeof *p->users);
        u->first = p->num_users;
        u->room = room;
        p->num_users += room;
    }
    size_t *at = p->users + u->first + k;
    memmove(at + 1, at, (u->count++ - k) * sizeof *at);
    *at = op;
    return DN_OK;
}

dn_status dni_note(dni_program *p, size_t op)
{
    const dni_op *o = &p->ops[op];
    if (!p->uses)
        return DN_OK;
    dn_status st = dni_grow(p->heap, &p->uses, &p->cap_uses, p->num_tensors, sizeof *p->uses);
    for (int32_t k = 0; !st && k < o->num_inputs + o->num_outputs; k++)
        if (dni_operand(o, k) != DNI_NONE)
            st = note(p, dni_root(p, dni_operand(o, k)), op);
    return st;
}

void dni_forget_notes(dni_program *p)
{
    dni_free(p->uses);
    dni_free(p->users);
    p->uses = NULL;
    p->users = NULL;
    p->cap_uses = p->num_users = p->cap_users = 0;
}

dn_status dni_merge_storage(dni_program *p, dni_tensor from, dni_tensor to)
{
    dni_uses *many = &p->uses[to], few = p->uses[from];
    size_t t = (size_t)from, way = many->way;
    do {
        p->tensors[t].storage = to;
        t += p->uses[t].way;
    } while (t != (size_t)from);
    p->uses[from].way = (size_t)to + way - (size_t)from;
    many->way = way = (size_t)from + few.way - (size_t)to;
    if (few.count > many->count) {
        dni_uses fewer = *many;
        *many = few;
        many->way = way;
        few = fewer;
    }
    dn_status st = DN_OK;
    for (size_t k = 0; !st && k < few.count; k++)
        st = note(p, to, p->users[few.first + k]);
    return st;
}
