/* SPDX-License-Identifier: BSD-2-Clause
 * binary.c: protobuf-c's own reader and writer, behind a walk that bounds the nesting first,
 * since protobuf-c recurses as deep as the file says. */
#include <string.h>

#include "proto/proto.h"
#include "proto/wire.h"

/* Every sub-message that the type knows is whole and not nested too deep. */
static bool nesting_fits(const ProtobufCMessageDescriptor *type, const uint8_t *at, size_t size,
                         int depth)
{
    dni_wire wire = {at, at + size, NULL};
    dni_wire_field field;
    int more;
    if (depth > DNI_MESSAGE_DEPTH)
        return false;
    while ((more = dni_wire_next(&wire, &field)) > 0) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(type, field.number);
        if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && field.type == 2 &&
            !nesting_fits(f->descriptor, field.data, field.size, depth + 1))
            return false;
    }
    return !more;
}

/* Text has no control characters but white space. Binary nets begin with their name (field
 * 1) or a layer, and have lengths and small numbers everywhere: one such byte early on is
 * enough if the first key is one a net or solver may have. */
bool dni_looks_binary(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    size_t head = size < 4096 ? size : 4096, controls = 0;
    for (size_t i = 0; i < head; i++) {
        if (at[i] == 0)
            return true;
        controls += (at[i] < 0x20 && !(at[i] >= '\t' && at[i] <= '\r')) || at[i] == 0x7f;
    }
    dni_wire wire = {at, at + size, NULL};
    dni_wire_field field;
    return controls && (controls > head / 64 || dni_wire_next(&wire, &field) > 0);
}

const char *dni_other_text(const void *bytes, size_t size)
{
    static const char lfs[] = "version https://git-lfs";
    const char *at = bytes;
    if (size >= sizeof lfs - 1 && !memcmp(at, lfs, sizeof lfs - 1))
        return ": a pointer of Git LFS; 'git lfs pull' gets the file";
    while (size > 0 && (*at == ' ' || *at == '\n' || *at == '\r'))
        at++, size--;
    return size > 0 && *at == '<' ? ": a web page" : "";
}

dn_status dni_binary_parse(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessageDescriptor *type, const void *bytes,
                           size_t size, const char *file_name)
{
    ProtobufCAllocator allocator = dni_proto_allocator(heap);
    if (!size)
        bytes = "";
    if (!nesting_fits(type, bytes, size, 0))
        return dni_fail(DN_E_PARSE, "%s: not a whole %s: the file is cut or damaged", file_name,
                        type->short_name);
    dni_clear_error();
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);
    if (!message) /* a failed allocation has said so already */
        return dn_last_error()
                   ? DN_E_NOMEM
                   : dni_fail(DN_E_PARSE,
                              "%s: not a %s: a field is missing, damaged or a group", file_name,
                              type->short_name);
    *out = message;
    return DN_OK;
}

dn_status dni_binary_print(uint8_t **out, size_t *size, const dni_heap *heap,
                           const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *buffer = dni_alloc(heap, bytes, 1);
    if (!buffer)
        return DN_E_NOMEM;
    *size = protobuf_c_message_pack(message, buffer);
    *out = buffer;
    return DN_OK;
}
