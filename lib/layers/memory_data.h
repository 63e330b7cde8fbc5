/* SPDX-License-Identifier: BSD-2-Clause
 * memory_data.h: how the net hands the host's arrays to a MemoryData layer. */
#ifndef DNI_MEMORY_DATA_H
#define DNI_MEMORY_DATA_H

#include "layers/layer.h"

extern const dni_layer_class dni_layer_memory_data;

/* n items of channels x height x width and n labels, n a multiple of batch_size; borrowed. */
dn_status dni_memory_data_set(dni_layer *layer, const float *data, const float *labels,
                              int64_t n);

#endif
