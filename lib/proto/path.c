/* SPDX-License-Identifier: BSD-2-Clause
 * path.c: a field by its path, "convolution_param.kernel_size": what is set, else the default.
 */
#include <string.h>

#include "proto/field.h"

/* Where the value of a path is: in a message, or a default of the schema. */
typedef struct place {
    const ProtobufCFieldDescriptor *field;
    const void *at; /* NULL: the field's type has no default to point at, it is zero */
} place;

static dn_status unknown(const char *path)
{
    return dni_fail(DN_E_NOTFOUND, "LayerParameter has no field '%s'", path);
}

static const void *value_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return m ? (const char *)m + f->offset : NULL;
}

static dn_status element(const ProtobufCMessage *m, const char *path, int32_t index, place *p)
{
    const ProtobufCFieldDescriptor *f = p->field;
    size_t count = 1;
    p->at = value_at(m, f);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        count = m ? *(const size_t *)((const char *)m + f->quantifier_offset) : 0;
        p->at = count ? *(const char *const *)p->at : NULL;
    }
    if (index < 0 || (size_t)index >= count)
        return dni_fail(DN_E_NOTFOUND, "'%s' is there %zu times", path, count);
    if (p->at)
        p->at = (const char *)p->at + (size_t)index * dni_field_value_size(f);
    return DN_OK;
}

/* Messages on the way may be absent: then what follows has its default. */
static dn_status follow(const ProtobufCMessage *m, const char *path, int32_t index, place *p)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    const char *name = path;
    for (;;) {
        size_t length = strcspn(name, ".");
        char word[64];
        if (length >= sizeof word)
            return unknown(path);
        memcpy(word, name, length);
        word[length] = 0;
        p->field = protobuf_c_message_descriptor_get_field_by_name(type, word);
        if (!p->field)
            return unknown(path);
        if (!name[length])
            return element(m, path, index, p);
        if (p->field->type != PROTOBUF_C_TYPE_MESSAGE ||
            p->field->label == PROTOBUF_C_LABEL_REPEATED)
            return unknown(path);
        const void *at = value_at(m, p->field);
        m = at ? *(const ProtobufCMessage *const *)at : NULL;
        type = p->field->descriptor;
        name += length + 1;
    }
}

#define READ(type) (*(const type *)at)

dn_status dni_field_number(const ProtobufCMessage *message, const char *path, int32_t index,
                           double *out)
{
    place p;
    dn_status st = follow(message, path, index, &p);
    const void *at = !st && p.at ? p.at : st ? NULL : p.field->default_value;
    if (st)
        return st;
    double value = 0;
    switch (p.field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        value = at ? READ(float) : 0;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        value = at ? READ(double) : 0;
        break;
    case PROTOBUF_C_TYPE_INT64:
        value = at ? (double)READ(int64_t) : 0;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        value = at ? (double)READ(uint64_t) : 0;
        break;
    case PROTOBUF_C_TYPE_UINT32:
        value = at ? READ(uint32_t) : 0;
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        value = at ? READ(int32_t) : 0;
        break;
    default:
        return dni_fail(DN_E_NOTFOUND, "'%s' is no number", path);
    }
    *out = value;
    return DN_OK;
}

dn_status dni_field_text(const ProtobufCMessage *message, const char *path, int32_t index,
                         const char **out)
{
    place p;
    dn_status st = follow(message, path, index, &p);
    if (st)
        return st;
    if (p.field->type != PROTOBUF_C_TYPE_STRING)
        return dni_fail(DN_E_NOTFOUND, "'%s' is no text", path);
    const char *text = p.at ? *(const char *const *)p.at : p.field->default_value;
    *out = text ? text : "";
    return DN_OK;
}
