/* SPDX-License-Identifier: BSD-2-Clause
 * steps.c: compiles and binds a list of steps. Memory of a section is allocated when it is
 * first needed, so that a net that only runs forward never pays for gradients. */
#include "plan/steps.h"

#include <string.h>

#include "plan/device.h"
#include "plan/passes.h"

/* ---- compile and free -------------------------------------------------------------------- */

static dn_status set_up(dni_steps *s)
{
    const dni_program *p = s->program;
    const dni_heap *heap = p->heap;
    size_t operands = 0;
    for (size_t i = 0; i < p->num_ops; i++)
        operands += (size_t)(p->ops[i].num_inputs + p->ops[i].num_outputs);
    s->steps = dni_alloc(heap, p->num_ops, sizeof *s->steps);
    s->choices = dni_alloc(heap, p->num_ops, sizeof *s->choices);
    s->keep_at = dni_alloc(heap, p->num_ops, sizeof *s->keep_at);
    s->scratch_at = dni_alloc(heap, p->num_ops, sizeof *s->scratch_at);
    s->lane = dni_alloc(heap, p->num_ops, sizeof *s->lane);
    s->fresh = dni_alloc(heap, p->num_ops, sizeof *s->fresh);
    s->taken_by = dni_alloc(heap, p->num_ops, sizeof *s->taken_by);
    s->fleeting = dni_alloc(heap, p->num_tensors, sizeof *s->fleeting);
    s->overwritten = dni_alloc(heap, p->num_tensors, sizeof *s->overwritten);
    s->pointers = dni_alloc(heap, operands, sizeof *s->pointers);
    s->lies_in = dni_alloc(heap, p->num_tensors, sizeof *s->lies_in);
    s->home = dni_alloc(heap, p->num_tensors, sizeof *s->home);
    s->offset = dni_alloc(heap, p->num_tensors, sizeof *s->offset);
    if (!s->fresh || !s->overwritten || !s->steps || !s->choices || !s->keep_at ||
        !s->pointers || !s->lies_in || !s->home || !s->offset || !s->taken_by || !s->fleeting ||
        !s->scratch_at || !s->lane)
        return DN_E_NOMEM;
    void **at = s->pointers;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        s->steps[i].io =
            (dn_op_io){.struct_size = sizeof(dn_op_io), .in = at, .out = at + op->num_inputs};
        at += op->num_inputs + op->num_outputs;
        if (s->first[op->section] == s->end[op->section])
            s->first[op->section] = i;
        s->end[op->section] = i + 1;
    }
    return DN_OK;
}

static void need_scratch(dni_steps *s, size_t i, size_t bytes)
{
    if (bytes > s->scratch_size)
        s->scratch_size = bytes;
    if (bytes > s->host_scratch && !s->steps[i].on_device)
        s->host_scratch = bytes;
}

static dn_status create_ops(dni_steps *s)
{
    for (size_t i = 0; i < s->program->num_ops; i++) {
        dni_choice *c = &s->choices[i];
        dn_status st = dni_choose(s->context, s->program, &s->program->ops[i], c);
        if (!st)
            st = dni_program_check(s->program);
        if (st)
            return st;
        s->steps[i].op = c->op;
        s->steps[i].run = c->ops ? c->ops->op_run : NULL;
        s->steps[i].on_device = c->ops && c->ops->space == DN_SPACE_DEVICE;
        need_scratch(s, i, c->scratch);
        s->host_keeps |= c->keep && !s->steps[i].on_device;
        s->keep_at[i] = s->keep_size;
        if (!dni_add(s->keep_size, c->keep, &s->keep_size) ||
            !dni_add(s->keep_size, 63, &s->keep_size))
            return dni_fail(DN_E_SHAPE, "an op keeps more than this machine has");
        s->keep_size &= ~(size_t)63;
    }
    return DN_OK;
}

/* Outputs of op i that add to a weight's gradient which nobody touched before: it has no end
 * yet. */
static uint32_t first_additions(const dni_program *p, size_t i, const dni_trial *overwriting)
{
    const dni_op *op = &p->ops[i];
    uint32_t first = 0;
    for (int32_t k = 0; k < op->num_outputs; k++) {
        dni_tensor t = op->outputs[k];
        if (t != DNI_NONE && p->tensors[t].role == DNI_WEIGHT_DIFF &&
            op->args->accumulate >> k & 1 && dni_untouched(p, dni_root(p, t), 0, i) &&
            dni_overwrites(p, &overwriting->op, k))
            first |= 1u << k;
    }
    return first;
}

static dn_status create_fresh_op(dni_steps *s, size_t i)
{
    const dni_program *p = s->program;
    dni_trial trial;
    dni_choice choice;
    dni_trial_of(&trial, &p->ops[i]);
    trial.args.base.accumulate = 0;
    uint32_t first = first_additions(p, i, &trial);
    if (!first)
        return DN_OK;
    trial.args.base.accumulate = p->ops[i].args->accumulate & ~first;
    dn_status st = dni_choose(s->context, p, &trial.op, &choice);
    if (st)
        return st;
    if (choice.ops != s->choices[i].ops || choice.keep) { /* not to be run as the same step */
        choice.ops->op_destroy(choice.op);
        return DN_OK;
    }
    s->fresh[i] = choice.op;
    need_scratch(s, i, choice.scratch);
    if (choice.scratch > s->choices[i].scratch)
        s->choices[i].scratch = choice.scratch;
    for (int32_t k = 0; k < p->ops[i].num_outputs; k++)
        if (first >> k & 1)
            s->overwritten[p->ops[i].outputs[k]] = true;
    return DN_OK;
}

static dn_status create_fresh_ops(dni_steps *s)
{
    dni_program *p = s->program;
    dn_status st = dni_note_all(p);
    for (size_t i = s->first[DNI_BACKWARD]; !st && i < s->end[DNI_BACKWARD]; i++)
        if (p->ops[i].kind != DN_OP_HOST_CALL)
            st = create_fresh_op(s, i);
    dni_forget_notes(p);
    return st;
}

/* The weights that some op takes as constant. */
static dn_status make_watches(dni_steps *s)
{
    const dni_program *p = s->program;
    size_t count = 0;
    for (size_t t = 0; t < p->num_tensors; t++)
        count += p->tensors[t].version != NULL;
    s->watches = dni_alloc(p->heap, count, sizeof *s->watches);
    if (!s->watches)
        return DN_E_NOMEM;
    for (size_t t = 0; t < p->num_tensors; t++)
        if (p->tensors[t].version && p->tensors[t].role == DNI_WEIGHT)
            s->watches[s->num_watches++] = (dni_watch){.tensor = (dni_tensor)t};
    return DN_OK;
}

/* Do two weights have one memory, as in a net on those of another that has them by one name?
 * What groups and fresh ops go by, that another tensor is other memory, does not hold then. */
static dn_status find_meeting(const dni_program *p, bool *meet)
{
    const dni_tensor_info *t = p->tensors;
    dni_index index = {0};
    dn_status st = DN_OK;
    *meet = false;
    for (size_t i = 0; !st && i < p->num_tensors && !*meet; i++) {
        const void *key = &t[i].memory;
        if (t[i].role != DNI_WEIGHT || !t[i].memory)
            continue;
        int32_t k = dni_index_first(&index, key, sizeof t[i].memory);
        for (; k >= 0; k = index.links[k].next)
            *meet |= t[k].memory == t[i].memory && t[k].storage != t[i].storage;
        st = dni_index_add(&index, p->heap, i, key, sizeof t[i].memory);
    }
    dni_free(index.links);
    return st;
}

static void drop_fresh_ops(dni_steps *s)
{
    for (size_t i = 0; s->fresh && i < s->program->num_ops; i++)
        if (s->fresh[i]) {
            s->choices[i].ops->op_destroy(s->fresh[i]);
            s->fresh[i] = NULL;
        }
}

dn_status dni_steps_compile(dni_steps *s, dn_context *context, dni_program *program,
                            dni_base *base, bool fresh)
{
    *s = (dni_steps){.context = context, .program = program, .base = base};
    dn_status st = set_up(s);
    bool in_turns = fresh && base->compact, meet;
    if (!st)
        st = find_meeting(program, &meet);
    fresh = fresh && !st && !meet;
    if (!st)
        st = create_ops(s);
    if (!st && fresh)
        st = dni_steps_find_groups(s);
    if (!st)
        st = dni_steps_find_fleeting(s);
    if (!st)
        st = dni_steps_place(s, in_turns);
    if (!st && fresh)
        st = create_fresh_ops(s);
    if (!st && !dni_steps_share_scratch(s))
        st = dni_fail(DN_E_SHAPE, "ops need more scratch than this machine has");
    if (!st && context->mirror)
        st = dni_sides_create(s);
    return st ? st : make_watches(s);
}

void dni_steps_free(dni_steps *s)
{
    if (!s->program)
        return;
    dni_sides_free(s);
    for (size_t i = 0; s->choices && i < s->program->num_ops; i++)
        if (s->choices[i].op)
            s->choices[i].ops->op_destroy(s->choices[i].op);
    drop_fresh_ops(s);
    for (int i = 0; i < DNI_SECTIONS; i++)
        dni_free_aligned(s->arena[i]);
    dni_free_aligned(s->scratch);
    dni_free_aligned(s->keep);
    dni_free(s->steps);
    dni_free(s->choices);
    dni_free(s->keep_at);
    dni_free(s->scratch_at);
    dni_free(s->groups);
    dni_free(s->lane);
    dni_free(s->fresh);
    dni_free(s->taken_by);
    dni_free(s->fleeting);
    dni_free(s->overwritten);
    dni_free(s->pointers);
    dni_free(s->lies_in);
    dni_free(s->home);
    dni_free(s->offset);
    dni_free(s->watches);
    *s = (dni_steps){0};
}

size_t dni_steps_bytes(const dni_steps *s)
{
    size_t bytes = s->scratch_size + s->keep_size;
    for (int i = 0; i < DNI_SECTIONS; i++)
        bytes += s->arena_size[i];
    return bytes;
}

/* ---- binding ----------------------------------------------------------------------------- */

void *dni_steps_memory(const dni_steps *s, dni_tensor tensor)
{
    if (tensor == DNI_NONE)
        return NULL;
    const dni_tensor_info *tensors = s->program->tensors;
    dni_tensor root = tensors[tensor].storage;
    if (!dni_is_placed(&tensors[root]))
        return tensors[root].memory;
    root = s->lies_in[root];
    if (dni_base_has(s->base, root))
        return dni_base_memory(s->base, s->program, root);
    char *arena = s->arena[s->home[root]];
    return arena ? arena + s->offset[root] : NULL;
}

dn_status dni_steps_resolve(dni_steps *s, size_t i)
{
    const dni_op *op = &s->program->ops[i];
    dni_step *step = &s->steps[i];
    void **at = (void **)step->io.in;
    dn_status st =
        dni_mirror_catch_up(s->context); /* what was put off has pointers of before */
    if (st)
        return st;
    for (int32_t k = 0; k < op->num_inputs; k++)
        *at++ = dni_steps_memory(s, op->inputs[k]);
    for (int32_t k = 0; k < op->num_outputs; k++, at++) {
        dni_tensor t = dni_output(op, k);
        *at = dni_steps_memory(s, t);
        if (t != DNI_NONE && !*at && !op->late &&
            dni_shape_count(&s->program->tensors[t].shape))
            return dni_fail(DN_E_INTERNAL, "op %zu has an output without memory", i);
    }
    step->io.scratch = s->scratch ? (char *)s->scratch + s->scratch_at[i] : NULL;
    step->io.keep = s->choices[i].keep && s->keep ? s->keep + s->keep_at[i] : NULL;
    return s->sides ? dni_sides_resolve(s, i) : DN_OK;
}

void dni_steps_advance(dni_steps *s, size_t first, size_t end, int32_t turns)
{
    for (size_t i = first; i < end; i++) {
        const dni_op *op = &s->program->ops[i];
        char **at = (char **)(uintptr_t)s->steps[i].io.in;
        for (int32_t k = 0; k < op->num_inputs + op->num_outputs; k++, at++) {
            dni_tensor t = dni_operand(op, k);
            if (t != DNI_NONE)
                *at += turns * (ptrdiff_t)s->program->tensors[t].advance;
        }
    }
}

static dn_status resolve(dni_steps *s, dni_section section)
{
    dn_status st = DN_OK;
    for (size_t i = s->first[section]; !st && i < s->end[section]; i++)
        st = dni_steps_resolve(s, i);
    return st;
}

dn_status dni_steps_bind(dni_steps *s, dni_section section)
{
    const dni_heap *heap = s->program->heap;
    if (s->bound[section])
        return DN_OK;
    dn_status st = dni_make_arena(heap, &s->scratch, s->host_scratch, false);
    if (!st && s->host_keeps)
        st = dni_make_arena(heap, &s->keep, s->keep_size, false);
    if (!st && (!s->sides || dni_sides_need_host(s, section)))
        st = dni_make_arena(heap, &s->arena[section], s->arena_size[section], true);
    if (!st && s->sides)
        st = dni_sides_bind(s, section);
    if (!st && section == DNI_FORWARD) /* it names what is only there while preparing */
        st = dni_steps_bind(s, DNI_PREPARE);
    if (!st)
        st = resolve(s, section);
    s->prepared = false;
    s->bound[section] = !st;
    return st;
}

/* Nothing goes by the old memory any more, whatever fails: what could not be resolved is bound
 * anew when it runs. */
dn_status dni_steps_rebind(dni_steps *s)
{
    bool meet;
    dn_status st = DN_OK;
    if (find_meeting(s->program, &meet)) { /* then as if */
        dni_clear_error();
        meet = true;
    }
    s->prepared = false;
    if (s->sides)
        dni_record_drop(s);
    for (int i = 0; i < DNI_SECTIONS; i++)
        if (s->bound[i]) {
            dn_status one = st ? st : resolve(s, (dni_section)i);
            s->bound[i] = !one;
            st = one;
        }
    if (meet) {
        drop_fresh_ops(s);
        memset(s->overwritten, 0, s->program->num_tensors * sizeof *s->overwritten);
        s->num_groups = 0;
    }
    return st;
}

/* ---- running ----------------------------------------------------------------------------- */

static bool weights_changed(const dni_steps *s)
{
    bool changed = !s->prepared;
    for (size_t i = 0; i < s->num_watches && !changed; i++) {
        uint64_t version = *s->program->tensors[s->watches[i].tensor].version;
        changed = version != s->watches[i].seen || version == DNI_VOLATILE;
    }
    return changed;
}

static dn_status prepare_op(dni_steps *s, size_t i)
{
    const dni_choice *c = &s->choices[i];
    if (!c->ops || !c->ops->op_prepare || !(c->constant || c->keep) ||
        !s->bound[s->program->ops[i].section])
        return DN_OK;
    if (s->sides)
        dni_mirror_lock(s->context);
    dn_status st = s->sides ? dni_sides_bring(s, i) : DN_OK;
    if (!st)
        st = dni_mirror_catch_up(s->context);
    if (!st)
        st = c->ops->op_prepare(c->op, &s->steps[i].io);
    if (s->sides)
        dni_mirror_unlock(s->context);
    return st;
}

static bool takes_fleeting(const dni_steps *s, size_t i)
{
    const dni_op *op = &s->program->ops[i];
    for (int32_t k = 0; k < op->num_inputs; k++) {
        dni_tensor root = dni_root(s->program, op->inputs[k]);
        if (root != DNI_NONE && s->fleeting[root])
            return true;
    }
    return false;
}

dn_status dni_steps_prepare(dni_steps *s)
{
    if (!weights_changed(s))
        return DN_OK;
    for (size_t i = 0; i < s->num_watches; i++)
        s->watches[i].seen = *s->program->tensors[s->watches[i].tensor].version;
    dn_status st = dni_steps_bind(s, DNI_PREPARE);
    for (size_t i = s->first[DNI_PREPARE]; !st && i < s->end[DNI_PREPARE]; i++) {
        st = dni_steps_run(s, i, i + 1, false, NULL);
        if (!st && s->taken_by[i] != SIZE_MAX)
            st = prepare_op(s, s->taken_by[i]);
    }
    for (size_t i = 0; !st && i < s->program->num_ops; i++)
        if (!takes_fleeting(s, i))
            st = prepare_op(s, i);
    s->prepared = !st;
    return st;
}

dn_status dni_steps_run_lane(const dni_steps *s, size_t first, size_t end, int32_t lane,
                             bool fresh, size_t *failed)
{
    for (size_t i = first; i < end; i++) {
        const dni_step *step = &s->steps[i];
        dn_status st;
        if (lane >= 0 && s->lane[i] != lane)
            continue;
        if (step->run) {
            st = step->run(fresh && s->fresh[i] ? s->fresh[i] : step->op, &step->io);
        } else {
            const dn_args_host_call *a = (const dn_args_host_call *)s->program->ops[i].args;
            st = a->fn(a->user, step->io.in, step->io.out);
        }
        if (!st)
            continue;
        if (failed)
            *failed = i;
        return st;
    }
    return DN_OK;
}

dn_status dni_steps_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                        size_t *failed)
{
    const dni_group *g = s->groups;
    size_t left = s->num_groups;
    dn_status st = DN_OK;
    if (s->sides)
        return dni_sides_run(s, first, end, fresh, failed);
    while (!st && first < end) {
        for (; left && g->first < first; left--)
            g++;
        bool grouped = left && g->end <= end;
        st = dni_steps_run_lane(s, first, grouped ? g->first : end, -1, fresh, failed);
        if (!st && grouped)
            st = dni_steps_run_group(s, g, fresh, failed);
        first = grouped ? g->end : end;
    }
    return st;
}
