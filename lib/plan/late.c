/* SPDX-License-Identifier: BSD-2-Clause
 * late.c: a large gradient of a weight that is one product, of values nobody else can change,
 * is made last in the backward. An update may then make it instead, some rows at a time, and it
 * needs no memory (solver/strips.c): what it is made of is still there. */
#include <string.h>

#include "plan/passes.h"

enum { LEAST = 1 << 20 }; /* bytes; less stays in the caches until the update */

static bool stays(const dni_program *p, dni_tensor t, size_t from, size_t end)
{
    const dni_tensor_info *root = &p->tensors[dni_root(p, t)];
    return dni_is_placed(root) && !root->keep && dni_unwritten(p, t, from, end);
}

/* A sum over lines of two matrices without gaps, as layers write it. */
static bool is_plain(const dn_args_gemm *g, int64_t count)
{
    return g->trans_a && !g->trans_b && g->batch == 1 && g->m * g->n == count &&
           g->lda == g->m && g->ldb == g->n && g->ldc == g->n && !g->offset_a && !g->offset_b &&
           !g->offset_c && !g->bias_mode && !g->activation;
}

/* What it is made of takes no more memory than it does, as it lives on until the update. */
static bool can_wait(const dni_program *p, size_t i, size_t end)
{
    const dni_op *op = &p->ops[i];
    if (op->kind != DN_OP_GEMM)
        return false;
    dni_tensor root = dni_root(p, op->outputs[0]);
    const dni_tensor_info *dw = &p->tensors[root];
    return dw->role == DNI_WEIGHT_DIFF && dni_tensor_bytes(dw) >= LEAST &&
           dni_tensor_bytes(&p->tensors[op->inputs[0]]) +
                   dni_tensor_bytes(&p->tensors[op->inputs[1]]) <=
               dni_tensor_bytes(dw) &&
           is_plain((const dn_args_gemm *)op->args, dni_shape_count(&dw->shape)) &&
           stays(p, op->inputs[0], i + 1, end) && stays(p, op->inputs[1], i + 1, end) &&
           dni_untouched(p, root, 0, i) && dni_untouched(p, root, i + 1, p->num_ops);
}

dn_status dni_put_off_gradients(dni_rewrite *r)
{
    dni_program *p = r->program;
    size_t at = 0, end = 0;
    for (size_t i = 0; p->late && i < p->num_ops; i++) {
        at += p->ops[i].section == DNI_FORWARD;
        end += p->ops[i].section <= DNI_BACKWARD;
    }
    for (size_t i = at; i < end; i++) /* before any is moved: ops are noted where they are */
        p->ops[i].late = can_wait(p, i, end);
    for (size_t left = end - at; left > 0; left--) {
        if (!p->ops[at].late) {
            at++;
            continue;
        }
        dni_op op = p->ops[at];
        memmove(&p->ops[at], &p->ops[at + 1], (end - at - 1) * sizeof op);
        p->ops[end - 1] = op;
    }
    return DN_OK;
}
