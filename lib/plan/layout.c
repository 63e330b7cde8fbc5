/* SPDX-License-Identifier: BSD-2-Clause
 * layout.c: which ops run in NHWC. Every op has a cost in each layout, every image that is read
 * in the other one a conversion; from "all that can" single ops go back to plain while that
 * saves. NHWC is taken only if it beats plain by a margin: near the line plain keeps Caffe's
 * order of summation. A readable blob that lies as NHWC is shown by a conversion when the host
 * looks. */
#include <string.h>

#include "plan/choose.h"
#include "plan/edit.h"
#include "plan/relayout.h"

#define MARGIN 0.97
#define BYTES_PER_NS                                                                           \
    8.0 /* one core, reading and writing: what a conversion runs at; a device's                \
           backend says what it takes */
#define ROUNDS 3

typedef struct node { /* an op */
    uint32_t in, out; /* images */
    bool can;         /* runs in NHWC */
    int32_t group;    /* ops that write one image together */
    double cost[2];
} node;

typedef struct picture { /* a storage that holds an image */
    bool is;             /* ... whose layout matters and can be chosen */
    int32_t group;       /* of the ops that write it; -1: none yet */
    int32_t reads[2];    /* times that it is read in this layout */
    int64_t seen;        /* by which look around a group */
} picture;

typedef struct search {
    dni_rewrite *r;
    dni_program *p;
    size_t num_ops, num_tensors; /* at first */
    node *nodes;
    picture *pictures;       /* per tensor that is its own storage */
    bool *nhwc;              /* per group */
    bool *stuck;             /* per group: plain */
    size_t *first, *members; /* ops of group g: members [first[g], first[g + 1]) */
    int64_t looks;
    double rate; /* bytes a nanosecond */
} search;

/* ---- what each op can, and costs --------------------------------------------------------- */

static bool is_convolution(int32_t kind)
{
    return kind >= DN_OP_CONV && kind <= DN_OP_CONV_BWD_WEIGHTS;
}

static dn_status cost_of(const search *s, const dni_op *op, uint32_t in, uint32_t out,
                         dni_choice *choice)
{
    dn_status st = dni_choose_as(s->r->context, s->p, op, in, out, choice);
    if (!st && choice->op)
        choice->ops->op_destroy(choice->op);
    return st;
}

/* What conversions run at: of the largest image, as a device's backend has it. */
static dn_status find_rate(search *s)
{
    dni_tensor large = DNI_NONE;
    size_t bytes = 0;
    s->rate = BYTES_PER_NS;
    for (size_t t = 0; t < s->num_tensors && s->r->context->mirror; t++) {
        const dni_tensor_info *info = &s->p->tensors[t];
        if (info->shape.axes >= 4 && info->dtype == DN_F32 && dni_tensor_bytes(info) > bytes) {
            bytes = dni_tensor_bytes(info);
            large = (dni_tensor)t;
        }
    }
    if (large == DNI_NONE)
        return DN_OK;
    dn_args_copy args = {.base.struct_size = sizeof args};
    dni_choice choice;
    dni_op op = {.kind = DN_OP_COPY,
                 .num_inputs = 1,
                 .num_outputs = 1,
                 .inputs = {large},
                 .outputs = {large},
                 .args = &args.base};
    dni_conversion(&s->p->tensors[large].shape, DN_LAYOUT_PLAIN, DN_LAYOUT_NHWC, &args);
    dn_status st = cost_of(s, &op, 0, 0, &choice);
    if (!st && choice.cost > 0 && choice.ops->space == DN_SPACE_DEVICE)
        s->rate = 2 * (double)bytes / choice.cost;
    return st;
}

/* A first convolution that takes its images as they come and makes NHWC of them needs no
 * conversion. */
static dn_status read_planes(const search *s, const dni_op *op, node *n)
{
    dni_choice choice;
    if (op->kind != DN_OP_CONV || !n->can || s->r->context->mirror)
        return DN_OK;
    dni_tensor x = dni_root(s->p, op->inputs[0]);
    if (dni_is_flat(&s->p->tensors[x].shape) ||
        dni_next_write(s->p, x, 0, s->p->num_ops) < s->p->num_ops)
        return DN_OK;
    double copy = 2 * (double)dni_tensor_bytes(&s->p->tensors[x]) / s->rate;
    dn_status st = cost_of(s, op, 0, n->out, &choice);
    bool wide = !st && (s->p->compute == DN_COMPUTE_F32 || !choice.offered);
    if (wide && choice.cost > 0 && choice.cost < n->cost[1] + copy &&
        !dni_is_last_resort(s->r->context, &choice)) {
        n->in = 0;
        n->cost[1] = choice.cost;
    }
    return st;
}

/* Convolutions are worth turning a net for, and nothing is known of them but what their backend
 * says; the rest moves its bytes in either layout. */
static dn_status weigh(search *s, size_t i)
{
    const dni_op *op = &s->p->ops[i];
    node *n = &s->nodes[i];
    dni_choice plain, turned;
    dni_trial trial;
    bool ours = op->section == DNI_FORWARD || op->section == DNI_BACKWARD;
    n->group = -1;
    if (!ours || !dni_images_of(s->p, op, &n->in, &n->out))
        return DN_OK;
    dni_trial_of(&trial, op);
    if (!dni_relayout(s->p, &trial, n->in, n->out))
        return DN_OK;
    bool knows = dni_knows_layouts(op->kind), forced = s->r->context->nhwc;
    dn_status st = cost_of(s, op, 0, 0, &plain);
    if (!st)
        st = cost_of(s, &trial.op, knows ? n->in : 0, knows ? n->out : 0, &turned);
    if (st)
        return st;
    n->cost[0] =
        plain.cost > 0 && turned.cost > 0 ? plain.cost : dni_op_bytes(s->p, op) / s->rate;
    n->cost[1] = plain.cost > 0 && turned.cost > 0 ? turned.cost : n->cost[0];
    bool worse = dni_is_last_resort(s->r->context, &turned) &&
                 !dni_is_last_resort(s->r->context, &plain);
    n->can = forced ||
             (!worse && (!is_convolution(op->kind) || (plain.cost > 0 && turned.cost > 0)));
    return read_planes(s, op, n);
}

static void find_pictures(search *s)
{
    const dni_program *p = s->p;
    for (size_t t = 0; t < s->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        s->pictures[t].group = -1;
        s->pictures[t].is = info->storage == (dni_tensor)t && dni_is_placed(info) &&
                            info->shape.axes >= 4 && !dni_is_flat(&info->shape) &&
                            dni_starts_written(p, (dni_tensor)t);
    }
}

/* A group that joined others is that of its last op; each op knows one nearer to that. */
static int32_t group_of(const search *s, int32_t op)
{
    for (int32_t to; (to = s->nodes[op].group) != op; op = to)
        s->nodes[op].group = s->nodes[to].group;
    return op;
}

/* Neither an image whose layout is chosen nor one that is the same in both. */
static bool is_fixed(const search *s, const node *n, int32_t output, dni_tensor root)
{
    return n->out >> output & 1 && !s->pictures[root].is &&
           !dni_is_flat(&s->p->tensors[root].shape);
}

/* Op i has the layout of those that write the image or read its mask, as one that is turned with it or not. */
static void join(search *s, size_t i, dni_tensor root, bool turns)
{
    picture *m = &s->pictures[root];
    s->stuck[i] |= !turns;
    if (m->group >= 0) {
        int32_t joins = group_of(s, m->group);
        s->stuck[i] |= s->stuck[joins];
        s->nodes[joins].group = (int32_t)i;
    }
    m->group = (int32_t)i;
}

/* Ops that write one image have one layout; so have the images that one op writes, and whoever
 * reads a mask of integers, which nothing converts. */
static void find_groups(search *s)
{
    const dni_program *p = s->p;
    for (size_t i = 0; i < s->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        node *n = &s->nodes[i];
        n->group = (int32_t)i;
        s->stuck[n->group] = !n->can;
        for (int32_t k = 0; k < op->num_inputs; k++) {
            dni_tensor root = dni_root(p, op->inputs[k]);
            if (root != DNI_NONE && s->pictures[root].is && p->tensors[root].dtype == DN_I32)
                join(s, i, root, n->in >> k & 1);
        }
        for (int32_t k = 0; k < op->num_outputs; k++) {
            dni_tensor root = dni_root(p, op->outputs[k]);
            if (root == DNI_NONE)
                continue;
            s->stuck[i] |= is_fixed(s, n, k, root);
            if (s->pictures[root].is)
                join(s, i, root, n->out >> k & 1);
        }
    }
}

static void list_members(search *s)
{
    for (size_t i = 0; i < s->num_ops; i++) {
        s->nodes[i].group = group_of(s, (int32_t)i);
        s->first[s->nodes[i].group]++;
    }
    for (size_t t = 0; t < s->num_tensors; t++)
        if (s->pictures[t].group >= 0)
            s->pictures[t].group = group_of(s, s->pictures[t].group);
    for (size_t g = 0; g < s->num_ops; g++)
        s->first[g + 1] += s->first[g]; /* where it ends, until all are listed */
    for (size_t i = s->num_ops; i-- > 0;)
        s->members[--s->first[s->nodes[i].group]] = i;
}

/* ---- the search -------------------------------------------------------------------------- */

static bool is_nhwc(const search *s, dni_tensor root)
{
    const picture *m = &s->pictures[root];
    return m->is && m->group >= 0 && s->nhwc[m->group];
}

/* To have it in the layouts that it is read in. */
static double conversion_cost(const search *s, dni_tensor root)
{
    const dni_tensor_info *info = &s->p->tensors[root];
    bool image = info->shape.axes >= 4 && !dni_is_flat(&info->shape);
    bool converted = image && s->pictures[root].reads[!is_nhwc(s, root)] > 0;
    return converted ? 2 * (double)dni_tensor_bytes(info) / s->rate : 0;
}

static void count_reads(search *s, size_t i, int32_t by)
{
    const dni_op *op = &s->p->ops[i];
    const node *n = &s->nodes[i];
    bool turned = s->nhwc[n->group];
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (op->inputs[k] != DNI_NONE)
            s->pictures[dni_root(s->p, op->inputs[k])].reads[turned && n->in >> k & 1] += by;
}

static double total_cost(search *s)
{
    double cost = 0;
    for (size_t t = 0; t < s->num_tensors; t++)
        s->pictures[t].reads[0] = s->pictures[t].reads[1] = 0;
    for (size_t i = 0; i < s->num_ops; i++) {
        count_reads(s, i, 1);
        cost += s->nodes[i].cost[s->nhwc[s->nodes[i].group]];
    }
    for (size_t t = 0; t < s->num_tensors; t++)
        if (s->p->tensors[t].storage == (dni_tensor)t)
            cost += conversion_cost(s, (dni_tensor)t);
    return cost;
}

/* The part of it that flipping the group changes: its ops, and what they read and write. */
static double cost_around(search *s, size_t g)
{
    double cost = 0;
    s->looks++;
    for (size_t m = s->first[g]; m < s->first[g + 1]; m++) {
        const dni_op *op = &s->p->ops[s->members[m]];
        cost += s->nodes[s->members[m]].cost[s->nhwc[g]];
        for (int32_t k = 0; k < op->num_inputs + op->num_outputs; k++) {
            dni_tensor root = dni_root(s->p, dni_operand(op, k));
            if (root == DNI_NONE || s->pictures[root].seen == s->looks)
                continue;
            s->pictures[root].seen = s->looks;
            cost += conversion_cost(s, root);
        }
    }
    return cost;
}

static void flip(search *s, size_t g)
{
    for (size_t m = s->first[g]; m < s->first[g + 1]; m++)
        count_reads(s, s->members[m], -1);
    s->nhwc[g] = !s->nhwc[g];
    for (size_t m = s->first[g]; m < s->first[g + 1]; m++)
        count_reads(s, s->members[m], 1);
}

/* Flips one group after the other, keeping what saves. Reads are counted. */
static void descend(search *s)
{
    bool saved = true;
    for (int round = 0; round < ROUNDS && saved; round++) {
        saved = false;
        for (size_t g = 0; g < s->num_ops; g++) {
            if (s->stuck[g])
                continue;
            double before = cost_around(s, g);
            flip(s, g);
            if (cost_around(s, g) < before)
                saved = true;
            else
                flip(s, g);
        }
    }
}

static bool choose(search *s)
{
    double plain = total_cost(s);
    bool any = false;
    for (size_t g = 0; g < s->num_ops; g++) {
        s->nhwc[g] = !s->stuck[g];
        any |= s->nhwc[g];
    }
    if (s->r->context->nhwc || !any)
        return any;
    total_cost(s);
    descend(s);
    return total_cost(s) < MARGIN * plain;
}

/* ---- applying --------------------------------------------------------------------------- */

typedef struct edit {
    dni_edit base;
    search *s;
} edit;

static dn_status move_pictures(edit *e)
{
    search *s = e->s;
    for (size_t t = 0; t < s->num_tensors; t++) {
        dni_tensor root = s->p->tensors[t].storage;
        if (!is_nhwc(s, root) || s->p->tensors[t].shape.axes < 4)
            continue;
        if (!s->p->tensors[root].keep) {
            s->p->tensors[t].layout = DN_LAYOUT_NHWC;
        } else if (root == (dni_tensor)t) {
            e->base.moved[t] =
                dni_edit_value(&e->base, root, s->p->tensors[t].dtype, DN_LAYOUT_NHWC);
            if (e->base.moved[t] == DNI_NONE)
                return DN_E_NOMEM;
        }
    }
    return DN_OK;
}

/* Same memory, said to be NHWC: what an op that knows layouts is shown of a flat image. */
static dn_status flat_view(edit *e, dni_tensor t, dni_tensor *out)
{
    dni_tensor_info view = e->s->p->tensors[t];
    view.layout = DN_LAYOUT_NHWC;
    view.keep = false;
    *out = dni_program_tensor(e->s->p, &view);
    return *out == DNI_NONE ? DN_E_NOMEM : DN_OK;
}

static dn_status add_conversion(edit *e, size_t at, dni_tensor from, dni_tensor to,
                                dni_section section)
{
    const dni_tensor_info *info = e->s->p->tensors;
    dni_op *op = dni_edit_insert(&e->base, at, DN_OP_COPY, section, from, to);
    if (!op)
        return DN_E_NOMEM;
    dni_conversion(&info[from].shape, info[from].layout, info[to].layout,
                   (dn_args_copy *)op->args);
    return DN_OK;
}

static dn_status other_layout(edit *e, size_t at, dni_tensor root, dni_tensor *out)
{
    dni_program *p = e->s->p;
    dni_tensor from = dni_edit_place(&e->base, root), *other = &e->base.other[root];
    if (*other == DNI_NONE) {
        bool nhwc = p->tensors[from].layout == DN_LAYOUT_NHWC;
        dni_tensor made = dni_edit_value(&e->base, from, p->tensors[from].dtype,
                                         nhwc ? DN_LAYOUT_PLAIN : DN_LAYOUT_NHWC);
        if (made == DNI_NONE)
            return DN_E_NOMEM;
        dn_status st = add_conversion(e, at, from, made, p->ops[at].section);
        if (st)
            return st;
        *other = made;
    }
    *out = *other;
    return DN_OK;
}

/* What op `at` reads or writes in place of t, an image or not, running in this layout. */
static dn_status operand_in(edit *e, size_t at, dni_tensor t, bool image, bool turned,
                            bool output, dni_tensor *out)
{
    search *s = e->s;
    const dni_tensor_info *info = &s->p->tensors[t];
    dni_tensor root = info->storage;
    bool wanted = image && turned, flat = image && dni_is_flat(&info->shape);
    *out = t;
    if (flat)
        return wanted && dni_knows_layouts(s->p->ops[at].kind) ? flat_view(e, t, out) : DN_OK;
    if (is_nhwc(s, root) == wanted || output) {
        *out = e->base.moved[root] == DNI_NONE || !is_nhwc(s, root) ? t : e->base.moved[root];
        return DN_OK;
    }
    dni_tensor made;
    dn_status st = other_layout(e, at, root, &made);
    if (st)
        return st;
    *out = made;
    return image ? DN_OK : dni_edit_view(&e->base, t, made, DN_LAYOUT_PLAIN, out);
}

static dn_status turn_op(edit *e, size_t at)
{
    search *s = e->s;
    const node *n = &s->nodes[at];
    bool turned = s->nhwc[n->group];
    dni_trial trial;
    dn_status st = DN_OK;
    dni_trial_of(&trial, &s->p->ops[at]);
    if (turned)
        dni_relayout(s->p, &trial, n->in, n->out);
    for (int32_t k = 0; !st && k < trial.op.num_inputs; k++)
        if (trial.op.inputs[k] != DNI_NONE)
            st = operand_in(e, at, trial.op.inputs[k], n->in >> k & 1, turned, false,
                            &trial.op.inputs[k]);
    for (int32_t k = 0; !st && k < trial.op.num_outputs; k++) {
        if (trial.op.outputs[k] == DNI_NONE)
            continue;
        e->base.other[dni_root(s->p, trial.op.outputs[k])] = DNI_NONE; /* its copy is old now */
        st = operand_in(e, at, trial.op.outputs[k], n->out >> k & 1, turned, true,
                        &trial.op.outputs[k]);
    }
    return st ? st : dni_trial_adopt(&trial, s->p, at);
}

static dn_status apply(search *s)
{
    edit e = {.s = s};
    dn_status st = dni_edit_begin(&e.base, s->p);
    if (!st)
        st = move_pictures(&e);
    for (size_t i = 0; !st && i < s->num_ops; i++)
        st = turn_op(&e, i);
    for (size_t t = 0; !st && t < s->num_tensors; t++)
        if (e.base.moved[t] != DNI_NONE)
            st = add_conversion(&e, s->num_ops, e.base.moved[t], (dni_tensor)t, DNI_SHOW);
    return dni_edit_end(&e.base, st);
}

dn_status dni_choose_layouts(dni_rewrite *r)
{
    search s = {.r = r,
                .p = r->program,
                .num_ops = r->program->num_ops,
                .num_tensors = r->program->num_tensors};
    const dni_heap *heap = s.p->heap;
    s.nodes = dni_alloc(heap, s.num_ops, sizeof *s.nodes);
    s.pictures = dni_alloc(heap, s.num_tensors, sizeof *s.pictures);
    s.nhwc = dni_alloc(heap, s.num_ops, sizeof *s.nhwc);
    s.stuck = dni_alloc(heap, s.num_ops, sizeof *s.stuck);
    s.first = dni_alloc(heap, s.num_ops + 1, sizeof *s.first);
    s.members = dni_alloc(heap, s.num_ops, sizeof *s.members);
    dn_status st =
        s.nodes && s.pictures && s.nhwc && s.stuck && s.first && s.members ? DN_OK : DN_E_NOMEM;
    bool any = false;
    if (!st)
        st = find_rate(&s);
    for (size_t i = 0; !st && i < s.num_ops; i++) {
        st = weigh(&s, i);
        any |= s.nodes[i].can;
    }
    if (!st)
        find_pictures(&s);
    if (!st && any) {
        find_groups(&s);
        list_members(&s);
        if (choose(&s))
            st = apply(&s);
    }
    dni_free(s.nodes);
    dni_free(s.pictures);
    dni_free(s.nhwc);
    dni_free(s.stuck);
    dni_free(s.first);
    dni_free(s.members);
    return st;
}
