/* SPDX-License-Identifier: BSD-2-Clause
 * message.c: protobuf-c's messages on the engine's heap: made, copied, compared, freed, and
 * extended. Nothing here knows what a message means. */
#include <string.h>

#include "proto/proto.h"

static void *allocate(void *data, size_t size)
{
    return dni_realloc(data, NULL, size, 1);
}

static void release(void *data, void *pointer)
{
    dni_free(data, pointer);
}

ProtobufCAllocator dni_proto_allocator(const dni_heap *heap)
{
    /* protobuf-c hands the pointer back to the two functions above, which do not write to it */
    return (ProtobufCAllocator){allocate, release, (void *)(uintptr_t)heap};
}

void dni_proto_free(const dni_heap *heap, ProtobufCMessage *message)
{
    ProtobufCAllocator allocator = dni_proto_allocator(heap);
    if (message)
        protobuf_c_message_free_unpacked(message, &allocator);
}

void *dni_proto_new(const dni_heap *heap, const ProtobufCMessageDescriptor *type)
{
    void *message = dni_alloc(heap, 1, type->sizeof_message);
    if (message)
        protobuf_c_message_init(type, message);
    return message;
}

dn_status dni_proto_copy(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessage *message)
{
    uint8_t *bytes = NULL;
    size_t size;
    dn_status st = dni_binary_print(&bytes, &size, heap, message);
    if (!st)
        st = dni_binary_parse(out, heap, message->descriptor, bytes, size, "copy");
    dni_free(heap, bytes);
    return st;
}

dn_status dni_proto_equal(bool *out, const dni_heap *heap, const ProtobufCMessage *a,
                          const ProtobufCMessage *b)
{
    uint8_t *bytes_a = NULL, *bytes_b = NULL;
    size_t size_a, size_b;
    if (a->descriptor != b->descriptor) {
        *out = false;
        return DN_OK;
    }
    dn_status st = dni_binary_print(&bytes_a, &size_a, heap, a);
    if (!st)
        st = dni_binary_print(&bytes_b, &size_b, heap, b);
    if (!st)
        *out = size_a == size_b && memcmp(bytes_a, bytes_b, size_a) == 0;
    dni_free(heap, bytes_a);
    dni_free(heap, bytes_b);
    return st;
}

dn_status dni_proto_set_string(const dni_heap *heap, ProtobufCMessage *message,
                               const char *field, const char *text)
{
    const ProtobufCFieldDescriptor *f = dni_field_find(message, field);
    if (!f || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED)
        return dni_fail(DN_E_INTERNAL, "%s has no string '%s'",
                        message->descriptor->short_name, field);
    char *copy = dni_strdup(heap, text);
    if (!copy)
        return DN_E_NOMEM;
    dni_field_clear(heap, message, f);
    *(char **)dni_field_at(message, f) = copy;
    return DN_OK;
}

void *dni_proto_append(const dni_heap *heap, size_t *count, void *array, size_t element_size)
{
    char *data;
    memcpy(&data, array, sizeof(data));
    data = dni_realloc(heap, data, *count + 1, element_size);
    if (!data)
        return NULL;
    memcpy(array, &data, sizeof(data));
    data += (*count)++ * element_size;
    return memset(data, 0, element_size);
}

void *dni_proto_append_new(const dni_heap *heap, size_t *count, void *array,
                           const ProtobufCMessageDescriptor *type)
{
    void *message = dni_proto_new(heap, type);
    void **slot = message ? dni_proto_append(heap, count, array, sizeof(*slot)) : NULL;
    if (!slot) {
        dni_free(heap, message);
        return NULL;
    }
    return *slot = message;
}

dn_status dni_proto_append_string(const dni_heap *heap, size_t *count, char ***array,
                                  const char *text)
{
    char *copy = dni_strdup(heap, text);
    char **slot = copy ? dni_proto_append(heap, count, array, sizeof(*slot)) : NULL;
    if (!slot) {
        dni_free(heap, copy);
        return DN_E_NOMEM;
    }
    *slot = copy;
    return DN_OK;
}
