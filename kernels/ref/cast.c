/* SPDX-License-Identifier: BSD-2-Clause
 * cast.c: CAST between element types, through double (I64 to I64 apart, which double cannot
 * hold), and HOST_CALL. Bfloat16 rounds to nearest even. */
#include <string.h>

#include "ref.h"

static double bf16_to_double(uint16_t bits)
{
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
}

static uint16_t bf16_from_double(double wide)
{
    float value = (float)wide;
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    if (value != value)
        return (uint16_t)(word >> 16 | 0x40);
    return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

static double load(int32_t dtype, const void *x, int64_t i)
{
    switch (dtype) {
    case DN_F64:
        return ((const double *)x)[i];
    case DN_BF16:
        return bf16_to_double(((const uint16_t *)x)[i]);
    case DN_I32:
        return ((const int32_t *)x)[i];
    case DN_I64:
        return (double)((const int64_t *)x)[i];
    case DN_U8:
        return ((const uint8_t *)x)[i];
    default:
        return ((const float *)x)[i];
    }
}

/* Truncated, kept in [low, high], 0 for NaN. */
static int64_t whole(double value, double low, double high)
{
    if (value != value)
        return 0;
    return value <= low ? (int64_t)low : value >= high ? (int64_t)high : (int64_t)value;
}

static int64_t whole64(double value)
{
    if (value >= 9223372036854775808.0)
        return INT64_MAX;
    return whole(value, -9223372036854775808.0, 9223372036854774784.0);
}

static void store(int32_t dtype, void *y, int64_t i, double value)
{
    switch (dtype) {
    case DN_F64:
        ((double *)y)[i] = value;
        break;
    case DN_BF16:
        ((uint16_t *)y)[i] = bf16_from_double(value);
        break;
    case DN_I32:
        ((int32_t *)y)[i] = (int32_t)whole(value, INT32_MIN, INT32_MAX);
        break;
    case DN_I64:
        ((int64_t *)y)[i] = whole64(value);
        break;
    case DN_U8:
        ((uint8_t *)y)[i] = (uint8_t)whole(value, 0, 255);
        break;
    default:
        ((float *)y)[i] = (float)value;
    }
}

static dn_status check_cast(dn_op *op)
{
    return ref_need_out(op, 0, op->in[0].count);
}

static dn_status run_cast(const dn_op *op, const dn_op_io *io)
{
    int32_t from = op->in[0].info.dtype, to = op->out[0].info.dtype;
    if (from == DN_I64 && to == DN_I64)
        memmove(io->out[0], io->in[0], (size_t)op->out[0].count * sizeof(int64_t));
    else
        for (int64_t i = 0; i < op->out[0].count; i++)
            store(to, io->out[0], i, load(from, io->in[0], i));
    return DN_OK;
}

const ref_kind ref_cast = {"CAST", "A:A", sizeof(dn_args), 0, check_cast, {run_cast, NULL}};

static dn_status check_host_call(dn_op *op)
{
    if (!op->args.host_call.fn)
        return ref_fail(op, DN_E_INVALID, "%s", "there is no function to call");
    return DN_OK;
}

static dn_status run_host_call(const dn_op *op, const dn_op_io *io)
{
    return op->args.host_call.fn(op->args.host_call.user, io->in, io->out);
}

const ref_kind ref_host_call = {"HOST_CALL", "a+:a+",         sizeof(dn_args_host_call),
                                0,           check_host_call, {run_host_call, NULL}};
