/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/sys/random.h: the random numbers of every backend: Philox4x32-10 (Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Counter-based, so element i of
 * stream s at step t is the same number on any device with any number of threads. */
#ifndef DEEPNET_SYS_RANDOM_H
#define DEEPNET_SYS_RANDOM_H

#include <stdint.h>

#ifdef __CUDACC__
#define DN_RANDOM_FN static __host__ __device__ inline
#else
#define DN_RANDOM_FN static inline
#endif

/* Ten rounds on counter c with key k, in place. */
DN_RANDOM_FN void dn_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    int round;
    for (round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        c[0] = n0;
        c[2] = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* The key of `step` under `seed`. */
DN_RANDOM_FN uint64_t dn_random_key(uint64_t seed, uint64_t step)
{
    return seed + 0x9E3779B97F4A7C15u * (step + 1);
}

/* Four 32-bit words: block `block` of `stream` at `step`, under `seed`. The step goes into the
 * key so that a stream (one use: a layer, a filler, a shuffle) has 2^64 blocks at each step. */
DN_RANDOM_FN void dn_random_block(uint32_t out[4], uint64_t seed, uint64_t stream,
                                  uint64_t step, uint64_t block)
{
    uint64_t key = dn_random_key(seed, step);
    out[0] = (uint32_t)block;
    out[1] = (uint32_t)(block >> 32);
    out[2] = (uint32_t)stream;
    out[3] = (uint32_t)(stream >> 32);
    dn_philox(out, (uint32_t)key, (uint32_t)(key >> 32));
}

/* A word as a float in [0, 1), 24 bits: exact, never 1. */
DN_RANDOM_FN float dn_random_unit(uint32_t word)
{
    return (float)(word >> 8) * (1.0f / 16777216.0f);
}

#endif
