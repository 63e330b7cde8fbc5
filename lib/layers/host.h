/* SPDX-License-Identifier: BSD-2-Clause
 * host.h: layer types of the host as classes of the engine's. */
#ifndef DNI_HOST_LAYER_H
#define DNI_HOST_LAYER_H

#include "layers/layer.h"

/* A class made of the host's table; lives as long as its layer. */
typedef struct dni_host_class {
    dni_layer_class cls; /* first: a layer's cls points at it */
    const dn_layer_class *given;
} dni_host_class;

/* The context's table for that layer; NULL: it has none. */
const dn_layer_class *dni_host_class_find(dni_layer *layer, const char *type);
void dni_host_class_make(dni_host_class *out, const dn_layer_class *given);

#endif
