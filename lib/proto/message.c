/* SPDX-License-Identifier: BSD-2-Clause
 * message.c: protobuf-c messages on the caller's heap. */
#include "proto/proto.h"

static void *take(void *heap, size_t size)
{
    return dni_alloc(heap, 1, size);
}

static void give(void *unused, void *pointer)
{
    dni_free(pointer);
}

ProtobufCAllocator dni_proto_allocator(const dni_heap *heap)
{
    return (ProtobufCAllocator){take, give, (void *)(uintptr_t)heap};
}

void dni_message_free(void *message)
{
    ProtobufCAllocator allocator = {.free = give};
    if (message)
        protobuf_c_message_free_unpacked(message, &allocator);
}

dn_status dni_message_copy(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessage *message)
{
    uint8_t *bytes;
    size_t size;
    dn_status st = dni_binary_print(&bytes, &size, heap, message);
    if (st)
        return st;
    st = dni_binary_parse(out, heap, message->descriptor, bytes, size, "copy");
    dni_free(bytes);
    return st;
}
