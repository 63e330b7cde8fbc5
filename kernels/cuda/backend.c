/* SPDX-License-Identifier: BSD-2-Clause
 * backend.c: making and running ops: what the device's table and the checker's (kernels
 * compiled as plain C) have in common. `ref` looks at the arguments first, so that a
 * malformed op fails with its words and no kernel checks anything but data. */
#include <stdio.h>
#include <string.h>

#include "dnn.h"

#define ROW(number, name) [DN_OP_##number] = &cuda_##name,
static const cuda_kind *const kinds[DN_OP_KIND_END] = {CUDA_KINDS(ROW)};

extern const dn_backend_ops dn_ref_backend;

dn_status cuda_decline(dn_op_info *info, const char *reason)
{
    snprintf(info->reason, sizeof(info->reason), "%s", reason);
    return DN_DECLINED;
}

/* Float, bf16 or double where the kind takes it, or whole numbers where it has them; CAST takes
 * any. */
static bool types_fit(const dn_op_desc *desc)
{
    uint32_t narrow = kinds[desc->kind]->narrow, wide = kinds[desc->kind]->wide;
    for (int32_t i = 0; i < desc->num_inputs + desc->num_outputs; i++) {
        bool in = i < desc->num_inputs;
        int32_t k = in ? i : i - desc->num_inputs + 16;
        int32_t dtype = in ? desc->inputs[k].dtype : desc->outputs[k - 16].dtype;
        uint32_t takes = dtype == DN_F64 ? wide : dtype == DN_BF16 ? narrow : UINT32_MAX;
        if (k > 31 ? takes != UINT32_MAX : !(takes >> k & 1))
            return desc->kind == DN_OP_CAST;
    }
    return true;
}

static void take_operands(cuda_operand *to, const dn_operand *from, int32_t num)
{
    for (int32_t i = 0; i < num; i++) {
        to[i].info = from[i];
        to[i].count = 1;
        for (int32_t d = 0; from[i].dtype >= 0 && d < from[i].shape.axes; d++)
            to[i].count *= from[i].shape.dim[d];
    }
}

static dn_status ask_ref(dn_backend *backend, const dn_op_desc *desc, dn_op_info *info)
{
    dn_op *op = NULL;
    dn_op_info answer = {.struct_size = sizeof(answer)};
    dn_status status = dn_ref_backend.op_create(backend->ref, desc, &op, &answer);
    if (status == DN_OK)
        dn_ref_backend.op_destroy(op);
    else if (status == DN_DECLINED)
        return cuda_decline(info, answer.reason);
    return status;
}

static dn_status check(dn_backend *backend, const dn_op_desc *desc, dn_op_info *info)
{
    if (desc->kind == DN_OP_HOST_CALL)
        return cuda_decline(info, "runs on the host");
    if (desc->kind <= 0 || desc->kind >= DN_OP_KIND_END || !kinds[desc->kind])
        return cuda_decline(info, "no kernel for this kind");
    if (!types_fit(desc))
        return cuda_decline(info, "not in this element type");
    return ask_ref(backend, desc, info);
}

static dn_status take(dn_op *op, const dn_op_desc *desc, dn_op_info *info)
{
    const dn_args *args = desc->args;
    size_t size = op->kind->args_size;
    memcpy(&op->args, args, args->struct_size < size ? args->struct_size : size);
    op->num_inputs = desc->num_inputs;
    op->num_outputs = desc->num_outputs;
    op->in = (cuda_operand *)(op + 1);
    op->out = op->in + op->num_inputs;
    take_operands(op->in, desc->inputs, op->num_inputs);
    take_operands(op->out, desc->outputs, op->num_outputs);
    return op->kind->prepare ? op->kind->prepare(op, info) : DN_OK;
}

dn_status cuda_op_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    const dn_backend_host *host = &backend->host;
    dn_status status = check(backend, desc, info);
    if (status != DN_OK)
        return status;
    size_t operands = (size_t)(desc->num_inputs + desc->num_outputs);
    size_t bytes = sizeof(dn_op) + operands * sizeof(cuda_operand);
    dn_op *op = host->alloc(host->user, bytes);
    if (!op)
        return host->fail(DN_E_NOMEM, "cuda: no memory for an op");
    memset(op, 0, bytes);
    op->backend = backend;
    op->kind = kinds[desc->kind];
    op->compute = desc->compute;
    op->constant = desc->constant;
    status = take(op, desc, info);
    if (status != DN_OK) {
        cuda_op_destroy(op);
        return status;
    }
    info->scratch = op->scratch;
    info->keep = op->keep;
    if (!op->blas && !op->dnn)
        op->compute = DN_COMPUTE_F32;
    info->compute = op->compute;
    info->cost = cuda_cost(op);
    snprintf(info->implementation, sizeof(info->implementation), "cuda:%s%s%s%s",
             op->lt     ? "cublaslt"
             : op->blas ? "cublas"
             : op->dnn  ? "cudnn"
                        : "kernel",
             op->unordered ? " unordered" : "", op->absent ? ", cuDNN: " : "",
             op->absent ? op->absent : "");
    *out = op;
    return DN_OK;
}

void cuda_op_describe(dn_op *op, char *buffer, size_t size)
{
    if (op->dnn && cuda_dnn_refused(op))
        snprintf(buffer, size, "cuda:kernel%s, cuDNN: %s", op->unordered ? " unordered" : "",
                 op->absent);
    if (cuda_lt_refused(op))
        snprintf(buffer, size, "cuda:cublas");
}

void cuda_op_destroy(dn_op *op)
{
    if (!op)
        return;
    cuda_dnn_drop(op);
    cuda_lt_drop(op);
    op->backend->host.free(op->backend->host.user, op);
}

dn_status cuda_take_fault(dn_backend *backend)
{
    cuda_fault fault = *backend->fault;
    const dn_backend_host *host = &backend->host;
    if (fault.what == CUDA_FAULT_NONE)
        return DN_OK;
    backend->fault->what = CUDA_FAULT_NONE;
    bool sane = fault.value > -1e15f && fault.value < 1e15f;
    long long value = sane ? (long long)fault.value : -1;
    if (fault.what == CUDA_FAULT_INDEX)
        return host->fail(DN_E_DATA, "index %lld of item %lld is outside the %lld rows", value,
                          (long long)fault.item, (long long)fault.limit);
    if (fault.what == CUDA_FAULT_REGION)
        return host->fail(DN_E_DATA, "region %lld is not in one of the %lld items of the map",
                          (long long)fault.item, (long long)fault.limit);
    if (fault.what == CUDA_FAULT_TRUTH)
        return host->fail(DN_E_DATA, "the label of true box %lld is none of the %lld classes",
                          (long long)fault.item, (long long)fault.limit);
    if (!(fault.value > -2147483649.0f && fault.value < 2147483648.0f))
        return host->fail(DN_E_DATA, "the label of item %lld is not a class number",
                          (long long)fault.item);
    return host->fail(DN_E_DATA,
                      "label %lld of item %lld is outside the %lld classes of the prediction",
                      value, (long long)fault.item, (long long)fault.limit);
}
