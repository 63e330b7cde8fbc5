/* SPDX-License-Identifier: BSD-2-Clause
 * plan.c: compiles a program: asks the chain of backends for each op, places the tensors, resolves
 * pointers. One arena per section, allocated when the section is first needed, so that a net that
 * only runs forward never pays for gradients. */
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

#include "plan/place.h"

typedef struct compiled_op {
    const dn_backend_ops *ops; /* NULL: a host call, run by the plan itself */
    dn_op *op;
    void **in, **out; /* into pointers */
    char implementation[48];
    char declined[96];
} compiled_op;

struct dni_plan {
    dn_context *context;
    dni_program *program;
    compiled_op *ops;
    void **pointers; /* operands of all ops, one after the other */
    dni_section *home;  /* per tensor: the section whose arena it lies in */
    size_t *offset;     /* per tensor, of its storage */
    bool *shared;       /* per tensor: its place is used by others as well */
    size_t arena_size[DNI_SECTIONS];
    char *arena[DNI_SECTIONS];
    bool bound[DNI_SECTIONS];
    size_t scratch_size;
    void *scratch;
    dni_plan_sizes sizes;
};

static size_t element_size(int32_t dtype)
{
    static const uint8_t sizes[] = {4, 8, 2, 4, 8, 1};
    return sizes[dtype];
}

static bool is_placed(const dni_tensor_info *t)
{
    return t->role == DNI_DATA || t->role == DNI_DIFF || t->role == DNI_TEMP;
}

/* ---- choosing implementations --------------------------------------------------------------- */

static dn_operand operand_of(const dni_program *p, dni_tensor t)
{
    if (t == DNI_NONE)
        return (dn_operand){.dtype = -1};
    return (dn_operand){.dtype = p->tensors[t].dtype, .shape = p->tensors[t].shape};
}

static dn_status ask_chain(dni_plan *plan, const dn_op_desc *desc, compiled_op *c)
{
    dn_context *context = plan->context;
    for (int32_t i = 0; i < context->num_backends; i++) {
        const dni_backend_slot *slot = &context->backends[i];
        if (slot->ops->space != DN_SPACE_HOST)
            continue;
        dn_op_info info = {.struct_size = sizeof info};
        dn_status st = slot->ops->op_create(slot->backend, desc, &c->op, &info);
        if (st == DN_DECLINED) {
            if (!c->declined[0])
                snprintf(c->declined, sizeof c->declined, "%.12s: %.79s", slot->ops->name,
                         info.reason);
            continue;
        }
        if (st)
            return st;
        c->ops = slot->ops;
        snprintf(c->implementation, sizeof c->implementation, "%s",
                 info.implementation[0] ? info.implementation : slot->ops->name);
        if (info.scratch > plan->scratch_size)
            plan->scratch_size = info.scratch;
        return DN_OK;
    }
    return dni_fail(DN_E_UNSUPPORTED, "no backend of this context has it (%s)",
                    c->declined[0] ? c->declined : "the chain is empty");
}

static dn_status create_op(dni_plan *plan, size_t index)
{
    const dni_program *p = plan->program;
    const dni_op *op = &p->ops[index];
    compiled_op *c = &plan->ops[index];
    if (op->kind == DN_OP_HOST_CALL) {
        snprintf(c->implementation, sizeof c->implementation, "host");
        return DN_OK;
    }
    dn_operand in[DN_MAX_OPERANDS], out[DN_MAX_OPERANDS];
    for (int32_t i = 0; i < op->num_inputs; i++)
        in[i] = operand_of(p, op->inputs[i]);
    for (int32_t i = 0; i < op->num_outputs; i++)
        out[i] = operand_of(p, op->outputs[i]);
    dn_op_desc desc = {.struct_size = sizeof desc, .kind = op->kind,
                       .num_inputs = op->num_inputs, .num_outputs = op->num_outputs,
                       .inputs = in, .outputs = out, .args = op->args};
    return dni_in(ask_chain(plan, &desc, c), "op %s", dni_op_kind_of(op->kind)->name);
}

/* ---- placing tensors -------------------------------------------------------------------------- */

typedef struct life {
    size_t first, last;
    dni_section section; /* where it is first used */
    bool used, pinned;
} life;

static void touch(const dni_program *p, life *lives, dni_tensor t, size_t op)
{
    if (t == DNI_NONE)
        return;
    life *l = &lives[p->tensors[t].storage];
    if (!l->used) {
        l->used = true;
        l->first = op;
        l->section = p->ops[op].section;
    }
    l->last = op;
}

static void find_lives(const dni_plan *plan, bool compact, life *lives)
{
    const dni_program *p = plan->program;
    for (size_t i = 0; i < p->num_ops; i++) {
        for (int32_t k = 0; k < p->ops[i].num_inputs; k++)
            touch(p, lives, p->ops[i].inputs[k], i);
        for (int32_t k = 0; k < p->ops[i].num_outputs; k++)
            touch(p, lives, p->ops[i].outputs[k], i);
    }
    for (size_t t = 0; t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        life *l = &lives[info->storage];
        if (info->role == DNI_DATA || info->role == DNI_DIFF) {
            l->pinned |= info->keep || !compact;
            l->section = info->role == DNI_DATA ? DNI_FORWARD : DNI_BACKWARD;
        }
    }
}

/* Places the tensors of one section's arena. */
static dn_status place_section(dni_plan *plan, dni_section section, const life *lives,
                               dni_place_item *items)
{
    const dni_program *p = plan->program;
    const dni_heap *heap = &plan->context->heap;
    size_t count = 0;
    for (size_t t = 0; t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        const life *l = &lives[t];
        bool own = info->storage == (dni_tensor)t;
        if (!is_placed(info) || !own || l->section != section || (!l->used && !l->pinned))
            continue;
        size_t bytes;
        if (!dni_mul((size_t)dni_shape_count(&info->shape), element_size(info->dtype), &bytes))
            return dni_fail(DN_E_SHAPE, "a tensor is too large for this machine");
        items[count++] = (dni_place_item){.bytes = bytes, .first = l->pinned ? 0 : l->first,
                                          .last = l->pinned ? SIZE_MAX : l->last};
        size_t *kind = info->role == DNI_DATA   ? &plan->sizes.data
                       : info->role == DNI_DIFF ? &plan->sizes.diff
                                                : &plan->sizes.temp;
        *kind += bytes;
    }
    dn_status st = dni_place(heap, items, count, &plan->arena_size[section]);
    for (size_t t = 0, i = 0; !st && t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        const life *l = &lives[t];
        bool own = info->storage == (dni_tensor)t;
        if (!is_placed(info) || !own || l->section != section || (!l->used && !l->pinned))
            continue;
        plan->home[t] = section;
        plan->shared[t] = !l->pinned;
        plan->offset[t] = items[i++].offset;
    }
    return st;
}

static dn_status place_tensors(dni_plan *plan, const dni_plan_options *options)
{
    const dni_program *p = plan->program;
    const dni_heap *heap = &plan->context->heap;
    life *lives = dni_alloc(heap, p->num_tensors, sizeof *lives);
    dni_place_item *items = dni_alloc(heap, p->num_tensors, sizeof *items);
    dn_status st = lives && items ? DN_OK : DN_E_NOMEM;
    if (!st)
        find_lives(plan, options->compact, lives);
    for (int s = 0; !st && s < DNI_SECTIONS; s++)
        st = place_section(plan, (dni_section)s, lives, items);
    dni_free(heap, lives);
    dni_free(heap, items);
    return st;
}

/* ---- compile and free ----------------------------------------------------------------------- */

static dn_status set_up(dni_plan *plan)
{
    const dni_program *p = plan->program;
    const dni_heap *heap = &plan->context->heap;
    size_t operands = 0;
    for (size_t i = 0; i < p->num_ops; i++)
        operands += (size_t)(p->ops[i].num_inputs + p->ops[i].num_outputs);
    plan->ops = dni_alloc(heap, p->num_ops, sizeof *plan->ops);
    plan->pointers = dni_alloc(heap, operands, sizeof *plan->pointers);
    plan->home = dni_alloc(heap, p->num_tensors, sizeof *plan->home);
    plan->offset = dni_alloc(heap, p->num_tensors, sizeof *plan->offset);
    plan->shared = dni_alloc(heap, p->num_tensors, sizeof *plan->shared);
    if (!plan->ops || !plan->pointers || !plan->home || !plan->offset || !plan->shared)
        return DN_E_NOMEM;
    void **at = plan->pointers;
    for (size_t i = 0; i < p->num_ops; i++) {
        plan->ops[i].in = at;
        plan->ops[i].out = at + p->ops[i].num_inputs;
        at = plan->ops[i].out + p->ops[i].num_outputs;
    }
    return DN_OK;
}

static dn_status check_limit(const dni_plan *plan, size_t limit)
{
    size_t total = plan->scratch_size;
    for (int s = 0; s < DNI_SECTIONS; s++)
        total += plan->arena_size[s];
    if (limit && total > limit)
        return dni_fail(DN_E_LIMIT, "the net needs %zu bytes for blobs and scratch, the limit "
                                    "leaves %zu", total, limit);
    return DN_OK;
}

dn_status dni_plan_compile(dni_plan **out, dn_context *context, dni_program *program,
                           const dni_plan_options *options)
{
    dni_plan_options o = {0};
    if (options)
        o = *options;
    dni_plan *plan = dni_alloc(&context->heap, 1, sizeof *plan);
    if (!plan)
        return DN_E_NOMEM;
    plan->context = context;
    plan->program = program;
    dn_status st = set_up(plan);
    if (!st)
        st = place_tensors(plan, &o);
    for (size_t i = 0; !st && i < program->num_ops; i++)
        st = create_op(plan, i);
    plan->sizes.scratch = plan->scratch_size;
    if (!st)
        st = check_limit(plan, o.limit);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_plan_free(plan);
        dni_restore_error(&saved);
        return st;
    }
    *out = plan;
    return DN_OK;
}

void dni_plan_free(dni_plan *plan)
{
    if (!plan)
        return;
    const dni_heap *heap = &plan->context->heap;
    for (size_t i = 0; plan->ops && i < plan->program->num_ops; i++)
        if (plan->ops[i].op)
            plan->ops[i].ops->op_destroy(plan->ops[i].op);
    for (int s = 0; s < DNI_SECTIONS; s++)
        dni_free_aligned(heap, plan->arena[s]);
    dni_free_aligned(heap, plan->scratch);
    dni_free(heap, plan->ops);
    dni_free(heap, plan->pointers);
    dni_free(heap, plan->home);
    dni_free(heap, plan->offset);
    dni_free(heap, plan->shared);
    dni_free(heap, plan);
}

/* ---- binding -------------------------------------------------------------------------------- */

void *dni_plan_memory(const dni_plan *plan, dni_tensor tensor)
{
    if (tensor == DNI_NONE)
        return NULL;
    const dni_tensor_info *info = &plan->program->tensors[tensor];
    dni_tensor root = info->storage;
    if (!is_placed(info))
        return plan->program->tensors[root].memory;
    char *arena = plan->arena[plan->home[root]];
    return arena ? arena + plan->offset[root] : NULL;
}

bool dni_plan_readable(const dni_plan *plan, dni_tensor tensor)
{
    return !plan->shared[plan->program->tensors[tensor].storage];
}

static dn_status resolve(dni_plan *plan, dni_section section)
{
    const dni_program *p = plan->program;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        if (op->section != section)
            continue;
        for (int32_t k = 0; k < op->num_inputs; k++)
            plan->ops[i].in[k] = dni_plan_memory(plan, op->inputs[k]);
        for (int32_t k = 0; k < op->num_outputs; k++) {
            plan->ops[i].out[k] = dni_plan_memory(plan, op->outputs[k]);
            if (op->outputs[k] != DNI_NONE && !plan->ops[i].out[k])
                return dni_fail(DN_E_INTERNAL, "op %zu has an output without memory", i);
        }
    }
    return DN_OK;
}

dn_status dni_plan_bind(dni_plan *plan, dni_section section)
{
    const dni_heap *heap = &plan->context->heap;
    if (plan->bound[section])
        return DN_OK;
    if (plan->scratch_size && !plan->scratch) {
        plan->scratch = dni_alloc_aligned(heap, plan->scratch_size);
        if (!plan->scratch)
            return DN_E_NOMEM;
    }
    if (plan->arena_size[section] && !plan->arena[section]) {
        plan->arena[section] = dni_alloc_aligned(heap, plan->arena_size[section]);
        if (!plan->arena[section])
            return DN_E_NOMEM;
        memset(plan->arena[section], 0, plan->arena_size[section]);
    }
    dn_status st = resolve(plan, section);
    plan->bound[section] = !st;
    return st;
}

dn_status dni_plan_rebind(dni_plan *plan)
{
    dn_status st = DN_OK;
    for (int s = 0; !st && s < DNI_SECTIONS; s++)
        if (plan->bound[s])
            st = resolve(plan, (dni_section)s);
    return st;
}

/* ---- running -------------------------------------------------------------------------------- */

dn_status dni_plan_run(dni_plan *plan, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const compiled_op *c = &plan->ops[i];
        dn_status st;
        if (c->ops) {
            dn_op_io io = {.struct_size = sizeof io, .in = c->in, .out = c->out,
                           .scratch = plan->scratch};
            st = c->ops->op_run(c->op, &io);
        } else {
            const dn_args_host_call *a = (const dn_args_host_call *)plan->program->ops[i].args;
            st = a->fn(a->user, c->in, c->out);
        }
        if (st)
            return st;
    }
    return DN_OK;
}

dni_plan_sizes dni_plan_size(const dni_plan *plan)
{
    return plan->sizes;
}

const char *dni_plan_implementation(const dni_plan *plan, size_t op)
{
    return plan->ops[op].implementation;
}

const char *dni_plan_declined(const dni_plan *plan, size_t op)
{
    return plan->ops[op].declined;
}
