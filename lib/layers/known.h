/* SPDX-License-Identifier: BSD-2-Clause
 * known.h: values of which some are NaN, which stands for "not known" in FlowNet's truths. */
#ifndef DNI_KNOWN_H
#define DNI_KNOWN_H

#include "layers/layer.h"

typedef struct dni_known {
    dni_tensor value, one, mask; /* x or 0; 1 or 0; the same as I32 */
} dni_known;

/* Those of x that are not NaN, and not below least in magnitude. */
dni_known dni_emit_known(dni_builder *b, dni_tensor x, float least);
/* y = x where the mask is 1, else 0 */
void dni_emit_where(dni_builder *b, dni_tensor x, dni_tensor mask, dni_tensor y);

#endif
