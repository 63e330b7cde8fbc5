/* SPDX-License-Identifier: BSD-2-Clause
 * program.c: the lists of tensors and ops, and what is known of each op kind in one table. */
#include "program/program.h"

#include <string.h>

#define KIND(name, args, accumulates) [DN_OP_##name] = {#name, sizeof(args), accumulates}

static const dni_op_kind kinds[DN_OP_KIND_END] = {
    KIND(FILL, dn_args_fill, 1),
    KIND(RANDOM, dn_args_random, 1),
    KIND(COPY, dn_args_copy, 1),
    KIND(UNARY, dn_args_unary, 1),
    KIND(UNARY_BWD, dn_args_unary, 1),
    KIND(ELTWISE, dn_args_eltwise, 1),
    KIND(SELECT, dn_args_select, 1),
    KIND(BCAST, dn_args_bcast, 1),
    KIND(REDUCE, dn_args_reduce, 1),
    KIND(GEMM, dn_args_gemm, 1),
    KIND(CONV, dn_args_conv, 1),
    KIND(CONV_BWD_DATA, dn_args_conv, 1),
    KIND(CONV_BWD_WEIGHTS, dn_args_conv, 3),
    KIND(IM2COL, dn_args_conv, 1),
    KIND(COL2IM, dn_args_conv, 1),
    KIND(POOL, dn_args_pool, 0),
    KIND(POOL_BWD, dn_args_pool, 1),
    KIND(LRN, dn_args_lrn, 0),
    KIND(LRN_BWD, dn_args_lrn, 1),
    KIND(BATCH_NORM, dn_args_batch_norm, 0),
    KIND(BATCH_NORM_BWD, dn_args_batch_norm, 1),
    KIND(MVN, dn_args_mvn, 0),
    KIND(MVN_BWD, dn_args_mvn, 1),
    KIND(SOFTMAX, dn_args_axis, 0),
    KIND(SOFTMAX_BWD, dn_args_axis, 1),
    KIND(LOSS, dn_args_loss, 0),
    KIND(LOSS_BWD, dn_args_loss, 3),
    KIND(ACCURACY, dn_args_accuracy, 0),
    KIND(ARGMAX, dn_args_argmax, 0),
    KIND(DROPOUT, dn_args_dropout, 0),
    KIND(DROPOUT_BWD, dn_args_dropout, 1),
    KIND(PRELU, dn_args_prelu, 0),
    KIND(PRELU_BWD, dn_args_prelu, 3),
    KIND(GATHER, dn_args_gather, 1),
    KIND(SCATTER_ADD, dn_args_gather, 1),
    KIND(LSTM_UNIT, dn_args_lstm, 0),
    KIND(LSTM_UNIT_BWD, dn_args_lstm, 3),
    KIND(UPDATE, dn_args_update, 0),
    KIND(CAST, dn_args, 0),
    KIND(HOST_CALL, dn_args_host_call, 0),
    KIND(SUMSQ_ALL, dn_args, 0),
    KIND(SCALE_CLIP, dn_args_scale_clip, 0),
    KIND(NORM_SCALE, dn_args_norm_scale, 0),
    KIND(NORM_SCALE_BWD, dn_args_norm_scale, 7),
    KIND(ROI_POOL, dn_args_roi, 0),
    KIND(ROI_POOL_BWD, dn_args_roi, 1),
    KIND(RANK, dn_args_rank, 0),
    KIND(YOLO_LOSS, dn_args_yolo_loss, 0),
    KIND(MULTI_BOX, dn_args_multi_box, 0),
    KIND(DETECT, dn_args_detect, 0),
    KIND(OVERLAP, dn_args_overlap, 0),
    KIND(CTC, dn_args_ctc, 0),
    KIND(TARGETS, dn_args_targets, 0),
    KIND(LATTICE, dn_args_lattice, 0),
    KIND(LATTICE_FILTER, dn_args_lattice, 0),
};

dni_tensor dni_operand(const dni_op *op, int32_t k)
{
    return k < op->num_inputs ? op->inputs[k] : dni_output(op, k - op->num_inputs);
}

const dni_op_kind *dni_op_kind_of(int32_t kind)
{
    return kind > 0 && kind < DN_OP_KIND_END && kinds[kind].name ? &kinds[kind] : NULL;
}

void dni_program_init(dni_program *program, const dni_heap *heap)
{
    *program = (dni_program){.heap = heap, .before = dni_held()};
}

dn_status dni_program_check(const dni_program *p)
{
    size_t bytes = dni_held() - p->before;
    if (p->limit && bytes > p->limit)
        return dni_fail(DN_E_LIMIT,
                        "the net's weights and its plan, so far of %zu ops, need %zu bytes; "
                        "memory_limit is %zu",
                        p->num_ops, bytes, p->limit);
    return DN_OK;
}

void dni_program_free(dni_program *program)
{
    for (size_t i = 0; i < program->num_ops; i++)
        dni_free(program->ops[i].args);
    for (size_t i = 0; i < program->num_owned; i++)
        dni_free(program->owned[i]);
    dni_free(program->owned);
    dni_free(program->ops);
    dni_free(program->tensors);
    dni_program_init(program, program->heap);
}

dni_op *dni_program_op(dni_program *program, int32_t kind, dni_section section, int32_t layer)
{
    size_t size = dni_op_kind_of(kind)->args_size;
    if (dni_grow(program->heap, &program->ops, &program->cap_ops, program->num_ops + 1,
                 sizeof *program->ops))
        return NULL;
    dn_args *args = dni_alloc(program->heap, 1, size);
    if (!args)
        return NULL;
    args->struct_size = size;
    dni_op *op = &program->ops[program->num_ops++];
    *op = (dni_op){.kind = kind, .layer = layer, .section = section, .args = args};
    return op;
}

dn_status dni_program_copy(dni_program *copy, const dni_program *from)
{
    dni_program_init(copy, from->heap);
    dn_status st = dni_grow(from->heap, &copy->tensors, &copy->cap_tensors,
                            from->num_tensors + 1, sizeof *copy->tensors);
    if (st)
        return st;
    memcpy(copy->tensors, from->tensors, from->num_tensors * sizeof *copy->tensors);
    copy->num_tensors = from->num_tensors;
    copy->compute = from->compute;
    copy->compact = from->compact;
    copy->late = from->late;
    copy->limit = from->limit;
    copy->before = from->before;
    for (size_t i = 0; i < from->num_ops; i++) {
        const dni_op *op = &from->ops[i];
        dni_op *to = dni_program_op(copy, op->kind, op->section, op->layer);
        if (!to)
            return DN_E_NOMEM;
        dn_args *args = to->args;
        memcpy(args, op->args, dni_op_kind_of(op->kind)->args_size);
        *to = *op;
        to->args = args;
    }
    return DN_OK;
}

void *dni_program_own(dni_program *program, const void *bytes, size_t size)
{
    if (dni_grow(program->heap, &program->owned, &program->cap_owned, program->num_owned + 1,
                 sizeof *program->owned))
        return NULL;
    void *copy = dni_alloc(program->heap, 1, size);
    if (copy)
        program->owned[program->num_owned++] = memcpy(copy, bytes, size);
    return copy;
}

void dni_program_sweep(dni_program *program)
{
    size_t kept = 0;
    for (size_t i = 0; i < program->num_ops; i++)
        if (program->ops[i].kind)
            program->ops[kept++] = program->ops[i];
        else
            dni_free(program->ops[i].args);
    program->num_ops = kept;
}

dni_tensor dni_program_tensor(dni_program *program, const dni_tensor_info *info)
{
    if (program->num_tensors >= INT32_MAX ||
        dni_grow(program->heap, &program->tensors, &program->cap_tensors,
                 program->num_tensors + 1, sizeof *program->tensors))
        return DNI_NONE;
    dni_tensor t = (dni_tensor)program->num_tensors++;
    program->tensors[t] = *info;
    if (info->storage == DNI_NONE)
        program->tensors[t].storage = t;
    return t;
}

dni_tensor dni_program_like(dni_program *program, dni_tensor like)
{
    dni_tensor_info info = program->tensors[like];
    info.role = DNI_TEMP;
    info.storage = DNI_NONE;
    info.keep = false;
    return dni_program_tensor(program, &info);
}
