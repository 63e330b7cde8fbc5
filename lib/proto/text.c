/* SPDX-License-Identifier: BSD-2-Clause
 * text.c: the text reader. One recursive descent over protobuf-c's descriptors serves every
 * message; what old prototxts spell differently is one table. */
#include <stdio.h>
#include <string.h>

#include "proto/field.h"
#include "proto/reader.h"

/* Spellings that were accepted once. */
static const struct alias {
    const char *message, *old, *now;
} aliases[] = {
    {"ConvolutionParameter", "kernelsize", "kernel_size"},
    {"ConvolutionParameter", "biasterm", "bias_term"},
    {"ConvolutionParameter", "hole", "dilation"}, /* DeepLab, before Caffe had it */
    {"ConvolutionParameter", "hole_h", "dilation_h"},
    {"ConvolutionParameter", "hole_w", "dilation_w"},
    {"PoolingParameter", "kernelsize", "kernel_size"},
    {"InnerProductParameter", "biasterm", "bias_term"},
    {"LayerParameter", "convolution3d_param", "convolution_param"}, /* C3D */
    {"LayerParameter", "pooling3d_param", "pooling_param"},
    {"LayerParameter", "transpose_param", "permute_param"}, /* CTPN */
    {"LayerParameter", "labelsequence_accuracy_param", "ctc_loss_param"},
    {"LayerParameter", "largemargin_inner_product_param", "margin_inner_product_param"},
    {"FocalLossParameter", "gama", "gamma"},
    {"PermuteParameter", "dim", "order"},
    {"Yolov3Parameter", "anchors", "biases"},
    {"Yolov3DetectionOutputParameter", "anchors", "biases"},
    {"V0LayerParameter", "context_pad", "det_context_pad"},
    {"V0LayerParameter", "crop_mode", "det_crop_mode"},
    {"DataParameter", "batchsize", "batch_size"},
    {"DataParameter", "cropsize", "crop_size"},
    {"DataParameter", "meanfile", "mean_file"},
};

#define FIELD_NAME 128

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

dn_status dni_reader_fail(const dni_reader *r, const char *format, ...)
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

/* Of "foo_param" only foo is a name. */
static bool same_stem(const char *a, const char *b)
{
    static const char end[] = "_param";
    char stems[2][FIELD_NAME];
    size_t n = strlen(a), m = strlen(b), e = sizeof end - 1;
    if (n <= e || m <= e || strcmp(a + n - e, end) || strcmp(b + m - e, end))
        return true;
    snprintf(stems[0], FIELD_NAME, "%.*s", (int)(n - e), a);
    snprintf(stems[1], FIELD_NAME, "%.*s", (int)(m - e), b);
    return dni_nearest(stems[0], (const char *const[]){stems[1]}, 1);
}

/* Is that a field of a net where a solver is read, or the other way round? */
static bool is_the_others(const ProtobufCMessageDescriptor *type, const char *name)
{
    const ProtobufCMessageDescriptor *net = &cnn__net_parameter__descriptor;
    const ProtobufCMessageDescriptor *solver = &cnn__solver_parameter__descriptor;
    const ProtobufCMessageDescriptor *other = type == net      ? solver
                                              : type == solver ? net
                                                               : NULL;
    return other && protobuf_c_message_descriptor_get_field_by_name(other, name);
}

/* A parameter that a layer's type is named for is no slip, whatever it resembles. */
static dn_status unknown_name(dni_reader *r, const ProtobufCMessage *message, const char *name)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const char *names[512], *of = NULL;
    size_t count = 0;
    for (unsigned i = 0; i < type->n_fields && count < DNI_COUNT(names); i++)
        names[count++] = type->fields[i].name;
    const char *near = dni_nearest(name, names, count);
    if (type == &cnn__layer_parameter__descriptor)
        of = ((const Cnn__LayerParameter *)message)->type;
    if (near && (!same_stem(name, near) || (of && dni_names_type(name, of, strlen(of)))))
        near = NULL;
    if (type == &cnn__layer_parameter__descriptor && !near && r->is_net && r->locations &&
        !r->remarks)
        return dni_locations_add_unknown(r->locations, r->heap, message, r->lexer.token_line,
                                         r->lexer.token_column, name);
    if (type == &cnn__net_parameter__descriptor && !strcmp(name, "item") && !r->num_unknown)
        return dni_reader_fail(r, "'item' is of a label map; this is neither net nor solver");
    if (!r->num_unknown && !r->remarks && is_the_others(type, name))
        return dni_reader_fail(r, "'%s' is of a %s, and this is read as a %s", name,
                               type == &cnn__net_parameter__descriptor ? "solver" : "net",
                               type == &cnn__net_parameter__descriptor ? "net" : "solver");
    return dni_reader_unknown(
        r, dni_is_slip(name, near), "unknown field '%s' in %s%s%.60s%s%s%s%s", name,
        type->short_name, of ? " of type '" : "", of ? of : "", of ? "'" : "",
        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* Past a field that the schema lacks. */
static dn_status unknown_field(dni_reader *r, ProtobufCMessage *message, const char *name)
{
    const char *from = r->lexer.token, *of = message->descriptor->short_name;
    dn_status st = !r->remarks && dni_field_only_steers(of, name)
                       ? dni_locations_note_at(r->locations, r->heap, r->lexer.token_line,
                                               r->lexer.token_column, DNI_STEERS, name, of)
                       : unknown_name(r, message, name);
    if (!st)
        st = dni_lexer_next(&r->lexer);
    if (!st)
        st = dni_skip_value(r, name);
    size_t size = st ? 0 : (size_t)(r->lexer.last_end - from);
    if (!st && memchr(from, 0, size))
        st = dni_reader_fail(r, "'%s': a zero byte in a string", name);
    return st ? st
              : dni_remarks_add(r->remarks, r->heap, DNI_REMARK_UNKNOWN, message, NULL, 0, from,
                                size);
}

/* *out NULL: the schema has no such field. */
static dn_status find_field(dni_reader *r, const ProtobufCMessageDescriptor *type,
                            const ProtobufCFieldDescriptor **out, char name[FIELD_NAME])
{
    if (dni_lexer_is(&r->lexer, '}') || dni_lexer_is(&r->lexer, '>'))
        return dni_reader_fail(r, "'%c' closes nothing that is open", *r->lexer.token);
    if (r->lexer.kind != DNI_TOKEN_WORD)
        return dni_reader_fail(r, "expected a field of %s, not %.*s", type->short_name,
                               (int)(r->lexer.length > 60 ? 60 : r->lexer.length),
                               r->lexer.token);
    if (r->lexer.length >= FIELD_NAME)
        return dni_reader_fail(r, "a field name of %zu letters", r->lexer.length);
    memcpy(name, r->lexer.token, r->lexer.length);
    name[r->lexer.length] = 0;
    const char *now = name;
    for (size_t i = 0; i < DNI_COUNT(aliases); i++)
        if (!strcmp(aliases[i].message, type->short_name) && !strcmp(aliases[i].old, name))
            now = aliases[i].now;
    *out = protobuf_c_message_descriptor_get_field_by_name(type, now);
    return DN_OK;
}

/* Where the next value of a field goes: the member, or one more element of its array, whose
 * capacity is the power of two that holds its count. */
static dn_status next_slot(dni_reader *r, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field, void **slot)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        *slot = member(message, field);
        return DN_OK;
    }
    size_t *count = (size_t *)((char *)message + field->quantifier_offset);
    void **array = member(message, field);
    size_t size = dni_field_value_size(field);
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count ? *count * 2 : 1;
        void *more = dni_realloc(r->heap, *array, capacity, size);
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

static dn_status read_fields(dni_reader *r, ProtobufCMessage *message, char close, int32_t line,
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

static dn_status check_required(const dni_reader *r, const ProtobufCMessage *message,
                                given *seen)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED &&
            give(seen, message, &type->fields[i]))
            return dni_reader_fail(r, "%s needs '%s'", type->short_name, type->fields[i].name);
    return DN_OK;
}

static dn_status read_message(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot)
{
    int32_t line = r->lexer.token_line, column = r->lexer.token_column;
    char close = dni_lexer_is(&r->lexer, '{') ? '}' : dni_lexer_is(&r->lexer, '<') ? '>' : 0;
    if (!close)
        return dni_wrong_value(r, field, "a message in { }");
    if (++r->depth > DNI_MESSAGE_DEPTH)
        return dni_reader_fail(r, "messages are nested more than %d deep", DNI_MESSAGE_DEPTH);
    dn_status st = dni_lexer_next(&r->lexer);
    const ProtobufCMessageDescriptor *type = field->descriptor;
    ProtobufCMessage *value = *(ProtobufCMessage **)slot;
    if (st)
        return st;
    if (!value) {
        value = dni_message_new(r->heap, type);
        if (!value)
            return DN_E_NOMEM;
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

/* The field whose value ended last, for a comment behind it. */
typedef struct last_value {
    const char *field; /* NULL: none in this message yet */
    size_t index;
} last_value;

/* Hangs the comments passed on what they stood beside and above. field NULL: the end. */
static dn_status hang_comments(dni_reader *r, ProtobufCMessage *message, const last_value *last,
                               const char *field, size_t index)
{
    dni_text *beside = r->lexer.beside, *above = r->lexer.above;
    dn_status st = DN_OK;
    if (!r->remarks || (!beside->size && !above->size))
        return st;
    if (beside->failed || above->failed)
        return DN_E_NOMEM;
    if (beside->size)
        st = last->field ? dni_remarks_add(r->remarks, r->heap, DNI_REMARK_BESIDE, message,
                                           last->field, last->index, beside->data, beside->size)
                         : dni_remarks_add(r->remarks, r->heap, DNI_REMARK_ABOVE, message,
                                           field, index, beside->data, beside->size);
    if (!st && above->size)
        st = dni_remarks_add(r->remarks, r->heap, DNI_REMARK_ABOVE, message, field, index,
                             above->data, above->size);
    beside->size = above->size = 0;
    return st;
}

/* The value just read, as text of its own: the message has no place for it. */
static dn_status keep_value(dni_reader *r, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, const char *from)
{
    dni_text text;
    char *line = NULL;
    if (!r->remarks)
        return DN_OK;
    dni_text_init(&text, r->heap);
    dni_text_printf(&text, "%s: %.*s", field->name, (int)(r->lexer.last_end - from), from);
    size_t size = text.size;
    dn_status st = dni_text_finish(&text, &line);
    if (!st)
        st = dni_remarks_add(r->remarks, r->heap, DNI_REMARK_UNKNOWN, message, NULL, 0, line,
                             size);
    dni_free(line);
    return st;
}

/* to: the field that keeps it. */
static dn_status read_value(dni_reader *r, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field,
                            const ProtobufCFieldDescriptor *to)
{
    void *slot;
    const char *from = r->lexer.token;
    dn_status st = next_slot(r, message, to, &slot);
    if (st)
        return st;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        st = read_message(r, field, slot);
        /* a message half read is the parent's to free */
        if (*(void **)slot && field->label == PROTOBUF_C_LABEL_REPEATED)
            count_value(message, field);
        return st;
    }
    r->no_value = false;
    st = dni_read_scalar(r, field, slot);
    if (!st && r->no_value)
        return keep_value(r, message, field, from);
    if (!st)
        count_value(message, to);
    return st;
}

/* A solver's device_id, which forks that train on several at once give several of. */
static int32_t *devices(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    bool is_it = message->descriptor == &cnn__solver_parameter__descriptor &&
                 !strcmp(field->name, "device_id");
    return is_it ? &((Cnn__SolverParameter *)message)->device_id : NULL;
}

static dn_status read_list(dni_reader *r, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field,
                           const ProtobufCFieldDescriptor *to)
{
    int32_t *device = devices(message, field), first = -1;
    dn_status st = dni_lexer_next(&r->lexer);
    while (!st && !dni_lexer_is(&r->lexer, ']')) {
        st = read_value(r, message, field, to);
        if (device)
            *device = first = first < 0 ? *device : first; /* the first of them is taken */
        if (!st && dni_lexer_is(&r->lexer, ','))
            st = dni_lexer_next(&r->lexer);
        else if (!st && !dni_lexer_is(&r->lexer, ']'))
            st = dni_reader_fail(r, "expected ',' or ']' in the list of '%s'", field->name);
    }
    return st ? st : dni_lexer_next(&r->lexer);
}

/* The sizes of a pooling window may be lists, for one axis after the other, in forks that pool
 * along any number of them; they are kept in the lists of another fork. NULL: no such field. */
static const ProtobufCFieldDescriptor *axes_of(const ProtobufCMessage *message,
                                               const ProtobufCFieldDescriptor *field)
{
    char name[FIELD_NAME];
    if (message->descriptor != &cnn__pooling_parameter__descriptor)
        return NULL;
    snprintf(name, sizeof name, "%s_3d", field->name);
    return protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
}

/* What stands behind the name of a field. */
static dn_status read_values(dni_reader *r, ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field,
                             const ProtobufCFieldDescriptor **to)
{
    dn_status st = DN_OK;
    bool colon = dni_lexer_is(&r->lexer, ':');
    if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return dni_reader_fail(r, "expected ':' after '%s'", field->name);
    if (colon)
        st = dni_lexer_next(&r->lexer);
    if (!st && dni_lexer_is(&r->lexer, '[')) {
        const ProtobufCFieldDescriptor *axes = axes_of(message, field);
        *to = axes ? axes : field;
        if (axes || field->label == PROTOBUF_C_LABEL_REPEATED || devices(message, field))
            return read_list(r, message, field, *to);
    }
    return st ? st : read_value(r, message, field, *to);
}

static size_t values_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED
               ? *(const size_t *)((const char *)message + field->quantifier_offset)
               : 0;
}

/* A field given once more: the size of a pooling window, which becomes a list. */
static dn_status read_axis(dni_reader *r, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field,
                           const ProtobufCFieldDescriptor **to)
{
    const ProtobufCFieldDescriptor *list = axes_of(message, field);
    void *slot;
    if (!list)
        return dni_reader_fail(r, "'%s' of %s is given twice", field->name,
                               message->descriptor->short_name);
    protobuf_c_boolean *has = (void *)((char *)message + field->quantifier_offset);
    dn_status st = *has ? next_slot(r, message, list, &slot) : DN_OK;
    if (!st && *has) { /* the first goes before the others */
        memcpy(slot, member(message, field), sizeof(uint32_t));
        count_value(message, list);
        *has = 0;
    }
    *to = list;
    return st;
}

static dn_status read_known(dni_reader *r, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, given *seen,
                            last_value *last)
{
    int32_t line = r->lexer.token_line, column = r->lexer.token_column;
    dn_status st = DN_OK;
    bool again = !give(seen, message, field) && field->label != PROTOBUF_C_LABEL_REPEATED;
    int32_t *device = again ? devices(message, field) : NULL, first = device ? *device : 0;
    const ProtobufCFieldDescriptor *to = field;
    if (again && !device)
        st = read_axis(r, message, field, &to);
    size_t before = values_of(message, to);
    if (!st)
        st = hang_comments(r, message, last, field->name, before);
    if (!st)
        st = dni_lexer_next(&r->lexer);
    if (!st)
        st = read_values(r, message, field, &to);
    if (!st && to != field) /* comments go along */
        st = dni_remarks_move(r->remarks, r->heap, message, field->name, DNI_ANY_INDEX, message,
                              to->name, 0);
    if (device)
        *device = first;
    size_t after = values_of(message, to);
    *last = (last_value){field->name, after > before ? after - 1 : before};
    if (!st && field->type == PROTOBUF_C_TYPE_MESSAGE && is_layer(field->descriptor) && after) {
        void **layers = *(void ***)member(message, field);
        st = dni_locations_add(r->locations, r->heap, layers[after - 1], line, column);
    }
    return st;
}

/* A field that the schema lacks, or knows by no name. */
static dn_status read_foreign(dni_reader *r, ProtobufCMessage *message, const char *name,
                              last_value *last)
{
    dn_status st = hang_comments(r, message, last, NULL, 0);
    last->field = NULL;
    if (st || !name)
        return st ? st : dni_read_numbered(r, message);
    st = unknown_field(r, message, name);
    if (!st && r->remarks) { /* the comments inside went with it, those behind it did not */
        r->lexer.beside->size = r->lexer.above->size = 0;
        dni_lexer_comments_again(&r->lexer);
    }
    return st;
}

static dn_status read_field(dni_reader *r, ProtobufCMessage *message, given *seen,
                            last_value *last)
{
    char name[FIELD_NAME];
    const ProtobufCFieldDescriptor *field = NULL;
    dn_status st;
    if (r->lexer.kind == DNI_TOKEN_NUMBER) {
        st = read_foreign(r, message, NULL, last);
    } else {
        st = find_field(r, message->descriptor, &field, name);
        if (!st)
            st = field ? read_known(r, message, field, seen, last)
                       : read_foreign(r, message, name, last);
    }
    if (!st && (dni_lexer_is(&r->lexer, ',') || dni_lexer_is(&r->lexer, ';')))
        st = dni_lexer_next(&r->lexer);
    return st;
}

static dn_status read_fields(dni_reader *r, ProtobufCMessage *message, char close, int32_t line,
                             int32_t column)
{
    given seen = {{0}};
    last_value last = {0};
    dn_status st = DN_OK;
    while (!st && r->lexer.kind != DNI_TOKEN_END && !(close && dni_lexer_is(&r->lexer, close)))
        st = read_field(r, message, &seen, &last);
    if (!st)
        st = hang_comments(r, message, &last, NULL, 0);
    if (st)
        return st;
    if (close && r->lexer.kind == DNI_TOKEN_END)
        return dni_reader_fail(
            r, "the text ends, but the '%c' of line %d, column %d is not closed",
            close == '}' ? '{' : '<', line, column);
    st = check_required(r, message, &seen);
    return st || !close ? st : dni_lexer_next(&r->lexer);
}

dn_status dni_text_parse(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessageDescriptor *type, const char *text, size_t size,
                         const char *file_name, dni_locations *locations)
{
    dni_text beside, above;
    dni_reader r = {.heap = heap,
                    .locations = locations,
                    .remarks = dni_locations_remarks(locations),
                    .is_net = type == &cnn__net_parameter__descriptor};
    ProtobufCMessage *message = dni_message_new(heap, type);
    if (!message)
        return DN_E_NOMEM;
    dni_text_init(&beside, heap);
    dni_text_init(&above, heap);
    if (r.remarks)
        r.lexer.beside = &beside, r.lexer.above = &above;
    dni_fp host = dni_fp_enter();
    dn_status st = dni_lexer_init(&r.lexer, text, size, file_name);
    if (!st)
        st = read_fields(&r, message, 0, 1, 1);
    st = dni_reader_finish(&r, st);
    dni_fp_leave(host);
    dni_text_free(&beside);
    dni_text_free(&above);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_message_free(message);
        dni_restore_error(&saved);
        return st;
    }
    *out = message;
    return DN_OK;
}
