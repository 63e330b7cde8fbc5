/* SPDX-License-Identifier: BSD-2-Clause
 * safetensors.h: weights as .safetensors: the length of a JSON header (8 bytes), the header,
 * the values. Weight 0 and 1 of layer "a" are "a.weight" and "a.bias"; layers of more weights
 * have "a.0", "a.1", ... */
#ifndef DNI_NET_SAFETENSORS_H
#define DNI_NET_SAFETENSORS_H

#include "net/net.h"

enum { DNI_SAFETENSORS_LENGTH = 8 }; /* bytes before the header */

bool dni_is_safetensors(const void *bytes, size_t size);
/* The same weights as the bytes of a .caffemodel; free with dni_free. Tensors that are no
 * floats are left out. name: the file's, for messages. */
dn_status dni_safetensors_weights(const dni_heap *heap, const void *bytes, size_t size,
                                  const char *name, char **out, size_t *out_size);

#endif
