/* SPDX-License-Identifier: BSD-2-Clause
 * choose.c: asks the backends of the chain one after the other, best first. */
#include "plan/choose.h"

#include <stdio.h>

#include "core/mirror.h"
#include "plan/relayout.h"
#include "plan/tune.h"

static dn_operand operand_of(const dni_program *p, dni_tensor t, bool knows, bool nhwc)
{
    if (t == DNI_NONE)
        return (dn_operand){.dtype = -1};
    const dni_tensor_info *info = &p->tensors[t];
    int32_t layout = nhwc ? DN_LAYOUT_NHWC : knows ? info->layout : DN_LAYOUT_PLAIN;
    return (dn_operand){.dtype = info->dtype, .layout = layout, .shape = info->shape};
}

uint32_t dni_constant_inputs(const dni_program *p, const dni_op *op)
{
    uint32_t constant = 0;
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (op->inputs[k] != DNI_NONE && p->tensors[op->inputs[k]].version)
            constant |= 1u << k;
    return constant;
}

static void take(dni_choice *c, const dni_backend_slot *slot, int32_t rank, dn_op *op,
                 const dn_op_info *info)
{
    if (c->op)
        c->ops->op_destroy(c->op);
    c->ops = slot->ops;
    c->op = op;
    c->rank = rank;
    c->scratch = info->scratch;
    c->keep = info->keep;
    c->unread = info->unread & c->constant;
    c->cost = info->cost;
    snprintf(c->implementation, sizeof c->implementation, "%s",
             info->implementation[0] ? info->implementation : slot->ops->name);
}

static dn_status forget(dni_choice *c, dn_status st)
{
    if (c->op)
        c->ops->op_destroy(c->op);
    c->op = NULL;
    return st;
}

/* A device is used by one thread at a time, and nobody may disturb what another records. */
static dn_status create(const dn_context *context, const dni_backend_slot *slot,
                        const dn_op_desc *desc, dn_op **op, dn_op_info *info)
{
    bool device = slot->ops->space == DN_SPACE_DEVICE;
    if (device)
        dni_mirror_lock(context);
    dn_status st;
    do
        st = slot->ops->op_create(slot->backend, desc, op, info);
    while (device && dni_mirror_again(context, st));
    if (device)
        dni_mirror_unlock(context);
    return st;
}

/* The first of the chain that takes the op, or a later one on the same side that knows to be
 * faster. The last is asked only if all others decline. */
static dn_status ask_chain(dn_context *context, const dn_op_desc *desc, dni_choice *c)
{
    for (int32_t i = 0; i < context->num_backends; i++) {
        const dni_backend_slot *slot = &context->backends[i];
        if (c->op && c->ops->space != slot->ops->space)
            continue; /* nothing is said of what the way there and back takes */
        if (c->op && (c->cost == 0 || i == context->num_backends - 1))
            break;
        dn_op_info info = {.struct_size = sizeof info};
        dn_op *op = NULL;
        dn_status st = create(context, slot, desc, &op, &info);
        if (st == DN_DECLINED) {
            if (!c->op && !c->declined[0])
                snprintf(c->declined, sizeof c->declined, "%.12s: %.79s", slot->ops->name,
                         info.reason);
            continue;
        }
        if (st)
            return forget(c, st);
        c->offered |= info.compute == desc->compute;
        c->rounds |= info.compute != DN_COMPUTE_F32;
        if (context->tune && slot->ops->space == DN_SPACE_HOST &&
            i != context->num_backends - 1 && dni_is_product(desc->kind))
            st =
                dni_tune(context, slot, desc, dni_op_kind_of(desc->kind)->args_size, op, &info);
        if (st) {
            slot->ops->op_destroy(op);
            return forget(c, st);
        }
        if (!c->op || (info.cost > 0 && info.cost < c->cost))
            take(c, slot, i, op, &info);
        else
            slot->ops->op_destroy(op);
    }
    if (c->op)
        return DN_OK;
    return dni_fail(DN_E_UNSUPPORTED, "no backend of this context has it (%s)",
                    c->declined[0] ? c->declined : "the chain is empty");
}

dn_status dni_choose_as(dn_context *context, const dni_program *p, const dni_op *op,
                        uint32_t in_bits, uint32_t out_bits, dni_choice *choice)
{
    *choice = (dni_choice){.constant = dni_constant_inputs(p, op)};
    if (op->kind == DN_OP_HOST_CALL) {
        snprintf(choice->implementation, sizeof choice->implementation, "host");
        return DN_OK;
    }
    bool knows = dni_knows_layouts(op->kind);
    int32_t num = op->num_inputs + op->num_outputs;
    dn_operand few[2 * DN_MAX_OPERANDS], *in = few;
    if (num > 2 * DN_MAX_OPERANDS)
        in = dni_alloc(p->heap, (size_t)num, sizeof *in);
    if (!in)
        return DN_E_NOMEM;
    dn_operand *out = in + op->num_inputs;
    for (int32_t i = 0; i < op->num_inputs; i++)
        in[i] = operand_of(p, op->inputs[i], knows, in_bits >> i & 1);
    for (int32_t i = 0; i < op->num_outputs; i++)
        out[i] =
            operand_of(p, dni_output(op, i), knows, i < DN_MAX_OPERANDS && out_bits >> i & 1);
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = op->kind,
                       .num_inputs = op->num_inputs,
                       .num_outputs = op->num_outputs,
                       .compact = p->compact,
                       .inputs = in,
                       .outputs = out,
                       .args = op->args,
                       .constant = choice->constant,
                       .compute = p->compute};
    dn_status st = ask_chain(context, &desc, choice);
    if (in != few)
        dni_free(in);
    return dni_in(st, "op %s", dni_op_kind_of(op->kind)->name);
}

dn_status dni_choose(dn_context *context, const dni_program *p, const dni_op *op,
                     dni_choice *choice)
{
    return dni_choose_as(context, p, op, 0, 0, choice);
}

bool dni_is_last_resort(const dn_context *context, const dni_choice *choice)
{
    return choice->ops && (choice->rank == context->num_backends - 1 ||
                           (context->mirror && choice->ops->space == DN_SPACE_HOST));
}

static dn_status try_op(const dni_rewrite *r, const dni_op *op, dni_choice *choice)
{
    dn_status st = dni_choose(r->context, r->program, op, choice);
    if (!st && choice->op)
        choice->ops->op_destroy(choice->op);
    return st;
}

dn_status dni_settle_compute(dni_rewrite *r)
{
    dni_program *p = r->program;
    bool any = false, offered = p->compute == DN_COMPUTE_F32;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && !offered && i < p->num_ops; i++) {
        dni_choice choice;
        if (!dni_is_product(p->ops[i].kind))
            continue;
        st = try_op(r, &p->ops[i], &choice);
        any = true;
        offered = !st && choice.rounds;
    }
    if (!st && any && !offered)
        p->compute = DN_COMPUTE_F32;
    return st;
}

dn_status dni_accepts(const dni_rewrite *r, const dni_op *op, const dni_op *const *replaced,
                      int32_t num, bool *accepted)
{
    dni_choice fused, plain;
    dn_status st = try_op(r, op, &fused);
    double cost = 0;
    bool known = fused.cost > 0;
    *accepted = true;
    for (int32_t i = 0; !st && i < num && *accepted; i++) {
        st = try_op(r, replaced[i], &plain);
        *accepted = !st && (!dni_is_last_resort(r->context, &fused) ||
                            dni_is_last_resort(r->context, &plain));
        known &= plain.cost > 0;
        cost += plain.cost;
    }
    if (known && fused.cost > cost)
        *accepted = false;
    return st;
}

dn_status dni_saves(const dni_rewrite *r, const dni_op *const *ops,
                    const dni_op *const *replaced, int32_t num, bool *saves)
{
    dni_choice now, was;
    dn_status st = DN_OK;
    double saved = 0;
    bool known = true;
    for (int32_t i = 0; !st && known && i < num; i++) {
        now.cost = 0;
        if (ops[i])
            st = try_op(r, ops[i], &now);
        if (!st)
            st = try_op(r, replaced[i], &was);
        known = !st && was.cost > 0 &&
                (!ops[i] || (now.cost > 0 && !dni_is_last_resort(r->context, &now)));
        saved += known ? was.cost - now.cost : 0;
    }
    *saves = known && saved > 0;
    return st;
}
