/* SPDX-License-Identifier: BSD-2-Clause
 * dialect.h: binary files of forks that gave the same number to different fields. */
#ifndef DNI_DIALECT_H
#define DNI_DIALECT_H

#include "proto/proto.h"

#define DNI_DIALECTS 17 /* 0 is Caffe's own, and ours; 1 is bit 0 of dni_renumbered.dialects */

/* The largest number that a row has whole; beyond, the lower half of 8266711 and its neighbour. */
#define DNI_DIALECT_LAST 9000

typedef struct dni_renumbered {
    uint16_t from; /* a field's number or an enum's value */
    uint16_t to, dialects;
} dni_renumbered;

extern const char *const dni_dialect_names[DNI_DIALECTS];
/* Names of messages and enums, without the package, and as many counts of rows; rows of one
 * after those of the other. */
extern const char dni_dialect_scopes[];
extern const uint8_t dni_dialect_counts[];
extern const dni_renumbered dni_dialect_rows[];

/* By name; DN_E_NOTFOUND lists those there are. */
dn_status dni_dialect_find(int32_t *out, const char *name);
/* The dialect that explains most of what a message's tags leave open; the first of equals. */
int32_t dni_dialect_guess(const ProtobufCMessageDescriptor *type, const void *bytes,
                          size_t size);
/* The message with our numbers. What the schema lacks comes back as an unknown field: under its
 * number, or 50000 above it where that number is taken. */
dn_status dni_dialect_translate(uint8_t **out, size_t *out_size, const dni_heap *heap,
                                const ProtobufCMessageDescriptor *type, const void *bytes,
                                size_t size, int32_t dialect);

#endif
