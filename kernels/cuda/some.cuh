/* SPDX-License-Identifier: BSD-2-Clause
 * some.cuh: several neighbours of an operand at once: 16 bytes a load, which keeps enough of
 * them under way to fill the memory's bandwidth, and one computation of where they are. How
 * many a thread takes follows from shapes and types alone, as the order of sums does; an
 * operand that is not aligned is read one by one. */
#ifndef DN_KERNELS_CUDA_SOME_CUH
#define DN_KERNELS_CUDA_SOME_CUH

#include "functions.cuh"

#define MOST 8 /* neighbours: 16 bytes of bf16, twice that of floats */

/* Rows of neighbours that are taken together, some of them bf16: 8, 4, or each by itself. */
static inline int some_of(int64_t row, bool narrow)
{
    return narrow && row % 8 == 0 ? 8 : row % 4 == 0 ? 4 : 1;
}

/* The longest rows of neighbours that have a channel each (inner 1), or one in common. */
static inline int64_t row_of_view(int64_t dim, int64_t inner)
{
    return inner == 1 ? dim : inner;
}

/* What a device would not load in one piece is no number where it can be asked. */
DEVICE bool lies_well(values x, int64_t i, int some)
{
#ifdef __CUDACC__
    return true;
#else
    int64_t size = some * (x.narrow ? 2 : 4);
    return ((intptr_t)x.at + i * (x.narrow ? 2 : 4)) % (size > 16 ? 16 : size) == 0;
#endif
}

/* v: elements [i, i + some), where i is a multiple of some, a constant. */
DEVICE void get_some(values x, int64_t i, int some, float *v)
{
    if (some == 1 || x.loose) {
        UNROLL
        for (int k = 0; k < some; k++)
            v[k] = get(x, i + k);
        return;
    }
    if (!lies_well(x, i, some)) {
        for (int k = 0; k < some; k++)
            v[k] = NAN;
        return;
    }
    if (x.narrow) {
        uint2 word[2];
        if (some == 8) {
            uint4 all = *(const uint4 *)((const uint16_t *)x.at + i);
            word[0] = make_uint2(all.x, all.y);
            word[1] = make_uint2(all.z, all.w);
        } else {
            word[0] = *(const uint2 *)((const uint16_t *)x.at + i);
        }
        UNROLL
        for (int k = 0; k < some; k += 4) {
            v[k] = float_of(word[k / 4].x << 16);
            v[k + 1] = float_of(word[k / 4].x & 0xFFFF0000u);
            v[k + 2] = float_of(word[k / 4].y << 16);
            v[k + 3] = float_of(word[k / 4].y & 0xFFFF0000u);
        }
        return;
    }
    UNROLL
    for (int k = 0; k < some; k += 4) {
        float4 four = *(const float4 *)((const float *)x.at + i + k);
        v[k] = four.x;
        v[k + 1] = four.y;
        v[k + 2] = four.z;
        v[k + 3] = four.w;
    }
}

DEVICE void set_some(values y, int64_t i, int some, const float *v)
{
    if (some == 1 || y.loose) {
        UNROLL
        for (int k = 0; k < some; k++)
            set(y, i + k, v[k]);
        return;
    }
    if (!lies_well(y, i, some)) {
        for (int k = 0; k < some; k++)
            set(y, i + k, NAN);
        return;
    }
    if (y.narrow) {
        uint2 word[2];
        UNROLL
        for (int k = 0; k < some; k += 4)
            word[k / 4] = make_uint2(bf16_of(v[k]) | (uint32_t)bf16_of(v[k + 1]) << 16,
                                     bf16_of(v[k + 2]) | (uint32_t)bf16_of(v[k + 3]) << 16);
        if (some == 8)
            *(uint4 *)((uint16_t *)y.at + i) =
                make_uint4(word[0].x, word[0].y, word[1].x, word[1].y);
        else
            *(uint2 *)((uint16_t *)y.at + i) = word[0];
        return;
    }
    UNROLL
    for (int k = 0; k < some; k += 4)
        *(float4 *)((float *)y.at + i + k) = make_float4(v[k], v[k + 1], v[k + 2], v[k + 3]);
}

/* Writes results, or adds them. */
DEVICE void put_some(values y, int64_t i, int some, int32_t add, float *v)
{
    float before[MOST];
    if (add) {
        get_some(y, i, some, before);
        UNROLL
        for (int k = 0; k < some; k++)
            v[k] = before[k] + v[k];
    }
    set_some(y, i, some, v);
}

/* Of a view (outer, dim, inner): what neighbours from element i on, of channel d and those
 * after it (apart) or of d alone, have of a number per channel. */
DEVICE void get_channels(values p, int64_t d, int some, bool apart, float *v)
{
    if (apart) {
        get_some(p, d, some, v);
        return;
    }
    UNROLL
    for (int k = 0; k < some; k++)
        v[k] = ((const float *)p.at)[d];
}

/* Only what nets are full of is laid out for each neighbour: the rest is called. */
#ifdef __CUDACC__
#define CALLED static __device__ __noinline__
#else
#define CALLED static inline
#endif

CALLED float apply_called(const function *f, float x)
{
    return apply(f, x);
}

CALLED float slope_from_y_called(const function *f, float y)
{
    return slope_from_y(f, y);
}

CALLED float slope_from_x_called(const function *f, float x)
{
    return slope_from_x(f, x);
}

DEVICE void apply_some(const function *f, int some, float *v)
{
    if (f->fn == DN_FN_NONE)
        return;
    UNROLL
    for (int k = 0; k < some; k++)
        v[k] = f->fn == DN_FN_RELU ? (v[k] > 0 ? v[k] : f->a * v[k]) : apply_called(f, v[k]);
}

/* slope *= f'(y), or f'(x) */
DEVICE void slopes_from_y(const function *f, int some, const float *y, float *slope)
{
    if (f->fn == DN_FN_NONE)
        return;
    UNROLL
    for (int k = 0; k < some; k++)
        slope[k] *= f->fn == DN_FN_RELU ? (y[k] > 0 ? 1 : f->a) : slope_from_y_called(f, y[k]);
}

DEVICE void slopes_from_x(const function *f, int some, const float *x, float *slope)
{
    if (f->fn == DN_FN_NONE)
        return;
    UNROLL
    for (int k = 0; k < some; k++)
        slope[k] *= f->fn == DN_FN_RELU ? (x[k] > 0 ? 1 : f->a) : slope_from_x_called(f, x[k]);
}

/* Writes f(result), or f(y + result); also of one, where the code of f would be long. */
DEVICE void put_some_through(values y, int64_t i, int some, int32_t add, float *v,
                             const function *f)
{
    float before[MOST];
    if (add) {
        get_some(y, i, some, before);
        UNROLL
        for (int k = 0; k < some; k++)
            v[k] = before[k] + v[k];
    }
    apply_some(f, some, v);
    set_some(y, i, some, v);
}

#define MAP_OF(count, name, args_type)                                                         \
    MAP(name##_##count, args_type)                                                             \
    {                                                                                          \
        name##_some(a, count * i, count);                                                      \
    }

/* name(op, a, n, some): the body for all i < n that are multiples of some, which n is. */
#define MAP_SOME(name, args_type)                                                              \
    DEVICE void name##_some(const args_type *a, int64_t i, int some);                          \
    MAP_OF(8, name, args_type)                                                                 \
    MAP_OF(4, name, args_type)                                                                 \
    MAP_OF(1, name, args_type)                                                                 \
    static void name(const dn_op *op, const args_type *a, int64_t n, int some)                 \
    {                                                                                          \
        if (some == 8)                                                                         \
            name##_8(op, a, n / 8);                                                            \
        else if (some == 4)                                                                    \
            name##_4(op, a, n / 4);                                                            \
        else                                                                                   \
            name##_1(op, a, n);                                                                \
    }                                                                                          \
    DEVICE void name##_some(const args_type *a, int64_t i, int some)

/* Of floats alone: some is 4 or 1. */
#define MAP_FLOATS(name, args_type)                                                            \
    DEVICE void name##_some(const args_type *a, int64_t i, int some);                          \
    MAP_OF(4, name, args_type)                                                                 \
    MAP_OF(1, name, args_type)                                                                 \
    static void name(const dn_op *op, const args_type *a, int64_t n, int some)                 \
    {                                                                                          \
        if (some == 4)                                                                         \
            name##_4(op, a, n / 4);                                                            \
        else                                                                                   \
            name##_1(op, a, n);                                                                \
    }                                                                                          \
    DEVICE void name##_some(const args_type *a, int64_t i, int some)

/* What has another kernel for one by one: some is 8 or 4. */
#define MAP_SEVERAL(name, args_type)                                                           \
    DEVICE void name##_some(const args_type *a, int64_t i, int some);                          \
    MAP_OF(8, name, args_type)                                                                 \
    MAP_OF(4, name, args_type)                                                                 \
    static void name(const dn_op *op, const args_type *a, int64_t n, int some)                 \
    {                                                                                          \
        if (some == 8)                                                                         \
            name##_8(op, a, n / 8);                                                            \
        else                                                                                   \
            name##_4(op, a, n / 4);                                                            \
    }                                                                                          \
    DEVICE void name##_some(const args_type *a, int64_t i, int some)

#endif
