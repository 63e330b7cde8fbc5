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

/* Operands as cuDNN wants them. Scratch holds, in this order: weights (dw) in another form,
 * unless they are constant and kept, images in another type, the workspace. */
typedef struct cuda_dnn_wants {
    bool narrow;      /* images are bf16 */
    bool narrow_w;    /* so are weights, and the bias that lies behind them */
    bool taps_first;  /* weights lie as (K, R, Cg), for channels-last images */
    size_t packed;    /* bytes of weights, and bias, in that form; 0: they are so already */
    size_t bias_at;   /* where in there the bias is; 0: it is taken as it is */
    size_t staged[2]; /* bytes of images a and b in the other type; 0: as they are */
} cuda_dnn_wants;

/* x and y: the operands with the input's and the output's shape. Where cuDNN takes it op->dnn
 * is set, and op->scratch and op->keep are what the above takes; where not, nothing is but
 * op->absent, where it was asked and does not start, or has none of these. */
dn_status cuda_dnn_take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y);
void cuda_dnn_drop(dn_op *op);
const cuda_dnn_wants *cuda_dnn_wants_of(const dn_op *op);
/* Nanoseconds that cuDNN measured when it was asked to try; 0: it was not. */
double cuda_dnn_measured(const dn_op *op);
/* What it chose by its heuristics it may yet refuse when it is to run: it did, every one of its
 * algorithms, and the kernels of this folder are to do it. */
bool cuda_dnn_refused(const dn_op *op);
/* FORWARD: x, w -> y; DATA: dy, w -> dx; WEIGHTS: x, dy -> dw, added to what is there with
 * `add`; all of them as wanted. *finished (FORWARD alone): bias and activation are in.
 * DN_DECLINED: it has refused now, and nothing was done. */
dn_status cuda_dnn_run(const dn_op *op, const void *a, const void *b, void *out, bool add,
                       const void *bias, void *space, bool *finished);

#ifdef __cplusplus
}
#endif
#endif
