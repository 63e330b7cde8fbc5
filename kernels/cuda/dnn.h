/* SPDX-License-Identifier: BSD-2-Clause
 * dnn.h: convolutions through cuDNN. It is opened at run time: where it is not there, or
 * refuses a convolution, the kernels of this folder do it. */
#ifndef DN_KERNELS_CUDA_DNN_H
#define DN_KERNELS_CUDA_DNN_H

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CUDA_DNN_FORWARD, CUDA_DNN_DATA, CUDA_DNN_WEIGHTS };

/* x and y: the operands with the input's and the output's shape. True: op->dnn is set, and
 * op->scratch holds its workspace and, where weights are repacked, room for them. */
bool cuda_dnn_take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y);
void cuda_dnn_drop(dn_op *op);
/* Weights lie as (K, R, Cg) for channels-last images; op->scratch begins with room for them. */
bool cuda_dnn_repacks(const dn_op *op);
/* FORWARD: x, w -> y; DATA: dy, w -> dx; WEIGHTS: x, dy -> dw, added to what is there with
 * `add`. *finished (FORWARD alone): bias and activation are in. */
dn_status cuda_dnn_run(const dn_op *op, const void *a, const void *b, void *out, bool add,
                       const float *bias, void *scratch, bool *finished);

#ifdef __cplusplus
}
#endif
#endif
