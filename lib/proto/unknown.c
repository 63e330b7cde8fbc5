/* SPDX-License-Identifier: BSD-2-Clause
 * unknown.c: what the schema does not know. A field or value of a dialect unknown here is read
 * over, so that one look at a file finds all of them; fields by number are kept as bytes. */
#include <stdio.h>
#include <string.h>

#include "proto/reader.h"

dn_status dni_reader_unknown(dni_reader *r, bool typo, const char *format, ...)
{
    char text[sizeof r->unknown];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const dni_lexer *l = &r->lexer;
    size_t used = strlen(r->further);
    r->no_value = true;
    if (r->remarks)
        return dni_locations_note_at(r->locations, r->heap, l->token_line, l->token_column,
                                     "kept as it is: %s", text);
    r->typo |= typo;
    if (r->num_unknown++ == 0) {
        dni_reader_fail(r, "%s", text); /* for its text; whoever ends the reading fails */
        snprintf(r->unknown, sizeof r->unknown, "%s", dn_last_error());
        dni_clear_error();
    } else if (used < sizeof r->further - 24) {
        snprintf(r->further + used, sizeof r->further - used, "%s%d:%d", used ? ", " : "",
                 (int)l->token_line, (int)l->token_column);
    }
    return DN_OK;
}

dn_status dni_reader_finish(dni_reader *r, dn_status st)
{
    if (!r->num_unknown || st == DN_E_NOMEM)
        return st;
    st = st || r->typo ? DN_E_PARSE : DN_E_UNSUPPORTED;
    if (r->num_unknown == 1)
        return dni_fail(st, "%s", r->unknown);
    return dni_fail(st, "%s; %zu more like it, at %s", r->unknown, r->num_unknown - 1,
                    r->further);
}

/* ---- skipping ---------------------------------------------------------------------------- */

static bool opens(const dni_lexer *l)
{
    return dni_lexer_is(l, '{') || dni_lexer_is(l, '<');
}

static dn_status skip_message(dni_reader *r)
{
    char name[64], close = dni_lexer_is(&r->lexer, '{') ? '}' : '>';
    if (++r->depth > DNI_MESSAGE_DEPTH)
        return dni_reader_fail(r, "messages are nested more than %d deep", DNI_MESSAGE_DEPTH);
    dn_status st = dni_lexer_next(&r->lexer);
    while (!st && !dni_lexer_is(&r->lexer, close)) {
        const dni_lexer *l = &r->lexer;
        if (l->kind != DNI_TOKEN_WORD && l->kind != DNI_TOKEN_NUMBER)
            return dni_reader_fail(r, "expected a field or '%c'", close);
        snprintf(name, sizeof name, "%.*s", (int)(l->length < 60 ? l->length : 60), l->token);
        st = dni_lexer_next(&r->lexer);
        if (!st)
            st = dni_skip_value(r, name);
        if (!st && (dni_lexer_is(&r->lexer, ',') || dni_lexer_is(&r->lexer, ';')))
            st = dni_lexer_next(&r->lexer);
    }
    r->depth--;
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status skip_one(dni_reader *r, const char *name)
{
    dni_lexer *l = &r->lexer;
    dn_status st = DN_OK;
    if (opens(l))
        return skip_message(r);
    if (dni_lexer_is(l, '-') || dni_lexer_is(l, '+'))
        st = dni_lexer_next(l);
    if (!st && (l->kind == DNI_TOKEN_SYMBOL || l->kind == DNI_TOKEN_END))
        return dni_reader_fail(r, "'%s' needs a value", name);
    bool string = l->kind == DNI_TOKEN_STRING;
    if (!st)
        st = dni_lexer_next(l);
    while (!st && string && l->kind == DNI_TOKEN_STRING)
        st = dni_lexer_next(l);
    return st;
}

dn_status dni_skip_value(dni_reader *r, const char *name)
{
    dni_lexer *l = &r->lexer;
    bool colon = dni_lexer_is(l, ':');
    dn_status st = colon ? dni_lexer_next(l) : DN_OK;
    if (st || (!colon && !opens(l)))
        return st ? st : dni_reader_fail(r, "expected ':' after '%s'", name);
    if (!dni_lexer_is(l, '['))
        return skip_one(r, name);
    st = dni_lexer_next(l);
    while (!st && !dni_lexer_is(l, ']')) {
        st = skip_one(r, name);
        if (!st && dni_lexer_is(l, ','))
            st = dni_lexer_next(l);
        else if (!st && !dni_lexer_is(l, ']'))
            st = dni_reader_fail(r, "expected ',' or ']' in the list of '%s'", name);
    }
    return st ? st : dni_lexer_next(l);
}

/* ---- fields by number -------------------------------------------------------------------- */

static void append_varint(dni_text *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        dni_text_append(out, (char[]){(char)(value | 0x80)}, 1);
    dni_text_append(out, (char[]){(char)value}, 1);
}

static dn_status read_number(dni_reader *r, uint32_t *number)
{
    uint64_t value;
    if (!dni_token_integer(&r->lexer, &value) || value < 1 || value >= 1u << 29)
        return dni_reader_fail(r, "a field's number is from 1 to 536870911");
    *number = (uint32_t)value;
    return dni_lexer_next(&r->lexer);
}

static dn_status encode(dni_reader *r, dni_text *out, int *wire_type);

/* The bytes of what stands between braces, with their count in front. */
static dn_status encode_message(dni_reader *r, dni_text *out)
{
    dni_text inside;
    uint32_t number;
    int type;
    char close = dni_lexer_is(&r->lexer, '{') ? '}' : '>';
    if (++r->depth > DNI_MESSAGE_DEPTH)
        return dni_reader_fail(r, "messages are nested more than %d deep", DNI_MESSAGE_DEPTH);
    dni_text_init(&inside, r->heap);
    dn_status st = dni_lexer_next(&r->lexer);
    while (!st && !dni_lexer_is(&r->lexer, close)) {
        dni_text value;
        dni_text_init(&value, r->heap);
        st = read_number(r, &number);
        if (!st)
            st = encode(r, &value, &type);
        if (!st) {
            append_varint(&inside, (uint64_t)number << 3 | (unsigned)type);
            dni_text_append(&inside, value.data ? value.data : "", value.size);
            inside.failed |= value.failed;
        }
        dni_text_free(&value);
    }
    r->depth--;
    append_varint(out, inside.size);
    dni_text_append(out, inside.data ? inside.data : "", inside.size);
    out->failed |= inside.failed;
    dni_text_free(&inside);
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status encode_string(dni_reader *r, dni_text *out)
{
    dni_text bytes;
    dni_text_init(&bytes, r->heap);
    dn_status st = dni_read_string_bytes(r, &bytes);
    append_varint(out, bytes.size);
    dni_text_append(out, bytes.data ? bytes.data : "", bytes.size);
    out->failed |= bytes.failed;
    dni_text_free(&bytes);
    return st;
}

/* A value in the form its spelling names: 0x and 8 or 16 digits are fixed, other numbers are
 * variable, strings and braces have a length. */
static dn_status encode(dni_reader *r, dni_text *out, int *wire_type)
{
    dni_lexer *l = &r->lexer;
    uint64_t value;
    bool colon = dni_lexer_is(l, ':');
    dn_status st = colon ? dni_lexer_next(l) : DN_OK;
    if (st)
        return st;
    *wire_type = 2;
    if (opens(l))
        return encode_message(r, out);
    if (!colon)
        return dni_reader_fail(r, "expected ':' after a field's number");
    if (l->kind == DNI_TOKEN_STRING)
        return encode_string(r, out);
    if (!dni_token_integer(l, &value))
        return dni_reader_fail(r, "a field by number has a whole number, a string or { }");
    bool hex = l->length > 2 && (l->token[1] | 0x20) == 'x';
    *wire_type = hex && l->length == 10 ? 5 : hex && l->length == 18 ? 1 : 0;
    for (int i = 0; *wire_type && i < (*wire_type == 5 ? 4 : 8); i++)
        dni_text_append(out, (char[]){(char)(value >> 8 * i)}, 1);
    if (*wire_type == 0)
        append_varint(out, value);
    return dni_lexer_next(l);
}

dn_status dni_read_numbered(dni_reader *r, ProtobufCMessage *message)
{
    uint32_t number = 0;
    int type;
    uint64_t present;
    if (dni_token_integer(&r->lexer, &present) && present < 1u << 29) {
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(message->descriptor, (unsigned)present);
        if (known)
            return dni_reader_fail(r, "field %u of %s goes by its name, '%s'",
                                   (unsigned)present, message->descriptor->short_name,
                                   known->name);
    }
    dn_status st = read_number(r, &number);
    dni_text value;
    dni_text_init(&value, r->heap);
    if (!st)
        st = encode(r, &value, &type);
    size_t size = value.size, n = message->n_unknown_fields;
    char *bytes = NULL;
    ProtobufCMessageUnknownField *more = NULL;
    if (!st)
        st = dni_text_finish(&value, &bytes);
    dni_text_free(&value);
    if (!st)
        more = dni_realloc(r->heap, message->unknown_fields, n + 1, sizeof *more);
    if (!more) {
        dni_free(bytes);
        return st ? st : DN_E_NOMEM;
    }
    more[n] =
        (ProtobufCMessageUnknownField){number, (ProtobufCWireType)type, size, (uint8_t *)bytes};
    message->unknown_fields = more;
    message->n_unknown_fields = (unsigned)n + 1;
    return DN_OK;
}
