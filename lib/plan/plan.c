/* SPDX-License-Identifier: BSD-2-Clause
 * plan.c: holds the two lists of steps together: the plain one, compiled when first needed, and
 * the fused one. Without fusion they are the same list. */
#include "plan/plan.h"

#include <string.h>

#include "plan/device.h"
#include "plan/facts.h"
#include "plan/passes.h"
#include "plan/steps.h"

struct dni_plan {
    dn_context *context;
    dni_program *program; /* the layers'; borrowed */
    dni_plan_options options;
    dni_base base;
    dni_steps plain;
    dni_program fused_program; /* a rewritten copy; no ops: nothing is fused */
    dni_steps fused;
    bool *watched;     /* per op of section SHOW: the host has its pointer */
    bool fused_ran[2]; /* values, gradients are of a fused run: what is shown may be old */
    size_t own;        /* bytes of what is made already, and of the program */
};

static dni_steps *whole(const dni_plan *plan, dni_section section)
{
    return (dni_steps *)(dni_plan_fuses(plan, section) ? &plan->fused : &plan->plain);
}

bool dni_plan_fuses(const dni_plan *plan, dni_section section)
{
    if (!plan->fused.program)
        return false;
    return section == DNI_FORWARD || !plan->options.forward_only;
}

/* ---- compile and free -------------------------------------------------------------------- */

static void drop_backward(dni_program *p)
{
    for (size_t i = 0; i < p->num_ops; i++)
        if (p->ops[i].section != DNI_FORWARD)
            dni_kill(&p->ops[i]);
    dni_program_sweep(p);
}

static dn_status compile_fused(dni_plan *plan)
{
    dni_program *p = &plan->fused_program;
    dn_status st = dni_program_copy(p, plan->program);
    for (size_t t = 0; !st && t < p->num_tensors; t++) /* whatever the role said, for passes */
        p->tensors[t].keep = dni_base_has(&plan->base, (dni_tensor)t);
    if (!st && plan->options.forward_only)
        drop_backward(p);
    dni_rewrite r = {.context = plan->context, .program = p};
    if (!st)
        st = dni_rewrite_program(&r);
    for (size_t i = 0; !st && i < p->num_ops; i++)
        if (p->ops[i].section == DNI_SHOW)
            plan->base.shown[dni_root(p, p->ops[i].outputs[0])] = true;
    if (!st)
        st = dni_base_place(&plan->base, plan->program);
    if (!st)
        st = dni_steps_compile(&plan->fused, plan->context, p, &plan->base, true);
    plan->watched = st ? NULL : dni_alloc(p->heap, p->num_ops, sizeof *plan->watched);
    return st || plan->watched ? st : DN_E_NOMEM;
}

/* Of both ways to run, as far as they are compiled. */
static dn_status check_limit(dni_plan *plan)
{
    size_t placed = plan->base.data + plan->base.diff + dni_steps_bytes(&plan->fused) +
                    dni_steps_bytes(&plan->plain);
    size_t limit = plan->options.limit;
    size_t own = dni_held() - plan->program->before - plan->options.beside;
    size_t weights = plan->options.beside + plan->options.gradients;
    if (limit && (weights + own > limit || placed > limit - weights - own))
        return dni_fail(DN_E_LIMIT,
                        "the net needs %zu bytes for weights and their gradients, %zu for "
                        "blobs and scratch and %zu for its plan; memory_limit is %zu",
                        weights, placed, own, limit);
    plan->own = own;
    return DN_OK;
}

static dn_status compile_plain(dni_plan *plan)
{
    if (plan->plain.program)
        return DN_OK;
    if (plan->own) /* later than the rest */
        plan->program->before = dni_held() - plan->own - plan->options.beside;
    dn_status st =
        dni_steps_compile(&plan->plain, plan->context, plan->program, &plan->base, false);
    if (!st)
        st = check_limit(plan);
    if (st)
        dni_steps_free(&plan->plain);
    return st;
}

/* Whoever asks for products in bf16 or TF32 must be offered one, unless f32 will do as well. */
static dn_status check_compute(const dni_plan *plan, int32_t wanted)
{
    static const char *const names[] = {"f32", "tf32", "bf16"};
    const dni_steps *s = plan->fused.program ? &plan->fused : &plan->plain;
    if (!plan->options.must_compute || s->program->compute == wanted)
        return DN_OK;
    return dni_fail(DN_E_UNSUPPORTED,
                    "no backend of this context computes this net in %s; "
                    "compute_fallback accepts f32",
                    names[wanted]);
}

dn_status dni_plan_compile(dni_plan **out, dn_context *context, dni_program *program,
                           const dni_plan_options *options)
{
    dni_plan *plan = dni_alloc(&context->heap, 1, sizeof *plan);
    if (!plan)
        return DN_E_NOMEM;
    plan->context = context;
    plan->program = program;
    if (options)
        plan->options = *options;
    dni_program_init(&plan->fused_program, &context->heap);
    dn_status st = dni_base_init(&plan->base, program, plan->options.compact);
    plan->base.device = context->mirror ? context : NULL;
    int32_t wanted = program->compute;
    if (!st && plan->options.plain)
        st = dni_settle_compute(&(dni_rewrite){.context = context, .program = program});
    if (!st && plan->options.plain)
        st = dni_base_place(&plan->base, program);
    if (!st)
        st = plan->options.plain ? compile_plain(plan) : compile_fused(plan);
    if (!st)
        st = check_limit(plan);
    if (!st)
        st = check_compute(plan, wanted);
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

/* What a device has of it need not come home. */
static void forget_base(dni_plan *plan)
{
    for (size_t t = 0; plan->context->mirror && plan->base.pinned && t < plan->base.count; t++)
        if (dni_base_has(&plan->base, (dni_tensor)t))
            dni_mirror_forget(plan->context,
                              dni_base_memory(&plan->base, plan->program, (dni_tensor)t));
}

void dni_plan_free(dni_plan *plan)
{
    if (!plan)
        return;
    forget_base(plan);
    dni_steps_free(&plan->fused);
    dni_steps_free(&plan->plain);
    dni_program_free(&plan->fused_program);
    dni_base_free(&plan->base);
    dni_free(plan->watched);
    dni_free(plan);
}

/* ---- binding ----------------------------------------------------------------------------- */

/* What the layers' program says of memory that is not the plan's goes for the copy, too. */
static void follow(dni_plan *plan)
{
    dni_program *p = &plan->fused_program;
    for (size_t t = 0; t < plan->base.count && plan->fused.program; t++) {
        p->tensors[t].memory = plan->program->tensors[t].memory;
        p->tensors[t].version = plan->program->tensors[t].version;
    }
}

static dn_status bind(dni_plan *plan, dni_steps *steps, dni_section section)
{
    if (!steps->bound[section])
        follow(plan);
    dn_status st = dni_base_bind(&plan->base, section);
    if (!st && section == DNI_BACKWARD) /* it reads what the forward left */
        st = dni_steps_bind(steps, DNI_FORWARD);
    return st ? st : dni_steps_bind(steps, section);
}

/* A plain run reads and writes what otherwise is only shown. */
static dn_status bind_all_shown(dni_plan *plan)
{
    dn_status st = DN_OK;
    for (size_t t = 0; !st && t < plan->base.count; t++)
        if (plan->base.shown[t])
            st = dni_base_bind_shown(&plan->base, plan->program, (dni_tensor)t);
    return st;
}

dn_status dni_plan_bind_plain(dni_plan *plan, dni_section section)
{
    dn_status st = compile_plain(plan);
    if (!st && !plan->plain.bound[section])
        st = bind_all_shown(plan);
    return st ? st : bind(plan, &plan->plain, section);
}

dn_status dni_plan_bind(dni_plan *plan, dni_section section)
{
    if (!dni_plan_fuses(plan, section))
        return dni_plan_bind_plain(plan, section);
    return bind(plan, &plan->fused, section);
}

dn_status dni_plan_rebind(dni_plan *plan)
{
    follow(plan);
    dn_status st = plan->fused.program ? dni_steps_rebind(&plan->fused) : DN_OK;
    dn_status plain = plan->plain.program ? dni_steps_rebind(&plan->plain) : DN_OK;
    return st ? st : plain;
}

/* ---- showing ----------------------------------------------------------------------------- */

static bool is_gradient(const dni_plan *plan, dni_tensor root)
{
    return plan->program->tensors[root].role == DNI_DIFF;
}

static dn_status show(dni_plan *plan, size_t op)
{
    dni_steps *s = &plan->fused;
    dni_tensor root = dni_root(s->program, s->program->ops[op].outputs[0]);
    dn_status st = dni_base_bind_shown(&plan->base, plan->program, root);
    if (!st)
        st = dni_steps_resolve(s, op);
    dni_fp host = dni_fp_enter();
    if (!st)
        st = dni_steps_run(s, op, op + 1, false, NULL);
    dni_fp_leave(host);
    return st;
}

static dn_status show_all(dni_plan *plan, bool gradients, bool watched)
{
    const dni_steps *s = &plan->fused;
    dn_status st = DN_OK;
    if (!plan->fused.program || !plan->fused_ran[gradients])
        return DN_OK;
    for (size_t i = s->first[DNI_SHOW]; !st && i < s->end[DNI_SHOW]; i++)
        if (is_gradient(plan, dni_root(s->program, s->program->ops[i].outputs[0])) ==
                gradients &&
            (!watched || plan->watched[i]))
            st = show(plan, i);
    return st;
}

dn_status dni_plan_settle(dni_plan *plan)
{
    dn_status st = show_all(plan, false, false);
    if (!st)
        st = show_all(plan, true, false);
    plan->fused_ran[0] = plan->fused_ran[1] = false;
    return st;
}

dn_status dni_plan_show(dni_plan *plan, dni_tensor tensor, void **out)
{
    dni_tensor root = plan->program->tensors[tensor].storage;
    const dni_steps *s = &plan->fused;
    dn_status st = DN_OK;
    for (size_t i = s->first[DNI_SHOW]; !st && i < s->end[DNI_SHOW]; i++) {
        if (dni_root(s->program, s->program->ops[i].outputs[0]) != root)
            continue;
        plan->watched[i] = true;
        if (plan->fused_ran[is_gradient(plan, root)])
            st = show(plan, i);
        else
            st = dni_base_bind_shown(&plan->base, plan->program, root);
    }
    if (!st)
        *out = dni_plan_memory(plan, tensor);
    return st;
}

dn_status dni_plan_look(dni_plan *plan, dni_tensor tensor, void **out)
{
    dni_tensor root = plan->program->tensors[tensor].storage;
    dn_status st = dni_plan_show(plan, tensor, out);
    if (!st && dni_base_has(&plan->base, root))
        st = dni_base_look(&plan->base, plan->program, root);
    if (!st)
        *out = dni_plan_memory(plan, tensor);
    return st;
}

/* ---- running ----------------------------------------------------------------------------- */

static dn_status run_parts(dni_steps *s, dni_section section, bool fresh,
                           const dni_pauses *pauses, size_t *failed)
{
    size_t at = s->first[section];
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i <= pauses->count; i++) {
        size_t last = pauses->end ? pauses->end : s->end[section];
        size_t end = i < pauses->count ? pauses->ends[i] : last;
        if (end > at)
            st = dni_steps_run(s, at, end, fresh, failed);
        at = end > at ? end : at;
        if (!st && i < pauses->count) {
            st = pauses->fn(pauses->user, i);
            *failed = st ? s->program->num_ops : *failed; /* no op's fault */
        }
    }
    return st;
}

static dn_status blame(const dni_steps *s, dn_status st, size_t failed, int32_t *layer)
{
    if (st && layer)
        *layer = failed < s->program->num_ops ? s->program->ops[failed].layer : -1;
    return st;
}

dn_status dni_plan_run_paused(dni_plan *plan, dni_section section, bool fresh,
                              const dni_pauses *pauses, int32_t *layer)
{
    dni_steps *s = whole(plan, section);
    size_t failed = 0;
    dni_fp host = dni_fp_enter();
    dn_status st = dni_steps_prepare(s);
    if (!st)
        st = run_parts(s, section, fresh, pauses, &failed);
    dni_fp_leave(host);
    if (st || section > DNI_BACKWARD || s == &plan->plain)
        return blame(s, st, failed, layer);
    plan->fused_ran[section] = true;
    return show_all(plan, section == DNI_BACKWARD, true);
}

dn_status dni_plan_run(dni_plan *plan, dni_section section, bool fresh, int32_t *layer)
{
    return dni_plan_run_paused(plan, section, fresh, &(dni_pauses){0}, layer);
}

size_t dni_plan_last_write(const dni_plan *plan, dni_section section, dni_tensor tensor)
{
    const dni_steps *s = &plan->fused;
    const dni_program *p = s->program;
    size_t end = p ? s->end[section] : 0;
    for (; end > 0 && end > s->first[section]; end--)
        if (dni_op_writes(p, &p->ops[end - 1], dni_root(p, tensor)))
            return end;
    return 0;
}

bool dni_plan_overwrites(const dni_plan *plan, dni_tensor weight_diff)
{
    return plan->fused.program && plan->fused.overwritten[weight_diff];
}

size_t dni_plan_late(const dni_plan *plan, size_t *end)
{
    const dni_steps *s = &plan->fused;
    size_t first = *end = s->program ? s->end[DNI_BACKWARD] : 0;
    while (first > 0 && s->program->ops[first - 1].late)
        first--;
    return first;
}

void *dni_plan_input(const dni_plan *plan, size_t op, int32_t input)
{
    return (void *)(uintptr_t)plan->fused.steps[op].io.in[input];
}

size_t dni_plan_late_maker(const dni_plan *plan, dni_tensor weight_diff)
{
    size_t end;
    for (size_t i = dni_plan_late(plan, &end); i < end; i++)
        if (plan->fused_program.ops[i].outputs[0] == weight_diff && plan->fused.fresh[i])
            return i;
    return SIZE_MAX;
}

dn_status dni_plan_run_late(dni_plan *plan)
{
    size_t end, first = dni_plan_late(plan, &end);
    dni_fp host = dni_fp_enter();
    dn_status st = dni_steps_run(&plan->fused, first, end, true, NULL);
    dni_fp_leave(host);
    return st;
}

dn_status dni_plan_run_turns(dni_plan *plan, size_t first, size_t end)
{
    dni_steps *s = &plan->plain;
    int32_t turn = 0, turns = s->program->ops[first].turns;
    dn_status st = DN_OK;
    dni_fp host = dni_fp_enter();
    for (; !st && turn < turns; turn++) {
        st = dni_steps_run(s, first, end, false, NULL);
        dni_steps_advance(s, first, end, 1);
    }
    dni_steps_advance(s, first, end, -turn);
    dni_fp_leave(host);
    return st;
}

dn_status dni_plan_run_plain(dni_plan *plan, size_t first, size_t end, int32_t *layer)
{
    size_t failed = SIZE_MAX;
    dn_status st = dni_plan_settle(plan);
    dni_fp host = dni_fp_enter();
    if (!st)
        st = dni_steps_prepare(&plan->plain);
    if (!st)
        st = dni_steps_run(&plan->plain, first, end, false, &failed);
    dni_fp_leave(host);
    return blame(&plan->plain, st, failed, layer);
}

/* ---- looking ----------------------------------------------------------------------------- */

void *dni_plan_memory(const dni_plan *plan, dni_tensor tensor)
{
    if (tensor == DNI_NONE)
        return NULL;
    const dni_tensor_info *info = &plan->program->tensors[tensor];
    if (!dni_is_placed(&plan->program->tensors[info->storage]))
        return plan->program->tensors[info->storage].memory;
    if (dni_base_has(&plan->base, info->storage))
        return dni_base_memory(&plan->base, plan->program, info->storage);
    return plan->plain.program ? dni_steps_memory(&plan->plain, tensor) : NULL;
}

void *dni_plan_block(const dni_plan *plan, dni_tensor tensor)
{
    const dni_base *base = &plan->base;
    dni_tensor root = plan->program->tensors[tensor].storage;
    return base->apart[root] ? base->apart[root] : base->arena[is_gradient(plan, root)];
}

dn_status dni_plan_carry(dni_plan *from, dni_plan *to, dni_tensor tensor)
{
    void *values = dni_plan_memory(from, tensor), *memory = dni_plan_memory(to, tensor);
    if (!values || !memory)
        return DN_OK;
    if (to->plain.sides && !dni_plan_readable(to, tensor))
        return dni_sides_carry(&from->plain, &to->plain, tensor);
    dn_status st = dni_plan_look(from, tensor, &values);
    if (!st)
        st = dni_plan_look(to, tensor, &memory);
    if (!st)
        st = dni_mirror_fetch(to->context, values);
    if (!st)
        memcpy(memory, values, dni_tensor_bytes(&to->program->tensors[tensor]));
    dni_mirror_wrote(to->context, memory);
    return st;
}

size_t dni_plan_data_bytes(const dni_plan *plan)
{
    return dni_base_data_bytes(&plan->base, plan->program);
}

dn_status dni_plan_copy_data(dni_plan *plan, char *buffer, bool back)
{
    dn_status st = DN_OK;
    for (size_t t = 0; !st && plan->context->mirror && t < plan->base.count; t++) {
        dni_base *base = &plan->base;
        if (!dni_base_has(base, (dni_tensor)t) || plan->program->tensors[t].role == DNI_DIFF ||
            !dni_base_memory(base, plan->program, (dni_tensor)t))
            continue;
        st = dni_base_look(base, plan->program, (dni_tensor)t);
        const void *memory = dni_base_memory(base, plan->program, (dni_tensor)t);
        if (!st)
            st = dni_mirror_fetch(plan->context, memory);
        if (!st && back)
            dni_mirror_wrote(plan->context, memory);
    }
    if (!st)
        dni_base_copy(&plan->base, plan->program, buffer, back);
    return st;
}

bool dni_plan_readable(const dni_plan *plan, dni_tensor tensor)
{
    const dni_tensor_info *tensors = plan->program->tensors;
    dni_tensor root = tensors[tensor].storage;
    return !dni_is_placed(&tensors[root]) || dni_base_has(&plan->base, root);
}

dni_plan_sizes dni_plan_size(const dni_plan *plan)
{
    const dni_steps *s = plan->fused.program ? &plan->fused : &plan->plain;
    return (dni_plan_sizes){.data = plan->base.data,
                            .diff = plan->base.diff,
                            .temp = dni_steps_bytes(s) - s->scratch_size,
                            .scratch = s->scratch_size,
                            .own = plan->own};
}

const dni_program *dni_plan_program(const dni_plan *plan)
{
    return plan->fused.program ? &plan->fused_program : plan->program;
}

static const dni_choice *choice_of(const dni_plan *plan, size_t op)
{
    return plan->fused.program ? &plan->fused.choices[op] : &plan->plain.choices[op];
}

const char *dni_plan_implementation(dni_plan *plan, size_t op)
{
    const dni_steps *s = plan->fused.program ? &plan->fused : &plan->plain;
    dni_choice *c = &s->choices[op];
    for (int k = 0; k < 2; k++) {
        dn_op *twin = k ? s->fresh[op] : c->op;
        if (twin && c->ops->op_describe)
            c->ops->op_describe(twin, c->implementation, sizeof c->implementation);
    }
    return c->implementation;
}

const char *dni_plan_declined(const dni_plan *plan, size_t op)
{
    return choice_of(plan, op)->declined;
}

bool dni_plan_has_device(const dni_plan *plan)
{
    return plan->context->mirror != NULL;
}

bool dni_plan_on_device(const dni_plan *plan, size_t op)
{
    return (plan->fused.program ? &plan->fused : &plan->plain)->steps[op].on_device;
}

const char *dni_plan_refused(const dni_plan *plan, size_t first, size_t end)
{
    const dni_sides *d = (plan->fused.program ? &plan->fused : &plan->plain)->sides;
    for (size_t i = 0; i < d->num_recordings; i++) {
        const dni_recording *r = &d->recordings[i];
        if (r->first >= first && r->end <= end && r->refused[0])
            return r->refused;
    }
    return "";
}

size_t dni_plan_keeps(const dni_plan *plan, size_t op, uint32_t *unread)
{
    *unread = choice_of(plan, op)->unread;
    return choice_of(plan, op)->keep;
}

size_t dni_plan_taken_by(const dni_plan *plan, size_t op)
{
    return (plan->fused.program ? &plan->fused : &plan->plain)->taken_by[op];
}

int32_t dni_plan_lane(const dni_plan *plan, size_t op, size_t *first, size_t *end)
{
    const dni_steps *s = &plan->fused;
    for (size_t i = 0; i < s->num_groups; i++)
        if (op >= s->groups[i].first && op < s->groups[i].end) {
            *first = s->groups[i].first;
            *end = s->groups[i].end;
            return s->lane[op];
        }
    return -1;
}

double dni_plan_cost(const dni_plan *plan, size_t op)
{
    return choice_of(plan, op)->cost;
}
