/* SPDX-License-Identifier: BSD-2-Clause
 * wire.h: fields of a binary message one by one, every length checked before it is believed. */
#ifndef DNI_WIRE_H
#define DNI_WIRE_H

#include "core/core.h"

typedef struct dni_wire {
    const uint8_t *at, *end;
    dni_view *view; /* what they are bytes of; NULL: all are in memory */
} dni_wire;

typedef struct dni_wire_field {
    uint32_t number, type; /* wire type: 0 varint, 1 64-bit, 2 bytes, 5 32-bit */
    uint64_t value;        /* of type 0 */
    const uint8_t *data;   /* of types 1, 2, 5; of type 2 the view may not have it yet */
    size_t size;
} dni_wire_field;

/* 1: a field that is no group; 0: the message is over; -1: it is cut or damaged at wire->at. */
int dni_wire_next(dni_wire *wire, dni_wire_field *field);
bool dni_wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

#endif
