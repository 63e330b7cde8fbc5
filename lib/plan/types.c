/* SPDX-License-Identifier: BSD-2-Clause
 * types.c: which values lie as bf16 between ops, where the net computes in it. Weights, their
 * gradients, statistics and what the host sees stay f32. From "all that the chain takes" values
 * go back to f32 where that saves time: conversions at the edges, and products that some
 * backend has faster in f32. Products and copies take operands of either type; other ops, and
 * products that stay in f32, take all their activations in one. A readable blob that lies as
 * bf16 is shown by a conversion when the host looks. */
#include <string.h>

#include "plan/choose.h"
#include "plan/edit.h"
#include "plan/passes.h"
#include "plan/tune.h"

#define LEAST_COUNT  1024 /* elements of a value that is worth it */
#define CAST_BYTES   6.0  /* read and written for an element that is converted */
#define BYTES_PER_NS 16.0

typedef struct node { /* an op */
    uint32_t in, out; /* activations */
    bool mixed;       /* each may be of another type */
    bool can;         /* the chain takes them in bf16 */
    bool wide;        /* but it is to have them in f32: a product that is faster so */
    bool narrow;      /* it has them in bf16; mixed: as they lie */
    double cost[2];   /* of a product, in ns: in f32, in bf16; 0: not known */
} node;

typedef struct search {
    dni_rewrite *r;
    dni_program *p;
    size_t num_ops, num_tensors; /* at first */
    node *nodes;
    bool *can, *narrow; /* per storage: its value may lie as bf16, lies so now */
    bool *cast;         /* per storage, while counting: somebody reads it in the other type */
} search;

/* ---- what each op can -------------------------------------------------------------------- */

/* Activations by kind: inputs in the low half, outputs in the high half. */
static uint32_t activations_of(const dni_op *op)
{
#define IO(in, out) ((uint32_t)(in) | (uint32_t)(out) << 16)
    switch (op->kind) {
    case DN_OP_CONV:
    case DN_OP_CONV_BWD_DATA:
    case DN_OP_COPY:
    case DN_OP_UNARY:
    case DN_OP_POOL:
    case DN_OP_POOL_BWD:
    case DN_OP_NORM_SCALE:
        return IO(1, 1);
    case DN_OP_CONV_BWD_WEIGHTS:
        return IO(3, 0);
    case DN_OP_LRN:
        return IO(1, 3);
    case DN_OP_LRN_BWD:
        return IO(15, 1);
    case DN_OP_UNARY_BWD:
        return IO(7, 1);
    case DN_OP_NORM_SCALE_BWD:
        return IO(35, 1);
    case DN_OP_ELTWISE:
        return IO((1u << op->num_inputs) - 1, 1);
    default:
        return 0;
    }
#undef IO
}

static bool is_mixed(int32_t kind)
{
    return kind == DN_OP_COPY || (kind >= DN_OP_CONV && kind <= DN_OP_CONV_BWD_WEIGHTS);
}

static bool is_f32(const search *s, dni_tensor t)
{
    return t != DNI_NONE && s->p->tensors[t].dtype == DN_F32;
}

static uint32_t present(const search *s, const dni_tensor *operands, int32_t num, uint32_t bits)
{
    uint32_t left = 0;
    for (int32_t k = 0; k < num; k++)
        left |= is_f32(s, operands[k]) ? bits & 1u << k : 0;
    return left;
}

static void retype(const search *s, const dni_tensor *operands, int32_t num, uint32_t bits,
                   int32_t dtype)
{
    for (int32_t k = 0; k < num; k++)
        if (bits >> k & 1)
            s->p->tensors[operands[k]].dtype = dtype;
}

static dn_status try_op(const search *s, const dni_op *op, bool *takes, double *cost)
{
    dni_choice choice;
    dn_status st = dni_choose(s->r->context, s->p, op, &choice);
    if (st)
        return st;
    *takes = !dni_is_last_resort(s->r->context, &choice);
    *cost = choice.cost;
    if (choice.op)
        choice.ops->op_destroy(choice.op);
    return DN_OK;
}

static dn_status ask(search *s, size_t i)
{
    const dni_op *op = &s->p->ops[i];
    node *n = &s->nodes[i];
    uint32_t bits = activations_of(op);
    n->in = present(s, op->inputs, op->num_inputs, bits & 0xFFFF);
    n->out = present(s, op->outputs, op->num_outputs, bits >> 16);
    n->mixed = is_mixed(op->kind);
    if (!n->in && !n->out)
        return DN_OK;
    retype(s, op->inputs, op->num_inputs, n->in, DN_BF16);
    retype(s, op->outputs, op->num_outputs, n->out, DN_BF16);
    dn_status st = try_op(s, op, &n->can, &n->cost[1]);
    retype(s, op->inputs, op->num_inputs, n->in, DN_F32);
    retype(s, op->outputs, op->num_outputs, n->out, DN_F32);
    if (!st && n->can && dni_is_product(op->kind)) {
        bool any;
        st = try_op(s, op, &any, &n->cost[0]);
    }
    return st;
}

/* ---- which values can -------------------------------------------------------------------- */

static bool is_ours(const dni_op *op)
{
    return op->section == DNI_FORWARD || op->section == DNI_BACKWARD;
}

/* Values that come from a product, through whatever: they are rounded already, or would be in
 * the next one. Labels and what else only passes through stays exact. */
static void follow_products(search *s, bool *rounded)
{
    const dni_program *p = s->p;
    for (size_t i = 0; i < s->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        const node *n = &s->nodes[i];
        bool any = dni_is_product(op->kind);
        for (int32_t k = 0; k < op->num_inputs; k++)
            any |= n->in >> k & 1 && rounded[dni_root(p, op->inputs[k])];
        for (int32_t k = 0; k < op->num_outputs; k++)
            if (any && op->outputs[k] != DNI_NONE)
                rounded[dni_root(p, op->outputs[k])] = true;
    }
}

static bool only_products_read(const search *s, dni_tensor root)
{
    const dni_program *p = s->p;
    for (size_t i = dni_next_read(p, root, 0, s->num_ops); i < s->num_ops;
         i = dni_next_read(p, root, i + 1, s->num_ops))
        if (!dni_is_product(p->ops[i].kind))
            return false;
    return !p->tensors[root].keep;
}

static void find_values(search *s)
{
    const dni_program *p = s->p;
    bool *rounded = s->narrow; /* not in use yet */
    follow_products(s, rounded);
    for (size_t t = 0; t < s->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        s->can[t] = info->storage == (dni_tensor)t && dni_is_placed(info) &&
                    info->dtype == DN_F32 && dni_shape_count(&info->shape) >= LEAST_COUNT &&
                    dni_starts_written(p, (dni_tensor)t) &&
                    (rounded[t] || only_products_read(s, (dni_tensor)t));
    }
    for (size_t i = 0; i < s->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        const node *n = &s->nodes[i];
        for (int32_t k = 0; k < op->num_outputs; k++)
            if (op->outputs[k] != DNI_NONE && (!n->can || !(n->out >> k & 1) || !is_ours(op)))
                s->can[dni_root(p, op->outputs[k])] = false;
        for (int32_t k = 0; k < op->num_inputs; k++) /* what is shown is not converted first */
            if (op->inputs[k] != DNI_NONE && (!n->can || !n->mixed) && !is_ours(op))
                s->can[dni_root(p, op->inputs[k])] = false;
    }
}

/* ---- the search -------------------------------------------------------------------------- */

/* An op has all its results in one type, and a value is what all that write it make. */
static void settle(search *s)
{
    const dni_program *p = s->p;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < s->num_ops; i++) {
            const dni_op *op = &p->ops[i];
            node *n = &s->nodes[i];
            if (n->mixed && !n->wide)
                continue;
            n->narrow &= !n->wide;
            for (int32_t k = 0; k < op->num_outputs && n->narrow; k++)
                if (n->out >> k & 1 && !s->narrow[dni_root(p, op->outputs[k])])
                    n->narrow = false;
            for (int32_t k = 0; k < op->num_outputs && !n->narrow; k++)
                if (n->out >> k & 1 && s->narrow[dni_root(p, op->outputs[k])]) {
                    s->narrow[dni_root(p, op->outputs[k])] = false;
                    changed = true;
                }
        }
    }
}

/* Does op i take operand `bit` of a value that lies as bf16, or not, as it is? */
static bool takes(const node *n, uint32_t bits, int32_t k, bool narrow)
{
    if (!(bits >> k & 1) || !n->can)
        return !narrow;
    return (n->mixed && n->narrow) || n->narrow == narrow;
}

static double count_of(const search *s, dni_tensor t)
{
    return (double)dni_shape_count(&s->p->tensors[t].shape);
}

/* Nanoseconds: bytes moved by activations, and products. */
static double total_cost(search *s)
{
    const dni_program *p = s->p;
    double bytes = 0, products = 0;
    memset(s->cast, 0, s->num_tensors * sizeof *s->cast);
    for (size_t i = 0; i < s->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        const node *n = &s->nodes[i];
        if (n->cost[0] > 0 && n->cost[1] > 0)
            products += n->cost[n->narrow];
        for (int32_t k = 0; k < op->num_inputs && is_ours(op); k++) {
            dni_tensor root = dni_root(p, op->inputs[k]);
            if (root == DNI_NONE)
                continue;
            bool as_is = takes(n, n->in, k, s->narrow[root]);
            s->cast[root] |= !as_is;
            bytes += (s->narrow[root] == as_is ? 2 : 4) * count_of(s, op->inputs[k]);
        }
        for (int32_t k = 0; k < op->num_outputs && is_ours(op); k++)
            if (op->outputs[k] != DNI_NONE)
                bytes += (s->narrow[dni_root(p, op->outputs[k])] ? 2 : 4) *
                         count_of(s, op->outputs[k]);
    }
    for (size_t t = 0; t < s->num_tensors; t++)
        bytes += s->cast[t] ? CAST_BYTES * count_of(s, (dni_tensor)t) : 0;
    return bytes / BYTES_PER_NS + products;
}

/* Is it converted itself, or made from what is? Others cannot gain from going back. */
static bool is_near_edge(const search *s, dni_tensor root)
{
    const dni_program *p = s->p;
    if (s->cast[root])
        return true;
    for (size_t i = dni_next_write(p, root, 0, s->num_ops); i < s->num_ops;
         i = dni_next_write(p, root, i + 1, s->num_ops))
        for (int32_t k = 0; k < p->ops[i].num_inputs; k++)
            if (p->ops[i].inputs[k] != DNI_NONE && s->cast[dni_root(p, p->ops[i].inputs[k])])
                return true;
    return false;
}

static void restore(search *s, const bool *narrow)
{
    memcpy(s->narrow, narrow, s->num_tensors * sizeof *narrow);
    for (size_t i = 0; i < s->num_ops; i++)
        s->nodes[i].narrow = s->nodes[i].can && !s->nodes[i].wide;
    settle(s);
}

/* Turns *flag, a value's `narrow` or a product's `wide`, unless that costs more. */
static bool turn(search *s, bool *flag, bool *before, double *cost)
{
    memcpy(before, s->narrow, s->num_tensors * sizeof *before);
    *flag = !*flag;
    settle(s);
    double other = total_cost(s);
    if (other < *cost) {
        *cost = other;
        return true;
    }
    *flag = !*flag;
    restore(s, before);
    total_cost(s);
    return false;
}

/* From all that can, one value after the other goes back to f32 where that saves, and products
 * that are faster so. */
static dn_status choose(search *s)
{
    bool *before = dni_alloc(s->p->heap, s->num_tensors, sizeof *before);
    if (!before)
        return DN_E_NOMEM;
    restore(s, s->can);
    double cost = total_cost(s);
    for (bool better = true; better;) {
        better = false;
        for (size_t t = 0; t < s->num_tensors; t++)
            if (s->narrow[t] && is_near_edge(s, (dni_tensor)t))
                better |= turn(s, &s->narrow[t], before, &cost);
        for (size_t i = 0; i < s->num_ops; i++) {
            node *n = &s->nodes[i];
            if (n->narrow && n->cost[0] > 0 && n->cost[0] < n->cost[1])
                better |= turn(s, &n->wide, before, &cost);
        }
    }
    dni_free(before);
    return DN_OK;
}

/* ---- applying --------------------------------------------------------------------------- */

typedef struct edit {
    dni_edit base;
    search *s;
} edit;

/* A new value like another, but of this type. */
static dni_tensor add_value(edit *e, dni_tensor like, int32_t dtype)
{
    return dni_edit_value(&e->base, like, dtype, e->s->p->tensors[like].layout);
}

static dn_status move_values(edit *e)
{
    search *s = e->s;
    for (size_t t = 0; t < s->num_tensors; t++) {
        dni_tensor root = s->p->tensors[t].storage;
        if (!s->narrow[root])
            continue;
        if (!s->p->tensors[root].keep) {
            s->p->tensors[t].dtype = DN_BF16;
        } else if (root == (dni_tensor)t) {
            e->base.moved[t] = add_value(e, root, DN_BF16);
            if (e->base.moved[t] == DNI_NONE)
                return DN_E_NOMEM;
        }
    }
    return DN_OK;
}

/* What op `at` reads, or writes, in place of t. */
static dn_status operand(edit *e, size_t at, dni_tensor t, bool as_is, dni_tensor *out)
{
    const search *s = e->s;
    dni_tensor root = dni_root(s->p, t), value = dni_edit_place(&e->base, root);
    dni_tensor *other = &e->base.other[root];
    *out = t;
    if (as_is && value == root)
        return DN_OK;
    if (!as_is && *other == DNI_NONE) {
        *other = add_value(e, value, s->narrow[root] ? DN_F32 : DN_BF16);
        if (*other == DNI_NONE ||
            !dni_edit_insert(&e->base, at, DN_OP_CAST, s->p->ops[at].section, value, *other))
            return DN_E_NOMEM;
    }
    return dni_edit_view(&e->base, t, as_is ? value : *other, s->p->tensors[t].layout, out);
}

static dn_status retype_op(edit *e, size_t at)
{
    search *s = e->s;
    const node *n = &s->nodes[at];
    dni_op op = s->p->ops[at]; /* the array may move */
    dn_status st = DN_OK;
    if (at && s->p->ops[at - 1].section != op.section) /* no copy lives into the next one */
        for (size_t t = 0; t < s->num_tensors; t++)
            e->base.other[t] = DNI_NONE;
    for (int32_t k = 0; !st && k < op.num_inputs; k++)
        if (op.inputs[k] != DNI_NONE)
            st = operand(e, at, op.inputs[k],
                         takes(n, n->in, k, s->narrow[dni_root(s->p, op.inputs[k])]) ||
                             op.section > DNI_BACKWARD,
                         &op.inputs[k]);
    for (int32_t k = 0; !st && k < op.num_outputs; k++) {
        if (op.outputs[k] == DNI_NONE)
            continue;
        e->base.other[dni_root(s->p, op.outputs[k])] = DNI_NONE; /* its copy is old now */
        st = operand(e, at, op.outputs[k], true, &op.outputs[k]);
    }
    s->p->ops[at] = op;
    return st;
}

static dn_status apply(search *s)
{
    edit e = {.s = s};
    dn_status st = dni_edit_begin(&e.base, s->p);
    if (!st)
        st = move_values(&e);
    for (size_t i = 0; !st && i < s->num_ops; i++)
        st = retype_op(&e, i);
    for (size_t t = 0; !st && t < s->num_tensors; t++)
        if (e.base.moved[t] != DNI_NONE &&
            !dni_edit_insert(&e.base, s->num_ops, DN_OP_CAST, DNI_SHOW, e.base.moved[t],
                             (dni_tensor)t))
            st = DN_E_NOMEM;
    return dni_edit_end(&e.base, st);
}

dn_status dni_choose_types(dni_rewrite *r)
{
    search s = {.r = r,
                .p = r->program,
                .num_ops = r->program->num_ops,
                .num_tensors = r->program->num_tensors};
    const dni_heap *heap = s.p->heap;
    if (s.p->compute != DN_COMPUTE_BF16)
        return DN_OK;
    s.nodes = dni_alloc(heap, s.num_ops, sizeof *s.nodes);
    s.can = dni_alloc(heap, 3 * s.num_tensors, sizeof *s.can);
    dn_status st = s.nodes && s.can ? DN_OK : DN_E_NOMEM;
    bool any = false;
    for (size_t i = 0; !st && i < s.num_ops; i++) {
        st = ask(&s, i);
        any |= s.nodes[i].can;
    }
    if (!st && any) {
        s.narrow = s.can + s.num_tensors;
        s.cast = s.narrow + s.num_tensors;
        find_values(&s);
        st = choose(&s);
        if (!st)
            st = apply(&s);
    }
    dni_free(s.nodes);
    dni_free(s.can);
    return st;
}
