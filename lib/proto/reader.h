/* SPDX-License-Identifier: BSD-2-Clause
 * reader.h: what the files of the text reader share. */
#ifndef DNI_READER_H
#define DNI_READER_H

#include "proto/lexer.h"
#include "proto/proto.h"

typedef struct dni_reader {
    dni_lexer lexer;
    const dni_heap *heap;
    dni_locations *locations;
    dni_remarks *remarks;          /* keeps comments and what is unknown; NULL: nobody does */
    const ProtobufCMessage *layer; /* the layer being read, for messages */
    bool is_net; /* the file is a net, whose layers are asked for what is unknown in them */
    int32_t depth;
    bool no_value; /* what was read last has no place in the message */
    /* What is unknown does not end the reading, but fails it in the end. */
    size_t num_unknown;
    bool typo;         /* one of these is probably a slip of the pen */
    char unknown[768]; /* the first, whole */
    char further[160]; /* where the others are */
} dni_reader;

/* Fails at the present token, naming the layer if it is known. */
dn_status dni_reader_fail(const dni_reader *r, const char *format, ...) DNI_PRINTF(2, 3);

/* ---- values.c ---------------------------------------------------------------------------- */

/* Any value but a message; sets no_value if the schema has none like it. */
dn_status dni_read_scalar(dni_reader *r, const ProtobufCFieldDescriptor *field, void *slot);
/* The present token and strings beside it, without quotes and escapes. */
dn_status dni_read_string_bytes(dni_reader *r, dni_text *out);
/* Decimal, 0x hexadecimal or 0 octal; false if the token is not whole or does not fit. */
bool dni_token_integer(const dni_lexer *l, uint64_t *out);
dn_status dni_wrong_value(const dni_reader *r, const ProtobufCFieldDescriptor *field,
                          const char *wanted);

/* ---- unknown.c --------------------------------------------------------------------------- */

/* Takes down that the present token is unknown, and sets no_value; DN_OK. */
dn_status dni_reader_unknown(dni_reader *r, bool typo, const char *format, ...)
    DNI_PRINTF(3, 4);
/* How a reading ends that met something unknown: DN_E_PARSE if that looks like a slip or `st`
 * says so, else DN_E_UNSUPPORTED. */
dn_status dni_reader_finish(dni_reader *r, dn_status st);
/* Past a field of any name: the present token is what stands behind the name. */
dn_status dni_skip_value(dni_reader *r, const char *name);
/* `148: 5`, as unknown fields of binary files are printed: kept as bytes. */
dn_status dni_read_numbered(dni_reader *r, ProtobufCMessage *message);

#endif
