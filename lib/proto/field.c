/* SPDX-License-Identifier: BSD-2-Clause
 * field.c: see field.h. Values are moved, not copied: the source forgets them. */
#include "proto/field.h"

#include <string.h>

static const ProtobufCFieldDescriptor *find(const ProtobufCMessage *m, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
}

static bool by_pointer(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
}

size_t dni_field_value_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default: /* bool and enum are ints in protobuf-c */
        return by_pointer(f) ? sizeof(void *) : 4;
    }
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *at = (const char *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(at + f->quantifier_offset) > 0;
    if (by_pointer(f)) {
        const void *p = *(void *const *)(at + f->offset);
        return p && p != f->default_value;
    }
    if (f->label == PROTOBUF_C_LABEL_REQUIRED)
        return true; /* it has no flag: it is always there */
    return *(const protobuf_c_boolean *)(at + f->quantifier_offset) != 0;
}

bool dni_field_set(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *f = find(message, name);
    return f && is_set(message, f);
}

static void forget(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    char *at = (char *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        *(size_t *)(at + f->quantifier_offset) = 0;
        *(void **)(at + f->offset) = NULL;
    } else if (by_pointer(f)) {
        *(const void **)(at + f->offset) =
            f->type == PROTOBUF_C_TYPE_STRING ? f->default_value : NULL;
    } else if (f->label != PROTOBUF_C_LABEL_REQUIRED) {
        *(protobuf_c_boolean *)(at + f->quantifier_offset) = 0;
        if (f->default_value) /* whoever reads it without asking finds the default */
            memcpy(at + f->offset, f->default_value, dni_field_value_size(f));
        else
            memset(at + f->offset, 0, dni_field_value_size(f));
    }
}

/* Values of both fit one another: the same type, or numbers of one size that are no floats. */
static bool same_kind(const ProtobufCFieldDescriptor *a, const ProtobufCFieldDescriptor *b)
{
    static const ProtobufCType whole[] = {PROTOBUF_C_TYPE_INT32, PROTOBUF_C_TYPE_UINT32,
                                          PROTOBUF_C_TYPE_ENUM};
    bool a_whole = false, b_whole = false;
    for (size_t i = 0; i < DNI_COUNT(whole); i++) {
        a_whole |= a->type == whole[i];
        b_whole |= b->type == whole[i];
    }
    if (a->type == PROTOBUF_C_TYPE_MESSAGE && a->descriptor != b->descriptor)
        return false;
    return a->type == b->type || (a_whole && b_whole);
}

/* Frees what a field points to, and marks it as not there. */
static void clear(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void **value = (void **)((char *)m + f->offset);
    bool many = f->label == PROTOBUF_C_LABEL_REPEATED, pointers = by_pointer(f);
    if (!is_set(m, f))
        return;
    size_t count = many ? *(size_t *)((char *)m + f->quantifier_offset) : 1;
    for (size_t i = 0; pointers && i < count; i++) {
        void *one = many ? ((void **)*value)[i] : *value;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            dni_message_free(one);
        else
            dni_free(one);
    }
    if (many)
        dni_free(*value);
    forget(m, f);
}

static dn_status append(const dni_heap *heap, ProtobufCMessage *to,
                        const ProtobufCFieldDescriptor *f, const void *value)
{
    size_t *count = (size_t *)((char *)to + f->quantifier_offset),
           size = dni_field_value_size(f);
    void **array = (void **)((char *)to + f->offset);
    void *more = dni_realloc(heap, *count ? *array : NULL, *count + 1, size);
    if (!more)
        return DN_E_NOMEM;
    memcpy((char *)more + *count * size, value, size);
    *array = more;
    ++*count;
    return DN_OK;
}

dn_status dni_field_move(const dni_heap *heap, ProtobufCMessage *from, const char *name,
                         ProtobufCMessage *to, const char *to_name, bool *moved)
{
    const ProtobufCFieldDescriptor *f = find(from, name), *t = find(to, to_name);
    if (moved)
        *moved = false;
    if (!f || !is_set(from, f))
        return DN_OK;
    if (!t || !same_kind(f, t))
        return dni_fail(DN_E_UNSUPPORTED, "field '%s' has no meaning in today's language",
                        name);
    const char *value = (const char *)from + f->offset;
    bool single = f->label != PROTOBUF_C_LABEL_REPEATED;
    if (t->label == PROTOBUF_C_LABEL_REPEATED && single) {
        dn_status st = append(heap, to, t, value);
        if (st)
            return st;
    } else {
        clear(to, t);
        memcpy((char *)to + t->offset, value,
               single ? dni_field_value_size(f) : sizeof(void *));
        if (!single)
            *(size_t *)((char *)to + t->quantifier_offset) =
                *(const size_t *)((const char *)from + f->quantifier_offset);
        else if (!by_pointer(t))
            *(protobuf_c_boolean *)((char *)to + t->quantifier_offset) = 1;
    }
    forget(from, f);
    if (moved)
        *moved = true;
    return DN_OK;
}

void *dni_message_new(const dni_heap *heap, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = dni_alloc(heap, 1, type->sizeof_message);
    if (!message)
        return NULL;
    message->descriptor = type;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        void *at = (char *)message + f->offset;
        if (f->default_value && by_pointer(f))
            *(const void **)at = f->default_value;
        else if (f->default_value)
            memcpy(at, f->default_value, dni_field_value_size(f));
    }
    return message;
}

ProtobufCMessage *dni_field_sub(const dni_heap *heap, ProtobufCMessage *message,
                                const char *name)
{
    const ProtobufCFieldDescriptor *f = find(message, name);
    ProtobufCMessage **slot = (ProtobufCMessage **)((char *)message + f->offset);
    if (!*slot)
        *slot = dni_message_new(heap, f->descriptor);
    return *slot;
}
