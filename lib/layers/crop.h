/* SPDX-License-Identifier: BSD-2-Clause
 * crop.h: windows of blobs, for the layers that cut one out or put one in. */
#ifndef DNI_CROP_H
#define DNI_CROP_H

#include "layers/layer.h"

/* A copy of the window of x that begins at the offsets and has y's size to y. */
dn_status dni_crop_window(dn_args_copy *w, const dni_shape *x, const dni_shape *y,
                          const int64_t *offset);
/* The other way: y to its window of x, and `around` to the rest of x. add: the window is added
 * to `around` (gradients: 0 and true). */
void dni_crop_put(dni_builder *b, const dn_args_copy *w, dni_tensor y, dni_tensor x,
                  double around, bool add);

#endif
