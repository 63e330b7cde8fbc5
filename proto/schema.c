/* SPDX-License-Identifier: BSD-2-Clause
 * schema.c: the descriptors that libprotobuf-c reads, kept as small rows and unpacked when the
 * library is loaded. As it wants them a field has 72 bytes, and a name, a type and a default to
 * relocate: 95 KB, for 17 of rows. */
#include "cnn.pb-c.h"

typedef struct {
    uint16_t name, id, has, offset;
    uint8_t label, type, flags, descriptor, value;
} field_row;

typedef struct {
    uint16_t name, value;
    uint16_t sorted_name, sorted; /* the name at this place in the enum's order of names */
} value_row;

#include "cnn_rows.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* 101: the first that is not the system's. Linked into a program, its own constructors may
 * come to read nets: they run after. */
__attribute__((constructor(101))) static void unpack(void)
{
    for (size_t i = 0; i < COUNT(fields); i++) {
        const field_row *row = &field_rows[i];
        fields[i] = (ProtobufCFieldDescriptor){names + row->name,
                                               row->id,
                                               (ProtobufCLabel)row->label,
                                               (ProtobufCType)row->type,
                                               row->has,
                                               row->offset,
                                               types[row->descriptor],
                                               defaults[row->value],
                                               row->flags,
                                               0,
                                               NULL,
                                               NULL};
    }
    for (size_t i = 0; i < COUNT(values); i++) {
        const value_row *row = &value_rows[i];
        values[i] = (ProtobufCEnumValue){names + row->name, "", row->value};
        sorted[i] = (ProtobufCEnumValueIndex){names + row->sorted_name, row->sorted};
    }
}
