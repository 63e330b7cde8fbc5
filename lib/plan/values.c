/* SPDX-License-Identifier: BSD-2-Clause
 * values.c: takes in-place work apart. Where a storage is overwritten whole, the value before
 * gets a storage of its own, so that passes see which op reads which value; what is safe to do
 * in place is put together again when memory is placed. The last value keeps the blob's own
 * storage. */
#include "plan/passes.h"

typedef struct renaming {
    dni_program *p;
    size_t num; /* tensors at first */
    /* Per storage of the first tensors: */
    size_t *total, *seen; /* times it is overwritten: in all, so far */
    bool *fixed;          /* read before it is written: the host, or an earlier run, fills it */
    dni_tensor *now;      /* the storage of the present value */
} renaming;

static void count_values(renaming *r)
{
    const dni_program *p = r->p;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        for (int32_t k = 0; k < op->num_inputs; k++)
            if (op->inputs[k] != DNI_NONE && !r->total[dni_root(p, op->inputs[k])])
                r->fixed[dni_root(p, op->inputs[k])] = true;
        for (int32_t k = 0; k < op->num_outputs; k++) {
            dni_tensor root = dni_root(p, op->outputs[k]);
            if (root == DNI_NONE)
                continue;
            if (dni_overwrites(p, op, k))
                r->total[root]++;
            else
                r->fixed[root] |= !r->total[root];
        }
    }
}

/* The present value of t's storage, of t's shape: what works in place keeps that. */
static dni_tensor value_of(const renaming *r, dni_tensor t)
{
    dni_tensor root = r->p->tensors[t].storage, now = r->now[root];
    return now == root ? t : now;
}

static dn_status new_value(renaming *r, dni_tensor t)
{
    dni_tensor root = r->p->tensors[t].storage;
    if (++r->seen[root] == r->total[root]) {
        r->now[root] = root;
        return DN_OK;
    }
    dni_tensor made = dni_program_like(r->p, t);
    r->now[root] = made == DNI_NONE ? root : made;
    return made == DNI_NONE ? DN_E_NOMEM : DN_OK;
}

static bool is_renamed(const renaming *r, dni_tensor t)
{
    if (t == DNI_NONE || (size_t)t >= r->num)
        return false;
    dni_tensor root = r->p->tensors[t].storage;
    return dni_is_placed(&r->p->tensors[root]) && !r->fixed[root] && r->total[root] > 1;
}

static dn_status rename_op(renaming *r, size_t index)
{
    dn_status st = DN_OK;
    dni_op *op = &r->p->ops[index];
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (is_renamed(r, op->inputs[k]))
            op->inputs[k] = value_of(r, op->inputs[k]);
    for (int32_t k = 0; !st && k < op->num_outputs; k++) {
        if (!is_renamed(r, op->outputs[k]))
            continue;
        if (dni_overwrites(r->p, op, k))
            st = new_value(r, op->outputs[k]);
        if (!st)
            op->outputs[k] = value_of(r, op->outputs[k]);
    }
    return st;
}

dn_status dni_split_values(dni_rewrite *rewrite)
{
    dni_program *p = rewrite->program;
    const dni_heap *heap = p->heap;
    size_t n = p->num_tensors;
    renaming r = {.p = p, .num = n};
    r.total = dni_alloc(heap, 2 * n, sizeof *r.total);
    r.fixed = dni_alloc(heap, n, sizeof *r.fixed);
    r.now = dni_alloc(heap, n, sizeof *r.now);
    dn_status st = r.total && r.fixed && r.now ? DN_OK : DN_E_NOMEM;
    if (!st) {
        r.seen = r.total + n;
        for (size_t t = 0; t < n; t++)
            r.now[t] = (dni_tensor)t;
        count_values(&r);
    }
    for (size_t i = 0; !st && i < p->num_ops; i++)
        st = rename_op(&r, i);
    dni_free(r.total);
    dni_free(r.fixed);
    dni_free(r.now);
    return st;
}
