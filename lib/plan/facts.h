/* SPDX-License-Identifier: BSD-2-Clause
 * facts.h: what passes ask of a program: which ops touch a storage and in which order, which
 * ops overwrite all of an output, and which may work in place. Told by kind, here and nowhere
 * else. */
#ifndef DNI_FACTS_H
#define DNI_FACTS_H

#include "program/program.h"

/* The plan gives the tensor memory (others bring their own). */
bool dni_is_placed(const dni_tensor_info *t);
size_t dni_tensor_bytes(const dni_tensor_info *t);
/* What the op reads and writes; twice what it adds to. */
double dni_op_bytes(const dni_program *p, const dni_op *op);
/* Nanoseconds that it needs at the least on one AVX-512 core as measured. */
double dni_op_limit(const dni_program *p, const dni_op *op);
/* The tensor whose memory t is; DNI_NONE for DNI_NONE. */
dni_tensor dni_root(const dni_program *p, dni_tensor t);
/* Does the op read storage `root`? An output that is added to is read. */
bool dni_op_reads(const dni_program *p, const dni_op *op, dni_tensor root);
bool dni_op_writes(const dni_program *p, const dni_op *op, dni_tensor root);
/* Output k is written whole, whatever was in it before. */
bool dni_overwrites(const dni_program *p, const dni_op *op, int32_t k);
/* Output `output` may lie where input `input` does, if it is not added to. */
bool dni_may_alias(const dni_op *op, int32_t input, int32_t output);
/* Every element of x goes to the same place of y, unchanged, and y has no others. */
bool dni_is_copy(const dni_program *p, const dni_op *op);

/* First op in [from, end) that reads, or writes, root; `end` if there is none. */
size_t dni_next_read(const dni_program *p, dni_tensor root, size_t from, size_t end);
size_t dni_next_write(const dni_program *p, dni_tensor root, size_t from, size_t end);
/* Last op before `end` that writes root, or reads it; SIZE_MAX: none. */
size_t dni_last_write(const dni_program *p, dni_tensor root, size_t end);
size_t dni_last_read(const dni_program *p, dni_tensor root, size_t end);
/* No op in [from, end) writes t's memory. */
bool dni_unwritten(const dni_program *p, dni_tensor t, size_t from, size_t end);
/* No op in [from, end) reads or writes root. */
bool dni_untouched(const dni_program *p, dni_tensor root, size_t from, size_t end);
/* Op `reader` alone reads what op `writer` left in root: nobody else does until it is
 * overwritten whole, and the host does not look at it. */
bool dni_only_reader(const dni_program *p, dni_tensor root, size_t writer, size_t reader);
/* Who asks much notes which ops touch which storage: all ops, and again what got operands,
 * until they are moved or forgotten. */
dn_status dni_note_all(dni_program *p);
dn_status dni_note(dni_program *p, size_t op); /* nothing where none is noted */
void dni_forget_notes(dni_program *p);
/* Makes `from` and everything that shares its memory share that of `to`. While it is noted. */
dn_status dni_merge_storage(dni_program *p, dni_tensor from, dni_tensor to);

#endif
