/* SPDX-License-Identifier: BSD-2-Clause
 * conv.cuh: what kernels of convolutions are given, and those for depthwise ones. */
#ifndef DN_KERNELS_CUDA_CONV_CUH
#define DN_KERNELS_CUDA_CONV_CUH

#include "some.cuh"
#include "tile_shape.cuh"
#include "window.cuh"

#define STRIP 32 /* channels of channels-last images that a block takes together */
#define TAPS  9  /* of the weights' gradient that a block sums at once */

typedef struct conv_args {
    tile_shape tile;
    window w;
    values x, dy, out; /* of dx: its image is x_at's, its values out */
    const float *weights, *bias;
    float *pieces; /* of dw */
    image x_at, y_at;
    int64_t N, C, K, Cg, Kg; /* Cg, Kg: channels per group */
    int64_t tap_groups;
    int32_t strip;
    function f;
    int32_t add;
} conv_args;

#ifdef __cplusplus
extern "C" {
#endif

/* depthwise.cu: one channel a group, and channels last. */
bool cuda_is_depthwise(const conv_args *a);
/* Forward, or (back) to the data; pixels: of all images of the result. */
void cuda_depthwise(const dn_op *op, conv_args *a, int64_t pixels, bool back);
/* Pieces of the weights' gradient: a block for each piece, strip and TAPS. */
void cuda_depthwise_weights(const dn_op *op, const conv_args *a, int64_t blocks);

#ifdef __cplusplus
}
#endif
#endif
