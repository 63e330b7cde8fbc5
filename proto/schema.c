/* SPDX-License-Identifier: BSD-2-Clause
 * schema.c: the descriptors that libprotobuf-c reads, kept as small rows and unpacked when the
 * library is loaded. As it wants them a field has 72 bytes and a message 120, with names, types
 * and defaults to relocate: 120 KB, for 21 of rows. */
#include "cnn.pb-c.h"
#include "schema.h"

#include <string.h>

typedef struct {
    uint16_t name, id, has, offset;
    uint8_t label, type, flags, descriptor, value;
} field_row;

typedef struct {
    uint16_t name, value;
    uint16_t sorted_name, sorted; /* the name at this place in the enum's order of names */
} value_row;

typedef struct {
    uint16_t start, index;
} range_row;

typedef struct { /* a message, or an enum, whose size is 0 */
    uint16_t name, size;
    uint8_t count, ranges; /* the next so many fields or values, and ranges */
} type_row;

#include "cnn_rows.h"

static ProtobufCFieldDescriptor fields[FIELDS];
static unsigned by_name[FIELDS];
static ProtobufCEnumValue values[VALUES];
static ProtobufCEnumValueIndex sorted[VALUES];
static ProtobufCIntRange ranges[RANGES];

static void unpack_rows(void)
{
    for (size_t i = 0; i < FIELDS; i++) {
        const field_row *row = &field_rows[i];
        by_name[i] = orders[i];
        fields[i] = (ProtobufCFieldDescriptor){names + row->name,
                                               row->id,
                                               (ProtobufCLabel)row->label,
                                               (ProtobufCType)row->type,
                                               row->has,
                                               row->offset,
                                               cnn_types[row->descriptor],
                                               defaults[row->value],
                                               row->flags,
                                               0,
                                               NULL,
                                               NULL};
    }
    for (size_t i = 0; i < VALUES; i++) {
        const value_row *row = &value_rows[i];
        values[i] = (ProtobufCEnumValue){names + row->name, "", row->value};
        sorted[i] = (ProtobufCEnumValueIndex){names + row->sorted_name, row->sorted};
    }
    for (size_t i = 0; i < RANGES; i++)
        ranges[i] = (ProtobufCIntRange){range_rows[i].start, range_rows[i].index};
}

void cnn_unpack(void)
{
    const ProtobufCIntRange *range = ranges;
    unpack_rows();
    for (size_t i = 0, field = 0, value = 0; i < sizeof type_rows / sizeof *type_rows; i++) {
        const type_row *row = &type_rows[i];
        const char *name = names + row->name, *last = strrchr(name, '.') + 1;
        void *type = cnn_types[1 + i];
        if (i < MESSAGES) {
            *(ProtobufCMessageDescriptor *)type = (ProtobufCMessageDescriptor){
                .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                .name = name,
                .short_name = last,
                .c_name = "",
                .package_name = "cnn",
                .sizeof_message = row->size,
                .n_fields = row->count,
                .fields = fields + field,
                .fields_sorted_by_name = by_name + field,
                .n_field_ranges = row->ranges,
                .field_ranges = range,
            };
            field += row->count;
        } else {
            *(ProtobufCEnumDescriptor *)type = (ProtobufCEnumDescriptor){
                .magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC,
                .name = name,
                .short_name = last,
                .c_name = "",
                .package_name = "cnn",
                .n_values = row->count,
                .values = values + value,
                .n_value_names = row->count,
                .values_by_name = sorted + value,
                .n_value_ranges = row->ranges,
                .value_ranges = range,
            };
            value += row->count;
        }
        range += row->ranges + 1; /* and one that ends them */
    }
}
