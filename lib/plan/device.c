/* SPDX-License-Identifier: BSD-2-Clause
 * device.c: see device.h. Which side is behind is known per tensor and looked at per operand;
 * where everything stays on the device that is all a step costs, and a replay not even that. */
#include "plan/device.h"

#include "plan/facts.h"

static bool has_mem(const dni_steps *s, dni_tensor root)
{
    return dni_is_placed(&s->program->tensors[root]) &&
           !dni_base_has(s->base, s->lies_in[root]);
}

static int32_t num_operands(const dni_op *op)
{
    return op->num_inputs + op->num_outputs;
}

/* Where the operands of step i begin in `pointers` and in `spans`. */
static size_t first_operand(const dni_steps *s, size_t i)
{
    return (size_t)((void **)s->steps[i].io.in - s->pointers);
}

/* ---- create, bind, free ------------------------------------------------------------------ */

dn_status dni_sides_create(dni_steps *s)
{
    const dni_program *p = s->program;
    s->sides = dni_alloc(p->heap, 1, sizeof *s->sides);
    if (!s->sides)
        return DN_E_NOMEM;
    for (size_t i = 0; i < p->num_ops; i++)
        s->sides->num_spans += (size_t)num_operands(&p->ops[i]);
    s->sides->spans = dni_alloc(p->heap, s->sides->num_spans, sizeof *s->sides->spans);
    s->sides->places = dni_alloc(p->heap, p->num_tensors, sizeof *s->sides->places);
    s->sides->version = dni_mirror_number(s->context);
    return s->sides->spans && s->sides->places ? DN_OK : DN_E_NOMEM;
}

static bool is_place(const dni_sides *d, const dni_span *span, size_t tensors)
{
    return span >= d->places && span < d->places + tensors;
}

static void let_go(dni_steps *s, dni_span **at)
{
    if (*at && !is_place(s->sides, *at, s->program->num_tensors))
        dni_mirror_release(s->context, *at);
    *at = NULL;
}

void dni_sides_free(dni_steps *s)
{
    dni_sides *d = s->sides;
    if (!d)
        return;
    dni_record_drop(s);
    for (size_t i = 0; d->spans && d->places && i < d->num_spans; i++)
        let_go(s, &d->spans[i]);
    for (int i = 0; i < DNI_SECTIONS; i++) {
        if (s->arena[i] == d->arena[i])
            s->arena[i] = NULL;
        dni_mirror_dealloc(s->context, d->arena[i]);
    }
    dni_mirror_dealloc(s->context, d->scratch);
    dni_mirror_dealloc(s->context, d->keep);
    dni_free(d->recordings);
    dni_free(d->spans);
    dni_free(d->places);
    dni_free(d);
    s->sides = NULL;
}

static dn_status need(const dni_steps *s, void *out, size_t bytes)
{
    return *(void **)out || !bytes ? DN_OK : dni_mirror_alloc(s->context, bytes, out);
}

bool dni_sides_need_host(const dni_steps *s, dni_section section)
{
    for (size_t i = 0; i < s->program->num_ops; i++) {
        const dni_op *op = &s->program->ops[i];
        for (int32_t k = 0; !s->steps[i].on_device && k < num_operands(op); k++) {
            dni_tensor root = dni_operand(op, k) == DNI_NONE
                                  ? DNI_NONE
                                  : dni_root(s->program, dni_operand(op, k));
            if (root != DNI_NONE && has_mem(s, root) && s->home[s->lies_in[root]] == section)
                return true;
        }
    }
    return false;
}

dn_status dni_sides_bind(dni_steps *s, dni_section section)
{
    dni_sides *d = s->sides;
    dn_status st = need(s, &d->scratch, s->scratch_size);
    if (!st)
        st = need(s, &d->keep, s->keep_size);
    if (!st)
        st = need(s, &d->arena[section], s->arena_size[section]);
    if (!st && !s->arena[section]) /* an address to go by, which nobody reads */
        s->arena[section] = d->arena[section];
    for (size_t t = 0; !st && t < s->program->num_tensors; t++) {
        const dni_tensor_info *info = &s->program->tensors[t];
        dni_tensor place = s->lies_in[t];
        if (info->storage != (dni_tensor)t || !has_mem(s, (dni_tensor)t) ||
            s->home[place] != section || !s->arena[section])
            continue;
        d->places[t] = (dni_span){.host = s->arena[section] + s->offset[place],
                                  .device = d->arena[section] + s->offset[place],
                                  .bytes = dni_tensor_bytes(info),
                                  .on_host = true,
                                  .on_device = true};
    }
    return st;
}

/* ---- pointers ---------------------------------------------------------------------------- */

/* A constant that its layer may have written anew since the last plan; inputs, which are blobs,
 * say so themselves. */
static bool is_host_state(const dni_steps *s, dni_tensor root)
{
    const dni_program *p = s->program;
    return p->tensors[root].role == DNI_STATE && p->tensors[root].blob < 0 &&
           dni_next_write(p, root, 0, p->num_ops) == p->num_ops;
}

static dn_status span_of(dni_steps *s, dni_tensor tensor, void *host, dni_span **at)
{
    const dni_program *p = s->program;
    dni_tensor root = dni_root(p, tensor);
    if (has_mem(s, root)) {
        let_go(s, at);
        *at = &s->sides->places[root];
        return DN_OK;
    }
    if (*at && (*at)->host == host && !(*at)->forgotten)
        return DN_OK;
    let_go(s, at);
    bool there = dni_base_has(s->base, s->lies_in[root]) && !s->base->apart[s->lies_in[root]];
    dn_status st =
        dni_mirror_hold(s->context, host, dni_tensor_bytes(&p->tensors[root]), there, at);
    if (!st && is_host_state(s, root))
        dni_mirror_wrote(s->context, host);
    return st;
}

/* A step on the host needs memory there. */
static dn_status look(dni_steps *s, dni_tensor tensor, void **pointer)
{
    dni_tensor root = dni_root(s->program, tensor), place = s->lies_in[root];
    if (!dni_is_placed(&s->program->tensors[root]) || !dni_base_has(s->base, place))
        return DN_OK;
    dn_status st = dni_base_look(s->base, s->program, place);
    *pointer = dni_base_memory(s->base, s->program, place);
    return st;
}

dn_status dni_sides_resolve(dni_steps *s, size_t i)
{
    const dni_op *op = &s->program->ops[i];
    dni_step *step = &s->steps[i];
    void **pointer = (void **)step->io.in;
    dni_span **span = s->sides->spans + first_operand(s, i);
    dn_status st = DN_OK;
    bool moved = false;
    for (int32_t k = 0; !st && k < num_operands(op); k++) {
        const char *before = span[k] ? span[k]->device : NULL;
        if (dni_operand(op, k) == DNI_NONE || !pointer[k])
            continue;
        if (!step->on_device)
            st = look(s, dni_operand(op, k), &pointer[k]);
        if (!st)
            st = span_of(s, dni_operand(op, k), pointer[k], &span[k]);
        if (!st)
            pointer[k] = step->on_device ? span[k]->device : span[k]->host;
        moved |= !span[k] || span[k]->device != before;
    }
    if (moved)
        dni_record_drop(s);
    if (step->on_device) {
        step->io.scratch = s->sides->scratch;
        step->io.keep = s->choices[i].keep ? s->sides->keep + s->keep_at[i] : NULL;
    }
    return st;
}

dn_status dni_sides_carry(const dni_steps *from, const dni_steps *to, dni_tensor tensor)
{
    const dni_backend_slot *slot = dni_mirror_slot(to->context);
    const dni_span *a = &from->sides->places[tensor];
    dni_span *b = &to->sides->places[tensor];
    const dni_heap *heap = to->program->heap;
    if (!a->bytes || !b->bytes)
        return DN_OK;
    char *room = a->on_device ? dni_alloc(heap, a->bytes, 1) : a->host;
    if (!room)
        return DN_E_NOMEM;
    dni_mirror_lock(to->context);
    dn_status st = dni_mirror_catch_up(to->context);
    if (!st && a->on_device)
        st = slot->ops->copy_out(slot->backend, room, a->device, a->bytes);
    if (!st)
        st = slot->ops->copy_in(slot->backend, b->device, room, a->bytes);
    dni_mirror_unlock(to->context);
    if (a->on_device)
        dni_free(room);
    b->on_device = !st;
    b->on_host = false;
    return st;
}

/* ---- running ----------------------------------------------------------------------------- */

/* soon: it is only said that it will be. */
static dn_status bring(const dni_steps *s, dni_span *span, bool on_device, bool soon)
{
    return on_device ? dni_span_to_device(s->context, span)
                     : dni_span_to_host(s->context, span, soon);
}

dn_status dni_sides_bring(const dni_steps *s, size_t i)
{
    const dni_op *op = &s->program->ops[i];
    dni_span **span = s->sides->spans + first_operand(s, i);
    bool on_device = s->steps[i].on_device;
    dn_status st = DN_OK;
    for (int soon = !on_device; soon >= 0; soon--)
        for (int32_t k = 0; !st && k < num_operands(op); k++)
            if (span[k] &&
                (k < op->num_inputs || !dni_overwrites(s->program, op, k - op->num_inputs)))
                st = bring(s, span[k], on_device, soon);
    return st;
}

static void mark_written(const dni_steps *s, size_t i)
{
    const dni_op *op = &s->program->ops[i];
    dni_span **span = s->sides->spans + first_operand(s, i) + op->num_inputs;
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (span[k]) {
            span[k]->on_device = s->steps[i].on_device;
            span[k]->on_host = !s->steps[i].on_device;
        }
}

dn_op *dni_sides_op(const dni_steps *s, size_t i, bool fresh)
{
    return fresh && s->fresh[i] ? s->fresh[i] : s->steps[i].op;
}

static dn_status run_step(const dni_steps *s, size_t i, bool fresh)
{
    const dni_step *step = &s->steps[i];
    dni_mirror_lock(s->context);
    dn_status st = dni_sides_bring(s, i);
    if (!st)
        mark_written(s, i);
    dni_mirror_unlock(s->context);
    if (st)
        return st;
    if (step->run)
        return step->run(dni_sides_op(s, i, fresh), &step->io);
    const dn_args_host_call *a = (const dn_args_host_call *)s->program->ops[i].args;
    return a->fn(a->user, step->io.in, step->io.out);
}

dn_status dni_sides_run_each(const dni_steps *s, size_t first, size_t end, bool fresh,
                             size_t *failed)
{
    dn_status st = DN_OK;
    for (size_t i = first; !st && i < end; i++) {
        *failed = i;
        st = run_step(s, i, fresh);
    }
    return st;
}

/* They stay where they are until then: memory is shared only by tensors that do not live at the
 * same time. */
dn_status dni_sides_bring_all(const dni_steps *s, size_t first, size_t end, size_t *failed)
{
    dn_status st = DN_OK;
    for (size_t i = first; !st && i < end; i++) {
        *failed = i;
        st = dni_sides_bring(s, i);
        if (!st)
            mark_written(s, i);
    }
    return st;
}

dn_status dni_sides_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                        size_t *failed)
{
    size_t at = first;
    dn_status st = DN_OK;
    dni_mirror_age(s->context);
    for (size_t i = first; !st && i < end;) {
        size_t next = i;
        while (next < end && s->steps[next].on_device)
            next++;
        if (next == i) {
            at = i;
            st = run_step(s, i++, fresh);
            continue;
        }
        dni_mirror_lock(s->context);
        st = dni_record_run(s, i, next, fresh, &at);
        dni_mirror_unlock(s->context);
        i = next;
    }
    if (st == DN_E_NOMEM) /* kernels take some, too; the next run is to find all there is */
        dni_mirror_make_room(s->context);
    if (failed)
        *failed = at;
    return st;
}
