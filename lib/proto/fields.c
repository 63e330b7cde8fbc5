/* SPDX-License-Identifier: BSD-2-Clause
 * fields.c: fields of the forks judged by what they mean, which proto/fork_fields.txt says and
 * the descriptors carry, and those that the schema lacks. */
#include <stdio.h>
#include <string.h>

#include "proto/proto.h"

/* What the schema lacks, and only steers another implementation. */
static const struct absent {
    const char *message, *names;
} absent[] = {
    {"NetParameter", "data_type quantizer autotune multinode compile_net_state"},
    {"NetState", "quantizer_mode"},
    {"SolverParameter", "data_type multinode_param richness"},
    {"LayerParameter", "bottom_data_type compute_data_type top_data_type bottom_quantizer "
                       "top_quantizer net_quantizer blobs_quantizer autotune multinode "
                       "mn_activation_param mn_grad_compress_param split_param"},
    {"TransformationParameter", "forward_packing"},
    {"V1LayerParameter", "strict_dim"}, /* DeepLab: what it checks */
};

/* Is name one of the words of the list? */
static bool listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at && *at; at += *at == ' ') {
        size_t word = strcspn(at, " ");
        if (word == length && !memcmp(at, name, length))
            return true;
        at += word;
    }
    return false;
}

bool dni_field_only_steers(const char *message, const char *field)
{
    for (size_t i = 0; i < DNI_COUNT(absent); i++)
        if (!strcmp(absent[i].message, message))
            return listed(absent[i].names, field);
    return false;
}

/* ---- judging a message ------------------------------------------------------------------- */

typedef struct judge {
    const dni_heap *heap;
    dni_locations *locations;
    const Cnn__LayerParameter *layer; /* in which; NULL: none */
    bool lenient;
} judge;

static const void *at(const ProtobufCMessage *m, size_t offset)
{
    return (const char *)m + offset;
}

static bool is_default(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const void *value = at(m, f->offset);
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return false;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value, *usual = f->default_value;
        return text && !strcmp(text, usual ? usual : "");
    }
    case PROTOBUF_C_TYPE_BYTES:
        return false;
    default: {
        static const uint64_t zero;
        bool wide = f->type == PROTOBUF_C_TYPE_DOUBLE || f->type == PROTOBUF_C_TYPE_INT64 ||
                    f->type == PROTOBUF_C_TYPE_UINT64;
        return !memcmp(value, f->default_value ? f->default_value : &zero, wide ? 8 : 4);
    }
    }
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)at(m, f->quantifier_offset) > 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING) {
        const void *pointer = *(void *const *)at(m, f->offset);
        return pointer && pointer != f->default_value;
    }
    return f->label == PROTOBUF_C_LABEL_REQUIRED ||
           *(const protobuf_c_boolean *)at(m, f->quantifier_offset);
}

static dn_status refuse(const judge *j, const char *sentence)
{
    const char *name = j->layer && j->layer->name ? j->layer->name : "";
    dn_status st = j->layer ? dni_fail(DN_E_UNSUPPORTED, "layer '%s': %s", name, sentence)
                            : dni_fail(DN_E_UNSUPPORTED, "%s", sentence);
    return dni_in_location(st, j->locations, j->layer);
}

static dn_status judge_field(const judge *j, const ProtobufCMessage *m,
                             const ProtobufCFieldDescriptor *f)
{
    char text[256];
    const char *of = m->descriptor->short_name;
    dni_meaning meaning = (dni_meaning)f->reserved_flags; /* see proto/schema.c */
    if (meaning == DNI_FIELD_HONOURED ||
        (f->label != PROTOBUF_C_LABEL_REPEATED && is_default(m, f)))
        return DN_OK;
    if (meaning == DNI_FIELD_CHANGES && !j->lenient) {
        snprintf(text, sizeof text, "'%s' of %s changes the result and is not supported",
                 f->name, of);
        return refuse(j, text);
    }
    if (meaning == DNI_FIELD_STEERS)
        return dni_locations_note(j->locations, j->heap, j->layer, DNI_STEERS, f->name, of);
    return dni_locations_note(j->locations, j->heap, j->layer, "'%s' of %s %s", f->name, of,
                              meaning == DNI_FIELD_REPORTS
                                  ? "changes what another implementation reports; not here"
                                  : "changes the result and is not supported: this wires, "
                                    "but will not run");
}

static dn_status judge_message(const judge *j, const ProtobufCMessage *m);

static dn_status judge_each(const judge *j, const ProtobufCMessage *m,
                            const ProtobufCFieldDescriptor *f)
{
    bool many = f->label == PROTOBUF_C_LABEL_REPEATED;
    size_t count = many ? *(const size_t *)at(m, f->quantifier_offset) : 1;
    const void *values = many ? *(void *const *)at(m, f->offset) : at(m, f->offset);
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < count; i++)
        st = judge_message(j, ((ProtobufCMessage *const *)values)[i]);
    return st;
}

/* What has a life of its own is left out: layers, which may take no part; weights; nets inside
 * a solver. */
static bool apart(const ProtobufCFieldDescriptor *f)
{
    return f->descriptor == &cnn__layer_parameter__descriptor ||
           f->descriptor == &cnn__blob_proto__descriptor ||
           f->descriptor == &cnn__net_parameter__descriptor;
}

static dn_status judge_message(const judge *j, const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    char text[128];
    dn_status st = DN_OK;
    if (m->n_unknown_fields) {
        snprintf(text, sizeof text, "field %u of %s is of no dialect known here",
                 (unsigned)m->unknown_fields[0].tag, type->short_name);
        st = j->lenient ? dni_locations_note(j->locations, j->heap, j->layer, "%s", text)
                        : refuse(j, text);
    }
    for (unsigned i = 0; !st && i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (!is_set(m, f))
            continue;
        st = judge_field(j, m, f);
        if (!st && f->type == PROTOBUF_C_TYPE_MESSAGE && !apart(f))
            st = judge_each(j, m, f);
    }
    return st;
}

dn_status dni_fields_judge(const ProtobufCMessage *message, const dni_heap *heap,
                           dni_locations *locations, bool lenient)
{
    bool is_layer = message->descriptor == &cnn__layer_parameter__descriptor;
    judge j = {heap, locations, is_layer ? (const Cnn__LayerParameter *)message : NULL,
               lenient};
    return judge_message(&j, message);
}
