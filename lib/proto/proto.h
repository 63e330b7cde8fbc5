/* SPDX-License-Identifier: BSD-2-Clause
 * proto.h: the language of Caffe: text and binary to messages and back, old files to today's.
 * Messages are protobuf-c's structs, their memory comes from the engine's heap. */
#ifndef DNI_PROTO_H
#define DNI_PROTO_H

#include "cnn.pb-c.h"
#include "core/core.h"

/* ---- message.c: messages on the heap ------------------------------------------------------ */

/* For protobuf_c_message_free_unpacked and its kin; lives as long as *heap. */
ProtobufCAllocator dni_proto_allocator(const dni_heap *heap);
void dni_proto_free(const dni_heap *heap, ProtobufCMessage *message); /* NULL is fine */
/* An empty message of the type with its defaults; NULL: out of memory, message set. */
void *dni_proto_new(const dni_heap *heap, const ProtobufCMessageDescriptor *type);
dn_status dni_proto_copy(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessage *message);
/* Do both say the same, field for field? Unknown fields count. */
dn_status dni_proto_equal(bool *out, const dni_heap *heap, const ProtobufCMessage *a,
                          const ProtobufCMessage *b);

/* Sets an optional string (message->name): frees what it held, unless that is its default. */
dn_status dni_proto_set_string(const dni_heap *heap, ProtobufCMessage *message,
                               const char *field, const char *text);
/* Room for one more element, zero, at the end of a repeated field; returns where it is and
 * counts it, or NULL. *array is the field: dni_proto_append(heap, &m->n_dim, &m->dim, 8). */
void *dni_proto_append(const dni_heap *heap, size_t *count, void *array, size_t element_size);
/* An empty message, or a copy of text, appended to a repeated field. */
void *dni_proto_append_new(const dni_heap *heap, size_t *count, void *array,
                           const ProtobufCMessageDescriptor *type);
dn_status dni_proto_append_string(const dni_heap *heap, size_t *count, char ***array,
                                  const char *text);

/* ---- field.c: messages by descriptor ------------------------------------------------------ */

/* Is a field there: has_x set, a pointer that is not the default, or elements? */
bool dni_field_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Where its value is, for repeated fields the pointer to the first element. */
void *dni_field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
size_t dni_field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
const ProtobufCFieldDescriptor *dni_field_find(const ProtobufCMessage *message,
                                               const char *name);
/* Frees the value and marks the field as not there. */
void dni_field_clear(const dni_heap *heap, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field);
size_t dni_field_size(ProtobufCType type); /* bytes of an element */
/* Says that an optional field is there (fields without a has_x are left alone). */
void dni_field_mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Moves a value between fields of one kind in two messages; into a repeated field it is
 * appended. What the target had is freed. Enums and integers go by value. */
dn_status dni_field_move(const dni_heap *heap, ProtobufCMessage *from,
                         const ProtobufCFieldDescriptor *source, ProtobufCMessage *to,
                         const ProtobufCFieldDescriptor *target);
/* The optional sub-message of that name, made when it is not there. NULL: out of memory. */
ProtobufCMessage *dni_field_message(const dni_heap *heap, ProtobufCMessage *message,
                                    const char *name);

/* ---- location.c: where in a file things were said ----------------------------------------- */

typedef struct dni_place {
    const void *message; /* a layer's message: the key, never followed */
    int32_t line, column;
} dni_place;

/* Something was read that changes nothing here: an engine's name, an old habit. */
typedef struct dni_note {
    int32_t line, column; /* 0: not known */
    char *text;
} dni_note;

typedef struct dni_locations {
    const dni_heap *heap;
    char *file;
    dni_place *places;
    size_t num_places, cap_places;
    dni_note *notes;
    size_t num_notes, cap_notes;
} dni_locations;

dn_status dni_locations_create(dni_locations **out, const dni_heap *heap, const char *file);
void dni_locations_free(dni_locations *locations); /* NULL is fine */
dn_status dni_locations_add(dni_locations *locations, const void *message, int32_t line,
                            int32_t column);
/* The message was replaced by another (an upgrade), or is gone (NULL). */
void dni_locations_move(dni_locations *locations, const void *from, const void *to);
/* False when nothing is known of the message. */
bool dni_locations_find(const dni_locations *locations, const void *message, int32_t *line,
                        int32_t *column);
/* A note on a message, or on a position when message is NULL. locations NULL: none is kept. */
dn_status dni_locations_note(dni_locations *locations, const void *message, int32_t line,
                             int32_t column, const char *format, ...) DNI_PRINTF(5, 6);
/* Puts "file:line:col: " in front of a failure when the place of the message is known, "file: "
 * when only the file is; locations NULL: nothing. Returns status. */
dn_status dni_in_location(dn_status status, const dni_locations *locations,
                          const void *message);

/* ---- text_read.c, text_print.c ------------------------------------------------------------ */

/* Reads prototxt. Errors say "file:line:col: layer 'x': ..."; DN_E_PARSE. *locations, if
 * wanted, holds the layers' places and the notes. Outputs are untouched on failure. */
dn_status dni_text_parse(ProtobufCMessage **out, const dni_heap *heap,
                         const ProtobufCMessageDescriptor *type, const char *text, size_t size,
                         const char *file_name, dni_locations **locations);
/* Prints prototxt as protobuf does: fields by number, two spaces a level, the shortest floats.
 * Unknown fields are left out. *out: free with dni_free. */
dn_status dni_text_print(char **out, const dni_heap *heap, const ProtobufCMessage *message);

/* ---- binary.c ----------------------------------------------------------------------------- */

/* name says in errors what the bytes are ("mean.binaryproto"). */
dn_status dni_binary_parse(ProtobufCMessage **out, const dni_heap *heap,
                           const ProtobufCMessageDescriptor *type, const void *bytes,
                           size_t size, const char *name);
dn_status dni_binary_print(uint8_t **out, size_t *size, const dni_heap *heap,
                           const ProtobufCMessage *message);
/* A .binaryproto file with one blob (a mean, a matrix). */
dn_status dni_proto_read_blob(const dni_heap *heap, const char *path, Cnn__BlobProto **out);

/* ---- weights.c: the weights in a .caffemodel, whatever the layers' parameters -------------- */

enum { DNI_WEIGHTS_F32 = 0, DNI_WEIGHTS_F64 = 1, DNI_WEIGHTS_F16 = 2 };

typedef struct dni_weights_blob {
    dni_shape shape; /* legacy files: num, channels, height, width */
    bool legacy;     /* the shape is of the old, 4-axis kind: leading 1s mean nothing */
    int32_t format;  /* DNI_WEIGHTS_* of what is stored */
    int64_t count;   /* values stored; equals the count of the shape */
    const void *values; /* all of them in a row, little endian, at any address; NULL: scattered */
    const uint8_t *wire; /* the blob's message, borrowed from the file's bytes */
    size_t wire_size;
} dni_weights_blob;

typedef struct dni_weights_layer {
    char *name, *type; /* type: as of today; "" where unknown */
    dni_weights_blob *blobs;
    size_t num_blobs, cap_blobs;
} dni_weights_layer;

typedef struct dni_weights {
    const dni_heap *heap;
    char *net_name; /* "" if it has none */
    dni_weights_layer *layers;
    size_t num_layers, cap_layers;
} dni_weights;

/* Finds layers and blobs of a .caffemodel of any generation by walking its bytes, which must
 * outlive *out. name: the file's, for errors. */
dn_status dni_weights_read(dni_weights *out, const dni_heap *heap, const void *bytes,
                           size_t size, const char *name);
void dni_weights_free(dni_weights *weights);
/* The blob's count values as floats, or as doubles. */
void dni_weights_floats(const dni_weights_blob *blob, float *out);
void dni_weights_doubles(const dni_weights_blob *blob, double *out);

/* ---- upgrade.c ---------------------------------------------------------------------------- */

/* Old nets and solvers to what they mean today, in place. After a failure the message can still
 * be freed, nothing else. locations may be NULL. */
dn_status dni_net_upgrade(Cnn__NetParameter *net, const dni_heap *heap,
                          dni_locations *locations);
dn_status dni_solver_upgrade(Cnn__SolverParameter *solver, const dni_heap *heap,
                             dni_locations *locations);

/* ---- read.c: files ------------------------------------------------------------------------ */

typedef struct dni_net_file {
    Cnn__NetParameter *net; /* upgraded */
    dni_locations *locations; /* never NULL; of a binary file: empty */
    char *folder; /* of the file; NULL: it came from a string */
} dni_net_file;

typedef struct dni_solver_file {
    Cnn__SolverParameter *solver; /* upgraded, nets inside too */
    dni_locations *locations;
    char *folder;
} dni_solver_file;

/* Text or binary, found out by looking. name: what errors call the text. */
dn_status dni_net_read(dni_net_file **out, const dni_heap *heap, const char *path);
dn_status dni_net_read_text(dni_net_file **out, const dni_heap *heap, const char *text,
                            size_t size, const char *name);
void dni_net_file_free(dni_net_file *file, const dni_heap *heap); /* NULL is fine */
dn_status dni_solver_read(dni_solver_file **out, const dni_heap *heap, const char *path);
dn_status dni_solver_read_text(dni_solver_file **out, const dni_heap *heap, const char *text,
                               size_t size, const char *name);
void dni_solver_file_free(dni_solver_file *file, const dni_heap *heap); /* NULL is fine */

#endif
