/* SPDX-License-Identifier: BSD-2-Clause
 * safetensors.h: weights as .safetensors: the length of a JSON header (8 bytes), the header,
 * the values. Weight 0 and 1 of layer "a" are "a.weight" and "a.bias"; layers of more weights
 * have "a.0", "a.1", ... */
#ifndef DNI_NET_SAFETENSORS_H
#define DNI_NET_SAFETENSORS_H

#include "net/net.h"

enum { DNI_SAFETENSORS_LENGTH = 8 }; /* bytes before the header */

bool dni_is_safetensors(const void *bytes, size_t size);
/* The weights, whose values stay where they are; *out is empty before. Tensors that are no
 * floats are left out. view: as dni_weights_read has it; name: the file's, for messages. */
dn_status dni_safetensors_read(dni_weights *out, const dni_heap *heap, const void *bytes,
                               size_t size, dni_view *view, const char *name);

#endif
