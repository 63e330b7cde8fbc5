/* SPDX-License-Identifier: BSD-2-Clause
 * relayout.h: an op said anew for images that lie as NHWC: by layout for the kinds that know
 * it, by other views and strides for the rest. */
#ifndef DNI_RELAYOUT_H
#define DNI_RELAYOUT_H

#include "plan/passes.h"

/* The kind is told layouts; operands of others are always called plain. */
bool dni_knows_layouts(int32_t kind);
/* Bit i: operand i is an image, of 4 axes or more like the tensor whose memory it is. False:
 * the op has none, or works on plain ones alone. */
bool dni_images_of(const dni_program *p, const dni_op *op, uint32_t *in, uint32_t *out);
/* Rewrites the arguments on trial for these operands as NHWC; false: cannot be said. */
bool dni_relayout(const dni_program *p, dni_trial *trial, uint32_t in, uint32_t out);
/* Both layouts are the same bytes. */
bool dni_is_flat(const dni_shape *shape);
/* COPY of an image from one layout to the other. */
void dni_conversion(const dni_shape *shape, int32_t from, int32_t to, dn_args_copy *args);

#endif
