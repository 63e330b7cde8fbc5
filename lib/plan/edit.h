/* SPDX-License-Identifier: BSD-2-Clause
 * edit.h: what the passes that change how values lie have in common (layout.c, types.c): values
 * in a second form, and ops that convert between the two, put before the ops they are for. */
#ifndef DNI_EDIT_H
#define DNI_EDIT_H

#include "program/program.h"

typedef struct dni_edit {
    dni_program *p;
    size_t num_ops, num_tensors; /* at first */
    dni_tensor *other; /* per storage: its copy in the other form, while that is good */
    dni_tensor *moved; /* per storage: where a readable one lies in its new form */
    size_t *before;    /* per added op: the op it goes before */
    size_t cap_before;
} dni_edit;

dn_status dni_edit_begin(dni_edit *e, dni_program *p);
/* Added ops go where they belong, unless st is a failure; what the edit held is freed. */
dn_status dni_edit_end(dni_edit *e, dn_status st);

/* Where storage `root` really lies. */
dni_tensor dni_edit_place(const dni_edit *e, dni_tensor root);
/* A new value like another, in this form; DNI_NONE: no memory. */
dni_tensor dni_edit_value(dni_edit *e, dni_tensor like, int32_t dtype, int32_t layout);
/* *out: value as operand t sees it, of t's shape and in this layout. */
dn_status dni_edit_view(dni_edit *e, dni_tensor t, dni_tensor value, int32_t layout,
                        dni_tensor *out);
/* An op of this kind that makes `to` from `from`, before op `at`; NULL: no memory. */
dni_op *dni_edit_insert(dni_edit *e, size_t at, int32_t kind, dni_section section,
                        dni_tensor from, dni_tensor to);

#endif
