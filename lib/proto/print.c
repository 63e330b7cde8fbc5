/* SPDX-License-Identifier: BSD-2-Clause
 * print.c: messages as text, fields in the order of their numbers, two spaces a level: what
 * protobuf's own printer gives. */
#include <stdio.h>
#include <string.h>

#include "proto/field.h"
#include "proto/wire.h"

typedef struct printer {
    dni_text *text;
    dni_remarks *remarks; /* NULL: none */
} printer;

static void print_message(printer *p, const ProtobufCMessage *message, int32_t indent);

static void print_bytes(dni_text *text, const uint8_t *bytes, size_t size)
{
    dni_text_append(text, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        char escape[5];
        uint8_t c = bytes[i];
        if (c == '\n')
            dni_text_append(text, "\\n", 2);
        else if (c == '\r')
            dni_text_append(text, "\\r", 2);
        else if (c == '\t')
            dni_text_append(text, "\\t", 2);
        else if (c == '"' || c == '\\' || c == '\'')
            dni_text_append(text, (char[]){'\\', (char)c}, 2);
        else if (c < 0x20 || c >= 0x7f)
            dni_text_append(text, escape, (size_t)snprintf(escape, sizeof escape, "\\%03o", c));
        else
            dni_text_append(text, (const char *)&bytes[i], 1);
    }
    dni_text_append(text, "\"", 1);
}

static void print_scalar(dni_text *text, const ProtobufCFieldDescriptor *field, const void *at)
{
    char number[40];
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        dni_text_printf(text, "%s", dni_number(number, sizeof number, *(const float *)at, 9));
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        dni_text_printf(text, "%s", dni_number(number, sizeof number, *(const double *)at, 17));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        dni_text_printf(text, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        int value = *(const int *)at;
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(field->descriptor, value);
        if (v)
            dni_text_printf(text, "%s", v->name);
        else
            dni_text_printf(text, "%d", value);
        break;
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *string = *(const char *const *)at;
        print_bytes(text, (const uint8_t *)(string ? string : ""), string ? strlen(string) : 0);
        break;
    }
    case PROTOBUF_C_TYPE_BYTES:
        print_bytes(text, ((const ProtobufCBinaryData *)at)->data,
                    ((const ProtobufCBinaryData *)at)->len);
        break;
    case PROTOBUF_C_TYPE_INT64:
        dni_text_printf(text, "%lld", (long long)*(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        dni_text_printf(text, "%llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        dni_text_printf(text, "%u", *(const uint32_t *)at);
        break;
    default:
        dni_text_printf(text, "%d", *(const int32_t *)at);
        break;
    }
}

/* Value `index` of a field, `at` there. */
static void print_value(printer *p, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field, const void *at, size_t index,
                        int32_t indent)
{
    dni_text *text = p->text;
    dni_remarks_print(p->remarks, text, DNI_REMARK_ABOVE, message, field->name, index, indent);
    dni_text_printf(text, "%*s%s", (int)indent, "", field->name);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        dni_text_printf(text, " {\n");
        print_message(p, *(const ProtobufCMessage *const *)at, indent + 2);
        dni_text_printf(text, "%*s}\n", (int)indent, "");
    } else {
        dni_text_printf(text, ": ");
        print_scalar(text, field, at);
        dni_text_printf(text, "\n");
    }
    dni_remarks_print(p->remarks, text, DNI_REMARK_BESIDE, message, field->name, index, indent);
}

static bool present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *at = (const char *)message;
    if (field->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const void *pointer = *(void *const *)(at + field->offset);
        return pointer && pointer != field->default_value;
    }
    return *(const protobuf_c_boolean *)(at + field->quantifier_offset);
}

/* A field that the schema lacks, by its number, in the form of its wire type. */
static void print_unknown(dni_text *text, const ProtobufCMessageUnknownField *u, int32_t indent)
{
    const uint8_t *at = u->data, *end = u->data + u->len;
    uint64_t value = 0;
    dni_text_printf(text, "%*s%u: ", (int)indent, "", u->tag);
    if (u->wire_type == 0 || u->wire_type == 2)
        dni_wire_varint(&at, end, &value);
    else
        for (size_t i = 0; i < u->len && i < 8; i++)
            value |= (uint64_t)u->data[i] << 8 * i;
    if (u->wire_type == 2)
        print_bytes(text, at, (size_t)(end - at));
    else
        dni_text_printf(text,
                        u->wire_type == 0   ? "%llu"
                        : u->wire_type == 1 ? "0x%016llx"
                                            : "0x%08llx",
                        (unsigned long long)value);
    dni_text_append(text, "\n", 1);
}

static void print_message(printer *p, const ProtobufCMessage *message, int32_t indent)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) { /* descriptors are sorted by number */
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *at = (const char *)message + field->offset;
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            if (present(message, field))
                print_value(p, message, field, at, 0, indent);
            continue;
        }
        size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
        const char *values = *(const char *const *)at;
        for (size_t k = 0; k < count; k++, values += dni_field_value_size(field))
            print_value(p, message, field, values, k, indent);
    }
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        print_unknown(p->text, &message->unknown_fields[i], indent);
    dni_remarks_print_rest(p->remarks, p->text, message, indent);
}

dn_status dni_text_print(char **out, const dni_heap *heap, const ProtobufCMessage *message,
                         dni_remarks *remarks)
{
    dni_text text;
    printer p = {&text, remarks};
    dni_text_init(&text, heap);
    dni_text_append(&text, "", 0);
    print_message(&p, message, 0);
    return dni_text_finish(&text, out);
}
