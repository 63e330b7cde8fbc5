/* SPDX-License-Identifier: BSD-2-Clause
 * wire.c: see wire.h. Groups (wire types 3 and 4) are not part of this language: they are
 * passed over, as fields that nobody knows. */
#include "proto/wire.h"

#include "proto/proto.h"

enum { GROUP_BEGINS = 3, GROUP_ENDS = 4 };
enum { LONGEST_HEAD = 20 }; /* two varints: key and size; of types 1 and 5 the value as well */

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

/* A field, or where a group begins or ends. */
static bool read_field(dni_wire *wire, dni_wire_field *field)
{
    uint64_t key, size;
    size_t left = (size_t)(wire->end - wire->at);
    if (!dni_view_need(wire->view, wire->at, left < LONGEST_HEAD ? left : LONGEST_HEAD))
        return false;
    if (!dni_wire_varint(&wire->at, wire->end, &key) || !(key >> 3) || key >> 3 >= 1u << 29)
        return false;
    *field = (dni_wire_field){.number = (uint32_t)(key >> 3), .type = (uint32_t)(key & 7)};
    switch (field->type) {
    case 0:
        return dni_wire_varint(&wire->at, wire->end, &field->value);
    case 1:
        return take(wire, field, 8);
    case 2:
        return dni_wire_varint(&wire->at, wire->end, &size) && take(wire, field, size);
    case GROUP_BEGINS:
    case GROUP_ENDS:
        return true;
    case 5:
        return take(wire, field, 4);
    default:
        return false;
    }
}

/* The rest of a group, which ends by its own number. */
static bool skip_group(dni_wire *wire, uint32_t number)
{
    uint32_t open[DNI_MESSAGE_DEPTH] = {number};
    int depth = 1;
    dni_wire_field field;
    while (depth) {
        if (!read_field(wire, &field))
            return false;
        if (field.type == GROUP_ENDS && open[--depth] != field.number)
            return false;
        if (field.type == GROUP_BEGINS && depth == DNI_MESSAGE_DEPTH)
            return false;
        if (field.type == GROUP_BEGINS)
            open[depth++] = field.number;
    }
    return true;
}

int dni_wire_next(dni_wire *wire, dni_wire_field *field)
{
    while (wire->at < wire->end) {
        const uint8_t *start = wire->at;
        bool ok = read_field(wire, field);
        if (ok && field->type != GROUP_BEGINS && field->type != GROUP_ENDS)
            return 1;
        if (!ok || field->type == GROUP_ENDS || !skip_group(wire, field->number)) {
            wire->at = start;
            return -1;
        }
    }
    return 0;
}
