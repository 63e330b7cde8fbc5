/* SPDX-License-Identifier: BSD-2-Clause
 * narrow.c: operands of fewer bits than the loops of an op want: they are widened in the
 * scratch, the op runs, and what it wrote is rounded to nearest even. That is what bf16
 * operands mean. */
#include <string.h>

#include "ref.h"

static bool is_narrow(const ref_operand *x)
{
    return x->stored != x->info.dtype;
}

static size_t wide_bytes(const ref_operand *x)
{
    size_t each = x->info.dtype == DN_F64 ? sizeof(double) : sizeof(float);
    return ((size_t)x->count * each + 63) & ~(size_t)63;
}

size_t ref_narrow_scratch(const dn_op *op)
{
    size_t bytes = (op->scratch + 63) & ~(size_t)63;
    for (int32_t i = 0; i < op->num_inputs + op->num_outputs; i++)
        if (is_narrow(&op->operand[i]))
            bytes += wide_bytes(&op->operand[i]);
    return bytes;
}

static void widen(const ref_operand *operand, void *y, const void *x)
{
    for (int64_t i = 0; i < operand->count; i++) {
        float value;
        if (operand->stored == DN_BF16) {
            uint32_t word = (uint32_t)((const uint16_t *)x)[i] << 16;
            memcpy(&value, &word, sizeof(word));
        } else {
            value = ((const float *)x)[i];
        }
        if (operand->info.dtype == DN_F64)
            ((double *)y)[i] = value;
        else
            ((float *)y)[i] = value;
    }
}

static uint16_t bf16_of(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    if (value != value)
        return (uint16_t)(word >> 16 | 0x40);
    return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

static void round_to_narrow(const ref_operand *operand, void *y, const void *x)
{
    for (int64_t i = 0; i < operand->count; i++) {
        float value = operand->info.dtype == DN_F64 ? (float)((const double *)x)[i]
                                                    : ((const float *)x)[i];
        if (operand->stored == DN_BF16)
            ((uint16_t *)y)[i] = bf16_of(value);
        else
            ((float *)y)[i] = value;
    }
}

/* Outputs are widened too: they may be added to, or written in part. */
dn_status ref_narrow_run(dn_op *op, const dn_op_io *io)
{
    void *wide[2 * DN_MAX_OPERANDS];
    int32_t n = op->num_inputs, all = n + op->num_outputs;
    char *at = (char *)io->scratch + ((op->scratch + 63) & ~(size_t)63);
    for (int32_t i = 0; i < all; i++) {
        wide[i] = i < n ? io->in[i] : io->out[i - n];
        if (is_narrow(&op->operand[i])) {
            widen(&op->operand[i], at, wide[i]);
            wide[i] = at;
            at += wide_bytes(&op->operand[i]);
        }
    }
    dn_op_io inner = *io;
    inner.in = wide;
    inner.out = wide + n;
    dn_status status = op->kind->run[op->wide](op, &inner);
    for (int32_t i = n; i < all; i++)
        if (is_narrow(&op->operand[i]))
            round_to_narrow(&op->operand[i], io->out[i - n], wide[i]);
    return status;
}
