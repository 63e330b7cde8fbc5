/* SPDX-License-Identifier: BSD-2-Clause
 * dialect.c: which fork wrote a binary file, and what its numbers are here. Text goes by name
 * and needs none of this. A guess weighs each dialect: tags it cannot explain, required fields
 * that would be missing, and layers whose type names the parameter that the dialect sees. */
#include "proto/dialect.h"

#include <stdio.h>
#include <string.h>

#include "proto/wire.h"

#define FOREIGN 50000 /* what the schema lacks under a number that it uses */

typedef struct rows_of {
    const dni_renumbered *rows;
    size_t count;
} rows_of;

static rows_of find_scope(const char *full_name)
{
    const char *name = strchr(full_name, '.'); /* past the package */
    const dni_renumbered *rows = dni_dialect_rows;
    const uint8_t *count = dni_dialect_counts;
    for (const char *s = dni_dialect_scopes; name && *s; s += strlen(s) + 1, rows += *count++)
        if (!strcmp(s, name + 1))
            return (rows_of){rows, *count};
    return (rows_of){NULL, 0};
}

static uint32_t whole(uint16_t from)
{
    return from > DNI_DIALECT_LAST ? from + (8266711u & ~0xffffu) : from;
}

/* Our number for a dialect's; 0: a field that the schema lacks. */
static uint32_t renumber(rows_of scope, uint32_t number, int32_t dialect)
{
    for (size_t i = 0; i < scope.count; i++)
        if (whole(scope.rows[i].from) == number && scope.rows[i].dialects << 1 >> dialect & 1)
            return scope.rows[i].to;
    return number;
}

/* Doubles are in blobs alone, which are not weighed. */
static bool fits(const ProtobufCFieldDescriptor *f, uint32_t wire_type)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return wire_type == 2;
    case PROTOBUF_C_TYPE_FLOAT:
        return wire_type == 5 || (wire_type == 2 && f->label == PROTOBUF_C_LABEL_REPEATED);
    default:
        return wire_type == 0 || (wire_type == 2 && f->label == PROTOBUF_C_LABEL_REPEATED);
    }
}

/* An engine was an enum before it was a string. */
static bool is_named_number(const ProtobufCFieldDescriptor *f, uint32_t wire_type)
{
    return f->type == PROTOBUF_C_TYPE_STRING && wire_type == 0 && !strcmp(f->name, "engine");
}

dn_status dni_dialect_find(int32_t *out, const char *name)
{
    char list[160] = "";
    for (int32_t i = 0; i < DNI_DIALECTS; i++) {
        size_t used = strlen(list);
        if (!strcmp(dni_dialect_names[i], name)) {
            *out = i;
            return DN_OK;
        }
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", dni_dialect_names[i]);
    }
    return dni_fail(DN_E_NOTFOUND, "there is no dialect '%s'; there are %s", name, list);
}

/* ---- guessing ---------------------------------------------------------------------------- */

enum { UNEXPLAINED = 4, NAMED = 2 };

bool dni_names_type(const char *field, const void *type, size_t size)
{
    const uint8_t *letters = type;
    size_t i = 0;
    for (; *field && strcmp(field, "_param"); field++) {
        if (*field == '_')
            continue;
        if (i == size || (letters[i] | 0x20) != *field) /* digits have that bit too */
            return false;
        i++;
    }
    return i == size && *field;
}

static void weigh(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                  int32_t dialect, int depth, int64_t *score);

static void weigh_field(const ProtobufCFieldDescriptor *f, const dni_wire_field *field,
                        const dni_wire_field *layer_type, int32_t dialect, int depth,
                        int64_t *score)
{
    if (!f || (!fits(f, field->type) && !is_named_number(f, field->type))) {
        *score -= UNEXPLAINED;
        return;
    }
    if (layer_type->data && dni_names_type(f->name, layer_type->data, layer_type->size))
        *score += NAMED;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && f->descriptor != &cnn__blob_proto__descriptor)
        weigh(f->descriptor, field->data, field->size, dialect, depth + 1, score);
}

static void weigh(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                  int32_t dialect, int depth, int64_t *score)
{
    rows_of scope = find_scope(type->name);
    dni_wire wire = {bytes, bytes + size, NULL};
    dni_wire_field field, layer_type = {0};
    uint64_t seen = 0; /* the required fields here have numbers below 64 */
    int more = 1;
    if (type == &cnn__layer_parameter__descriptor)
        for (dni_wire look = wire; dni_wire_next(&look, &field) > 0;)
            if (field.number == 2 && field.type == 2)
                layer_type = field;
    while (depth <= DNI_MESSAGE_DEPTH && (more = dni_wire_next(&wire, &field)) > 0) {
        uint32_t number = renumber(scope, field.number, dialect);
        seen |= number < 64 ? (uint64_t)1 << number : 0;
        weigh_field(protobuf_c_message_descriptor_get_field(type, number), &field, &layer_type,
                    dialect, depth, score);
    }
    if (more < 0)
        *score -= UNEXPLAINED;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && type->fields[i].id < 64 &&
            !(seen >> type->fields[i].id & 1))
            *score -= UNEXPLAINED;
}

int32_t dni_dialect_guess(const ProtobufCMessageDescriptor *type, const void *bytes,
                          size_t size)
{
    int64_t best = INT64_MIN;
    int32_t dialect = 0;
    for (int32_t d = 0; d < DNI_DIALECTS; d++) {
        int64_t score = 0;
        weigh(type, bytes, size, d, 0, &score);
        if (score > best) {
            best = score;
            dialect = d;
        }
    }
    return dialect;
}

/* ---- translating ------------------------------------------------------------------------- */

static void put_varint(dni_text *out, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (char)(value | 0x80);
    bytes[n++] = (char)value;
    dni_text_append(out, bytes, n);
}

static void put_bytes(dni_text *out, const void *bytes, size_t size)
{
    put_varint(out, size);
    dni_text_append(out, bytes, size);
}

static void translate(dni_text *out, const ProtobufCMessageDescriptor *type,
                      const uint8_t *bytes, size_t size, int32_t dialect, int depth);

static void put_message(dni_text *out, const ProtobufCFieldDescriptor *f,
                        const dni_wire_field *field, int32_t dialect, int depth)
{
    dni_text inside;
    dni_text_init(&inside, out->heap);
    translate(&inside, f->descriptor, field->data, field->size, dialect, depth + 1);
    put_bytes(out, inside.data ? inside.data : "", inside.size);
    out->failed |= inside.failed;
    dni_text_free(&inside);
}

static void put_field(dni_text *out, uint32_t number, const ProtobufCFieldDescriptor *f,
                      const dni_wire_field *field, int32_t dialect, int depth)
{
    char digits[24];
    bool named = f && is_named_number(f, field->type);
    put_varint(out, (uint64_t)number << 3 | (named ? 2 : field->type));
    if (named) {
        int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)field->value);
        put_bytes(out, digits, (size_t)length);
    } else if (field->type == 0) {
        bool is_enum = f && f->type == PROTOBUF_C_TYPE_ENUM && field->value <= UINT32_MAX;
        const ProtobufCEnumDescriptor *type = is_enum ? f->descriptor : NULL;
        put_varint(out, is_enum
                            ? renumber(find_scope(type->name), (uint32_t)field->value, dialect)
                            : field->value);
    } else if (field->type != 2) {
        dni_text_append(out, (const char *)field->data, field->size);
    } else if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && depth < DNI_MESSAGE_DEPTH) {
        put_message(out, f, field, dialect, depth);
    } else {
        put_bytes(out, field->data, field->size);
    }
}

static void translate(dni_text *out, const ProtobufCMessageDescriptor *type,
                      const uint8_t *bytes, size_t size, int32_t dialect, int depth)
{
    rows_of scope = find_scope(type->name);
    dni_wire wire = {bytes, bytes + size, NULL};
    dni_wire_field field;
    int more;
    while ((more = dni_wire_next(&wire, &field)) > 0) {
        uint32_t number = renumber(scope, field.number, dialect);
        const ProtobufCFieldDescriptor *f =
            number ? protobuf_c_message_descriptor_get_field(type, number) : NULL;
        bool fit = f && (fits(f, field.type) || is_named_number(f, field.type));
        if (!number || (f && !fit && number != field.number))
            number = field.number + FOREIGN;
        put_field(out, number, fit ? f : NULL, &field, dialect, depth);
    }
    if (more < 0) /* what is cut stays so, and is refused as such by whoever reads it */
        dni_text_append(out, (const char *)wire.at, (size_t)(wire.end - wire.at));
}

dn_status dni_dialect_translate(uint8_t **out, size_t *out_size, const dni_heap *heap,
                                const ProtobufCMessageDescriptor *type, const void *bytes,
                                size_t size, int32_t dialect)
{
    dni_text text;
    char *result;
    dni_text_init(&text, heap);
    dni_text_append(&text, "", 0);
    translate(&text, type, bytes, size, dialect, 0);
    size_t length = text.size;
    dn_status st = dni_text_finish(&text, &result);
    if (st)
        return st;
    *out = (uint8_t *)result;
    *out_size = length;
    return DN_OK;
}

dn_status dni_dialect_parse(ProtobufCMessage **out, const dni_heap *heap,
                            const ProtobufCMessageDescriptor *type, const void *bytes,
                            size_t size, const char *file_name, const char *dialect,
                            dni_locations *locations)
{
    uint8_t *ours = NULL;
    size_t ours_size;
    int32_t known = 0;
    dn_status st = DN_OK;
    if (dialect)
        st = dni_dialect_find(&known, dialect);
    else
        known = dni_dialect_guess(type, bytes, size);
    if (st || !known)
        return st ? st : dni_binary_parse(out, heap, type, bytes, size, file_name);
    st = dni_locations_note(locations, heap, NULL,
                            "its field numbers are taken for those of "
                            "dialect '%s'",
                            dni_dialect_names[known]);
    if (!st)
        st = dni_dialect_translate(&ours, &ours_size, heap, type, bytes, size, known);
    if (!st)
        st = dni_binary_parse(out, heap, type, ours, ours_size, file_name);
    dni_free(ours);
    return st;
}
