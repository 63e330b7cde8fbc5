/* SPDX-License-Identifier: BSD-2-Clause
 * text_print.c: messages as prototxt: fields by number, two spaces a level, numbers as short as
 * they read back the same. */
#include <inttypes.h>

#include "proto/proto.h"

static void indent(dni_text *text, int depth)
{
    for (; depth > 0; depth--)
        dni_text_append(text, "  ", 2);
}

static void print_string(dni_text *text, const uint8_t *bytes, size_t size)
{
    static const char plain[] = "\n\r\t\"'\\", names[] = "nrt\"'\\";
    dni_text_append(text, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        uint8_t c = bytes[i];
        size_t k = 0;
        while (plain[k] && (uint8_t)plain[k] != c)
            k++;
        if (plain[k])
            dni_text_printf(text, "\\%c", names[k]);
        else if (c < 0x20 || c >= 0x7f)
            dni_text_printf(text, "\\%03o", c);
        else
            dni_text_append(text, (const char *)&bytes[i], 1);
    }
    dni_text_append(text, "\"", 1);
}

static void print_enum(dni_text *text, const ProtobufCEnumDescriptor *type, int32_t number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (value)
        dni_text_printf(text, "%s", value->name);
    else
        dni_text_printf(text, "%" PRId32, number);
}

static void print_value(dni_text *text, const ProtobufCFieldDescriptor *field, const void *value)
{
    char number[40];
    const ProtobufCBinaryData *bytes = value;
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        dni_text_printf(text, "%s", dni_number(number, sizeof(number), *(const float *)value, 9));
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        dni_text_printf(text, "%s",
                        dni_number(number, sizeof(number), *(const double *)value, 17));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        dni_text_printf(text, "%s", *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(text, field->descriptor, *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *string = *(char *const *)value;
        size_t length = 0;
        while (string[length])
            length++;
        print_string(text, (const uint8_t *)string, length);
        break;
    }
    case PROTOBUF_C_TYPE_BYTES:
        print_string(text, bytes->data, bytes->len);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        dni_text_printf(text, "%" PRIu64, *(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        dni_text_printf(text, "%" PRIu32, *(const uint32_t *)value);
        break;
    default:
        if (dni_field_size(field->type) == 8)
            dni_text_printf(text, "%" PRId64, *(const int64_t *)value);
        else
            dni_text_printf(text, "%" PRId32, *(const int32_t *)value);
    }
}

static void print_message(dni_text *text, const ProtobufCMessage *message, int depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned f = 0; f < type->n_fields && !text->failed; f++) {
        const ProtobufCFieldDescriptor *field = &type->fields[f];
        size_t count = dni_field_count(message, field);
        const char *value = dni_field_at(message, field);
        for (size_t i = 0; i < count && !text->failed; i++, value += dni_field_size(field->type)) {
            indent(text, depth);
            dni_text_printf(text, "%s", field->name);
            if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                dni_text_printf(text, " {\n");
                print_message(text, *(ProtobufCMessage *const *)(const void *)value, depth + 1);
                indent(text, depth);
                dni_text_printf(text, "}\n");
            } else {
                dni_text_printf(text, ": ");
                print_value(text, field, value);
                dni_text_printf(text, "\n");
            }
        }
    }
}

dn_status dni_text_print(char **out, const dni_heap *heap, const ProtobufCMessage *message)
{
    dni_text text;
    dni_text_init(&text, heap);
    print_message(&text, message, 0);
    return dni_text_finish(&text, out);
}
