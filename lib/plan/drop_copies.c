/* SPDX-License-Identifier: BSD-2-Clause
 * drop_copies.c: y = x costs nothing where both can be one memory: Split, Flatten, Reshape,
 * Dropout in TEST, the gradient of a sum, copies kept for in-place layers. Both names share a
 * storage if neither is written again while the other is still read. */
#include "plan/passes.h"

/* Nobody who reads `read` after op `at` comes at or after the next write of `written`. */
static bool stays_true(const dni_program *p, size_t at, dni_tensor written, dni_tensor read)
{
    size_t write = dni_next_write(p, written, at + 1, p->num_ops);
    if (write == p->num_ops)
        return true;
    size_t last = dni_last_read(p, read, p->num_ops);
    return !p->tensors[read].keep && (last == SIZE_MAX || last < write);
}

static bool can_share(const dni_program *p, size_t at, dni_tensor x, dni_tensor y)
{
    const dni_tensor_info *from = &p->tensors[x], *to = &p->tensors[y];
    bool input = from->role == DNI_STATE && from->blob >= 0; /* the host's: it may not move */
    if (x == y || !dni_is_placed(to) || (!dni_is_placed(from) && (!input || to->keep)))
        return false;
    if (from->keep && to->keep)
        return false;
    if (input && dni_next_write(p, y, at + 1, p->num_ops) < p->num_ops)
        return false; /* a part of it, or a sum: the host would find it in its input */
    if (dni_last_write(p, y, at) != SIZE_MAX || dni_next_read(p, y, 0, at) != at)
        return false; /* y had another value before */
    return stays_true(p, at, x, y) && stays_true(p, at, y, x);
}

dn_status dni_drop_copies(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < p->num_ops; i++) {
        if (!dni_is_copy(p, &p->ops[i]))
            continue;
        dni_tensor x = dni_root(p, p->ops[i].inputs[0]), y = dni_root(p, p->ops[i].outputs[0]);
        if (!can_share(p, i, x, y))
            continue;
        bool stays = p->tensors[y].keep;
        st = dni_merge_storage(p, stays ? x : y, stays ? y : x);
        dni_kill(&p->ops[i]);
    }
    return st;
}
