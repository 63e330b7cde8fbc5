/* SPDX-License-Identifier: BSD-2-Clause
 * arena.c: places the tensors of a list of steps: by liveness, one arena per section, and in
 * the place of an input that dies where the op may work in place. */
#include "plan/facts.h"
#include "plan/place.h"
#include "plan/steps.h"

typedef struct life {
    size_t first, last;
    dni_section section; /* where it is first used */
    bool used;
} life;

static void touch(life *l, const dni_op *op, size_t first, size_t last)
{
    if (!l->used)
        *l = (life){.first = first, .section = op->section, .used = true};
    l->last = last;
}

/* What runs side by side is one moment. */
static void find_lives(const dni_steps *s, life *lives)
{
    const dni_program *p = s->program;
    const dni_group *g = s->groups;
    size_t left = s->num_groups;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        for (; left && g->end <= i; left--)
            g++;
        bool grouped = left && g->first <= i;
        size_t first = grouped ? g->first : i, last = grouped ? g->end - 1 : i;
        for (int32_t k = 0; k < op->num_inputs; k++)
            if (op->inputs[k] != DNI_NONE)
                touch(&lives[dni_root(p, op->inputs[k])], op, first, last);
        for (int32_t k = 0; k < op->num_outputs; k++)
            if (dni_output(op, k) != DNI_NONE)
                touch(&lives[dni_root(p, dni_output(op, k))], op, first, last);
    }
}

/* What is fleeting lives in the step that makes it, and nobody else touches it. */
static void shorten_fleeting(const dni_steps *s, life *lives)
{
    const dni_program *p = s->program;
    for (size_t i = s->first[DNI_PREPARE]; i < s->end[DNI_PREPARE]; i++)
        for (int32_t k = 0; k < p->ops[i].num_outputs; k++) {
            dni_tensor t = p->ops[i].outputs[k];
            if (t != DNI_NONE && s->fleeting[t])
                lives[t] = (life){i, i, DNI_PREPARE, true};
        }
}

static bool is_shared(const dni_steps *s, dni_tensor root)
{
    const dni_tensor_info *info = &s->program->tensors[root];
    return dni_is_placed(info) && info->storage == root && !info->keep &&
           !dni_base_has(s->base, root);
}

/* Does the op read what was in y before it, as of a gradient that the host wrote? */
static bool reads(const dni_program *p, const dni_op *op, dni_tensor y)
{
    bool found = false;
    for (int32_t k = 0; k < op->num_inputs; k++)
        found |= op->inputs[k] != DNI_NONE && dni_root(p, op->inputs[k]) == y;
    return found;
}

/* x dies in the op that writes y first, and the op may leave y where x is. What the forward
 * left stays for another backward, unless each has a forward of its own; and the base's memory
 * of gradients is not there yet when the forward runs. */
static bool can_join(const dni_steps *s, const life *lives, size_t i, dni_tensor x,
                     dni_tensor y)
{
    const dni_program *p = s->program;
    bool spent = s->base->compact && !dni_base_has(s->base, s->lies_in[y]);
    if (lives[x].section != p->ops[i].section && !spent)
        return false;
    return x != y && is_shared(s, x) && dni_is_placed(&p->tensors[y]) && lives[x].last == i &&
           lives[y].first == i && !reads(p, &p->ops[i], y) && s->lies_in[x] == x &&
           dni_tensor_bytes(&p->tensors[x]) == dni_tensor_bytes(&p->tensors[y]);
}

/* Backwards, so that a chain of ops ends up in the place of its last value. */
static void join_in_place(dni_steps *s, const life *lives)
{
    const dni_program *p = s->program;
    for (size_t i = p->num_ops; i-- > 0;) {
        const dni_op *op = &p->ops[i];
        bool joined = false;
        for (int32_t k = 0; k < op->num_inputs && !joined && op->num_outputs; k++) {
            dni_tensor x = dni_root(p, op->inputs[k]), y = dni_root(p, op->outputs[0]);
            if (x == DNI_NONE || y == DNI_NONE || !dni_may_alias(op, k, 0))
                continue;
            joined = can_join(s, lives, i, x, y);
            if (joined)
                s->lies_in[x] = s->lies_in[y];
        }
    }
}

/* A place lives as long as all that lie in it. */
static void join_lives(const dni_steps *s, life *lives)
{
    for (size_t t = 0; t < s->program->num_tensors; t++) {
        life *to = &lives[s->lies_in[t]];
        const life *from = &lives[t];
        if (s->lies_in[t] == (dni_tensor)t || !from->used)
            continue;
        if (from->first < to->first) {
            to->first = from->first;
            to->section = from->section;
        }
        to->last = from->last > to->last ? from->last : to->last;
    }
}

static bool needs_place(const dni_steps *s, const life *lives, size_t t, dni_section section)
{
    const dni_tensor_info *info = &s->program->tensors[t];
    return dni_is_placed(info) && info->storage == (dni_tensor)t &&
           s->lies_in[t] == (dni_tensor)t && !dni_base_has(s->base, (dni_tensor)t) &&
           lives[t].used && lives[t].section == section;
}

static dn_status place_section(dni_steps *s, dni_section section, const life *lives,
                               dni_place_item *items)
{
    const dni_program *p = s->program;
    size_t count = 0;
    for (size_t t = 0; t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        bool stays = info->keep && !s->fleeting[t];
        size_t bytes;
        if (!needs_place(s, lives, t, section))
            continue;
        if (!dni_mul((size_t)dni_shape_count(&info->shape), dni_dtype_size(info->dtype),
                     &bytes))
            return dni_fail(DN_E_SHAPE, "a tensor is too large for this machine");
        items[count++] = (dni_place_item){.bytes = bytes,
                                          .first = stays ? 0 : lives[t].first,
                                          .last = stays ? SIZE_MAX : lives[t].last};
    }
    dn_status st = dni_place(p->heap, items, count, &s->arena_size[section]);
    for (size_t t = 0, i = 0; !st && t < p->num_tensors; t++)
        if (needs_place(s, lives, t, section)) {
            s->home[t] = section;
            s->offset[t] = items[i++].offset;
        }
    return st;
}

/* Where each backward has a forward of its own, gradients lie where values did that are no
 * longer needed. */
static void join_sections(const dni_steps *s, life *lives)
{
    for (size_t t = 0; t < s->program->num_tensors; t++)
        if (lives[t].section == DNI_BACKWARD)
            lives[t].section = DNI_FORWARD;
}

dn_status dni_steps_place(dni_steps *s, bool in_turns)
{
    const dni_program *p = s->program;
    life *lives = dni_alloc(p->heap, p->num_tensors, sizeof *lives);
    dni_place_item *items = dni_alloc(p->heap, p->num_tensors, sizeof *items);
    dn_status st = lives && items ? DN_OK : DN_E_NOMEM;
    for (size_t t = 0; t < p->num_tensors; t++)
        s->lies_in[t] = p->tensors[t].storage;
    if (!st) {
        find_lives(s, lives);
        shorten_fleeting(s, lives);
        join_in_place(s, lives);
        join_lives(s, lives);
        if (in_turns)
            join_sections(s, lives);
    }
    for (int section = 0; !st && section < DNI_SECTIONS; section++)
        st = place_section(s, (dni_section)section, lives, items);
    dni_free(lives);
    dni_free(items);
    return st;
}
