/* SPDX-License-Identifier: BSD-2-Clause
 * narrow.c: bf16 operands of any op: they are widened to float in the scratch, the op runs in
 * float, and what it wrote is rounded to nearest even. That is what bf16 operands mean. */
#include <string.h>

#include "ref.h"

static size_t wide_bytes(const ref_operand *x)
{
    return ((size_t)x->count * sizeof(float) + 63) & ~(size_t)63;
}

size_t ref_narrow_scratch(const dn_op *op)
{
    size_t bytes = (op->scratch + 63) & ~(size_t)63;
    for (int32_t i = 0; i < op->num_inputs + op->num_outputs; i++)
        if (op->narrow >> i & 1)
            bytes += wide_bytes(&op->operand[i]);
    return bytes;
}

static void widen(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t word = (uint32_t)x[i] << 16;
        memcpy(&y[i], &word, sizeof(word));
    }
}

static void round_to_narrow(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &x[i], sizeof(word));
        if (x[i] != x[i])
            y[i] = (uint16_t)(word >> 16 | 0x40);
        else
            y[i] = (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
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
        if (op->narrow >> i & 1) {
            widen((float *)at, wide[i], op->operand[i].count);
            wide[i] = at;
            at += wide_bytes(&op->operand[i]);
        }
    }
    dn_op_io inner = *io;
    inner.in = wide;
    inner.out = wide + n;
    dn_status status = op->kind->run[0](op, &inner);
    for (int32_t i = n; i < all; i++)
        if (op->narrow >> i & 1)
            round_to_narrow(io->out[i - n], wide[i], op->operand[i].count);
    return status;
}
