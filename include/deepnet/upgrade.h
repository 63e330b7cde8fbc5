/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/upgrade.h: files of any generation and dialect in today's language. */
#ifndef DEEPNET_UPGRADE_H
#define DEEPNET_UPGRADE_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/context.h"

DN_BEGIN_DECLS

enum { DN_FILE_AUTO = 0, DN_FILE_NET = 1, DN_FILE_SOLVER = 2 };
enum { DN_FORM_AUTO = 0, DN_FORM_TEXT = 1, DN_FORM_BINARY = 2 };

/* Zero is the default of every field; struct_size = sizeof(dn_upgrade_options). */
typedef struct dn_upgrade_options {
    size_t struct_size;
    int32_t kind; /* DN_FILE_*: what the file is; default: found from its words */
    int32_t form; /* DN_FORM_*: what to write; default: by the new path's ending (.prototxt,
                     .pbtxt, .pt and .txt are text, .caffemodel and .binaryproto binary), else
                     the form of the old file */
    const char *dialect; /* as in dn_net_options: whose field numbers a binary file has */
} dn_upgrade_options;

/* Writes a net (weights too) or a solver as today's: old generations of layers, inputs and
 * solver types in today's words, forks' field numbers as this library's. From text to text,
 * comments stay with what they stood beside, and fields of dialects unknown here stay as they
 * were written; unknown fields of a binary file stay as bytes. The new file appears whole or
 * not at all. The log names what was unknown and what was dropped for having no meaning.
 * context  lends its memory and its log; may be used by nets meanwhile.
 * from, to paths; they may be the same.
 * options  borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_IO, DN_E_PARSE, DN_E_NET (generations mixed, inputs without their sizes),
 * DN_E_UNSUPPORTED (a field of the text that is unknown here has no number to be binary by; a
 * solver_type or V0 type that is not known), DN_E_NOTFOUND (no such dialect), DN_E_NOMEM,
 * DN_E_INVALID. Thread-safety: any thread. Since 0.1. */
DN_API dn_status dn_upgrade_file(dn_context *context, const char *from, const char *to,
                                 const dn_upgrade_options *options);

DN_END_DECLS
#endif
