/* SPDX-License-Identifier: BSD-2-Clause
 * text.c: the text reader. One recursive descent over protobuf-c's descriptors serves every
 * message; what old prototxts spell differently is one table. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/lexer.h"
#include "proto/proto.h"

#define MAX_DEPTH 64

typedef struct reader {
    dni_lexer lexer;
    const dni_heap *heap;
    dni_locations *locations;
    const ProtobufCMessage *layer; /* the layer being read, for messages */
    int32_t depth;
} reader;

/* Spellings that were accepted once. */
static const struct alias {
    const char *message, *old, *now;
} aliases[] = {
    {"ConvolutionParameter", "kernelsize", "kernel_size"},
    {"ConvolutionParameter", "biasterm", "bias_term"},
    {"PoolingParameter", "kernelsize", "kernel_size"},
    {"InnerProductParameter", "biasterm", "bias_term"},
    {"V0LayerParameter", "context_pad", "det_context_pad"},
    {"V0LayerParameter", "crop_mode", "det_crop_mode"},
    {"DataParameter", "batchsize", "batch_size"},
    {"DataParameter", "cropsize", "crop_size"},
    {"DataParameter", "meanfile", "mean_file"},
};

/* ---- messages and fields ----------------------------------------------------------------- */

static void *member(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (char *)message + field->offset;
}

static const char *name_of(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "name");
    if (!f || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED)
        return NULL;
    const char *name = *(char *const *)((const char *)message + f->offset);
    return name && *name ? name : NULL;
}

static bool is_layer(const ProtobufCMessageDescriptor *type)
{
    return type == &cnn__layer_parameter__descriptor ||
           type == &cnn__v1_layer_parameter__descriptor;
}

/* Fails here, naming the layer if it is known. */
static dn_status fail_in_layer(const reader *r, const char *format, ...) DNI_PRINTF(2, 3);
static dn_status fail_in_layer(const reader *r, const char *format, ...)
{
    char fixed[640];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fixed, sizeof fixed, format, arguments);
    va_end(arguments);
    const char *name = r->layer ? name_of(r->layer) : NULL;
    return name ? dni_lexer_fail(&r->lexer, "layer '%s': %s", name, fixed)
                : dni_lexer_fail(&r->lexer, "%s", fixed);
}

static dn_status unknown_field(const reader *r, const ProtobufCMessageDescriptor *type,
                               const char *name)
{
    const char *names[512], *near;
    size_t count = 0;
    for (unsigned i = 0; i < type->n_fields && count < DNI_COUNT(names); i++)
        names[count++] = type->fields[i].name;
    near = dni_nearest(name, names, count);
    if (near)
        return fail_in_layer(r, "unknown field '%s' in %s; did you mean '%s'?", name,
                             type->short_name, near);
    return fail_in_layer(r, "unknown field '%s' in %s", name, type->short_name);
}

static dn_status find_field(reader *r, const ProtobufCMessageDescriptor *type,
                            const ProtobufCFieldDescriptor **out)
{
    char name[128];
    if (dni_lexer_is(&r->lexer, '}') || dni_lexer_is(&r->lexer, '>'))
        return fail_in_layer(r, "'%c' closes nothing that is open", *r->lexer.token);
    if (r->lexer.kind != DNI_TOKEN_WORD)
        return fail_in_layer(r, "expected a field of %s, not %.*s", type->short_name,
                             (int)(r->lexer.length > 60 ? 60 : r->lexer.length),
                             r->lexer.token);
    if (r->lexer.length >= sizeof name)
        return fail_in_layer(r, "a field name of %zu letters", r->lexer.length);
    memcpy(name, r->lexer.token, r->lexer.length);
    name[r->lexer.length] = 0;
    const char *now = name;
    for (size_t i = 0; i < DNI_COUNT(aliases); i++)
        if (!strcmp(aliases[i].message, type->short_name) && !strcmp(aliases[i].old, name))
            now = aliases[i].now;
    *out = protobuf_c_message_descriptor_get_field_by_name(type, now);
    return *out ? DN_OK : unknown_field(r, type, name);
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* bool and enum are ints in protobuf-c */
    }
}

/* Where the next value of a field goes: the member, or one more element of its array, whose
 * capacity is the power of two that holds its count. */
static dn_status next_slot(reader *r, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field, void **slot)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        *slot = member(message, field);
        return DN_OK;
    }
    size_t *count = (size_t *)((char *)message + field->quantifier_offset);
    void **array = member(message, field);
    size_t size = value_size(field);
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count ? *count * 2 : 1;
        void *more = dni_realloc(r->heap, *count ? *array : NULL, capacity, size);
        if (!more)
            return DN_E_NOMEM;
        memset((char *)more + *count * size, 0, (capacity - *count) * size);
        *array = more;
    }
    *slot = (char *)*array + *count * size;
    return DN_OK;
}

static void count_value(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *quantifier = (char *)message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        ++*(size_t *)quantifier;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset)
        *(protobuf_c_boolean *)quantifier = 1;
}

/* ---- values ------------------------------------------------------------------------------ */

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

static dn_status wrong_value(const reader *r, const ProtobufCFieldDescriptor *field,
                             const char *wanted)
{
    const dni_lexer *l = &r->lexer;
    if (l->kind == DNI_TOKEN_END)
        return fail_in_layer(r, "'%s' needs %s, the text ends", field->name, wanted);
    return fail_in_layer(r, "'%s' needs %s, not %.*s", field->name, wanted,
                         (int)(l->length > 60 ? 60 : l->length), l->token);
}

static dn_status take_sign(reader *r, bool *negative)
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
static bool token_integer(const dni_lexer *l, uint64_t *out)
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

static dn_status read_integer(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
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
    if (!token_integer(&r->lexer, &value))
        return wrong_value(r, field, "a whole number");
    for (size_t i = 0; i < DNI_COUNT(ranges); i++) {
        if (ranges[i].type != field->type)
            continue;
        if (value > (negative ? ranges[i].below : ranges[i].above))
            return fail_in_layer(
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

static dn_status read_real(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
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
    } else if (l->kind != DNI_TOKEN_NUMBER) {
        return wrong_value(r, field, "a number");
    } else if (l->length > 1 && l->token[0] == '0' && token_integer(l, &whole) &&
               (l->token[1] | 0x20) == 'x') {
        value = (double)whole;
    } else {
        const char *end = l->token + l->length, *stop = dni_parse_number(l->token, end, &value);
        if (stop == end - 1 && (*stop == 'f' || *stop == 'F'))
            stop = end;
        if (stop != end)
            return wrong_value(r, field, "a number");
    }
    value = negative ? -value : value;
    if (field->type == PROTOBUF_C_TYPE_DOUBLE)
        *(double *)slot = value;
    else
        *(float *)slot = to_float(value);
    return dni_lexer_next(&r->lexer);
}

static dn_status read_bool(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    static const char *const yes[] = {"true", "True", "t", "TRUE"};
    static const char *const no[] = {"false", "False", "f", "FALSE"};
    uint64_t number;
    int value = -1;
    for (size_t i = 0; i < DNI_COUNT(yes); i++)
        value = word_is(&r->lexer, yes[i]) ? 1 : word_is(&r->lexer, no[i]) ? 0 : value;
    if (token_integer(&r->lexer, &number) && number < 2)
        value = (int)number;
    if (value < 0)
        return wrong_value(r, field, "true or false");
    *(protobuf_c_boolean *)slot = value;
    return dni_lexer_next(&r->lexer);
}

static dn_status unknown_enum(const reader *r, const ProtobufCFieldDescriptor *field,
                              const char *name)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    const char *names[256];
    size_t count = 0;
    for (unsigned i = 0; i < type->n_values && count < DNI_COUNT(names); i++)
        names[count++] = type->values[i].name;
    const char *near = dni_nearest(name, names, count);
    if (near)
        return fail_in_layer(r, "'%s': unknown value '%s' of %s; did you mean '%s'?",
                             field->name, name, type->short_name, near);
    return fail_in_layer(r, "'%s': unknown value '%s' of %s", field->name, name,
                         type->short_name);
}

/* Which implementation a fork preferred, by any name: noted, and the default stands. */
static dn_status skip_engine(reader *r, const ProtobufCFieldDescriptor *field)
{
    const dni_lexer *l = &r->lexer;
    dn_status st = dni_locations_note_at(
        r->locations, r->heap, l->token_line, l->token_column, "'%s' %.*s is not known here",
        field->name, (int)(l->length > 60 ? 60 : l->length), l->token);
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status read_enum(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    char name[128];
    bool negative;
    uint64_t number;
    dn_status st = take_sign(r, &negative);
    if (st)
        return st;
    if (token_integer(&r->lexer, &number) && number < INT32_MAX) {
        int value = negative ? -(int)number : (int)number;
        if (!protobuf_c_enum_descriptor_get_value(type, value))
            return fail_in_layer(r, "'%s': %s has no value %d", field->name, type->short_name,
                                 value);
        *(int *)slot = value;
        return dni_lexer_next(&r->lexer);
    }
    bool engine = !strcmp(field->name, "engine");
    if (engine && r->lexer.kind == DNI_TOKEN_STRING)
        return skip_engine(r, field);
    if (r->lexer.kind == DNI_TOKEN_STRING)
        return wrong_value(r, field, type == &cnn__v1_layer_parameter__layer_type__descriptor
                                         ? "a name like CONVOLUTION without quotes in `layers` "
                                           "(today's `layer` takes a string)"
                                         : "a name without quotes");
    if (r->lexer.kind != DNI_TOKEN_WORD || r->lexer.length >= sizeof name || negative)
        return wrong_value(r, field, "the name of a value");
    memcpy(name, r->lexer.token, r->lexer.length);
    name[r->lexer.length] = 0;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, name);
    if (!value)
        return engine ? skip_engine(r, field) : unknown_enum(r, field, name);
    *(int *)slot = value->value;
    return dni_lexer_next(&r->lexer);
}

/* One escape after its backslash; returns the bytes read, 0 if there is no such escape. */
static size_t unescape(const char *p, const char *end, char *out)
{
    static const char from[] = "nrtabfv\\'\"?", to[] = "\n\r\t\a\b\f\v\\'\"?";
    const char *known = p < end && *p ? strchr(from, *p) : NULL;
    if (known) {
        *out = to[known - from];
        return 1;
    }
    unsigned value = 0;
    size_t n = 0;
    if (p < end && (*p == 'x' || *p == 'X')) {
        for (n = 1; n < 3 && p + n < end && hex_digit(p[n]) >= 0; n++)
            value = value * 16 + (unsigned)hex_digit(p[n]);
        *out = (char)value;
        return n > 1 ? n : 0;
    }
    for (; n < 3 && p + n < end && p[n] >= '0' && p[n] <= '7'; n++)
        value = value * 8 + (unsigned)(p[n] - '0');
    *out = (char)value;
    return n;
}

static dn_status append_string(reader *r, dni_text *text)
{
    const char *p = r->lexer.token + 1, *end = r->lexer.token + r->lexer.length - 1;
    while (p < end) {
        const char *run = p;
        while (p < end && *p != '\\')
            p++;
        dni_text_append(text, run, (size_t)(p - run));
        if (p == end)
            break;
        char byte;
        size_t n = unescape(p + 1, end, &byte);
        if (!n)
            return fail_in_layer(r, "unknown escape \\%c in a string",
                                 p + 1 < end ? p[1] : ' ');
        dni_text_append(text, &byte, 1);
        p += 1 + n;
    }
    return DN_OK;
}

static dn_status read_string(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    dni_text text;
    dn_status st = DN_OK;
    bool bare = r->lexer.kind == DNI_TOKEN_WORD && !strcmp(field->name, "engine");
    if (r->lexer.kind != DNI_TOKEN_STRING && !bare)
        return wrong_value(r, field, "a string in quotes");
    dni_text_init(&text, r->heap);
    dni_text_append(&text, bare ? r->lexer.token : "", bare ? r->lexer.length : 0);
    if (bare) /* an enum in one fork, a string in another */
        st = dni_lexer_next(&r->lexer);
    while (!st && !bare && r->lexer.kind == DNI_TOKEN_STRING) { /* adjacent ones are one */
        st = append_string(r, &text);
        if (!st)
            st = dni_lexer_next(&r->lexer);
    }
    size_t size = text.size;
    char *value = NULL;
    if (!st && field->type == PROTOBUF_C_TYPE_STRING &&
        memchr(text.data ? text.data : "", 0, size))
        st = fail_in_layer(r, "'%s': a zero byte in a string", field->name);
    if (!st)
        st = dni_text_finish(&text, &value);
    dni_text_free(&text);
    if (st)
        return st;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        *(char **)slot = value;
    else
        *(ProtobufCBinaryData *)slot = (ProtobufCBinaryData){size, (uint8_t *)value};
    return DN_OK;
}

static dn_status read_fields(reader *r, ProtobufCMessage *message, char close, int32_t line,
                             int32_t column);

/* Which fields of one message the text has given; more than any message of ours has. */
typedef struct given {
    uint64_t bits[8];
} given;

/* Marks the field; false if it was marked before. */
static bool give(given *seen, const ProtobufCMessage *message,
                 const ProtobufCFieldDescriptor *field)
{
    size_t i = (size_t)(field - message->descriptor->fields);
    uint64_t bit = (uint64_t)1 << i % 64, *word = &seen->bits[i / 64 % DNI_COUNT(seen->bits)];
    bool first = !(*word & bit);
    *word |= bit;
    return first;
}

static dn_status check_required(const reader *r, const ProtobufCMessage *message, given *seen)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED &&
            give(seen, message, &type->fields[i]))
            return fail_in_layer(r, "%s needs '%s'", type->short_name, type->fields[i].name);
    return DN_OK;
}

static dn_status read_message(reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    int32_t line = r->lexer.token_line, column = r->lexer.token_column;
    char close = dni_lexer_is(&r->lexer, '{') ? '}' : dni_lexer_is(&r->lexer, '<') ? '>' : 0;
    if (!close)
        return wrong_value(r, field, "a message in { }");
    if (++r->depth > MAX_DEPTH)
        return fail_in_layer(r, "messages are nested more than %d deep", MAX_DEPTH);
    dn_status st = dni_lexer_next(&r->lexer);
    const ProtobufCMessageDescriptor *type = field->descriptor;
    ProtobufCMessage *value = *(ProtobufCMessage **)slot;
    if (st)
        return st;
    if (!value) {
        value = dni_alloc(r->heap, 1, type->sizeof_message);
        if (!value)
            return DN_E_NOMEM;
        protobuf_c_message_init(type, value);
        *(ProtobufCMessage **)slot = value;
    }
    const ProtobufCMessage *outer = r->layer;
    if (is_layer(type))
        r->layer = value;
    st = read_fields(r, value, close, line, column);
    r->layer = outer;
    r->depth--;
    return st;
}

/* ---- fields ------------------------------------------------------------------------------ */

static dn_status read_value(reader *r, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field)
{
    void *slot;
    dn_status st = next_slot(r, message, field, &slot);
    if (st)
        return st;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        st = read_message(r, field, slot);
        /* a message half read is the parent's to free */
        if (*(void **)slot && field->label == PROTOBUF_C_LABEL_REPEATED)
            count_value(message, field);
        return st;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        st = read_real(r, field, slot);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        st = read_bool(r, field, slot);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        st = read_enum(r, field, slot);
        break;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        st = read_string(r, field, slot);
        break;
    default:
        st = read_integer(r, field, slot);
        break;
    }
    if (!st)
        count_value(message, field);
    return st;
}

static dn_status read_list(reader *r, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field)
{
    dn_status st = dni_lexer_next(&r->lexer);
    while (!st && !dni_lexer_is(&r->lexer, ']')) {
        st = read_value(r, message, field);
        if (!st && dni_lexer_is(&r->lexer, ','))
            st = dni_lexer_next(&r->lexer);
        else if (!st && !dni_lexer_is(&r->lexer, ']'))
            st = fail_in_layer(r, "expected ',' or ']' in the list of '%s'", field->name);
    }
    return st ? st : dni_lexer_next(&r->lexer);
}

static dn_status read_field(reader *r, ProtobufCMessage *message, given *seen)
{
    const ProtobufCFieldDescriptor *field;
    int32_t line = r->lexer.token_line, column = r->lexer.token_column;
    dn_status st = find_field(r, message->descriptor, &field);
    if (!st && !give(seen, message, field) && field->label != PROTOBUF_C_LABEL_REPEATED)
        st = fail_in_layer(r, "'%s' of %s is given twice", field->name,
                           message->descriptor->short_name);
    if (!st)
        st = dni_lexer_next(&r->lexer);
    if (st)
        return st;
    bool colon = dni_lexer_is(&r->lexer, ':');
    if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return fail_in_layer(r, "expected ':' after '%s'", field->name);
    if (colon)
        st = dni_lexer_next(&r->lexer);
    if (!st && dni_lexer_is(&r->lexer, '[') && field->label == PROTOBUF_C_LABEL_REPEATED)
        st = read_list(r, message, field);
    else if (!st)
        st = read_value(r, message, field);
    if (!st && field->type == PROTOBUF_C_TYPE_MESSAGE && is_layer(field->descriptor)) {
        size_t n = *(size_t *)((char *)message + field->quantifier_offset);
        void **layers = *(void ***)member(message, field);
        if (n)
            st = dni_locations_add(r->locations, r->heap, layers[n - 1], line, column);
    }
    if (!st && (dni_lexer_is(&r->lexer, ',') || dni_lexer_is(&r->lexer, ';')))
        st = dni_lexer_next(&r->lexer);
    return st;
}

static dn_status read_fields(reader *r, ProtobufCMessage *message, char close, int32_t line,
                             int32_t column)
{
    given seen = {{0}};
    dn_status st = DN_OK;
    while (!st && r->lexer.kind != DNI_TOKEN_END && !(close && dni_lexer_is(&r->lexer, close)))
        st = read_field(r, message, &seen);
    if (st)
        return st;
    if (close && r->lexer.kind == DNI_TOKEN_END)
        return fail_in_layer(r,
                             "the text ends, but the '%c' of line %d, column %d is not closed",
                             close == '}' ? '{' : '<', line, column);
    st = check_required(r, message, &seen);
    return st || !close ? st : dni_lexer_next(&r->lexer);
}

dn_status dni_text_parse(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessageDescriptor *type, const char *text, size_t size,
                         const char *file_name, dni_locations *locations)
{
    reader r = {.heap = heap, .locations = locations};
    ProtobufCMessage *message = dni_alloc(heap, 1, type->sizeof_message);
    if (!message)
        return DN_E_NOMEM;
    protobuf_c_message_init(type, message);
    dn_status st = dni_lexer_init(&r.lexer, text, size, file_name);
    if (!st)
        st = read_fields(&r, message, 0, 1, 1);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_message_free(heap, message);
        dni_restore_error(&saved);
        return st;
    }
    *out = message;
    return DN_OK;
}
