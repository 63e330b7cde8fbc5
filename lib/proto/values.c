/* SPDX-License-Identifier: BSD-2-Clause
 * values.c: numbers, truths, enums and strings of the text form. A word where a number should
 * be, or a value that an enum lacks, is unknown, which does not end the reading. */
#include <math.h>
#include <string.h>

#include "proto/reader.h"

static bool word_is(const dni_lexer *l, const char *word)
{
    return l->kind == DNI_TOKEN_WORD && l->length == strlen(word) &&
           !memcmp(l->token, word, l->length);
}

static bool word_is_fold(const dni_lexer *l, const char *word)
{
    if (l->kind != DNI_TOKEN_WORD || l->length != strlen(word))
        return false;
    for (size_t i = 0; i < l->length; i++)
        if ((l->token[i] | 0x20) != word[i])
            return false;
    return true;
}

dn_status dni_wrong_value(const dni_reader *r, const ProtobufCFieldDescriptor *field,
                          const char *wanted)
{
    const dni_lexer *l = &r->lexer;
    if (l->kind == DNI_TOKEN_END)
        return dni_reader_fail(r, "'%s' needs %s, the text ends", field->name, wanted);
    return dni_reader_fail(r, "'%s' needs %s, not %.*s", field->name, wanted,
                           (int)(l->length > 60 ? 60 : l->length), l->token);
}

static dn_status take_sign(dni_reader *r, bool *negative)
{
    *negative = dni_lexer_is(&r->lexer, '-');
    return *negative || dni_lexer_is(&r->lexer, '+') ? dni_lexer_next(&r->lexer) : DN_OK;
}

static int hex_digit(char c)
{
    char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* Decimal, 0x hexadecimal or 0 octal; false if the token is not whole or does not fit. */
bool dni_token_integer(const dni_lexer *l, uint64_t *out)
{
    const char *p = l->token, *end = p + l->length;
    unsigned base = 10;
    uint64_t value = 0;
    if (l->kind != DNI_TOKEN_NUMBER)
        return false;
    if (*p == '0' && end - p > 1) {
        base = p[1] == 'x' || p[1] == 'X' ? 16 : 8;
        p += base == 16 ? 2 : 1;
    }
    if (p == end)
        return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned)hex_digit(*p); /* -1 is larger than any base */
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

/* What a script should have filled in, as in `num_output: cls3x`. */
static dn_status no_number(dni_reader *r, const ProtobufCFieldDescriptor *field,
                           const char *wanted)
{
    dn_status st = dni_reader_unknown(
        r, false, "'%s' needs %s, not %.*s (is this a template to be filled in?)", field->name,
        wanted, (int)(r->lexer.length > 60 ? 60 : r->lexer.length), r->lexer.token);
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status read_integer(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    static const struct range {
        ProtobufCType type;
        uint64_t above, below; /* largest, and magnitude of the smallest */
        bool wide;
    } ranges[] = {
        {PROTOBUF_C_TYPE_INT32, INT32_MAX, (uint64_t)INT32_MAX + 1, false},
        {PROTOBUF_C_TYPE_UINT32, UINT32_MAX, 0, false},
        {PROTOBUF_C_TYPE_INT64, INT64_MAX, (uint64_t)INT64_MAX + 1, true},
        {PROTOBUF_C_TYPE_UINT64, UINT64_MAX, 0, true},
    };
    bool negative;
    uint64_t value;
    dn_status st = take_sign(r, &negative);
    if (st)
        return st;
    if (r->lexer.kind == DNI_TOKEN_WORD)
        return no_number(r, field, "a whole number");
    if (!dni_token_integer(&r->lexer, &value))
        return dni_wrong_value(r, field, "a whole number");
    for (size_t i = 0; i < DNI_COUNT(ranges); i++) {
        if (ranges[i].type != field->type)
            continue;
        if (value > (negative ? ranges[i].below : ranges[i].above))
            return dni_reader_fail(
                r, "'%s': %s%.*s is out of range", field->name, negative ? "-" : "",
                (int)(r->lexer.length > 40 ? 40 : r->lexer.length), r->lexer.token);
        uint64_t stored = negative ? 0 - value : value;
        if (ranges[i].wide)
            *(uint64_t *)slot = stored;
        else
            *(uint32_t *)slot = (uint32_t)stored;
    }
    return dni_lexer_next(&r->lexer);
}

/* Beyond a float's range: infinity, as protobuf has it; a plain conversion is undefined there.
 */
static float to_float(double value)
{
    const double edge = 3.4028235677973366e38; /* halfway to the float that does not exist */
    return value >= edge ? INFINITY : value <= -edge ? -INFINITY : (float)value;
}

static dn_status read_real(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    bool negative;
    double value = 0;
    uint64_t whole;
    const dni_lexer *l = &r->lexer;
    dn_status st = take_sign(r, &negative);
    if (st)
        return st;
    if (word_is_fold(l, "inf") || word_is_fold(l, "infinity")) {
        value = INFINITY;
    } else if (word_is_fold(l, "nan")) {
        value = NAN;
    } else if (l->kind == DNI_TOKEN_WORD) {
        return no_number(r, field, "a number");
    } else if (l->kind != DNI_TOKEN_NUMBER) {
        return dni_wrong_value(r, field, "a number");
    } else if (l->length > 1 && l->token[0] == '0' && dni_token_integer(l, &whole) &&
               (l->token[1] | 0x20) == 'x') {
        value = (double)whole;
    } else {
        const char *end = l->token + l->length, *stop = dni_parse_number(l->token, end, &value);
        if (stop == end - 1 && (*stop == 'f' || *stop == 'F'))
            stop = end;
        if (stop != end)
            return dni_wrong_value(r, field, "a number");
    }
    value = negative ? -value : value;
    if (field->type == PROTOBUF_C_TYPE_DOUBLE)
        *(double *)slot = value;
    else
        *(float *)slot = to_float(value);
    return dni_lexer_next(&r->lexer);
}

static dn_status read_bool(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    static const char *const yes[] = {"true", "True", "t", "TRUE"};
    static const char *const no[] = {"false", "False", "f", "FALSE"};
    uint64_t number;
    int value = -1;
    for (size_t i = 0; i < DNI_COUNT(yes); i++)
        value = word_is(&r->lexer, yes[i]) ? 1 : word_is(&r->lexer, no[i]) ? 0 : value;
    if (dni_token_integer(&r->lexer, &number) && number < 2)
        value = (int)number;
    if (value < 0)
        return dni_wrong_value(r, field, "true or false");
    *(protobuf_c_boolean *)slot = value;
    return dni_lexer_next(&r->lexer);
}

static dn_status unknown_enum(dni_reader *r, const ProtobufCFieldDescriptor *field,
                              const char *name)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    const char *names[256];
    size_t count = 0;
    for (unsigned i = 0; i < type->n_values && count < DNI_COUNT(names); i++)
        names[count++] = type->values[i].name;
    const char *near = dni_nearest(name, names, count);
    dn_status st = dni_reader_unknown(
        r, dni_is_slip(name, near), "'%s': unknown value '%s' of %s%s%s%s", field->name, name,
        type->short_name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return st ? st : dni_lexer_next(&r->lexer);
}

/* Which implementation a fork preferred, by any name: noted, and the default stands. */
static dn_status skip_engine(dni_reader *r, const ProtobufCFieldDescriptor *field)
{
    const dni_lexer *l = &r->lexer;
    r->no_value = true;
    dn_status st = dni_locations_note_at(r->locations, r->heap, l->token_line, l->token_column,
                                         "'%s' %.*s is not known here", field->name,
                                         (int)(l->length > 60 ? 60 : l->length), l->token);
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status enum_by_number(dni_reader *r, const ProtobufCFieldDescriptor *field, int value,
                                void *slot)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    dn_status st = DN_OK;
    *(int *)slot = value;
    if (!protobuf_c_enum_descriptor_get_value(type, value))
        st = dni_reader_unknown(r, false, "'%s': %s has no value %d", field->name,
                                type->short_name, value);
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status read_enum(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    char name[128];
    bool negative;
    uint64_t number;
    dn_status st = take_sign(r, &negative);
    if (st)
        return st;
    if (dni_token_integer(&r->lexer, &number) && number < INT32_MAX)
        return enum_by_number(r, field, negative ? -(int)number : (int)number, slot);
    bool engine = !strcmp(field->name, "engine");
    if (engine && r->lexer.kind == DNI_TOKEN_STRING)
        return skip_engine(r, field);
    if (r->lexer.kind == DNI_TOKEN_STRING)
        return dni_wrong_value(r, field,
                               type == &cnn__v1_layer_parameter__layer_type__descriptor
                                   ? "a name like CONVOLUTION without quotes in `layers` "
                                     "(today's `layer` takes a string)"
                                   : "a name without quotes");
    if (r->lexer.kind != DNI_TOKEN_WORD || r->lexer.length >= sizeof name || negative)
        return dni_wrong_value(r, field, "the name of a value");
    memcpy(name, r->lexer.token, r->lexer.length);
    name[r->lexer.length] = 0;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, name);
    if (!value)
        return engine ? skip_engine(r, field) : unknown_enum(r, field, name);
    *(int *)slot = value->value;
    return dni_lexer_next(&r->lexer);
}

/* A character as UTF-8; returns its bytes, 0 if there is none of that number. */
static size_t put_character(uint32_t point, char *out)
{
    size_t more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    uint32_t lead = more ? 0xFF00u >> (more + 1) : 0;
    if (point > 0x10FFFF || point >> 11 == 0xD800 >> 11)
        return 0;
    for (size_t i = more; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    *out = (char)(lead | point);
    return more + 1;
}

/* Up to `most` digits of a base; returns how many. */
static size_t digits(const char *p, const char *end, size_t most, uint32_t base,
                     uint32_t *value)
{
    size_t n = 0;
    uint32_t digit;
    *value = 0;
    for (; n < most && p + n < end && (digit = (uint32_t)hex_digit(p[n])) < base; n++)
        *value = *value * base + digit;
    return n;
}

/* One escape after its backslash, of `bytes` bytes, up to 4; returns how many were read, 0 if
 * there is no such escape. */
static size_t unescape(const char *p, const char *end, char *out, size_t *bytes)
{
    static const char from[] = "nrtabfv\\'\"?", to[] = "\n\r\t\a\b\f\v\\'\"?";
    const char kind = p < end ? *p : 0, *known = kind ? strchr(from, kind) : NULL;
    *bytes = 1;
    if (known) {
        *out = to[known - from];
        return 1;
    }
    size_t most = kind == 'u' ? 4 : kind == 'U' ? 8 : (kind | 0x20) == 'x' ? 2 : 0;
    size_t first = most > 0, stop = most ? most : 3;
    uint32_t value, low, base = most ? 16 : 8;
    size_t n = digits(p + first, end, stop, base, &value);
    *out = (char)value;
    if (most > 2) {
        bool whole = n == stop;
        const char *next = p + first + n; /* of a pair of UTF-16 */
        if (whole && value >> 10 == 0xD800 >> 10 && end - next > 2 && !memcmp(next, "\\u", 2) &&
            digits(next + 2, end, 4, 16, &low) == 4 && low >> 10 == 0xDC00 >> 10) {
            value = 0x10000 + ((value & 0x3FF) << 10 | (low & 0x3FF));
            n += 6;
        }
        *bytes = whole ? put_character(value, out) : 0;
    }
    return n && *bytes ? first + n : 0;
}

static dn_status append_string(dni_reader *r, dni_text *text)
{
    const char *p = r->lexer.token + 1, *end = r->lexer.token + r->lexer.length - 1;
    while (p < end) {
        const char *run = p;
        while (p < end && *p != '\\')
            p++;
        dni_text_append(text, run, (size_t)(p - run));
        if (p == end)
            break;
        char value[4];
        size_t bytes, n = unescape(p + 1, end, value, &bytes);
        if (!n)
            return dni_reader_fail(r, "unknown escape \\%c in a string",
                                   p + 1 < end ? p[1] : ' ');
        dni_text_append(text, value, bytes);
        p += 1 + n;
    }
    return DN_OK;
}

dn_status dni_read_string_bytes(dni_reader *r, dni_text *out)
{
    dn_status st = DN_OK;
    while (!st && r->lexer.kind == DNI_TOKEN_STRING) { /* adjacent ones are one */
        st = append_string(r, out);
        if (!st)
            st = dni_lexer_next(&r->lexer);
    }
    return st;
}

static dn_status read_string(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    dni_text text;
    dn_status st = DN_OK;
    bool bare = r->lexer.kind == DNI_TOKEN_WORD && !strcmp(field->name, "engine");
    int32_t line = r->lexer.token_line, column = r->lexer.token_column;
    if (r->lexer.kind != DNI_TOKEN_STRING && !bare)
        return dni_wrong_value(r, field, "a string in quotes");
    dni_text_init(&text, r->heap);
    dni_text_append(&text, bare ? r->lexer.token : "", bare ? r->lexer.length : 0);
    if (bare) /* an enum in one fork, a string in another */
        st = dni_lexer_next(&r->lexer);
    else
        st = dni_read_string_bytes(r, &text);
    size_t size = text.size;
    char *value = NULL;
    if (!st && field->type == PROTOBUF_C_TYPE_STRING &&
        memchr(text.data ? text.data : "", 0, size))
        st = dni_reader_fail(r, "'%s': a zero byte in a string", field->name);
    if (!st)
        st = dni_text_finish(&text, &value);
    dni_text_free(&text);
    if (!st && !r->depth) /* inputs, lr_policy: messages point at them */
        st = dni_locations_add(r->locations, r->heap, value, line, column);
    if (st) {
        dni_free(value);
        return st;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING)
        *(char **)slot = value;
    else
        *(ProtobufCBinaryData *)slot = (ProtobufCBinaryData){size, (uint8_t *)value};
    return DN_OK;
}

dn_status dni_read_scalar(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(r, field, slot);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, field, slot);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, field, slot);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return read_string(r, field, slot);
    default:
        return read_integer(r, field, slot);
    }
}
