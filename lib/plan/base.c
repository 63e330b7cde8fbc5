/* SPDX-License-Identifier: BSD-2-Clause
 * base.c: see base.h. Tensors lie one after the other; gradients are allocated when the first
 * backward, or look at one, asks for them. */
#include "plan/base.h"

#include <string.h>

#include "plan/facts.h"

static bool stays(const dni_tensor_info *info, bool compact)
{
    bool blob = info->role == DNI_DATA || info->role == DNI_DIFF;
    return blob && (info->keep || !compact);
}

/* Names that share a storage stay readable together. */
static void mark(dni_base *base, const dni_program *p, bool compact)
{
    for (size_t t = 0; t < p->num_tensors; t++) {
        dni_tensor root = p->tensors[t].storage;
        if (stays(&p->tensors[t], compact) && dni_is_placed(&p->tensors[root]))
            base->pinned[root] = true;
    }
}

dn_status dni_base_init(dni_base *base, const dni_program *p, bool compact)
{
    *base = (dni_base){.heap = p->heap, .count = p->num_tensors};
    base->pinned = dni_alloc(p->heap, p->num_tensors, sizeof *base->pinned);
    base->offset = dni_alloc(p->heap, p->num_tensors, sizeof *base->offset);
    if (!base->pinned || !base->offset)
        return DN_E_NOMEM;
    mark(base, p, compact);
    for (size_t t = 0; t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        size_t bytes, *total = info->role == DNI_DIFF ? &base->diff : &base->data;
        if (!base->pinned[t])
            continue;
        if (!dni_mul((size_t)dni_shape_count(&info->shape), dni_element_size(info->dtype),
                     &bytes) ||
            !dni_add(bytes, 63, &bytes) || !dni_add(*total, bytes, total))
            return dni_fail(DN_E_SHAPE, "the net's tensors are too large for this machine");
        *total &= ~(size_t)63;
        base->offset[t] = *total - (bytes & ~(size_t)63);
    }
    return DN_OK;
}

void dni_base_free(dni_base *base)
{
    if (!base->heap)
        return;
    dni_free_aligned(base->heap, base->arena[0]);
    dni_free_aligned(base->heap, base->arena[1]);
    dni_free(base->heap, base->pinned);
    dni_free(base->heap, base->offset);
    *base = (dni_base){0};
}

static dn_status make_arena(const dni_heap *heap, char **arena, size_t bytes)
{
    if (*arena || !bytes)
        return DN_OK;
    *arena = dni_alloc_aligned(heap, bytes);
    if (!*arena)
        return DN_E_NOMEM;
    memset(*arena, 0, bytes);
    return DN_OK;
}

dn_status dni_base_bind(dni_base *base, dni_section section)
{
    dn_status st = make_arena(base->heap, &base->arena[0], base->data);
    if (!st && section == DNI_BACKWARD)
        st = make_arena(base->heap, &base->arena[1], base->diff);
    return st;
}

bool dni_base_has(const dni_base *base, dni_tensor root)
{
    return (size_t)root < base->count && base->pinned[root];
}

void *dni_base_memory(const dni_base *base, const dni_program *p, dni_tensor root)
{
    char *arena = base->arena[p->tensors[root].role == DNI_DIFF];
    return arena ? arena + base->offset[root] : NULL;
}
