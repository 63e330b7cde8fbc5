/* SPDX-License-Identifier: BSD-2-Clause
 * fake_blas.h: what the fakes of cuBLAS and cuBLASLt have in common. */
#ifndef DN_TESTS_CUDA_FAKE_BLAS_H
#define DN_TESTS_CUDA_FAKE_BLAS_H

#include <cublas_api.h>

#include "stream.h"

/* Bits that are left out of floats which are multiplied so. */
static inline int fake_missing(cublasComputeType_t compute)
{
    return compute == CUBLAS_COMPUTE_32F_FAST_16BF   ? FAKE_BF16
           : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? FAKE_TF32
                                                     : 0;
}

#endif
