/* SPDX-License-Identifier: BSD-2-Clause
 * cast.cu: CAST between element types, through double (I64 to I64 apart, which double cannot
 * hold). Bfloat16 rounds to nearest even. */
#include "some.cuh"

typedef struct cast_args {
    const void *x;
    void *y;
    int32_t from, to;
} cast_args;

DEVICE double load(int32_t dtype, const void *x, int64_t i)
{
    switch (dtype) {
    case DN_F64:
        return ((const double *)x)[i];
    case DN_BF16:
        return float_of((uint32_t)((const uint16_t *)x)[i] << 16);
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
DEVICE int64_t whole(double value, double low, double high)
{
    if (value != value)
        return 0;
    return value <= low ? (int64_t)low : value >= high ? (int64_t)high : (int64_t)value;
}

DEVICE void store(int32_t dtype, void *y, int64_t i, double value)
{
    switch (dtype) {
    case DN_F64:
        ((double *)y)[i] = value;
        break;
    case DN_BF16:
        ((uint16_t *)y)[i] = bf16_of((float)value);
        break;
    case DN_I32:
        ((int32_t *)y)[i] = (int32_t)whole(value, -2147483648.0, 2147483647.0);
        break;
    case DN_I64:
        ((int64_t *)y)[i] = value >= 9223372036854775808.0
                                ? INT64_MAX
                                : whole(value, -9223372036854775808.0, 9223372036854774784.0);
        break;
    case DN_U8:
        ((uint8_t *)y)[i] = (uint8_t)whole(value, 0, 255);
        break;
    default:
        ((float *)y)[i] = (float)value;
    }
}

MAP(cast, cast_args)
{
    if (a->from == DN_I64 && a->to == DN_I64)
        ((int64_t *)a->y)[i] = ((const int64_t *)a->x)[i];
    else
        store(a->to, a->y, i, load(a->from, a->x, i));
}

typedef struct narrow_args {
    values x, y;
} narrow_args;

/* Between floats and bf16, which double would leave as they are. */
MAP_SOME(narrow, narrow_args)
{
    float v[MOST];
    get_some(a->x, i, some, v);
    set_some(a->y, i, some, v);
}

static bool is_short(int32_t dtype)
{
    return dtype == DN_F32 || dtype == DN_BF16;
}

static dn_status run_cast(const dn_op *op, const dn_op_io *io)
{
    narrow_args n = {values_in(op, io, 0), values_out(op, io, 0)};
    if (is_short(op->in[0].info.dtype) && is_short(op->out[0].info.dtype)) {
        narrow(op, &n, op->out[0].count, some_of(op->out[0].count, true));
        return DN_OK;
    }
    cast_args a = {io->in[0], io->out[0], op->in[0].info.dtype, op->out[0].info.dtype};
    cast(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_cast = {"CAST", sizeof(dn_args), NULL, run_cast};
