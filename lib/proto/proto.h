/* SPDX-License-Identifier: BSD-2-Clause
 * proto.h: the language: text <-> messages by descriptor, binary files, and what old spellings
 * mean today. Messages are protobuf-c's; all their memory comes from the caller's heap. */
#ifndef DNI_PROTO_H
#define DNI_PROTO_H

#include "cnn.pb-c.h"
#include "core/core.h"
#include "deepnet/context.h"
#include "proto/remarks.h"

/* protobuf-c's allocator over a heap, which must outlive the messages. */
ProtobufCAllocator dni_proto_allocator(const dni_heap *heap);
void dni_message_free(void *message); /* NULL is fine */
/* A deep copy. */
dn_status dni_message_copy(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessage *message);

/* ---- locations.c: where in a file a message began ---------------------------------------- */

typedef struct dni_locations dni_locations;
dn_status dni_locations_create(dni_locations **out, const dni_heap *heap, const char *file);
void dni_locations_free(dni_locations *locations);
dn_status dni_locations_add(dni_locations *locations, const dni_heap *heap, const void *message,
                            int32_t line, int32_t column);
/* `to` stands where `from` stood (upgrades replace messages). */
dn_status dni_locations_move(dni_locations *locations, const dni_heap *heap, const void *from,
                             const void *to);
/* false: unknown. */
bool dni_locations_find(const dni_locations *locations, const void *message, int32_t *line,
                        int32_t *column);
/* A field of a message that the schema lacks was read over there: so that a layer of a type
 * unknown here fails for its type, and only if it takes part. find: the first, NULL: none. */
dn_status dni_locations_add_unknown(dni_locations *locations, const dni_heap *heap,
                                    const void *message, int32_t line, int32_t column,
                                    const char *name);
const char *dni_locations_find_unknown(const dni_locations *locations, const void *message,
                                       int32_t *line, int32_t *column);
const char *dni_locations_file(const dni_locations *locations);
/* From here on what is read with these locations keeps its remarks, and unknown fields among
 * them rather than failing. dni_locations_remarks: NULL if nobody asked for that. */
dn_status dni_locations_keep_remarks(dni_locations *locations, const dni_heap *heap);
dni_remarks *dni_locations_remarks(const dni_locations *locations);
/* Notes: what was read and changes nothing here (an engine's name, a misplaced field), one line
 * each with its place in front. At the place of message; locations NULL: none is kept. */
dn_status dni_locations_note(dni_locations *locations, const dni_heap *heap,
                             const void *message, const char *format, ...) DNI_PRINTF(4, 5);
dn_status dni_locations_note_at(dni_locations *locations, const dni_heap *heap, int32_t line,
                                int32_t column, const char *format, ...) DNI_PRINTF(5, 6);
size_t dni_locations_num_notes(const dni_locations *locations);
const char *dni_locations_get_note(const dni_locations *locations, size_t index);
/* Puts "file:line:col: " in front of the message of a failure, as far as known. */
dn_status dni_in_location(dn_status status, const dni_locations *locations,
                          const void *message);

/* ---- text.c, print.c --------------------------------------------------------------------- */

/* Reads protobuf text: comments with # and //, optional ':' before a message, { } or < >,
 * ',' or ';' between fields, lists, adjacent strings, numbers in any of C's bases, enums by
 * name or number. file_name is for messages; locations may be NULL. Errors: "file:line:col:
 * layer 'x': unknown field 'y' in Z; did you mean 'w'?" A text whose only fault is that it says
 * things unknown here is DN_E_UNSUPPORTED, not DN_E_PARSE, unless they look like slips. */
dn_status dni_text_parse(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessageDescriptor *type, const char *text, size_t size,
                         const char *file_name, dni_locations *locations);
/* remarks: printed where they hang; may be NULL. */
dn_status dni_text_print(char **out, const dni_heap *heap, const ProtobufCMessage *message,
                         dni_remarks *remarks);

/* ---- dialect.c: which fork's numbers a binary file has ----------------------------------- */

#define DNI_MESSAGE_DEPTH 64 /* messages in messages, in any form */

/* dni_binary_parse of a file by some fork. dialect: its name; NULL: found from the tags.
 * Another dialect than Caffe's is noted. */
dn_status dni_dialect_parse(ProtobufCMessage **out, const dni_heap *heap,
                            const ProtobufCMessageDescriptor *type, const void *bytes,
                            size_t size, const char *file_name, const char *dialect,
                            dni_locations *locations);

/* "smooth_l1_loss_param" is a parameter of "SmoothL1Loss". */
bool dni_names_type(const char *field, const void *type, size_t size);

/* ---- binary.c ---------------------------------------------------------------------------- */

dn_status dni_binary_parse(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessageDescriptor *type, const void *bytes,
                           size_t size, const char *file_name);
dn_status dni_binary_print(uint8_t **out, size_t *size, const dni_heap *heap,
                           const ProtobufCMessage *message);
/* A binary message rather than text, even one that is cut: bytes that no text has. */
bool dni_looks_binary(const void *bytes, size_t size);
/* ": ..." what text is that people take for a net or weights; "": who knows. */
const char *dni_other_text(const void *bytes, size_t size);

/* ---- weights.c: weights straight from the wire ------------------------------------------- */

/* One array. Values are copied out by dni_weights_values, whatever their form in the file. */
typedef struct dni_weights_blob {
    dni_shape shape; /* of legacy blobs: num, channels, height, width */
    bool legacy;
    int64_t count;     /* values in the file: floats, doubles, or NVIDIA's raw fp16 and so on */
    int32_t raw_type;  /* of raw data, as enum Type numbers them, or BF16; -1: none */
    bool bare;         /* the bytes are the values, of raw_type; else a message */
    const uint8_t *at; /* the blob's bytes */
    size_t size;
    dni_view *view; /* of which they are; NULL: in memory */
} dni_weights_blob;

enum { DNI_RAW_BF16 = -2 };

typedef struct dni_weights_layer {
    char *name;
    size_t num_blobs;
    dni_weights_blob *blobs;
} dni_weights_layer;

typedef struct dni_weights {
    dni_weights_layer *layers;
    size_t num_layers, cap_layers;
} dni_weights;

/* Finds layers with blobs in a NetParameter of any generation; skips everything else, so forks'
 * layer parameters cannot disturb it. bytes, and the view if they are one's, must outlive *out.
 * A cut file is DN_E_PARSE. */
dn_status dni_weights_read(dni_weights *out, const dni_heap *heap, const void *bytes,
                           size_t size, dni_view *view, const char *file_name);
/* Room for one more layer, which is zero; NULL: no memory. */
dni_weights_layer *dni_weights_add(dni_weights *out, const dni_heap *heap);
void dni_weights_free(dni_weights *weights);
/* count values as floats or doubles (dtype). DN_E_DATA if the file has another count, DN_E_IO
 * if the view cannot be read. */
dn_status dni_weights_values(const dni_weights_blob *blob, int32_t dtype, void *values,
                             int64_t count);
/* The same walk over a single BlobProto (a mean file, a history). */
dn_status dni_weights_blob_read(dni_weights_blob *out, const void *bytes, size_t size,
                                dni_view *view, const char *file_name);

/* ---- upgrade*.c -------------------------------------------------------------------------- */

/* Turns a net of any generation into today's, in place. locations may be NULL. */
dn_status dni_net_upgrade(Cnn__NetParameter *net, const dni_heap *heap,
                          dni_locations *locations);
dn_status dni_solver_upgrade(Cnn__SolverParameter *solver, const dni_heap *heap,
                             dni_remarks *remarks);
/* Did it need that? */
bool dni_net_is_old(const Cnn__NetParameter *net);

/* ---- fields.c: what the forks' fields mean here ------------------------------------------ */

/* A descriptor's reserved_flags. */
typedef enum dni_meaning {
    DNI_FIELD_HONOURED, /* or refused by the layer itself, or moved by an upgrade; Caffe's */
    DNI_FIELD_STEERS,   /* another implementation, and nothing else */
    DNI_FIELD_REPORTS,  /* changes what is reported, not what is computed */
    DNI_FIELD_CHANGES   /* the result, and is not supported */
} dni_meaning;

#define DNI_STEERS "'%s' of %s steers another implementation and changes nothing here"

/* A field that the schema lacks and that means nothing here. */
bool dni_field_only_steers(const char *message, const char *field);
/* Notes the fields of a solver, of an upgraded net without its layers, or of one layer, that
 * mean nothing here, once each, and refuses those that change the result: DN_E_UNSUPPORTED.
 * lenient: notes them too. */
dn_status dni_fields_judge(const ProtobufCMessage *message, const dni_heap *heap,
                           dni_locations *locations, bool lenient);

/* ---- rewrite.c --------------------------------------------------------------------------- */

/* Notes of a file to the host's log. */
void dni_log_notes(const dn_context *context, const dni_locations *locations);

/* ---- read.c: files ----------------------------------------------------------------------- */

typedef struct dni_net_file {
    Cnn__NetParameter *net; /* upgraded */
    dni_locations *locations;
    char *folder; /* of the file; NULL for text from memory */
} dni_net_file;

typedef struct dni_solver_file {
    Cnn__SolverParameter *solver; /* upgraded, its nets inside too */
    dni_locations *locations;
    char *folder;
} dni_solver_file;

/* Text or binary, told apart by looking. dialect: of a binary file; NULL: found. */
dn_status dni_net_read(dni_net_file **out, const dni_heap *heap, const char *path,
                       const char *dialect);
dn_status dni_net_read_text(dni_net_file **out, const dni_heap *heap, const char *text,
                            size_t size, const char *name, const char *dialect);
/* Takes over a message that came from elsewhere (net_param of a solver); upgrades it. */
dn_status dni_net_file_wrap(dni_net_file **out, const dni_heap *heap, Cnn__NetParameter *net,
                            const char *folder, const char *name);
void dni_net_file_free(dni_net_file *file);
dn_status dni_solver_read(dni_solver_file **out, const dni_heap *heap, const char *path);
dn_status dni_solver_read_text(dni_solver_file **out, const dni_heap *heap, const char *text,
                               size_t size, const char *name);
void dni_solver_file_free(dni_solver_file *file);

#endif
