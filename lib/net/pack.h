/* SPDX-License-Identifier: BSD-2-Clause
 * pack.h: a .caffemodel written field by field, so that weights are copied once. */
#ifndef DNI_PACK_H
#define DNI_PACK_H

#include "net/net.h"

typedef struct dni_pack_blob {
    dni_shape shape;
    int32_t dtype;
    const void *data, *diff; /* data NULL: zeros; diff NULL: none */
} dni_pack_blob;

enum { DNI_PACK_HEAD = 64 + 10 * DN_MAX_AXES }; /* bytes for a blob's key and head */

/* Bytes of a BlobProto; all of it that is before the values; and a field that is one, straight
 * from where its values are. */
size_t dni_pack_blob_size(const dni_pack_blob *blob);
uint8_t *dni_pack_shape(uint8_t *at, const dni_shape *shape); /* the field BlobProto.shape */
uint8_t *dni_pack_blob_head(uint8_t *at, const dni_pack_blob *blob);
void dni_pack_blob_save(dni_draft *draft, uint32_t number, const dni_pack_blob *blob);
uint8_t *dni_pack_varint(uint8_t *at, uint64_t value);
/* A length-delimited field's key and length; its bytes follow. */
size_t dni_pack_field_size(uint32_t number, size_t size);
uint8_t *dni_pack_field(uint8_t *at, uint32_t number, size_t size);
/* The same at the end of a text, with its bytes unless they are NULL. */
void dni_pack_append(dni_text *text, uint32_t number, const void *bytes, size_t size);

#endif
