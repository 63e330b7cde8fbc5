/* SPDX-License-Identifier: BSD-2-Clause
 * strips.c: the update of weights whose gradients the backward may leave to it (plan/late.c):
 * some rows of one are made at a time, by a product of part of dy, and update the same rows of
 * the weight and its histories while they are in the caches. It needs no memory but for those
 * rows, and none of it is written or read through. */
#include "solver/update.h"

enum { STRIP_BYTES = 1 << 20, STRIP_ROWS = 32 }; /* about so much, in whole lots of rows */

/* Elements of memory that dni_strips_follow finds, `advance` further on in each turn. */
static dni_tensor vector(dni_builder *b, dni_role role, int64_t count, int64_t advance)
{
    dni_shape shape = dni_shape_of(1, &count);
    dni_tensor t = dni_memory_tensor(b, role, &shape, NULL);
    if (t != DNI_NONE)
        b->program->tensors[t].advance = (size_t)advance * dni_dtype_size(b->dtype);
    return t;
}

static void emit_strip(dni_builder *b, const dni_update *u, dni_strip *strip,
                       const dn_args_gemm *whole, int64_t rows, int64_t turns, dni_tensor hyper)
{
    dn_args_gemm g = *whole;
    int64_t size = rows * g.n;
    g.m = rows;
    g.base.accumulate = 0;
    strip->op = b->program->num_ops;
    strip->at = strip->row * g.n;
    dni_tensor a = vector(b, DNI_STATE, (g.k - 1) * g.lda + rows, rows);
    dni_tensor x = vector(b, DNI_STATE, g.k * g.n, 0), w = vector(b, DNI_WEIGHT, size, size);
    dni_tensor dw = dni_temp(b, b->dtype, 1, &size);
    strip->first = a;
    for (int32_t k = 0; k < u->rule->histories; k++)
        vector(b, DNI_STATE, size, size);
    b->layer = u->weights[strip->weight].layer;
    dni_emit(b, DN_OP_GEMM, &g, DNI_TENSORS(a, x), DNI_TENSORS(dw));
    dni_emit_update(b, u, strip->weight, hyper, w, dw, dw + 1);
    for (size_t i = strip->op; i < b->program->num_ops; i++)
        b->program->ops[i].turns = (int32_t)turns;
}

/* All rows of a weight: strips of one size, and one of what is left; of few rows a product may
 * be made in another way than the whole one would be. */
static void emit_rows(dni_builder *b, dni_update *u, dni_strip of, const dn_args_gemm *whole,
                      dni_tensor hyper)
{
    int64_t lot = (int64_t)dni_dtype_size(b->dtype) * whole->n * STRIP_ROWS;
    int64_t rows = (STRIP_BYTES + lot - 1) / lot * STRIP_ROWS, turns;
    for (; !b->status && of.row < whole->m; of.row += rows * turns) {
        int64_t left = whole->m - of.row, rest = left % rows;
        turns = left / rows - (rest > 0 && rest < STRIP_ROWS);
        rows = turns > 0 ? rows : left;
        turns = turns > 0 ? turns : 1;
        u->strips[u->num_strips] = of;
        emit_strip(b, u, &u->strips[u->num_strips++], whole, rows, turns, hyper);
    }
}

static bool place(dni_update *u, dni_tensor t, void *memory, int64_t elements)
{
    void **at = &u->program.tensors[t].memory, *before = *at;
    *at = memory ? (char *)memory + (size_t)elements * dni_dtype_size(u->dtype) : NULL;
    return *at != before;
}

bool dni_strips_follow(dni_update *u, const dn_net *net)
{
    bool moved = false;
    for (size_t i = 0; i < u->num_strips; i++) {
        const dni_strip *s = &u->strips[i];
        const dni_updated *w = &u->weights[s->weight];
        moved |= place(u, s->first, dni_plan_input(net->plan, s->maker, 0), s->row);
        moved |= place(u, s->first + 1, dni_plan_input(net->plan, s->maker, 1), 0);
        moved |= place(u, s->first + 2, w->param->blob.store->data, s->at);
        for (int32_t k = 0; k < u->rule->histories; k++)
            moved |= place(u, s->first + 4 + k, w->history[k], s->at);
    }
    return moved;
}

void dni_emit_strips(dni_builder *b, dni_update *u, const dn_net *net, dni_tensor hyper)
{
    const dni_program *from = dni_plan_program(net->plan);
    size_t end, first = dni_plan_late(net->plan, &end);
    bool all = end - first == u->num_late;
    u->num_strips = 0;
    u->program.compute = from->compute; /* products of the same bits as the backward's */
    for (size_t i = u->num_weights - u->num_late; i < u->num_weights; i++)
        all &= dni_plan_late_maker(net->plan, u->weights[i].param->diff) != SIZE_MAX;
    for (size_t i = u->num_weights - u->num_late; all && i < u->num_weights; i++) {
        size_t maker = dni_plan_late_maker(net->plan, u->weights[i].param->diff);
        emit_rows(b, u, (dni_strip){.weight = i, .maker = maker},
                  (const dn_args_gemm *)from->ops[maker].args, hyper);
    }
    if (!b->status)
        dni_strips_follow(u, net);
}
