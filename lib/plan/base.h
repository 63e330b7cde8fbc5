/* SPDX-License-Identifier: BSD-2-Clause
 * base.h: memory of the tensors that stay readable. It is one for all ways to run a program, so
 * that the host's pointers hold whichever way ran. */
#ifndef DNI_BASE_H
#define DNI_BASE_H

#include "core/mirror.h"
#include "program/program.h"

typedef struct dni_base {
    const dn_context *device; /* on a device: nothing is on the host before somebody looks */
    const dni_heap *heap;
    bool compact;
    size_t count; /* tensors of the layers' program */
    bool *pinned; /* per tensor that owns its storage: it lies here */
    void **apart; /* memory of its own, for one that is filled when looked at */
    bool *shown;  /* it is such a one; on a device, until it is bound */
    size_t *offset;
    size_t data, diff; /* bytes of each kind */
    char *arena[2];    /* data, diff; NULL: nobody asked yet */
    char *names;       /* on a device: addresses to go by, until there is memory */
} dni_base;

/* compact: only tensors with `keep`, and a backward may use up what the forward left. `base` is
 * freed by the caller also after a failure. */
dn_status dni_base_init(dni_base *base, const dni_program *program, bool compact);
void dni_base_free(dni_base *base);
/* Memory at *out, a pointer to a pointer, unless there is some or none is needed. */
dn_status dni_make_arena(const dni_heap *heap, void *out, size_t bytes, bool zero);
/* Gives every tensor its place; after the last change of `shown`. */
dn_status dni_base_place(dni_base *base, const dni_program *program);
/* Memory of values, and for BACKWARD of gradients; not of those that are shown. */
dn_status dni_base_bind(dni_base *base, dni_section section);
/* Memory on the host, for whoever reads or writes it there; its values are fetched as ever. */
dn_status dni_base_look(dni_base *base, const dni_program *program, dni_tensor root);
/* Memory of one that is shown; on a device an address to go by, as the others have. */
dn_status dni_base_bind_shown(dni_base *base, const dni_program *program, dni_tensor root);
/* Copies all values to `buffer` (of dni_base_data_bytes), or back. */
size_t dni_base_data_bytes(const dni_base *base, const dni_program *program);
void dni_base_copy(const dni_base *base, const dni_program *program, char *buffer, bool back);
bool dni_base_has(const dni_base *base, dni_tensor root);
/* On a device perhaps an address to go by. NULL: not bound. */
void *dni_base_memory(const dni_base *base, const dni_program *program, dni_tensor root);

#endif
