/* SPDX-License-Identifier: BSD-2-Clause
 * edit.c: see edit.h. Ops are added at the end and put in order once. */
#include "plan/edit.h"

#include <string.h>

dn_status dni_edit_begin(dni_edit *e, dni_program *p)
{
    *e = (dni_edit){.p = p, .num_ops = p->num_ops, .num_tensors = p->num_tensors};
    e->other = dni_alloc(p->heap, 2 * e->num_tensors, sizeof *e->other);
    if (!e->other)
        return DN_E_NOMEM;
    e->moved = e->other + e->num_tensors;
    for (size_t t = 0; t < 2 * e->num_tensors; t++)
        e->other[t] = DNI_NONE;
    return DN_OK;
}

dni_tensor dni_edit_place(const dni_edit *e, dni_tensor root)
{
    return e->moved[root] == DNI_NONE ? root : e->moved[root];
}

dni_tensor dni_edit_value(dni_edit *e, dni_tensor like, int32_t dtype, int32_t layout)
{
    dni_tensor made = dni_program_like(e->p, like);
    if (made == DNI_NONE)
        return made;
    e->p->tensors[made].dtype = dtype;
    e->p->tensors[made].layout = layout;
    return made;
}

dn_status dni_edit_view(dni_edit *e, dni_tensor t, dni_tensor value, int32_t layout,
                        dni_tensor *out)
{
    const dni_tensor_info *info = &e->p->tensors[value];
    dni_tensor_info seen = e->p->tensors[t];
    *out = value;
    if (dni_shape_equal(&info->shape, &seen.shape) && info->layout == layout)
        return DN_OK;
    seen.role = DNI_TEMP;
    seen.storage = value;
    seen.keep = false;
    seen.dtype = info->dtype;
    seen.layout = layout;
    *out = dni_program_tensor(e->p, &seen);
    return *out == DNI_NONE ? DN_E_NOMEM : DN_OK;
}

dni_op *dni_edit_insert(dni_edit *e, size_t at, int32_t kind, dni_section section,
                        dni_tensor from, dni_tensor to)
{
    dni_program *p = e->p;
    size_t added = p->num_ops - e->num_ops;
    dni_op *op = dni_program_op(p, kind, section, at < e->num_ops ? p->ops[at].layer : -1);
    if (!op || dni_grow(p->heap, &e->before, &e->cap_before, added + 1, sizeof *e->before))
        return NULL;
    e->before[added] = at;
    op->num_inputs = op->num_outputs = 1;
    op->inputs[0] = from;
    op->outputs[0] = to;
    return op;
}

static dn_status put_in_order(dni_edit *e)
{
    dni_program *p = e->p;
    size_t n = e->num_ops, added = p->num_ops - n, next = 0, count = 0;
    dni_op *ordered = dni_alloc(p->heap, p->num_ops, sizeof *ordered);
    if (!ordered)
        return DN_E_NOMEM;
    for (size_t i = 0; i <= n; i++) {
        while (next < added && e->before[next] == i)
            ordered[count++] = p->ops[n + next++];
        if (i < n)
            ordered[count++] = p->ops[i];
    }
    memcpy(p->ops, ordered, count * sizeof *ordered);
    dni_free(ordered);
    return DN_OK;
}

dn_status dni_edit_end(dni_edit *e, dn_status st)
{
    if (!st)
        st = put_in_order(e);
    dni_free(e->other);
    dni_free(e->before);
    return st;
}
