/* SPDX-License-Identifier: BSD-2-Clause
 * fake_blas.h: what the fakes of cuBLAS and cuBLASLt have in common. */
#ifndef DN_TESTS_CUDA_FAKE_BLAS_H
#define DN_TESTS_CUDA_FAKE_BLAS_H

#include <cublas_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream.h"

/* Bits that are left out of floats which are multiplied so. */
static inline int fake_missing(cublasComputeType_t compute)
{
    return compute == CUBLAS_COMPUTE_32F_FAST_16BF   ? FAKE_BF16
           : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? FAKE_TF32
                                                     : 0;
}

/* A kernel is loaded by the first product of its kind on a device, which may wait for that: it
 * is none that is recorded. */
static inline bool fake_is_loaded(cudaStream_t stream, const int *kind, int count)
{
    enum { MOST_KINDS = 4096 };
    static uint64_t kinds[MOST_KINDS];
    uint64_t hash = (uint64_t)stream->device + 1;
    int i = 0;
    for (int k = 0; k < count; k++)
        hash = (hash ^ (uint64_t)kind[k]) * 0x100000001B3u;
    pthread_mutex_lock(stream->lock);
    while (i < MOST_KINDS && kinds[i] && kinds[i] != hash)
        i++;
    bool loaded = !stream->recording || i == MOST_KINDS || kinds[i] == hash;
    if (!stream->recording && i < MOST_KINDS)
        kinds[i] = hash;
    pthread_mutex_unlock(stream->lock);
    return loaded;
}

#endif
