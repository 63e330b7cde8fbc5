/* SPDX-License-Identifier: BSD-2-Clause
 * shape.c: shapes and arithmetic that knows when it does not fit. The limit of 2^46 elements
 * leaves room to multiply a checked count by any element size. */
#include <stdio.h>
#include <string.h>

#include "core/core.h"

#define MAX_COUNT ((int64_t)1 << 46)

dni_shape dni_shape_of(int32_t axes, const int64_t *dims)
{
    dni_shape shape;
    memset(&shape, 0, sizeof(shape));
    shape.axes = axes < 0 ? 0 : axes > DN_MAX_AXES ? DN_MAX_AXES : axes;
    for (int32_t i = 0; i < shape.axes; i++)
        shape.dim[i] = dims[i];
    return shape;
}

bool dni_shape_equal(const dni_shape *a, const dni_shape *b)
{
    if (a->axes != b->axes)
        return false;
    for (int32_t i = 0; i < a->axes; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

int64_t dni_shape_range(const dni_shape *shape, int32_t from, int32_t to)
{
    uint64_t count = 1;
    for (int32_t i = from; i < to; i++)
        count *= (uint64_t)shape->dim[i];
    return (int64_t)count;
}

int64_t dni_shape_count(const dni_shape *shape)
{
    return dni_shape_range(shape, 0, shape->axes);
}

/* Zeros do not count towards the limit: any range of a checked shape can be multiplied. */
dn_status dni_shape_check(const dni_shape *shape)
{
    int64_t count = 1;
    if (shape->axes < 0 || shape->axes > DN_MAX_AXES)
        return dni_fail(DN_E_SHAPE, "%d axes; a blob has 0 to %d", shape->axes, DN_MAX_AXES);
    for (int32_t i = 0; i < shape->axes; i++) {
        int64_t dim = shape->dim[i];
        if (dim < 0)
            return dni_fail(DN_E_SHAPE, "axis %d has the negative length %lld", i,
                            (long long)dim);
        if (dim && (!dni_mul64(count, dim, &count) || count > MAX_COUNT))
            return dni_fail(DN_E_SHAPE, "more than 2^46 elements from axis %d (length %lld) on",
                            i, (long long)dim);
    }
    return DN_OK;
}

dn_status dni_shape_axis(const dni_shape *shape, int64_t axis, int32_t *out)
{
    if (axis < -shape->axes || axis >= shape->axes)
        return dni_fail(DN_E_SHAPE, "axis %lld is outside [%d, %d) of a blob with %d axes",
                        (long long)axis, -shape->axes, shape->axes, shape->axes);
    *out = (int32_t)(axis < 0 ? axis + shape->axes : axis);
    return DN_OK;
}

const char *dni_shape_text(const dni_shape *shape, char *buffer, size_t size)
{
    size_t used = 0;
    if (size == 0)
        return buffer;
    buffer[0] = 0;
    for (int32_t i = 0; i <= shape->axes && used < size; i++) {
        bool last = i == shape->axes;
        int64_t number = last ? dni_shape_count(shape) : shape->dim[i];
        int n =
            snprintf(buffer + used, size - used, last ? "(%lld)" : "%lld ", (long long)number);
        used += n < 0 ? size : (size_t)n;
    }
    return buffer;
}

size_t dni_dtype_size(int32_t dtype)
{
    static const uint8_t sizes[] = {4, 8, 2, 4, 8, 1};
    return sizes[dtype];
}

bool dni_mul(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool dni_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

/* The limits are those of each sign's quotient: INT64_MIN has no positive counterpart. */
bool dni_mul64(int64_t a, int64_t b, int64_t *out)
{
    bool overflow;
    if (a > 0)
        overflow = b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a;
    else
        overflow = b > 0 ? a < INT64_MIN / b : a && b < INT64_MAX / a;
    if (!overflow)
        *out = a * b;
    return !overflow;
}
