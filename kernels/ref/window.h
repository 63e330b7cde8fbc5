/* SPDX-License-Identifier: BSD-2-Clause
 * window.h: where the windows of a convolution or pooling look, in any number of dimensions.
 * One table of taps turns every N-D loop into a loop over output positions and kernel
 * positions. */
#ifndef DN_KERNELS_REF_WINDOW_H
#define DN_KERNELS_REF_WINDOW_H

#include <stdbool.h>

#include "deepnet/sys/backend.h"

typedef struct ref_window {
    int32_t spatial;
    int64_t kernel[DN_MAX_SPATIAL], stride[DN_MAX_SPATIAL], pad[DN_MAX_SPATIAL],
        dilation[DN_MAX_SPATIAL];
    int64_t in[DN_MAX_SPATIAL], out[DN_MAX_SPATIAL];
    int64_t I, Q, R; /* elements of the input plane, the output plane, the kernel */
} ref_window;

/* Derives I, Q and R. False when a number makes no sense or a product does not fit. */
bool ref_window_init(ref_window *w);
/* Bytes of the table of taps; false when they do not fit. */
bool ref_window_bytes(const ref_window *w, size_t *bytes);
/* taps[q * R + r]: the input element under kernel position r of output q, -1 in the padding. */
void ref_window_taps(const ref_window *w, int64_t *taps);
/* Elements of window q cut at in + pad, as Caffe counts for its average. */
int64_t ref_window_size(const ref_window *w, int64_t q);

#endif
