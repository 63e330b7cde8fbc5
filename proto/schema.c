/* SPDX-License-Identifier: BSD-2-Clause
 * schema.c: the descriptors that libprotobuf-c reads, kept as small rows and unpacked when the
 * library is loaded. As it wants them a field has 72 bytes and a message 120, with names, types
 * and defaults to relocate: 135 KB with their names, for 24 of rows. The names are packed as
 * well: their most frequent pair of letters has become one code, 128 times (pack_schema.py). */
#include "cnn.pb-c.h"
#include "schema.h"

#include <string.h>

typedef struct { /* its number is told by the ranges */
    uint16_t name, offset;
    uint8_t has; /* where its quantifier is: so far before it; 0: it has none */
    uint8_t kind, value;
    uint8_t sorted; /* the field at this place in the message's order of names */
} field_row;

typedef struct {
    uint8_t label, type, flags, descriptor, meaning;
} kind_row;

typedef struct {
    uint16_t name;
    uint8_t sorted; /* as a field's */
} value_row;

typedef struct {
    uint16_t start, index;
} range_row;

typedef uint8_t pair_row[2]; /* what a code from 128 on stands for in packed_names */

typedef struct { /* a message, or an enum, whose size is 0 */
    uint16_t name, size;
    uint8_t count, ranges; /* the next so many fields or values, and ranges */
} type_row;

#include "cnn_rows.h"

static char names[NAMES];
static ProtobufCFieldDescriptor fields[FIELDS];
static unsigned by_name[FIELDS];
static ProtobufCEnumValue values[VALUES];
static ProtobufCEnumValueIndex sorted[VALUES];
static ProtobufCIntRange ranges[RANGES];

static char *unpack_name(char *to, uint8_t code)
{
    if (code < 128) {
        *to = (char)code;
        return to + 1;
    }
    return unpack_name(unpack_name(to, pair_rows[code - 128][0]), pair_rows[code - 128][1]);
}

static void unpack_rows(void)
{
    char *name = names;
    for (size_t i = 0; i < sizeof packed_names; i++)
        name = unpack_name(name, packed_names[i]);
    for (size_t i = 0; i < FIELDS; i++) {
        const field_row *row = &field_rows[i];
        const kind_row *kind = &kind_rows[row->kind];
        by_name[i] = row->sorted;
        fields[i] =
            (ProtobufCFieldDescriptor){names + row->name,
                                       0,
                                       (ProtobufCLabel)kind->label,
                                       (ProtobufCType)kind->type,
                                       row->has ? (unsigned)(row->offset - row->has) : 0U,
                                       row->offset,
                                       cnn_types[kind->descriptor],
                                       defaults[row->value],
                                       kind->flags,
                                       kind->meaning, /* fields.c reads it; nobody else does */
                                       NULL,
                                       NULL};
    }
    for (size_t i = 0; i < RANGES; i++)
        ranges[i] = (ProtobufCIntRange){range_rows[i].start, range_rows[i].index};
}

static void unpack_fields(ProtobufCFieldDescriptor *field, unsigned count,
                          const ProtobufCIntRange *range)
{
    for (unsigned i = 0; i < count; i++) {
        range += i == range[1].orig_index;
        field[i].id = (uint32_t)range->start_value + i - range->orig_index;
    }
}

static void unpack_values(size_t first, unsigned count, const ProtobufCIntRange *range)
{
    for (unsigned i = 0; i < count; i++) {
        range += i == range[1].orig_index;
        values[first + i] =
            (ProtobufCEnumValue){names + value_rows[first + i].name, "",
                                 range->start_value + (int)(i - range->orig_index)};
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned place = value_rows[first + i].sorted;
        sorted[first + i] = (ProtobufCEnumValueIndex){values[first + place].name, place};
    }
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
            unpack_fields(fields + field, row->count, range);
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
            unpack_values(value, row->count, range);
            value += row->count;
        }
        range += row->ranges + 1; /* and one that ends them */
    }
}
