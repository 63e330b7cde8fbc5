/* SPDX-License-Identifier: BSD-2-Clause
 * narrow.c: what the narrow ops share, and those that go element by element: CAST, UNARY of
 * ReLU, clipping (ReLU6) and affine functions, UNARY_BWD of the first two, sums. */
#include "narrow.h"

#include <stdio.h>

int64_t one_count(const dn_operand *operand)
{
    int64_t count = 1;
    for (int32_t i = 0; i < operand->shape.axes; i++)
        count *= operand->shape.dim[i];
    return count;
}

static bool any_narrow(const dn_operand *operands, int32_t count)
{
    bool any = false;
    for (int32_t i = 0; i < count; i++)
        any |= operands[i].dtype == DN_BF16;
    return any;
}

bool one_is_narrow(const dn_backend *backend, const dn_op_desc *desc)
{
    return backend->bf16 && (any_narrow(desc->inputs, desc->num_inputs) ||
                             any_narrow(desc->outputs, desc->num_outputs));
}

static bool side_fits(const dn_operand *operands, int32_t count, uint32_t bits, int32_t layout)
{
    for (int32_t i = 0; i < count; i++) {
        bool narrow = bits >> i & 1;
        if (operands[i].dtype >= 0 && ((operands[i].dtype == DN_BF16) != narrow ||
                                       (narrow && operands[i].layout != layout)))
            return false;
    }
    return true;
}

bool one_narrow_fits(const dn_op_desc *desc, uint32_t bits, int32_t layout)
{
    return side_fits(desc->inputs, desc->num_inputs, bits & 0xFFFF, layout) &&
           side_fits(desc->outputs, desc->num_outputs, bits >> 16, layout);
}

static double bytes_of(const dn_operand *operands, int32_t count)
{
    static const int sizes[] = {4, 8, 2, 4, 8, 1};
    double bytes = 0;
    for (int32_t i = 0; i < count; i++)
        if (operands[i].dtype >= 0)
            bytes += sizes[operands[i].dtype] * (double)one_count(&operands[i]);
    return bytes;
}

void one_narrow_info(const dn_op_desc *desc, dn_op_info *info, const char *name)
{
    snprintf(info->implementation, sizeof info->implementation, "onednn:%s/avx512_bf16", name);
    info->cost = (bytes_of(desc->inputs, desc->num_inputs) +
                  bytes_of(desc->outputs, desc->num_outputs)) /
                 ONE_BYTES_PER_NS;
}

int64_t one_tasks(int64_t elements)
{
    return one_max(1, one_min(64, elements / 32768));
}

/* ---- element by element ------------------------------------------------------------------ */

enum { CHUNK = 4096 }; /* of each operand, while it is in the first cache */

typedef struct each_op {
    dn_op base;
    int64_t count, tasks;
    int32_t kind, inputs, from; /* from: CAST's type; UNARY_BWD's input that tells the sign */
    int32_t fn;
    bool add;
    float coeff[DN_MAX_COEFF]; /* also a and b of a function */
} each_op;

typedef struct each_call {
    const each_op *op;
    const dn_op_io *io;
} each_call;

static void each_chunk(const each_call *call, int64_t at, int64_t n)
{
    const each_op *op = call->op;
    const one_bf16 *x[DN_MAX_COEFF];
    one_bf16 *y = (one_bf16 *)call->io->out[0] + at;
    for (int32_t k = 0; k < op->inputs; k++)
        x[k] = call->io->in[k] ? (const one_bf16 *)call->io->in[k] + at : NULL;
    switch (op->kind) {
    case DN_OP_UNARY:
        if (op->fn == DN_FN_RELU)
            nk_relu(y, x[0], op->coeff[0], op->add, n);
        else if (op->fn == DN_FN_CLIP)
            nk_clip(y, x[0], op->coeff[0], op->coeff[1], op->add, n);
        else
            nk_affine(y, x[0], op->coeff[0], op->coeff[1], op->add, n);
        break;
    case DN_OP_UNARY_BWD:
        if (op->fn == DN_FN_RELU)
            nk_relu_bwd(y, x[2], x[op->from], op->coeff[0], op->add, n);
        else
            nk_clip_bwd(y, x[2], x[0], op->coeff[0], op->coeff[1], op->add, n);
        break;
    case DN_OP_ELTWISE:
        nk_sum(y, x, op->coeff, op->inputs, op->add, n);
        break;
    default:
        if (op->from == DN_BF16)
            nk_widen((float *)call->io->out[0] + at, x[0], n);
        else
            nk_narrow(y, (const float *)call->io->in[0] + at, n);
    }
}

static dnnl_status_t each_task(void *arg, int64_t task, int32_t worker)
{
    const each_call *call = arg;
    int64_t from, to;
    (void)worker;
    one_split(call->op->count, call->op->tasks, task, &from, &to);
    for (int64_t at = from; at < to; at += CHUNK)
        each_chunk(call, at, one_min(CHUNK, to - at));
    return dnnl_success;
}

static dn_status each_run(dn_op *base, const dn_op_io *io)
{
    each_call call = {(each_op *)base, io};
    return one_for(base->backend, call.op->tasks, each_task, &call);
}

static each_op *each_new(dn_backend *backend, const dn_op_desc *desc, dn_op_info *info,
                         const char *name)
{
    const dn_args *args = desc->args;
    each_op *op = one_op_new(backend, sizeof *op);
    if (!op)
        return NULL;
    op->base.run = each_run;
    op->kind = desc->kind;
    op->count = one_count(&desc->outputs[0]);
    op->tasks = one_tasks(op->count);
    op->inputs = desc->num_inputs;
    op->add = args->accumulate & 1;
    one_narrow_info(desc, info, name);
    return op;
}

dn_status one_narrow_cast(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                          dn_op_info *info)
{
    int32_t from = desc->inputs[0].dtype, to = desc->outputs[0].dtype;
    if (!one_is_narrow(backend, desc) || (from != DN_F32 && to != DN_F32))
        return one_decline(info, "not between f32 and bf16");
    each_op *op = each_new(backend, desc, info, "cast");
    if (!op)
        return DN_E_NOMEM;
    op->from = from;
    *out = &op->base;
    return DN_OK;
}

dn_status one_narrow_unary(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    bool affine = args->fn == DN_FN_AFFINE || args->fn == DN_FN_NONE;
    if (!one_is_narrow(backend, desc) ||
        !one_narrow_fits(desc, 1 | 1u << 16, DN_LAYOUT_PLAIN) ||
        (args->fn != DN_FN_RELU && args->fn != DN_FN_CLIP && !affine))
        return one_decline(info, "not a ReLU, clipped, nor affine, in bf16");
    each_op *op = each_new(backend, desc, info,
                           affine                   ? "affine"
                           : args->fn == DN_FN_RELU ? "relu"
                                                    : "clip");
    if (!op)
        return DN_E_NOMEM;
    op->fn = args->fn;
    op->coeff[0] = args->fn == DN_FN_NONE ? 1 : (float)args->a;
    op->coeff[1] = args->fn == DN_FN_NONE ? 0 : (float)args->b;
    *out = &op->base;
    return DN_OK;
}

dn_status one_narrow_unary_bwd(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_unary *args = desc->args;
    bool relu = args->fn == DN_FN_RELU, from_x = desc->inputs[0].dtype >= 0;
    if (!one_is_narrow(backend, desc) ||
        !one_narrow_fits(desc, 7 | 1u << 16, DN_LAYOUT_PLAIN) ||
        (!relu && (args->fn != DN_FN_CLIP || !from_x)))
        return one_decline(info, "not a ReLU, nor clipped, in bf16");
    each_op *op = each_new(backend, desc, info, relu ? "relu" : "clip");
    if (!op)
        return DN_E_NOMEM;
    op->fn = args->fn;
    op->coeff[0] = (float)args->a;
    op->coeff[1] = (float)args->b;
    op->from = !from_x;
    *out = &op->base;
    return DN_OK;
}

dn_status one_narrow_sum(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_args_eltwise *args = desc->args;
    uint32_t all = (1u << desc->num_inputs) - 1;
    if (!one_is_narrow(backend, desc) || args->op != DN_ELTWISE_SUM || desc->num_inputs < 1 ||
        desc->num_inputs > DN_MAX_COEFF || one_present(desc->outputs, desc->num_outputs, 1) ||
        !one_narrow_fits(desc, all | 1u << 16, DN_LAYOUT_PLAIN))
        return one_decline(info, "not a sum in bf16");
    each_op *op = each_new(backend, desc, info, "sum");
    if (!op)
        return DN_E_NOMEM;
    for (int32_t k = 0; k < op->inputs; k++)
        op->coeff[k] = (float)args->coeff[k];
    *out = &op->base;
    return DN_OK;
}
