/* SPDX-License-Identifier: BSD-2-Clause
 * backend.c: the reference backend: one plain loop per kind of op, in float and double. It
 * takes every op, and is what the other backends are checked against. Operands in bf16, and
 * floats where the loops are double's alone, are widened for them (narrow.c). */
#include <string.h>

#include "ref.h"

extern const dn_backend_ops dn_ref_backend;

#define ROW(number, name) [DN_OP_##number] = &ref_##name,

static const ref_kind *const kinds[DN_OP_KIND_END] = {REF_KINDS(ROW)};

struct dn_backend {
    dn_backend_host host;
};

static dn_status ref_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *backend = host->alloc(host->user, sizeof(*backend));
    if (!backend)
        return host->fail(DN_E_NOMEM, "ref: no memory for the backend");
    memset(backend, 0, sizeof(*backend));
    memcpy(&backend->host, host,
           host->struct_size < sizeof(*host) ? host->struct_size : sizeof(*host));
    *out = backend;
    return DN_OK;
}

static void ref_close(dn_backend *backend)
{
    if (backend)
        backend->host.free(backend->host.user, backend);
}

/* The letter of operand `index` in "ABc:DE+", 0 past the end. */
static char operand_letter(const char *letters, int32_t index)
{
    for (int32_t i = 0; letters[i] && letters[i] != ':'; i++)
        if (i == index || letters[i + 1] == '+')
            return letters[i];
    return 0;
}

static bool is_real(char letter)
{
    return letter && strchr("TtXx", letter);
}

static bool dtype_fits(char letter, int32_t dtype, int32_t real_type)
{
    switch (letter) {
    case 'T':
    case 'X':
        return dtype == real_type;
    case 'M':
    case 'N':
        return dtype == DN_I32;
    case 'B':
        return dtype == DN_U8;
    case 'D':
        return dtype == DN_F64;
    case 'S':
        return dtype == DN_I64;
    default:
        return dtype >= DN_F32 && dtype <= DN_U8;
    }
}

static bool layout_fits(char letter, const dn_operand *given)
{
    if (given->layout == DN_LAYOUT_PLAIN)
        return true;
    return given->layout == DN_LAYOUT_NHWC && strchr("XxNn", letter) && given->shape.axes >= 4;
}

static bool count_of(const dn_shape *shape, int64_t *count)
{
    int64_t total = 1;
    if (shape->axes < 0 || shape->axes > DN_MAX_AXES)
        return false;
    for (int32_t a = 0; a < shape->axes; a++) {
        int64_t dim = shape->dim[a];
        if (dim < 0 || (dim && total > ((int64_t)1 << 46) / dim))
            return false;
        total *= dim;
    }
    *count = total;
    return true;
}

/* Presence, type and element count of the operands of one side. */
static dn_status take_operands(dn_op *op, const char *side, const char *letters,
                               const dn_operand *given, int32_t num, ref_operand *taken,
                               int32_t real_type)
{
    int32_t listed = (int32_t)strcspn(letters, "+:"), loops = op->wide ? DN_F64 : DN_F32;
    for (int32_t i = 0; i < num || i < listed; i++) {
        char letter = operand_letter(letters, i);
        bool present = i < num && given[i].dtype >= 0, optional = letter >= 'a';
        if (i < num) {
            taken[i].info = given[i];
            taken[i].stored = given[i].dtype;
        }
        if (present && is_real(letter) && real_type != DN_F64 && given[i].dtype != loops &&
            (given[i].dtype == DN_F32 || given[i].dtype == DN_BF16) &&
            op->num_outputs <= DN_MAX_OPERANDS) { /* narrow.c has a pointer for each */
            taken[i].info.dtype = loops;
            op->narrow = true;
        }
        if (!present && optional)
            continue;
        if (!present)
            return ref_fail(op, DN_E_INVALID, "%s %d is missing", side, (int)i);
        if (!letter)
            return ref_fail(op, DN_E_INVALID, "%s %d is one too many", side, (int)i);
        bool mixed = is_real(letter) && real_type != DN_F64 && given[i].dtype == DN_F64;
        if (mixed || !dtype_fits(optional ? (char)(letter - 'a' + 'A') : letter,
                                 taken[i].info.dtype, loops))
            return ref_fail(op, DN_E_INVALID, "%s %d has the wrong element type %d", side,
                            (int)i, (int)given[i].dtype);
        if (!layout_fits(letter, &given[i]))
            return ref_fail(op, DN_E_INVALID, "%s %d cannot have layout %d", side, (int)i,
                            (int)given[i].layout);
        if (!count_of(&given[i].shape, &taken[i].count))
            return ref_fail(op, DN_E_SHAPE, "the shape of %s %d is impossible", side, (int)i);
    }
    return DN_OK;
}

static dn_status take_args(dn_op *op, const dn_op_desc *desc)
{
    const dn_args *args = desc->args;
    size_t size = op->kind->args_size;
    if (!args || args->struct_size < sizeof(*args))
        return ref_fail(op, DN_E_INVALID, "the arguments of kind %d are missing",
                        (int)desc->kind);
    for (size_t i = size; i < args->struct_size; i++)
        if (((const unsigned char *)args)[i])
            return ref_fail(op, DN_E_UNSUPPORTED, "arguments of a later version, %d bytes",
                            (int)args->struct_size);
    memcpy(&op->args, args, args->struct_size < size ? args->struct_size : size);
    if (args->accumulate & ~op->kind->accumulate)
        return ref_fail(op, DN_E_INVALID, "these outputs cannot be added to: bits %x",
                        (unsigned)args->accumulate);
    return DN_OK;
}

/* The first operand of the net's type says which of the two builds is meant. */
static int32_t real_type_of(const ref_kind *kind, const dn_op_desc *desc)
{
    const char *outputs = strchr(kind->operands, ':') + 1;
    for (int32_t i = 0; i < desc->num_inputs; i++)
        if (is_real(operand_letter(kind->operands, i)) && desc->inputs[i].dtype >= 0)
            return desc->inputs[i].dtype;
    for (int32_t i = 0; i < desc->num_outputs; i++)
        if (is_real(operand_letter(outputs, i)) && desc->outputs[i].dtype >= 0)
            return desc->outputs[i].dtype;
    return DN_F32;
}

static dn_status decline(dn_op_info *info, const char *reason)
{
    strncpy(info->reason, reason, sizeof(info->reason) - 1);
    return DN_DECLINED;
}

static dn_status take(dn_op *op, const dn_op_desc *desc, int32_t real_type)
{
    const char *letters = op->kind->operands;
    REF_TRY(take_args(op, desc));
    REF_TRY(
        take_operands(op, "input", letters, desc->inputs, desc->num_inputs, op->in, real_type));
    REF_TRY(take_operands(op, "output", strchr(letters, ':') + 1, desc->outputs,
                          desc->num_outputs, op->out, real_type));
    return op->kind->check ? op->kind->check(op) : DN_OK;
}

static dn_status ref_op_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_backend_host *host = &backend->host;
    if (desc->kind <= 0 || desc->kind >= DN_OP_KIND_END || !kinds[desc->kind])
        return decline(info, "no such kind of op");
    if (desc->num_inputs < 0 || desc->num_inputs > DN_MAX_OPERANDS || desc->num_outputs < 0 ||
        (desc->num_outputs > DN_MAX_OPERANDS && desc->kind != DN_OP_UPDATE))
        return host->fail(DN_E_INVALID, "op %d has %d inputs and %d outputs; at most %d fit",
                          (int)desc->kind, (int)desc->num_inputs, (int)desc->num_outputs,
                          DN_MAX_OPERANDS);
    int32_t type = real_type_of(kinds[desc->kind], desc);

    size_t operands = (size_t)(desc->num_inputs + desc->num_outputs);
    size_t bytes = sizeof(dn_op) + operands * sizeof(ref_operand);
    dn_op *op = host->alloc(host->user, bytes);
    if (!op)
        return host->fail(DN_E_NOMEM, "ref: no memory for an op");
    memset(op, 0, bytes);
    op->host = host;
    op->kind = kinds[desc->kind];
    op->wide = type == DN_F64 || !op->kind->run[0];
    op->num_inputs = desc->num_inputs;
    op->num_outputs = desc->num_outputs;
    op->in = op->operand;
    op->out = op->operand + op->num_inputs;
    dn_status status = take(op, desc, type);
    if (status != DN_OK) {
        host->free(host->user, op);
        return status;
    }
    info->scratch = op->narrow ? ref_narrow_scratch(op) : op->scratch;
    strncpy(info->implementation,
            type == DN_F64    ? "ref:double"
            : type == DN_BF16 ? "ref:bf16"
                              : "ref",
            sizeof(info->implementation) - 1);
    *out = op;
    return DN_OK;
}

static dn_status ref_op_run(dn_op *op, const dn_op_io *io)
{
    return op->narrow ? ref_narrow_run(op, io) : op->kind->run[op->wide](op, io);
}

static void ref_op_destroy(dn_op *op)
{
    if (op)
        op->host->free(op->host->user, op);
}

static void ref_describe(dn_backend *backend, char *buffer, size_t size)
{
    if (!size)
        return;
    strncpy(buffer, "plain loops in float and double", size - 1);
    buffer[size - 1] = 0;
}

const dn_backend_ops dn_ref_backend = {
    .struct_size = sizeof(dn_backend_ops),
    .name = "ref",
    .space = DN_SPACE_HOST,
    .open = ref_open,
    .close = ref_close,
    .op_create = ref_op_create,
    .op_run = ref_op_run,
    .op_destroy = ref_op_destroy,
    .describe = ref_describe,
};
