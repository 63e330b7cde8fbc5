/* SPDX-License-Identifier: BSD-2-Clause
 * lines.c: convolution and pooling over one axis become those of images of one row, so that all
 * that is known of images serves them: NHWC, and kernels that only take two axes. All tensors
 * with three axes that they touch get a fourth, or none does: where another op looks at axes.
 */
#include "plan/passes.h"

static bool is_line(const dni_op *op)
{
    if (op->kind >= DN_OP_CONV && op->kind <= DN_OP_CONV_BWD_WEIGHTS)
        return ((const dn_args_conv *)op->args)->spatial == 1;
    if (op->kind == DN_OP_POOL || op->kind == DN_OP_POOL_BWD)
        return ((const dn_args_pool *)op->args)->spatial == 1;
    return false;
}

static bool minds_axes(const dni_op *op)
{
    bool elements = op->kind <= DN_OP_GEMM ||
                    (op->kind >= DN_OP_LRN && op->kind <= DN_OP_CAST) ||
                    op->kind == DN_OP_NORM_SCALE || op->kind == DN_OP_NORM_SCALE_BWD;
    return !elements && !is_line(op);
}

/* The storage of operand k if it has three axes. */
static dni_tensor line_of(const dni_program *p, const dni_op *op, int32_t k)
{
    dni_tensor t = dni_operand(op, k);
    return t != DNI_NONE && p->tensors[t].shape.axes == 3 ? dni_root(p, t) : DNI_NONE;
}

static void widen(int64_t *list, int64_t first)
{
    list[1] = list[0];
    list[0] = first;
}

static void widen_op(dni_op *op)
{
    dn_args_conv *a = (dn_args_conv *)op->args;
    dn_args_pool *b = (dn_args_pool *)op->args;
    bool pool = op->kind == DN_OP_POOL || op->kind == DN_OP_POOL_BWD;
    *(pool ? &b->spatial : &a->spatial) = 2;
    widen(pool ? b->kernel : a->kernel, 1);
    widen(pool ? b->stride : a->stride, 1);
    widen(pool ? b->pad : a->pad, 0);
    if (!pool)
        widen(a->dilation, 1);
}

/* One operand is a line, and what it has done to it element by element is one too. */
static bool spread(const dni_program *p, const dni_op *op, bool *lines)
{
    bool strided = op->kind == DN_OP_COPY || op->kind == DN_OP_REDUCE, more = false;
    const dni_shape *shape = NULL;
    int32_t count = op->num_inputs + op->num_outputs;
    for (int32_t k = 0; k < count && !(strided && !dni_is_copy(p, op)); k++)
        if (line_of(p, op, k) != DNI_NONE && (is_line(op) || lines[line_of(p, op, k)]))
            shape = &p->tensors[dni_operand(op, k)].shape;
    for (int32_t k = 0; k < count && shape; k++) {
        dni_tensor root = line_of(p, op, k);
        if (root == DNI_NONE || lines[root] ||
            !(is_line(op) || dni_shape_equal(shape, &p->tensors[dni_operand(op, k)].shape)))
            continue;
        lines[root] = more = true;
    }
    return more;
}

static bool mark(const dni_program *p, bool *lines)
{
    bool any = false;
    for (bool more = true; more; any |= more) {
        more = false;
        for (size_t i = 0; i < p->num_ops; i++)
            more |= spread(p, &p->ops[i], lines);
    }
    for (size_t i = 0; any && i < p->num_ops; i++)
        for (int32_t k = 0; k < p->ops[i].num_inputs + p->ops[i].num_outputs; k++) {
            dni_tensor root = line_of(p, &p->ops[i], k);
            if (root != DNI_NONE && lines[root] && minds_axes(&p->ops[i]))
                return false;
        }
    return any;
}

dn_status dni_widen_lines(dni_rewrite *r)
{
    dni_program *p = r->program;
    bool *lines = dni_alloc(p->heap, p->num_tensors, sizeof *lines);
    if (!lines)
        return DN_E_NOMEM;
    if (mark(p, lines)) {
        for (size_t i = 0; i < p->num_ops; i++)
            if (is_line(&p->ops[i]))
                widen_op(&p->ops[i]);
        for (size_t t = 0; t < p->num_tensors; t++) {
            dni_shape *shape = &p->tensors[t].shape;
            if (lines[p->tensors[t].storage] && shape->axes == 3) {
                shape->dim[3] = shape->dim[2];
                shape->dim[2] = 1;
                shape->axes = 4;
            }
        }
    }
    dni_free(lines);
    return DN_OK;
}
