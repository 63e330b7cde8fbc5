/* SPDX-License-Identifier: BSD-2-Clause
 * pack.c: see pack.h. BlobProto: data 5, diff 6, shape 7 { dim 1 packed }, double_data 8,
 * double_diff 9. Values are little-endian, as this machine's are. */
#include "net/pack.h"

#include <string.h>

static size_t varint_size(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

uint8_t *dni_pack_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

size_t dni_pack_field_size(uint32_t number, size_t size)
{
    return varint_size((uint64_t)number << 3 | 2) + varint_size(size) + size;
}

uint8_t *dni_pack_field(uint8_t *at, uint32_t number, size_t size)
{
    return dni_pack_varint(dni_pack_varint(at, (uint64_t)number << 3 | 2), size);
}

void dni_pack_append(dni_text *text, uint32_t number, const void *bytes, size_t size)
{
    uint8_t head[24], *end = dni_pack_field(head, number, size);
    dni_text_append(text, (const char *)head, (size_t)(end - head));
    if (bytes)
        dni_text_append(text, bytes, size);
}

static size_t dims_size(const dni_shape *shape)
{
    size_t size = 0;
    for (int32_t i = 0; i < shape->axes; i++)
        size += varint_size((uint64_t)shape->dim[i]);
    return size;
}

static size_t shape_size(const dni_shape *shape)
{
    return shape->axes ? dni_pack_field_size(1, dims_size(shape)) : 0;
}

static size_t values_size(const dni_pack_blob *blob)
{
    return (size_t)dni_shape_count(&blob->shape) * dni_dtype_size(blob->dtype);
}

size_t dni_pack_blob_size(const dni_pack_blob *blob)
{
    size_t values = values_size(blob), size = dni_pack_field_size(7, shape_size(&blob->shape));
    size += dni_pack_field_size(8, values);
    return size + (blob->diff ? dni_pack_field_size(9, values) : 0);
}

uint8_t *dni_pack_shape(uint8_t *at, const dni_shape *shape)
{
    at = dni_pack_field(at, 7, shape_size(shape));
    if (shape->axes)
        at = dni_pack_field(at, 1, dims_size(shape));
    for (int32_t i = 0; i < shape->axes; i++)
        at = dni_pack_varint(at, (uint64_t)shape->dim[i]);
    return at;
}

uint8_t *dni_pack_blob_head(uint8_t *at, const dni_pack_blob *blob)
{
    at = dni_pack_shape(at, &blob->shape);
    return dni_pack_field(at, blob->dtype == DN_F64 ? 8 : 5, values_size(blob));
}

static void save_values(dni_draft *draft, const void *values, size_t size)
{
    const float zero = 0;
    if (values)
        dni_draft_write(draft, values, size);
    for (; !values && size; size -= sizeof zero)
        dni_draft_write(draft, &zero, sizeof zero);
}

void dni_pack_blob_save(dni_draft *draft, uint32_t number, const dni_pack_blob *blob)
{
    uint8_t head[DNI_PACK_HEAD], *end = dni_pack_field(head, number, dni_pack_blob_size(blob));
    end = dni_pack_blob_head(end, blob);
    dni_draft_write(draft, head, (size_t)(end - head));
    save_values(draft, blob->data, values_size(blob));
    if (!blob->diff)
        return;
    end = dni_pack_field(head, blob->dtype == DN_F64 ? 9 : 6, values_size(blob));
    dni_draft_write(draft, head, (size_t)(end - head));
    save_values(draft, blob->diff, values_size(blob));
}
