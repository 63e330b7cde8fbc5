/* SPDX-License-Identifier: BSD-2-Clause
 * wire.c: see wire.h. Groups (wire types 3 and 4) are not part of this language. */
#include "proto/wire.h"

bool dni_wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take(dni_wire *wire, dni_wire_field *field, uint64_t size)
{
    if (size > (uint64_t)(wire->end - wire->at))
        return false;
    field->data = wire->at;
    field->size = (size_t)size;
    wire->at += size;
    return true;
}

int dni_wire_next(dni_wire *wire, dni_wire_field *field)
{
    const uint8_t *start = wire->at;
    uint64_t key, size;
    if (wire->at >= wire->end)
        return 0;
    bool ok = dni_wire_varint(&wire->at, wire->end, &key) && key >> 3 && key >> 3 < 1u << 29;
    if (ok) {
        *field = (dni_wire_field){.number = (uint32_t)(key >> 3), .type = (uint32_t)(key & 7)};
        switch (field->type) {
        case 0:
            ok = dni_wire_varint(&wire->at, wire->end, &field->value);
            break;
        case 1:
            ok = take(wire, field, 8);
            break;
        case 2:
            ok = dni_wire_varint(&wire->at, wire->end, &size) && take(wire, field, size);
            break;
        case 5:
            ok = take(wire, field, 4);
            break;
        default:
            ok = false;
            break;
        }
    }
    if (!ok)
        wire->at = start;
    return ok ? 1 : -1;
}
