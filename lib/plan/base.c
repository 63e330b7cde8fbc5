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
    *base = (dni_base){.heap = p->heap, .compact = compact, .count = p->num_tensors};
    base->pinned = dni_alloc(p->heap, p->num_tensors, sizeof *base->pinned);
    base->shown = dni_alloc(p->heap, p->num_tensors, sizeof *base->shown);
    base->apart = dni_alloc(p->heap, p->num_tensors, sizeof *base->apart);
    base->offset = dni_alloc(p->heap, p->num_tensors, sizeof *base->offset);
    if (!base->pinned || !base->shown || !base->apart || !base->offset)
        return DN_E_NOMEM;
    mark(base, p, compact);
    return DN_OK;
}

dn_status dni_base_place(dni_base *base, const dni_program *p)
{
    for (size_t t = 0; t < p->num_tensors; t++) {
        const dni_tensor_info *info = &p->tensors[t];
        size_t bytes, *total = info->role == DNI_DIFF ? &base->diff : &base->data;
        if (!base->pinned[t] || base->shown[t])
            continue;
        if (!dni_mul((size_t)dni_shape_count(&info->shape), dni_dtype_size(info->dtype),
                     &bytes) ||
            !dni_add(bytes, 63, &bytes))
            return dni_fail(DN_E_SHAPE, "a tensor is too large for this machine");
        bytes &= ~(size_t)63;
        base->offset[t] = *total;
        if (!dni_add(*total, bytes, total))
            return dni_fail(DN_E_SHAPE, "the net's tensors are too large for this machine");
    }
    return DN_OK;
}

void dni_base_free(dni_base *base)
{
    for (size_t t = 0; base->apart && t < base->count; t++)
        dni_free_aligned(base->apart[t]);
    dni_free_aligned(base->arena[0]);
    dni_free_aligned(base->arena[1]);
    dni_free(base->names);
    dni_free(base->apart);
    dni_free(base->shown);
    dni_free(base->pinned);
    dni_free(base->offset);
    *base = (dni_base){0};
}

dn_status dni_make_arena(const dni_heap *heap, void *out, size_t bytes, bool zero)
{
    void **ptr = out;
    if (*ptr || !bytes)
        return DN_OK;
    *ptr = dni_alloc_aligned(heap, bytes);
    if (!*ptr)
        return DN_E_NOMEM;
    if (zero)
        memset(*ptr, 0, bytes);
    return DN_OK;
}

enum { NAME = 64 }; /* bytes from one to the next */

static dn_status make_names(dni_base *base)
{
    if (!base->names)
        base->names = dni_alloc(base->heap, base->count, NAME);
    return base->names ? DN_OK : DN_E_NOMEM;
}

dn_status dni_base_bind(dni_base *base, dni_section section)
{
    if (base->device)
        return make_names(base);
    dn_status st = dni_make_arena(base->heap, &base->arena[0], base->data, true);
    if (!st && section == DNI_BACKWARD)
        st = dni_make_arena(base->heap, &base->arena[1], base->diff, true);
    return st;
}

bool dni_base_has(const dni_base *base, dni_tensor root)
{
    return (size_t)root < base->count && base->pinned[root];
}

void *dni_base_memory(const dni_base *base, const dni_program *p, dni_tensor root)
{
    if (base->shown[root] || base->apart[root])
        return base->apart[root];
    if (base->device)
        return base->names ? base->names + NAME * (size_t)root : NULL;
    char *arena = base->arena[p->tensors[root].role == DNI_DIFF];
    return arena ? arena + base->offset[root] : NULL;
}

static dn_status make_apart(dni_base *base, const dni_program *p, dni_tensor root)
{
    if (base->apart[root])
        return DN_OK;
    size_t bytes = dni_tensor_bytes(&p->tensors[root]);
    base->apart[root] = dni_alloc_aligned(base->heap, bytes);
    if (!base->apart[root])
        return DN_E_NOMEM;
    memset(base->apart[root], 0, bytes);
    return DN_OK;
}

dn_status dni_base_bind_shown(dni_base *base, const dni_program *p, dni_tensor root)
{
    if (!base->device)
        return make_apart(base, p, root);
    dn_status st = make_names(base);
    base->shown[root] = base->shown[root] && st; /* from now on as any other */
    return st;
}

dn_status dni_base_look(dni_base *base, const dni_program *p, dni_tensor root)
{
    if (!base->device || base->shown[root] || base->apart[root])
        return DN_OK;
    const void *name = dni_base_memory(base, p, root);
    dn_status st = make_apart(base, p, root);
    if (!st)
        dni_mirror_move(base->device, name, base->apart[root]);
    return st;
}

/* ---- all values, put aside and back ------------------------------------------------------ */

static size_t value_bytes(const dni_base *base, const dni_program *p, size_t t)
{
    bool value = base->pinned[t] && p->tensors[t].role != DNI_DIFF;
    return value && dni_base_memory(base, p, (dni_tensor)t) ? dni_tensor_bytes(&p->tensors[t])
                                                            : 0;
}

size_t dni_base_data_bytes(const dni_base *base, const dni_program *p)
{
    size_t bytes = 0;
    for (size_t t = 0; t < base->count; t++)
        bytes += value_bytes(base, p, t);
    return bytes;
}

void dni_base_copy(const dni_base *base, const dni_program *p, char *buffer, bool back)
{
    for (size_t t = 0; t < base->count; t++) {
        size_t bytes = value_bytes(base, p, t);
        if (!bytes)
            continue;
        void *memory = dni_base_memory(base, p, (dni_tensor)t);
        memcpy(back ? memory : buffer, back ? buffer : memory, bytes);
        buffer += bytes;
    }
}
