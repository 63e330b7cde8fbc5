/* SPDX-License-Identifier: BSD-2-Clause
 * binary.c: the binary form, through protobuf-c. No message of cnn.proto contains itself, so
 * hostile nesting ends where the schema does. */
#include "proto/proto.h"

/* Tells a file that is no such message from a host without memory. */
typedef struct watch {
    const dni_heap *heap;
    bool failed;
} watch;

static void *watch_alloc(void *data, size_t size)
{
    watch *w = data;
    void *pointer = dni_realloc(w->heap, NULL, size, 1);
    w->failed |= !pointer;
    return pointer;
}

static void watch_free(void *data, void *pointer)
{
    dni_free(((watch *)data)->heap, pointer);
}

dn_status dni_binary_parse(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessageDescriptor *type, const void *bytes,
                           size_t size, const char *name)
{
    watch w = {heap, false};
    ProtobufCAllocator allocator = {watch_alloc, watch_free, &w};
    static const uint8_t none[1];
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &allocator, size, size ? bytes : none);
    if (!message && w.failed)
        return dni_in(DN_E_NOMEM, "%s", name);
    if (!message)
        return dni_fail(DN_E_PARSE, "%s: not a binary %s, or cut off", name, type->short_name);
    *out = message;
    return DN_OK;
}

dn_status dni_binary_print(uint8_t **out, size_t *size, const dni_heap *heap,
                           const ProtobufCMessage *message)
{
    size_t need = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = dni_alloc(heap, need, 1);
    if (!bytes)
        return DN_E_NOMEM;
    *size = protobuf_c_message_pack(message, bytes);
    *out = bytes;
    return DN_OK;
}

dn_status dni_proto_read_blob(const dni_heap *heap, const char *path, Cnn__BlobProto **out)
{
    char *bytes = NULL;
    size_t size;
    ProtobufCMessage *message = NULL;
    dn_status st = dni_file_read(heap, path, &bytes, &size);
    if (!st)
        st = dni_binary_parse(&message, heap, &cnn__blob_proto__descriptor, bytes, size, path);
    dni_free(heap, bytes);
    if (!st)
        *out = (Cnn__BlobProto *)message;
    return st;
}
