/* SPDX-License-Identifier: BSD-2-Clause
 * dump_schema.c: all that libprotobuf-c reads of the schema, printed. Built twice: on
 * protoc-c's own descriptors, and on ours, made from rows (proto/schema.c). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cnn.pb-c.h"

static const ProtobufCMessageDescriptor *seen[1000];
static unsigned num_seen;

static void bytes(const void *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", ((const unsigned char *)value)[i]);
}

static void default_value(const ProtobufCFieldDescriptor *f)
{
    switch (f->default_value ? f->type : PROTOBUF_C_TYPE_MESSAGE) {
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_BYTES:
        printf("%s", f->default_value ? "some" : "none");
        break;
    case PROTOBUF_C_TYPE_STRING:
        printf("'%s'", (const char *)f->default_value);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_DOUBLE:
        bytes(f->default_value, 8);
        break;
    default:
        bytes(f->default_value, 4);
    }
}

static void ranges(const ProtobufCIntRange *range, unsigned count)
{
    for (unsigned i = 0; range && i <= count; i++)
        printf(" %d:%u", range[i].start_value, range[i].orig_index);
    printf("\n");
}

static void print_enum(const ProtobufCEnumDescriptor *e)
{
    printf("  enum %08x %s %s %s %u %u", e->magic, e->name, e->short_name, e->package_name,
           e->n_values, e->n_value_names);
    ranges(e->value_ranges, e->n_value_ranges);
    for (unsigned i = 0; i < e->n_values; i++)
        printf("    %s %d\n", e->values[i].name, e->values[i].value);
    for (unsigned i = 0; i < e->n_value_names; i++)
        printf("    %s %u\n", e->values_by_name[i].name, e->values_by_name[i].index);
}

static void print_message(const ProtobufCMessageDescriptor *m)
{
    for (unsigned i = 0; i < num_seen; i++)
        if (seen[i] == m)
            return;
    seen[num_seen++] = m;
    printf("message %08x %s %s %s %zu %u", m->magic, m->name, m->short_name, m->package_name,
           m->sizeof_message, m->n_fields);
    ranges(m->field_ranges, m->n_field_ranges);
    for (unsigned i = 0; i < m->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->fields[i];
        printf("  %s %" PRIu32 " %d %d %u %u %" PRIu32 " %u ", f->name, f->id, (int)f->label,
               (int)f->type, f->quantifier_offset, f->offset, f->flags,
               m->fields_sorted_by_name[i]);
        default_value(f);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            printf(" %s", ((const ProtobufCMessageDescriptor *)f->descriptor)->name);
        printf("\n");
        if (f->type == PROTOBUF_C_TYPE_ENUM)
            print_enum(f->descriptor);
    }
    for (unsigned i = 0; i < m->n_fields; i++)
        if (m->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            print_message(m->fields[i].descriptor);
}

int main(void)
{
    const ProtobufCMessageDescriptor *roots[] = {&cnn__solver_parameter__descriptor,
                                                 &cnn__net_parameter__descriptor,
                                                 &cnn__solver_state__descriptor,
                                                 &cnn__deepnet_state__descriptor,
                                                 &cnn__datum__descriptor,
                                                 &cnn__blob_proto_vector__descriptor,
                                                 &cnn__annotated_datum__descriptor};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        print_message(roots[i]);
    printf("%u messages\n", num_seen);
    return num_seen < 50;
}
