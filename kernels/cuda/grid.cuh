/* SPDX-License-Identifier: BSD-2-Clause
 * grid.cuh: what lets one source be a CUDA kernel and a plain C loop. A MAP kernel is a body
 * for one index of many; a BLOCKS kernel is a body for one block of BLOCK threads that work
 * together, written as a sequence of THREADS regions with a barrier after each. Compiled by
 * nvcc they are grid-stride kernels; compiled as C, loops: so the checker sees the same
 * arithmetic without a GPU; or, with CUDA_AS_THREADS, C whose blocks are threads, which shows
 * what loops hide (tests/kernels/threads.c). Sources stay in what C11 and C++ have in common. */
#ifndef DN_KERNELS_CUDA_GRID_CUH
#define DN_KERNELS_CUDA_GRID_CUH

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "cuda.h"

#define BLOCK 256 /* threads of a block */

#ifdef __CUDACC__

#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#define ALIGNED __align__(16) /* for get_some */
#define THREADS(t) for (int t = (int)threadIdx.x; t >= 0; t = -1, __syncthreads())
#define BARRIER() __syncthreads()
/* Variables that each thread keeps from one region to the next: name[LANE(t)][i]. */
#define PER_THREAD(type, name, count) type name[1][count]
#define LANE(t) 0
#define UNROLL  _Pragma("unroll") /* so that such variables are registers */
/* Of threads whose results nobody reads: a loop has them left out, a device gains nothing. */
#define IDLE(condition) 0

/* Enough blocks to fill the device several times over; the loops take what is left. */
static inline unsigned grid_blocks(const dn_op *op, int64_t blocks)
{
    int64_t most = (int64_t)op->backend->processors * 32;
    return (unsigned)(blocks < most ? blocks : most);
}

#define MAP(name, args_type)                                                                   \
    DEVICE void name##_at(const args_type *a, int64_t i);                                      \
    static __global__ void __launch_bounds__(BLOCK)                                            \
        name##_kernel(const __grid_constant__ args_type a, int64_t n)                          \
    {                                                                                          \
        int64_t step = (int64_t)gridDim.x * BLOCK;                                             \
        for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += step)          \
            name##_at(&a, i);                                                                  \
    }                                                                                          \
    static void name(const dn_op *op, const args_type *a, int64_t n)                           \
    {                                                                                          \
        if (n > 0)                                                                             \
            name##_kernel<<<grid_blocks(op, (n + BLOCK - 1) / BLOCK), BLOCK, 0,                \
                            (cudaStream_t)op->backend->stream>>>(*a, n);                       \
    }                                                                                          \
    DEVICE void name##_at(const args_type *a, int64_t i)

#define BLOCKS(name, args_type)                                                                \
    DEVICE void name##_block(const args_type *a, int64_t block);                               \
    static __global__ void __launch_bounds__(BLOCK)                                            \
        name##_kernel(const __grid_constant__ args_type a, int64_t n)                          \
    {                                                                                          \
        for (int64_t block = blockIdx.x; block < n; block += gridDim.x)                        \
            name##_block(&a, block);                                                           \
    }                                                                                          \
    static void name(const dn_op *op, const args_type *a, int64_t n)                           \
    {                                                                                          \
        if (n > 0)                                                                             \
            name##_kernel<<<grid_blocks(op, n), BLOCK, 0,                                      \
                            (cudaStream_t)op->backend->stream>>>(*a, n);                       \
    }                                                                                          \
    DEVICE void name##_block(const args_type *a, int64_t block)

#else

#define DEVICE static inline
#define ALIGNED _Alignas(16)
#define UNROLL

/* CUDA's: what is loaded and stored in one piece, whatever lies there. */
#define VECTOR(type, name, count, ...)                                                         \
    typedef struct __attribute__((may_alias, aligned(count * 4))) name {                       \
        type __VA_ARGS__;                                                                      \
    } name;
#ifndef __VECTOR_TYPES_H__ /* CUDA's header has been there */
VECTOR(float, float4, 4, x, y, z, w)
VECTOR(int32_t, int4, 4, x, y, z, w)
VECTOR(uint32_t, uint4, 4, x, y, z, w)
VECTOR(uint32_t, uint2, 2, x, y)
#endif
#define make_float4(...) ((float4){__VA_ARGS__})
#define make_int4(...)   ((int4){__VA_ARGS__})
#define make_uint4(...)  ((uint4){__VA_ARGS__})
#define make_uint2(...)  ((uint2){__VA_ARGS__})

#ifdef CUDA_AS_THREADS
#include "threads.cuh"
#else
#define SHARED
#define THREADS(t) for (int lane = 0, t = lane_of(0); lane < BLOCK; t = lane_of(++lane))
#define BARRIER() ((void)0)
#define PER_THREAD(type, name, count) type name[BLOCK][count]
#define LANE(t) (t)
#define IDLE(condition) (condition)
#define ATOMIC(statement) statement
#define LISTED(name)
#define RUN_MAP(body, op, args, n)                                                             \
    for (int64_t i = 0; i < n; i++)                                                            \
    body(args, in_some_order(op, i, n))
#define RUN_BLOCKS RUN_MAP
#endif

/* All indices, or blocks, of a kernel, one after the other. */
typedef void (*cuda_loop)(const dn_op *op, const void *args, int64_t n);
/* Runs it, or notes it down: whoever compiles the kernels says which (host.c runs it). */
void cuda_launch(const dn_op *op, cuda_loop loop, const void *args, size_t bytes, int64_t n);

/* Indices and blocks may come in any order, and so may the threads of a region between two
 * barriers: the checker has them all come in two. What one thread of a region writes and
 * another reads (a barrier is missing there) then gives other bits. */
static _Thread_local int backwards;

static inline int64_t in_some_order(const dn_op *op, int64_t i, int64_t n)
{
    backwards = op->backend->host.num_threads == 2;
    return backwards ? n - 1 - i : i;
}

static inline int lane_of(int lane)
{
    return backwards ? BLOCK - 1 - lane : lane;
}

#define KERNEL(name, args_type, run)                                                           \
    DEVICE void name##_at(const args_type *a, int64_t i);                                      \
    static void name##_body(const void *args, int64_t i)                                       \
    {                                                                                          \
        name##_at((const args_type *)args, i);                                                 \
    }                                                                                          \
    LISTED(name)                                                                               \
    static void name##_loop(const dn_op *op, const void *args, int64_t n)                      \
    {                                                                                          \
        run(name##_body, op, args, n);                                                         \
    }                                                                                          \
    static void name(const dn_op *op, const args_type *a, int64_t n)                           \
    {                                                                                          \
        if (n > 0)                                                                             \
            cuda_launch(op, name##_loop, a, sizeof(*a), n);                                    \
    }

#define MAP(name, args_type)                                                                   \
    KERNEL(name, args_type, RUN_MAP)                                                           \
    DEVICE void name##_at(const args_type *a, int64_t i)

#define BLOCKS(name, args_type)                                                                \
    KERNEL(name, args_type, RUN_BLOCKS)                                                        \
    DEVICE void name##_at(const args_type *a, int64_t block)

#endif

/* The sum of shared[0 .. BLOCK) in a fixed order; shared may be used again at once. */
DEVICE double block_sum(double *shared)
{
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half)
                shared[t] += shared[t + half];
    double sum = shared[0];
    BARRIER();
    return sum;
}

/* The bits of a float and back. */
DEVICE uint32_t bits_of(float value)
{
    union {
        float f;
        uint32_t u;
    } word;
    word.f = value;
    return word.u;
}

DEVICE float float_of(uint32_t bits)
{
    union {
        float f;
        uint32_t u;
    } word;
    word.u = bits;
    return word.f;
}

/* Bfloat16, rounded to nearest even. */
DEVICE uint16_t bf16_of(float value)
{
    uint32_t word = bits_of(value);
    if (value != value)
        return (uint16_t)(word >> 16 | 0x40);
    return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* Activations: float, or bf16 where the plan has them so. All threads take the same branch. */
typedef struct values {
    void *at;
    int32_t narrow, loose; /* loose: not aligned for 16 bytes at once */
} values;

static inline values values_at(void *at, int32_t narrow)
{
    values x = {at, narrow, ((uintptr_t)at & 15) != 0};
    return x;
}

DEVICE float get(values x, int64_t i)
{
    return x.narrow ? float_of((uint32_t)((const uint16_t *)x.at)[i] << 16)
                    : ((const float *)x.at)[i];
}

DEVICE void set(values y, int64_t i, float value)
{
    if (y.narrow)
        ((uint16_t *)y.at)[i] = bf16_of(value);
    else
        ((float *)y.at)[i] = value;
}

/* Those from element i on. */
static inline values values_from(values x, int64_t i)
{
    return values_at((char *)x.at + i * (x.narrow ? 2 : 4), x.narrow);
}

static inline values values_in(const dn_op *op, const dn_op_io *io, int32_t i)
{
    bool there = cuda_has_in(op, i);
    return values_at(there ? io->in[i] : NULL, there && op->in[i].info.dtype == DN_BF16);
}

static inline values values_out(const dn_op *op, const dn_op_io *io, int32_t i)
{
    bool there = cuda_has_out(op, i);
    return values_at(there ? io->out[i] : NULL, there && op->out[i].info.dtype == DN_BF16);
}

static inline values floats(const float *x)
{
    return values_at((void *)x, 0);
}

DEVICE void put_value(values y, int64_t i, int32_t add, float value)
{
    set(y, i, add ? get(y, i) + value : value);
}

DEVICE void put_value_wide(values y, int64_t i, int32_t add, double value)
{
    set(y, i, (float)(add ? get(y, i) + value : value));
}

/* Writes a result, or adds it. */
DEVICE void put(float *y, int32_t add, float value)
{
    *y = add ? *y + value : value;
}

DEVICE void put_wide(float *y, int32_t add, double value)
{
    *y = (float)(add ? *y + value : value);
}

/* Adds what other threads add to as well, in whatever order they come. */
DEVICE void add_unordered(float *y, float value)
{
#ifdef __CUDACC__
    atomicAdd(y, value);
#else
    ATOMIC(*y += value);
#endif
}

/* The largest of all that threads raise it to, in whatever order they come. */
DEVICE void raise_to(int32_t *y, int32_t value)
{
#ifdef __CUDACC__
    atomicMax(y, value);
#else
    ATOMIC(*y = *y > value ? *y : value);
#endif
}

/* What others may change meanwhile, as it was at some time. */
DEVICE int32_t look(const int32_t *y)
{
#ifdef __CUDACC__
    return *(const volatile int32_t *)y;
#else
    int32_t was;
    ATOMIC(was = *y);
    return was;
#endif
}

/* y becomes `value` if it is 0; what it was. */
DEVICE int32_t claim(int32_t *y, int32_t value)
{
#ifdef __CUDACC__
    return atomicCAS(y, 0, value);
#else
    int32_t was;
    ATOMIC(was = *y);
    if (!was)
        ATOMIC(*y = value);
    return was;
#endif
}

/* The smallest of all that threads lower it to, and the sum of whole numbers that they add. */
DEVICE void lower_to(int32_t *y, int32_t value)
{
#ifdef __CUDACC__
    atomicMin(y, value);
#else
    ATOMIC(*y = *y < value ? *y : value);
#endif
}

DEVICE void add_whole(int64_t *y, int64_t value)
{
#ifdef __CUDACC__
    atomicAdd((unsigned long long *)y, (unsigned long long)value);
#else
    ATOMIC(*y += value);
#endif
}

/* Does what has score x and number i come before y of k? The larger first, then the lower number;
 * not where one is NaN. */
DEVICE bool comes_before(double x, int64_t i, double y, int64_t k)
{
    return x > y || (x == y && i < k);
}

/* a / b of numbers >= 0: 32-bit division where it will do is several times faster. */
DEVICE int64_t quotient(int64_t a, int64_t b)
{
    return (a | b) >> 32 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

/* Element (o, d, i) of a view: which d is element `at` in? */
DEVICE int64_t middle_of(int64_t at, int64_t dim, int64_t inner)
{
    int64_t row = inner == 1 ? at : quotient(at, inner);
    return row - quotient(row, dim) * dim;
}

/* The whole part of t, where it is a number of sane size; else -1. */
DEVICE int64_t whole_of(float t)
{
    return t > -2147483649.0f && t < 2147483648.0f ? (int64_t)t : -1;
}

/* Notes what was wrong with the data; the first note stays until the host has read it. */
DEVICE void note_fault(cuda_fault *fault, int32_t what, int64_t item, float value,
                       int64_t limit)
{
#ifdef __CUDACC__
    if (atomicCAS_system(&fault->what, CUDA_FAULT_NONE, what) != CUDA_FAULT_NONE)
        return;
#else
    int32_t before;
    ATOMIC(before = fault->what);
    if (before != CUDA_FAULT_NONE)
        return;
    ATOMIC(fault->what = what);
#endif
    fault->item = item;
    fault->value = value;
    fault->limit = limit;
}

#endif
