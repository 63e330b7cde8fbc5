/* SPDX-License-Identifier: BSD-2-Clause
 * fleeting.c: constants that op_prepare alone reads, since the op keeps them in a form of its
 * own (folded weights, packed), are made and taken up one after the other and share a place. */
#include "plan/facts.h"
#include "plan/steps.h"

/* The one op that reads t, and only to prepare itself; SIZE_MAX: there are others. */
static size_t taker_of(const dni_steps *s, dni_tensor t)
{
    const dni_program *p = s->program;
    size_t taker = SIZE_MAX;
    for (size_t i = dni_next_read(p, t, 0, p->num_ops); i < p->num_ops;
         i = dni_next_read(p, t, i + 1, p->num_ops))
        for (int32_t k = 0; k < p->ops[i].num_inputs; k++) {
            if (dni_root(p, p->ops[i].inputs[k]) != t)
                continue;
            if ((taker != SIZE_MAX && taker != i) || !(s->choices[i].unread >> k & 1))
                return SIZE_MAX;
            taker = i;
        }
    return taker;
}

/* All that op `taker` wants of what is made while preparing comes from op `maker`. */
static bool waits_for_one(const dni_program *p, size_t taker, size_t maker)
{
    for (int32_t k = 0; k < p->ops[taker].num_inputs; k++) {
        dni_tensor root = dni_root(p, p->ops[taker].inputs[k]);
        size_t last = root == DNI_NONE ? SIZE_MAX : dni_last_write(p, root, p->num_ops);
        if (last != SIZE_MAX && p->ops[last].section == DNI_PREPARE && last != maker)
            return false;
    }
    return true;
}

dn_status dni_steps_find_fleeting(dni_steps *s)
{
    dni_program *p = s->program;
    dn_status st = dni_note_all(p);
    for (size_t i = 0; i < p->num_ops; i++)
        s->taken_by[i] = SIZE_MAX;
    for (size_t i = s->first[DNI_PREPARE];
         !st && i < s->end[DNI_PREPARE] && !s->context->mirror; i++)
        for (int32_t k = 0; k < p->ops[i].num_outputs; k++) {
            dni_tensor t = p->ops[i].outputs[k];
            size_t taker = t == DNI_NONE ? SIZE_MAX : taker_of(s, t);
            if (taker == SIZE_MAX || p->tensors[t].role != DNI_TEMP ||
                p->tensors[t].storage != t || dni_last_write(p, t, i) != SIZE_MAX ||
                dni_next_write(p, t, i + 1, p->num_ops) != p->num_ops ||
                !waits_for_one(p, taker, i))
                continue;
            s->fleeting[t] = true;
            s->taken_by[i] = taker;
        }
    dni_forget_notes(p);
    return st;
}
