/* SPDX-License-Identifier: BSD-2-Clause
 * values.h: the operands of host calls, which are of the net's type: float or double. */
#ifndef DNI_VALUES_H
#define DNI_VALUES_H

#include <string.h>

#include "layers/layer.h"

static inline double dni_get(const void *values, int32_t dtype, int64_t i)
{
    return dtype == DN_F64 ? ((const double *)values)[i] : ((const float *)values)[i];
}

static inline void dni_put(void *values, int32_t dtype, int64_t i, double value)
{
    if (dtype == DN_F64)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

/* values[0 .. count) = from. */
static inline void dni_put_floats(void *values, int32_t dtype, const float *from, int64_t count)
{
    if (dtype == DN_F32)
        memcpy(values, from, (size_t)count * sizeof *from);
    for (int64_t i = 0; dtype == DN_F64 && i < count; i++)
        ((double *)values)[i] = from[i];
}

#endif
