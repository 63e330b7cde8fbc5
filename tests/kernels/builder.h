/* SPDX-License-Identifier: BSD-2-Clause
 * builder.h: how the tables of cases say an operand and emit a case. */
#ifndef DN_TESTS_KERNELS_BUILDER_H
#define DN_TESTS_KERNELS_BUILDER_H

#include "harness.h"

typedef struct builder {
    kernel_case c;
    case_fn fn;
    void *user;
    int32_t *number;
} builder;

/* Lengths around the vector widths of every machine, and one worth several tasks. */
static const int64_t builder_lengths[] = {1,  2,  3,  5,  7,  8,  9,   15,  16,   17,
                                          31, 32, 33, 63, 64, 65, 100, 257, 1030, 20011};
#define NUM_LENGTHS ((int)(sizeof(builder_lengths) / sizeof(builder_lengths[0])))

/* Starts a case: no operands, arguments zero, nothing in place. */
static inline void begin(builder *b, int32_t kind, size_t args_size)
{
    b->c = (kernel_case){.kind = kind, .alias = -1, .tolerance = 1e-5};
    b->c.args.base.struct_size = args_size;
}

static inline dn_shape shape_of(int32_t axes, const int64_t *dim)
{
    dn_shape s = {.axes = axes};
    for (int32_t a = 0; a < axes; a++)
        s.dim[a] = dim[a];
    return s;
}

#define SHAPE(...)                                                                             \
    shape_of((int32_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),              \
             (const int64_t[]){__VA_ARGS__})

static inline void add_operand(side *s, int32_t dtype, int32_t fill, int64_t limit,
                               dn_shape shape)
{
    s->operand[s->count] = (dn_operand){.dtype = dtype, .shape = shape};
    s->fill[s->count] = fill;
    s->limit[s->count] = limit;
    s->count++;
}

static inline void in(builder *b, int32_t fill, dn_shape shape)
{
    add_operand(&b->c.in, DN_F32, fill, 10, shape);
}

static inline void in_whole(builder *b, int32_t dtype, int64_t limit, dn_shape shape)
{
    add_operand(&b->c.in, dtype, WHOLE, limit, shape);
}

static inline void in_state(builder *b)
{
    add_operand(&b->c.in, DN_I64, STATE, 0, SHAPE(2));
}

static inline void in_absent(builder *b)
{
    add_operand(&b->c.in, -1, POISON, 0, SHAPE(0));
}

static inline void out(builder *b, dn_shape shape)
{
    add_operand(&b->c.out, DN_F32, POISON, 0, shape);
}

static inline void out_absent(builder *b)
{
    add_operand(&b->c.out, -1, POISON, 0, SHAPE(0));
}

static inline void out_as(builder *b, int32_t dtype, int32_t fill, dn_shape shape)
{
    add_operand(&b->c.out, dtype, fill, 10, shape);
}

static inline void emit(builder *b)
{
    b->c.number = (*b->number)++;
    b->fn(&b->c, b->user);
}

/* Also with the inputs in `constant` announced as such. */
static inline void emit_constant(builder *b, uint32_t constant)
{
    emit(b);
    b->c.constant = constant;
    emit(b);
    b->c.constant = 0;
}

/* Also with the outputs in `accumulate` added to, one case with all of them. */
static inline void emit_added(builder *b, uint32_t accumulate)
{
    emit(b);
    kernel_case plain = b->c;
    b->c.args.base.accumulate = accumulate;
    for (int32_t k = 0; k < b->c.out.count; k++)
        if (accumulate >> k & 1 && b->c.out.fill[k] == POISON)
            b->c.out.fill[k] = NORMAL;
    emit(b);
    b->c = plain;
}

/* Also with the images (the operands with 4 axes or more whose bit is set) as NHWC. */
static inline void nhwc(side *s, uint32_t which)
{
    for (int32_t k = 0; k < s->count; k++)
        if (which >> k & 1 && s->operand[k].dtype >= 0 && s->operand[k].shape.axes >= 4)
            s->operand[k].layout = DN_LAYOUT_NHWC;
}

static inline void emit_layouts(builder *b, uint32_t accumulate, uint32_t in_images,
                                uint32_t out_images)
{
    emit_added(b, accumulate);
    kernel_case plain = b->c;
    nhwc(&b->c.in, in_images);
    nhwc(&b->c.out, out_images);
    if (b->c.in.operand[0].layout == DN_LAYOUT_NHWC)
        emit_added(b, accumulate);
    b->c = plain;
}

/* With one image after the other as NHWC, the others plain: right, or refused. */
static inline void emit_mixed(builder *b)
{
    kernel_case plain = b->c;
    for (int32_t k = 0; k < plain.in.count + plain.out.count; k++) {
        bool input = k < plain.in.count;
        nhwc(input ? &b->c.in : &b->c.out, 1u << (input ? k : k - plain.in.count));
        emit(b);
        b->c = plain;
    }
}

/* Also with output 0 in the place of input i. */
static inline void emit_in_place(builder *b, uint32_t accumulate, int32_t i)
{
    emit_added(b, accumulate);
    b->c.alias = i;
    emit(b);
    b->c.alias = -1;
}

/* Operands whose bit is set (absent ones apart) as bf16. */
static inline void narrow_side(side *s, uint32_t which)
{
    for (int32_t k = 0; k < s->count; k++)
        if (which >> k & 1 && s->operand[k].dtype >= 0)
            s->operand[k].dtype = DN_BF16;
}

/* The case in bf16: in place of input i (-1: not), or in both layouts. */
static inline void emit_narrow_in_place(builder *b, uint32_t accumulate, int32_t i, uint32_t in,
                                        uint32_t out)
{
    kernel_case wide = b->c;
    narrow_side(&b->c.in, in);
    narrow_side(&b->c.out, out);
    if (i < 0)
        emit_added(b, accumulate);
    else
        emit_in_place(b, accumulate, i);
    b->c = wide;
}

static inline void emit_narrow_layouts(builder *b, uint32_t accumulate, uint32_t in_images,
                                       uint32_t out_images, uint32_t in, uint32_t out)
{
    kernel_case wide = b->c;
    narrow_side(&b->c.in, in);
    narrow_side(&b->c.out, out);
    emit_layouts(b, accumulate, in_images, out_images);
    b->c = wide;
}

#define BEGIN(b, kind, type) (begin(b, kind, sizeof(type)))

#endif
