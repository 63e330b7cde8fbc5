/* SPDX-License-Identifier: BSD-2-Clause
 * program.h: a net as data: tensors, and ops over them, forward and backward, and the builder
 * that layers write them with. A program has shapes and no memory; the plan gives it memory. */
#ifndef DNI_PROGRAM_H
#define DNI_PROGRAM_H

#include "core/context.h"

typedef int32_t dni_tensor; /* an index into its program */
#define DNI_NONE (-1)       /* an absent operand; a gradient that nobody wants */

#define DNI_VOLATILE UINT64_MAX

typedef enum dni_role {
    DNI_DATA,        /* values of a blob */
    DNI_DIFF,        /* gradient of a blob */
    DNI_WEIGHT,      /* a parameter: memory of the net's weights */
    DNI_WEIGHT_DIFF, /* its gradient: always added to */
    DNI_TEMP,        /* between ops, from forward to backward if need be */
    DNI_STATE, /* lives with the net, has a pointer of its own (random state, constants) */
} dni_role;

typedef struct dni_tensor_info {
    dni_role role;
    int32_t dtype;
    dni_shape shape;
    dni_tensor storage; /* the tensor whose memory this one shares (itself if none) */
    void *memory;       /* WEIGHT, WEIGHT_DIFF, STATE: where it lives; else NULL until placed */
    int32_t blob;       /* graph blob of DATA and DIFF, -1 otherwise */
    bool written;       /* DIFF: a layer already wrote a contribution (while building) */
    bool keep;          /* stays readable after the run: not shared by liveness */
    int32_t layout;     /* DN_LAYOUT_*; layers write plain */
    size_t advance;     /* bytes on which it lies in each turn of an op with turns */
    const uint64_t *version; /* WEIGHT that changes with this number alone, and at any time once
                                it is DNI_VOLATILE; NULL: at any time */
} dni_tensor_info;

/* PREPARE: what the plan derives from weights, before a run if they changed. SHOW: what fills a
 * readable blob when the host looks. */
typedef enum dni_section {
    DNI_FORWARD,
    DNI_BACKWARD,
    DNI_UPDATE,
    DNI_PREPARE,
    DNI_SHOW,
    DNI_SECTIONS
} dni_section;

enum { DNI_OF_LOSSES = -2 }; /* in place of a layer: keeps the losses of a solver */

typedef struct dni_op {
    int32_t kind;
    int32_t layer; /* -1: none; or DNI_OF_LOSSES */
    bool splits;   /* a plain run ends behind it: what follows may get other shapes */
    bool late;     /* an update may take its place (plan/late.c) */
    int32_t turns; /* of a strip (solver/strips.c): so often a run; 0: once */
    dni_section section;
    int32_t num_inputs, num_outputs;
    dni_tensor inputs[DN_MAX_OPERANDS], outputs[DN_MAX_OPERANDS];
    dn_args *args; /* a copy, of the kind's size */
} dni_op;

/* Output k: of UPDATE, which may have more than the array holds, those beyond are the tensors
 * that follow the last in it. */
static inline dni_tensor dni_output(const dni_op *op, int32_t k)
{
    enum { LAST = DN_MAX_OPERANDS - 1 };
    return k < LAST ? op->outputs[k] : op->outputs[LAST] + (k - LAST);
}

/* Of the inputs, then the outputs. */
dni_tensor dni_operand(const dni_op *op, int32_t k);

typedef struct dni_program {
    const dni_heap *heap;
    dni_tensor_info *tensors;
    size_t num_tensors, cap_tensors;
    dni_op *ops; /* forward ops, then backward, then update, prepare, show */
    size_t num_ops, cap_ops;
    int32_t compute; /* DN_COMPUTE_*: what its matrix products may be done in */
    bool compact;    /* little memory is wanted of its ops */
    bool late;       /* an update may take the place of its last ops (plan/late.c) */
    size_t limit;    /* bytes for it, its plan and what is beside them; 0: none */
    struct dni_uses *uses; /* per storage: which of `users` touch it; NULL: not known */
    size_t cap_uses;
    size_t *users; /* ops, by storage and then in order */
    size_t num_users, cap_users;
    size_t before;   /* dni_held when there was nothing of it, less what is beside it */
    void **owned;    /* freed with it */
    size_t num_owned, cap_owned;
} dni_program;

/* What is known of each kind: its name, the size of its arguments, least operand counts. */
typedef struct dni_op_kind {
    const char *name;
    uint16_t args_size;
    uint16_t accumulates; /* bit i: output i may be added to */
} dni_op_kind;
const dni_op_kind *dni_op_kind_of(int32_t kind); /* NULL: no such kind */

void dni_program_init(dni_program *program, const dni_heap *heap);
void dni_program_free(dni_program *program);
/* DN_E_LIMIT once there is more of it and its plan than the limit allows. */
dn_status dni_program_check(const dni_program *program);
/* A deep copy: its ops can be rewritten. `copy` is freed by the caller also after a failure. */
dn_status dni_program_copy(dni_program *copy, const dni_program *program);
/* Appends an op with room for its arguments (struct_size set), or returns NULL. */
dni_op *dni_program_op(dni_program *program, int32_t kind, dni_section section, int32_t layer);
/* A copy of the bytes that lives as long as the program; NULL: no memory. */
void *dni_program_own(dni_program *program, const void *bytes, size_t size);
/* Removes the ops whose kind was set to 0, in place. */
void dni_program_sweep(dni_program *program);
dni_tensor dni_program_tensor(dni_program *program,
                              const dni_tensor_info *info); /* or DNI_NONE */
/* A value of its own, of the same type and shape; or DNI_NONE. */
dni_tensor dni_program_like(dni_program *program, dni_tensor like);
/* Floating-point operations of an op: a multiply-add counts 2. */
int64_t dni_op_flops(const dni_program *program, const dni_op *op);
/* "CONV x:64 1 28 28 w:20 1 5 5 -> y:64 20 24 24" into text. */
void dni_op_print(const dni_program *program, const dni_op *op, dni_text *text);

/* ---- the builder: how ops get into a program ---------------------------------------------
 * The first failure sticks: layers emit without looking, the caller looks at status once. */
typedef struct dni_builder {
    dni_program *program;
    dn_status status;
    dni_section section;
    int32_t layer;
    int32_t dtype;     /* T: DN_F32 or DN_F64 */
    dni_tensor random; /* I64[2] {seed, step} of the net */
    /* Operands of the layer being lowered; set by the net. */
    const dni_tensor *x, *y, *dx, *dy, *w, *dw;
    bool *dx_fresh; /* dx[i] had no contribution when this layer's backward began */
    int32_t num_x, num_y, num_w;
} dni_builder;

/* Tensors for dni_emit; their number and array for functions that take both. */
#define DNI_TENSORS(...) (__VA_ARGS__)
#define DNI_EACH(...)    __VA_ARGS__
#define DNI_NUMBER(...)  (int32_t)(sizeof((dni_tensor[]){__VA_ARGS__}) / sizeof(dni_tensor))
#define DNI_ARRAY(...)                                                                         \
    DNI_NUMBER(__VA_ARGS__), (dni_tensor[])                                                    \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

/* Appends an op. args: the kind's struct (struct_size is filled in), NULL for none.
 * An op whose outputs are all DNI_NONE is dropped.
 * Gradients: write dx and dw as if they were yours alone: overwrite all of it, or FILL with 0
 * and accumulate. Where another layer already contributed (and always for dw) the builder turns
 * overwriting into adding and drops the FILL. So never read dx or dw back. In place, dx shares
 * memory with dy: emit what reads dy first. */
#define dni_emit(b, kind, args, inputs, outputs)                                               \
    dni_emit_list(b, (kind) | DNI_NUMBER inputs << 8 | DNI_NUMBER outputs << 16, args,         \
                  (dni_tensor[]){DNI_EACH inputs, DNI_EACH outputs})
/* kind, number of inputs and of outputs from the lowest byte on: a call is a constant and one
 * array, as over a hundred of them should be. */
void dni_emit_list(dni_builder *b, int32_t what, const void *args, const dni_tensor *operands);
/* The same of tensors that are in arrays already, or none. */
void dni_emit_arrays(dni_builder *b, int32_t kind, const void *args, int32_t num_inputs,
                     const dni_tensor *inputs, int32_t num_outputs, const dni_tensor *outputs);

/* A tensor that lives from its first op to its last, forward to backward if used there. */
dni_tensor dni_temp(dni_builder *b, int32_t dtype, int32_t axes, const int64_t *dims);
dni_tensor dni_temp_like(dni_builder *b, dni_tensor like); /* same shape, type T */
/* memory must live as long as the program (a layer's state). */
dni_tensor dni_constant(dni_builder *b, int32_t dtype, int64_t count, void *memory);
int64_t dni_tensor_count(const dni_builder *b, dni_tensor t);
const dni_shape *dni_tensor_shape(const dni_builder *b, dni_tensor t);
/* Same memory? (an in-place layer: dni_same(b, b->x[0], b->y[0])) */
bool dni_same(const dni_builder *b, dni_tensor p, dni_tensor q);

/* Shorthands for the commonest ops; each is one dni_emit. */
void dni_emit_fill(dni_builder *b, dni_tensor y, double value);
void dni_emit_copy(dni_builder *b, dni_tensor x, dni_tensor y); /* all of it, counts equal */
void dni_emit_unary(dni_builder *b, int32_t fn, double p, double q, double r, dni_tensor x,
                    dni_tensor y);
/* dx = dy * f'(x or y); pass DNI_NONE for the one that is not at hand. */
void dni_emit_unary_bwd(dni_builder *b, int32_t fn, double p, double q, double r, dni_tensor x,
                        dni_tensor y, dni_tensor dy, dni_tensor dx);
void dni_emit_sum2(dni_builder *b, double ca, dni_tensor a, double cc, dni_tensor c,
                   dni_tensor y); /* y = ca a + cc c */
/* y = a c, or by another DN_ELTWISE_*, but SUM. */
void dni_emit_pair(dni_builder *b, int32_t op, dni_tensor a, dni_tensor c, dni_tensor y);
void dni_emit_product(dni_builder *b, dni_tensor a, dni_tensor c, dni_tensor y);
void dni_emit_bcast(dni_builder *b, int32_t op, int64_t outer, int64_t dim, int64_t inner,
                    dni_tensor x, dni_tensor s, dni_tensor y);
/* y[dim] = alpha * sum over outer and inner of x (or x * x2). x2 may be DNI_NONE. */
void dni_emit_reduce_mid(dni_builder *b, int64_t outer, int64_t dim, int64_t inner,
                         double alpha, dni_tensor x, dni_tensor x2, dni_tensor y);
/* y (outer, inner) = alpha times op over the middle axis of x, or of x and x2 (outer, dim,
 * inner). x2 may be DNI_NONE. */
void dni_emit_reduce(dni_builder *b, int32_t op, int64_t outer, int64_t dim, int64_t inner,
                     double alpha, dni_tensor x, dni_tensor x2, dni_tensor y);
/* Of M rows of N the value at each one's index: y (M) is x there; add: x (M) is added to y. */
void dni_emit_at(dni_builder *b, bool add, int64_t M, int64_t N, dni_tensor x, dni_tensor index,
                 dni_tensor y);
/* y = x s, s one number. */
void dni_emit_times(dni_builder *b, dni_tensor x, dni_tensor s, dni_tensor y);
/* Rows of `cols` elements, each x_row and y_row after the one before, from x_at and y_at on. */
void dni_emit_rows(dni_builder *b, int64_t rows, int64_t cols, int64_t x_row, int64_t x_at,
                   int64_t y_row, int64_t y_at, dni_tensor x, dni_tensor y);
/* y (outer, dim, inner) = alpha x (outer, inner). */
void dni_emit_spread(dni_builder *b, int64_t outer, int64_t dim, int64_t inner, double alpha,
                     dni_tensor x, dni_tensor y);
/* LATTICE's outputs, and how many elements a table of a lattice has. */
typedef struct dni_lattice {
    dni_tensor table, shares, norm;
} dni_lattice;
int64_t dni_lattice_table(const dn_args_lattice *a);
/* image and size may be DNI_NONE. */
dni_lattice dni_emit_lattice(dni_builder *b, const dn_args_lattice *a, dni_tensor image,
                             dni_tensor size);
/* The means of x, or back: the gradient; of the shape of x. */
dni_tensor dni_emit_lattice_filter(dni_builder *b, const dn_args_lattice *a,
                                   const dni_lattice *made, bool back, dni_tensor x);
/* C = alpha op(A) op(B), plain row-major without gaps; C: (m, n). */
void dni_emit_gemm(dni_builder *b, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                   double alpha, dni_tensor a, dni_tensor bb, dni_tensor c);

#endif
