/* SPDX-License-Identifier: BSD-2-Clause
 * field.h: fields by name, for the tables of the upgrades. */
#ifndef DNI_FIELD_H
#define DNI_FIELD_H

#include "proto/proto.h"

/* Is the optional field `name` of message set? false for a field that is not there. */
bool dni_field_set(const ProtobufCMessage *message, const char *name);
/* Moves field `name` of `from`, if it is set, to field `to_name` of `to`: an optional one to an
 * optional or repeated one of the same type, a repeated one to a repeated one. *moved may be
 * NULL. */
dn_status dni_field_move(const dni_heap *heap, ProtobufCMessage *from, const char *name,
                         ProtobufCMessage *to, const char *to_name, bool *moved);
/* The sub-message `name`, made if it is not there. NULL: no memory. */
ProtobufCMessage *dni_field_sub(const dni_heap *heap, ProtobufCMessage *message,
                                const char *name);
/* A new message of a type. NULL: no memory. */
void *dni_message_new(const dni_heap *heap, const ProtobufCMessageDescriptor *type);

/* Bytes of one value of a field in its struct. */
size_t dni_field_value_size(const ProtobufCFieldDescriptor *field);

/* path.c: the value at a path of names, "power_param.scale", or its default. index: which of a
 * repeated field, else 0. DN_E_NOTFOUND: no such field, not that many, or of another type. */
dn_status dni_field_number(const ProtobufCMessage *message, const char *path, int32_t index,
                           double *out);
dn_status dni_field_text(const ProtobufCMessage *message, const char *path, int32_t index,
                         const char **out);

#endif
