/* SPDX-License-Identifier: BSD-2-Clause
 * builder.c: how layers write ops. It is here, once, that gradients of a blob used by several
 * layers become sums: no layer knows of the others. */
#include "program/program.h"

#include <string.h>

static dni_tensor_info *info_of(const dni_builder *b, dni_tensor t)
{
    return &b->program->tensors[t];
}

int64_t dni_tensor_count(const dni_builder *b, dni_tensor t)
{
    return dni_shape_count(&info_of(b, t)->shape);
}

const dni_shape *dni_tensor_shape(const dni_builder *b, dni_tensor t)
{
    return &info_of(b, t)->shape;
}

bool dni_same(const dni_builder *b, dni_tensor p, dni_tensor q)
{
    return p != DNI_NONE && q != DNI_NONE && info_of(b, p)->storage == info_of(b, q)->storage;
}

static dni_tensor add_tensor(dni_builder *b, const dni_tensor_info *info)
{
    if (b->status)
        return 0;
    dni_tensor t = dni_program_tensor(b->program, info);
    if (t == DNI_NONE)
        b->status = DN_E_NOMEM;
    return t == DNI_NONE ? 0 : t;
}

dni_tensor dni_temp(dni_builder *b, int32_t dtype, int32_t axes, const int64_t *dims)
{
    dni_tensor_info info = {.role = DNI_TEMP,
                            .dtype = dtype,
                            .shape = dni_shape_of(axes, dims),
                            .storage = DNI_NONE,
                            .blob = -1};
    if (!b->status)
        b->status = dni_shape_check(&info.shape);
    return add_tensor(b, &info);
}

dni_tensor dni_temp_like(dni_builder *b, dni_tensor like)
{
    if (b->status)
        return 0;
    dni_shape shape = *dni_tensor_shape(b, like);
    return dni_temp(b, b->dtype, shape.axes, shape.dim);
}

dni_tensor dni_constant(dni_builder *b, int32_t dtype, int64_t count, void *memory)
{
    dni_tensor_info info = {.role = DNI_STATE,
                            .dtype = dtype,
                            .shape = dni_shape_of(1, &count),
                            .storage = DNI_NONE,
                            .memory = memory,
                            .blob = -1};
    return add_tensor(b, &info);
}

/* ---- emitting ---------------------------------------------------------------------------- */

static bool all_absent(int32_t count, const dni_tensor *tensors)
{
    for (int32_t i = 0; i < count; i++)
        if (tensors[i] != DNI_NONE)
            return false;
    return count > 0;
}

/* Did another contribution go into this gradient before the present layer's backward? */
static bool has_contribution(const dni_builder *b, dni_tensor t)
{
    const dni_tensor_info *info = info_of(b, t);
    if (info->role == DNI_WEIGHT_DIFF)
        return b->section != DNI_UPDATE;
    if (info->role != DNI_DIFF || b->section != DNI_BACKWARD)
        return false;
    for (int32_t i = 0; i < b->num_x; i++)
        if (b->dx[i] == t)
            return !b->dx_fresh[i];
    return false;
}

static dni_op *append(dni_builder *b, int32_t kind, const void *args)
{
    dni_op *op = dni_program_op(b->program, kind, b->section, b->layer);
    b->status = op ? dni_program_check(b->program) : DN_E_NOMEM;
    if (b->status)
        return NULL;
    size_t size = op->args->struct_size;
    if (args)
        memcpy(op->args, args, size);
    op->args->struct_size = size;
    return op;
}

/* Turns output i of the op into a temporary whose values are then added where they belong. */
static dni_tensor detour(dni_builder *b, size_t op_index, int32_t output)
{
    dni_tensor to = b->program->ops[op_index].outputs[output];
    dni_tensor temp = dni_temp_like(b, to);
    if (!b->status)
        b->program->ops[op_index].outputs[output] = temp;
    return temp;
}

static void add_into(dni_builder *b, dni_tensor from, dni_tensor to)
{
    dn_args_eltwise sum = {.base.accumulate = 1, .op = DN_ELTWISE_SUM, .coeff = {1}};
    dni_op *op = b->status ? NULL : append(b, DN_OP_ELTWISE, &sum);
    if (!op)
        return;
    op->num_inputs = op->num_outputs = 1;
    op->inputs[0] = from;
    op->outputs[0] = to;
}

/* A scatter that sets overwrites its table, and so cannot add to it. */
static bool can_add(const dni_op *op, const dni_op_kind *kind, int32_t output)
{
    bool sets = op->kind == DN_OP_SCATTER_ADD && ((const dn_args_gather *)op->args)->set;
    return kind->accumulates >> output & 1 && !sets;
}

static void emit_outputs(dni_builder *b, size_t index, const dni_op_kind *kind, int32_t count,
                         const dni_tensor *outputs)
{
    dni_tensor from[DN_MAX_OPERANDS];
    for (int32_t i = 0; i < count; i++) {
        from[i] = DNI_NONE;
        if (outputs[i] == DNI_NONE || !has_contribution(b, outputs[i]))
            continue;
        if (can_add(&b->program->ops[index], kind, i))
            b->program->ops[index].args->accumulate |= 1u << i;
        else
            from[i] = detour(b, index, i);
    }
    for (int32_t i = 0; i < count; i++) {
        if (outputs[i] != DNI_NONE)
            info_of(b, outputs[i])->written = true;
        if (from[i] != DNI_NONE)
            add_into(b, from[i], outputs[i]);
    }
}

/* An operand without elements, as a Filter that selects nothing leaves one. */
static bool any_empty(const dni_builder *b, int32_t count, const dni_tensor *tensors)
{
    for (int32_t i = 0; i < count; i++)
        if (tensors[i] != DNI_NONE && dni_tensor_count(b, tensors[i]) == 0)
            return true;
    return false;
}

/* What an op makes of nothing: 0 where it would overwrite, as a sum of nothing; parts of a copy
 * and statistics stay. */
static void emit_nothing(dni_builder *b, int32_t kind, const dn_args *args, int32_t count,
                         const dni_tensor *outputs)
{
    for (int32_t i = 0; i < count; i++) {
        if (outputs[i] == DNI_NONE)
            continue;
        int32_t role = info_of(b, outputs[i])->role;
        bool kept = kind == DN_OP_COPY || role == DNI_WEIGHT || role == DNI_STATE ||
                    (args && args->accumulate >> i & 1);
        if (!kept && dni_tensor_count(b, outputs[i]))
            dni_emit_fill(b, outputs[i], 0);
        info_of(b, outputs[i])->written = true;
    }
}

void dni_emit_arrays(dni_builder *b, int32_t kind, const void *args, int32_t num_inputs,
                     const dni_tensor *inputs, int32_t num_outputs, const dni_tensor *outputs)
{
    if (b->status || all_absent(num_outputs, outputs))
        return;
    const dni_op_kind *k = dni_op_kind_of(kind);
    if (!k || num_inputs > DN_MAX_OPERANDS || num_outputs > DN_MAX_OPERANDS) {
        b->status = dni_fail(DN_E_INTERNAL, "op kind %d with %d inputs and %d outputs", kind,
                             num_inputs, num_outputs);
        return;
    }
    if (kind == DN_OP_FILL && has_contribution(b, outputs[0]))
        return;
    if (kind != DN_OP_HOST_CALL &&
        (any_empty(b, num_inputs, inputs) || any_empty(b, num_outputs, outputs))) {
        emit_nothing(b, kind, args, num_outputs, outputs);
        return;
    }
    dni_op *op = append(b, kind, args);
    if (!op)
        return;
    op->num_inputs = num_inputs;
    op->num_outputs = num_outputs;
    memcpy(op->inputs, inputs, (size_t)num_inputs * sizeof *inputs);
    memcpy(op->outputs, outputs, (size_t)num_outputs * sizeof *outputs);
    emit_outputs(b, b->program->num_ops - 1, k, num_outputs, outputs);
}

void dni_emit_list(dni_builder *b, int32_t what, const void *args, const dni_tensor *operands)
{
    int32_t inputs = what >> 8 & 255;
    dni_emit_arrays(b, what & 255, args, inputs, operands, what >> 16, operands + inputs);
}

/* ---- shorthands -------------------------------------------------------------------------- */

void dni_emit_fill(dni_builder *b, dni_tensor y, double value)
{
    dn_args_fill a = {.value = value};
    dni_emit_arrays(b, DN_OP_FILL, &a, 0, &y, 1, &y);
}

void dni_emit_copy(dni_builder *b, dni_tensor x, dni_tensor y)
{
    if (b->status || y == DNI_NONE)
        return;
    if (dni_same(b, x, y)) { /* in place: a gradient that has gone on */
        info_of(b, y)->written = true;
        return;
    }
    dn_args_copy a = {.axes = 1,
                      .dim = {dni_tensor_count(b, x)},
                      .x_stride = {1},
                      .y_stride = {1},
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

void dni_emit_unary(dni_builder *b, int32_t fn, double p, double q, double r, dni_tensor x,
                    dni_tensor y)
{
    dn_args_unary a = {.fn = fn, .a = p, .b = q, .c = r};
    dni_emit(b, DN_OP_UNARY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

void dni_emit_unary_bwd(dni_builder *b, int32_t fn, double p, double q, double r, dni_tensor x,
                        dni_tensor y, dni_tensor dy, dni_tensor dx)
{
    dn_args_unary a = {.fn = fn, .a = p, .b = q, .c = r};
    dni_emit(b, DN_OP_UNARY_BWD, &a, DNI_TENSORS(x, y, dy), DNI_TENSORS(dx));
}

void dni_emit_sum2(dni_builder *b, double ca, dni_tensor a, double cc, dni_tensor c,
                   dni_tensor y)
{
    dn_args_eltwise sum = {.op = DN_ELTWISE_SUM, .coeff = {ca, cc}};
    dni_emit(b, DN_OP_ELTWISE, &sum, DNI_TENSORS(a, c), DNI_TENSORS(y));
}

void dni_emit_pair(dni_builder *b, int32_t op, dni_tensor a, dni_tensor c, dni_tensor y)
{
    dn_args_eltwise args = {.op = op};
    dni_emit(b, DN_OP_ELTWISE, &args, DNI_TENSORS(a, c), DNI_TENSORS(y));
}

void dni_emit_product(dni_builder *b, dni_tensor a, dni_tensor c, dni_tensor y)
{
    dni_emit_pair(b, DN_ELTWISE_PROD, a, c, y);
}

void dni_emit_bcast(dni_builder *b, int32_t op, int64_t outer, int64_t dim, int64_t inner,
                    dni_tensor x, dni_tensor s, dni_tensor y)
{
    dn_args_bcast a = {.op = op, .outer = outer, .dim = dim, .inner = inner};
    dni_emit(b, DN_OP_BCAST, &a, DNI_TENSORS(x, s, DNI_NONE), DNI_TENSORS(y));
}

void dni_emit_reduce_mid(dni_builder *b, int64_t outer, int64_t dim, int64_t inner,
                         double alpha, dni_tensor x, dni_tensor x2, dni_tensor y)
{
    dn_args_reduce a = {.op = x2 == DNI_NONE ? DN_REDUCE_SUM : DN_REDUCE_DOT,
                        .axes = 3,
                        .dim = {outer, dim, inner},
                        .x_stride = {dim * inner, inner, 1},
                        .x2_stride = {dim * inner, inner, 1},
                        .y_stride = {0, 1, 0},
                        .alpha = alpha};
    dni_emit(b, DN_OP_REDUCE, &a, DNI_TENSORS(x, x2), DNI_TENSORS(y));
}

void dni_emit_reduce(dni_builder *b, int32_t op, int64_t outer, int64_t dim, int64_t inner,
                     double alpha, dni_tensor x, dni_tensor x2, dni_tensor y)
{
    dn_args_reduce a = {.op = op,
                        .axes = inner == 1 ? 2 : 3,
                        .dim = {outer, dim, inner},
                        .x_stride = {dim * inner, inner, 1},
                        .x2_stride = {dim * inner, inner, 1},
                        .y_stride = {inner, 0, 1},
                        .alpha = alpha};
    dni_emit(b, DN_OP_REDUCE, &a, DNI_TENSORS(x, x2), DNI_TENSORS(y));
}

void dni_emit_at(dni_builder *b, bool add, int64_t M, int64_t N, dni_tensor x, dni_tensor index,
                 dni_tensor y)
{
    dn_args_gather a = {.base.accumulate = add, .count = 1, .cols = 1, .limit = N, .batch = M};
    dni_emit(b, add ? DN_OP_SCATTER_ADD : DN_OP_GATHER, &a, DNI_TENSORS(x, index),
             DNI_TENSORS(y));
}

void dni_emit_times(dni_builder *b, dni_tensor x, dni_tensor s, dni_tensor y)
{
    dni_emit_bcast(b, DN_BCAST_MUL, dni_tensor_count(b, x), 1, 1, x, s, y);
}

void dni_emit_rows(dni_builder *b, int64_t rows, int64_t cols, int64_t x_row, int64_t x_at,
                   int64_t y_row, int64_t y_at, dni_tensor x, dni_tensor y)
{
    dn_args_copy a = {.axes = 2,
                      .dim = {rows, cols},
                      .x_stride = {x_row, 1},
                      .y_stride = {y_row, 1},
                      .x_offset = x_at,
                      .y_offset = y_at,
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static int64_t lattice_corners(const dn_args_lattice *a)
{
    return a->H * a->W * (a->colours + 3);
}

int64_t dni_lattice_table(const dn_args_lattice *a)
{
    return 1 + lattice_corners(a) * (1 + 2 * (a->colours + 3));
}

dni_lattice dni_emit_lattice(dni_builder *b, const dn_args_lattice *a, dni_tensor image,
                             dni_tensor size)
{
    int64_t table = a->lattices * dni_lattice_table(a);
    int64_t shares = a->lattices * lattice_corners(a), norm = a->lattices * a->H * a->W;
    dni_lattice made = {dni_temp(b, DN_I32, 1, &table), dni_temp(b, b->dtype, 1, &shares),
                        dni_temp(b, b->dtype, 1, &norm)};
    dni_emit(b, DN_OP_LATTICE, a, DNI_TENSORS(image, size),
             DNI_TENSORS(made.table, made.shares, made.norm));
    return made;
}

dni_tensor dni_emit_lattice_filter(dni_builder *b, const dn_args_lattice *a,
                                   const dni_lattice *made, bool back, dni_tensor x)
{
    dn_args_lattice args = *a;
    dni_tensor y = dni_temp_like(b, x);
    args.back = back;
    dni_emit(b, DN_OP_LATTICE_FILTER, &args,
             DNI_TENSORS(x, made->table, made->shares, made->norm), DNI_TENSORS(y));
    return y;
}

void dni_emit_spread(dni_builder *b, int64_t outer, int64_t dim, int64_t inner, double alpha,
                     dni_tensor x, dni_tensor y)
{
    dn_args_copy a = {.axes = inner == 1 ? 2 : 3,
                      .dim = {outer, dim, inner},
                      .x_stride = {inner, 0, 1},
                      .y_stride = {dim * inner, inner, 1},
                      .alpha = alpha};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

void dni_emit_gemm(dni_builder *b, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                   double alpha, dni_tensor a, dni_tensor bb, dni_tensor c)
{
    dn_args_gemm g = {.trans_a = trans_a,
                      .trans_b = trans_b,
                      .m = m,
                      .n = n,
                      .k = k,
                      .lda = trans_a ? m : k,
                      .ldb = trans_b ? k : n,
                      .ldc = n,
                      .batch = 1,
                      .alpha = alpha};
    dni_emit(b, DN_OP_GEMM, &g, DNI_TENSORS(a, bb, DNI_NONE), DNI_TENSORS(c));
}
