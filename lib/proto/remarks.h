/* SPDX-License-Identifier: BSD-2-Clause
 * remarks.h: comments and unknown fields of a text, kept for printing it again. Every function
 * takes NULL for a text whose remarks nobody keeps. */
#ifndef DNI_REMARKS_H
#define DNI_REMARKS_H

#include "core/core.h"

typedef struct dni_remarks dni_remarks;

typedef enum dni_remark_kind {
    DNI_REMARK_ABOVE,  /* lines before the field */
    DNI_REMARK_BESIDE, /* behind it, on its line */
    DNI_REMARK_UNKNOWN /* a field that the schema lacks, as it was written */
} dni_remark_kind;

#define DNI_ANY_INDEX SIZE_MAX

dn_status dni_remarks_create(dni_remarks **out, const dni_heap *heap);
void dni_remarks_free(dni_remarks *remarks);
/* On value `index` of a field; field NULL: at the end of the message. Empty text: nothing. */
dn_status dni_remarks_add(dni_remarks *remarks, const dni_heap *heap, dni_remark_kind kind,
                          const void *message, const char *field, size_t index,
                          const char *text, size_t size);
/* What hung on from's field will hang on to's: of one value, or of any (DNI_ANY_INDEX), whose
 * indices grow by to_index. field NULL, index DNI_ANY_INDEX: all else that hung on `from`,
 * under the names it has. Takes effect when settled; each remark moves once. */
dn_status dni_remarks_move(dni_remarks *remarks, const dni_heap *heap, const void *from,
                           const char *field, size_t index, const void *to,
                           const char *to_field, size_t to_index);
void dni_remarks_settle(dni_remarks *remarks);
/* Appends those of a kind that were not printed yet; ABOVE and UNKNOWN as lines, BESIDE to the
 * last line. */
void dni_remarks_print(dni_remarks *remarks, dni_text *out, dni_remark_kind kind,
                       const void *message, const char *field, size_t index, int32_t indent);
/* All of a message that were not printed yet. */
void dni_remarks_print_rest(dni_remarks *remarks, dni_text *out, const void *message,
                            int32_t indent);
/* How many unknown fields there are. */
size_t dni_remarks_unknown(const dni_remarks *remarks);

#endif
