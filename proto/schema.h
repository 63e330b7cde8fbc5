/* SPDX-License-Identifier: BSD-2-Clause
 * schema.h: the descriptors that schema.c fills. They are defined where cnn.pb-c.h, which has
 * them const, is not seen. */
#ifndef CNN_SCHEMA_H
#define CNN_SCHEMA_H

#include <protobuf-c/protobuf-c.h>

extern void *const cnn_types[]; /* NULL, those of messages, those of enums */

void cnn_unpack(void); /* fills them: the constructor of cnn_types.c */

#endif
