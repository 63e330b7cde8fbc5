/* SPDX-License-Identifier: BSD-2-Clause
 * print.c: an op as one line of text, and how much arithmetic it is. */
#include "program/program.h"

static int64_t count(const dni_program *p, dni_tensor t)
{
    return t == DNI_NONE ? 0 : dni_shape_count(&p->tensors[t].shape);
}

int64_t dni_op_flops(const dni_program *p, const dni_op *op)
{
    switch (op->kind) {
    case DN_OP_GEMM: {
        const dn_args_gemm *a = (const dn_args_gemm *)op->args;
        return 2 * a->batch * a->m * a->n * a->k;
    }
    case DN_OP_CONV: { /* each output needs C / group * kernel products: w's count over K */
        const dni_shape *w = &p->tensors[op->inputs[1]].shape;
        return 2 * count(p, op->outputs[0]) * dni_shape_range(w, 1, w->axes);
    }
    case DN_OP_CONV_BWD_DATA: {
        const dni_shape *w = &p->tensors[op->inputs[1]].shape;
        return 2 * count(p, op->inputs[0]) * dni_shape_range(w, 1, w->axes);
    }
    case DN_OP_CONV_BWD_WEIGHTS: {
        const dni_shape *w = &p->tensors[op->outputs[0]].shape;
        return (op->num_outputs > 2 ? 4 : 2) * count(p, op->inputs[1]) *
               dni_shape_range(w, 1, w->axes);
    }
    case DN_OP_POOL:
    case DN_OP_POOL_BWD: {
        const dn_args_pool *a = (const dn_args_pool *)op->args;
        int64_t window = 1;
        for (int32_t i = 0; i < a->spatial; i++)
            window *= a->kernel[i];
        return window *
               (op->kind == DN_OP_POOL ? count(p, op->outputs[0]) : count(p, op->inputs[0]));
    }
    case DN_OP_LRN:
    case DN_OP_LRN_BWD:
        return count(p, op->outputs[0]) * 2 * ((const dn_args_lrn *)op->args)->size;
    case DN_OP_FILL:
    case DN_OP_COPY:
    case DN_OP_CAST:
    case DN_OP_HOST_CALL:
        return 0;
    case DN_OP_UPDATE: {
        int64_t elements = 0;
        for (int32_t i = 0; i < op->num_outputs; i++)
            if (dni_output(op, i) != DNI_NONE &&
                p->tensors[dni_output(op, i)].role == DNI_WEIGHT)
                elements += count(p, dni_output(op, i));
        return elements;
    }
    default: /* elementwise work: about one operation per element of the largest operand */
        break;
    }
    int64_t most = 0;
    for (int32_t i = 0; i < op->num_inputs; i++)
        most = count(p, op->inputs[i]) > most ? count(p, op->inputs[i]) : most;
    for (int32_t i = 0; i < op->num_outputs; i++)
        most = count(p, op->outputs[i]) > most ? count(p, op->outputs[i]) : most;
    return most;
}

static void print_operand(const dni_program *p, dni_tensor t, dni_text *text)
{
    if (t == DNI_NONE) {
        dni_text_printf(text, " -");
        return;
    }
    const dni_tensor_info *info = &p->tensors[t];
    static const char *const roles[] = {"", "d:", "w:", "dw:", "t:", "s:"};
    dni_text_printf(text, " %s", roles[info->role]);
    for (int32_t i = 0; i < info->shape.axes; i++)
        dni_text_printf(text, i ? "x%lld" : "%lld", (long long)info->shape.dim[i]);
    if (!info->shape.axes)
        dni_text_printf(text, "1");
    if (info->dtype == DN_BF16)
        dni_text_printf(text, "/bf16");
}

void dni_op_print(const dni_program *p, const dni_op *op, dni_text *text)
{
    const dni_op_kind *kind = dni_op_kind_of(op->kind);
    dni_text_printf(text, "%s", kind ? kind->name : "?");
    for (int32_t i = 0; i < op->num_inputs; i++)
        print_operand(p, op->inputs[i], text);
    dni_text_printf(text, op->args->accumulate ? " +>" : " ->");
    for (int32_t i = 0; i < op->num_outputs && i < DN_MAX_OPERANDS; i++)
        print_operand(p, op->outputs[i], text);
    if (op->num_outputs > DN_MAX_OPERANDS)
        dni_text_printf(text, " and %d more", (int)op->num_outputs - DN_MAX_OPERANDS);
}
