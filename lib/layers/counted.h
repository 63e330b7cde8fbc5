/* SPDX-License-Identifier: BSD-2-Clause
 * counted.h: a number that goes by how many forwards there were. It is the host's to compute,
 * before each forward, so that no step of the net waits for it; a snapshot keeps the count. */
#ifndef DNI_COUNTED_H
#define DNI_COUNTED_H

#include "layers/layer.h"

/* First in the layer's state. */
typedef struct dni_counted {
    int64_t forwards; /* so far */
    double (*number)(const dni_layer *layer, int64_t forwards);
    double now; /* room for one T */
} dni_counted;

/* In setup; `forwards` there were before. */
void dni_count_forwards(dni_layer *layer, int64_t forwards,
                        double (*number)(const dni_layer *layer, int64_t forwards));
/* In forward: the number, which is top 1, too, if there is one. */
dni_tensor dni_emit_counted(dni_layer *layer, dni_builder *b);

#endif
