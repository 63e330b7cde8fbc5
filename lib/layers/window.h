/* SPDX-License-Identifier: BSD-2-Clause
 * window.h: what Convolution, Deconvolution and Im2col share: reading the window from their
 * ConvolutionParameter, and operands as (N, C, spatial) whatever `axis` says. */
#ifndef DNI_WINDOW_H
#define DNI_WINDOW_H

#include "layers/layer.h"

typedef struct dni_window {
    int32_t axis; /* of the channels */
    int64_t N;    /* product of the axes before it */
    dn_args_conv args;
    int64_t border[4]; /* padding above, left, below, right: of an image with borders */
    bool bordered;     /* opposite ones differ: args.pad is 0 */
} dni_window;

/* Reads axis, kernel, stride, pad and dilation for the shape of bottom 0. */
dn_status dni_window_read(const dni_layer *layer, dni_window *w);
/* Declares weights from C channels to K, (K, C / group, kernel...) or if transposed (C, K /
 * group, kernel...), and the bias. */
dn_status dni_window_weights(dni_layer *layer, const dni_window *w, int64_t C, int64_t K,
                             bool transposed);
/* Output length of spatial axis i of a bottom, at least 1 or DN_E_SHAPE. */
dn_status dni_window_out(const dni_window *w, const dni_shape *bottom, int32_t i, int64_t *out);
/* All bottoms have the shape of bottom 0, and there are as many tops. */
dn_status dni_same_bottoms(const dni_layer *layer);
/* t itself if its leading axes are one, else a copy of t (read) or a temporary (write) of shape
 * (N, C, spatial); dni_unfold brings the temporary back. */
dni_tensor dni_fold_read(const dni_window *w, dni_builder *b, dni_tensor t);
dni_tensor dni_fold_write(const dni_window *w, dni_builder *b, dni_tensor t);
void dni_unfold(dni_builder *b, dni_tensor folded, dni_tensor t);
/* The same of images with borders: x with them around it, room for its gradient, and that
 * without them. */
dni_tensor dni_border_read(const dni_window *w, dni_builder *b, dni_tensor t);
dni_tensor dni_border_write(const dni_window *w, dni_builder *b, dni_tensor t);
void dni_unborder(const dni_window *w, dni_builder *b, dni_tensor whole, dni_tensor t);

#endif
