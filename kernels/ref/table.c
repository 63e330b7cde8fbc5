/* SPDX-License-Identifier: BSD-2-Clause
 * table.c: the kinds of op by number, once for float and once for double. */
#include "ref.h"

#define ROW(number, name) [DN_OP_##number] = &REF(ref_##name),

const ref_kind *const REF(ref_table)[DN_OP_KIND_END] = {REF_KINDS(ROW)};
