/* SPDX-License-Identifier: BSD-2-Clause
 * base.h: memory of the tensors that stay readable. It is one for all ways to run a program, so
 * that the host's pointers hold whichever way ran. */
#ifndef DNI_BASE_H
#define DNI_BASE_H

#include "program/program.h"

typedef struct dni_base {
    const dni_heap *heap;
    size_t count;    /* tensors of the layers' program */
    bool *pinned;    /* per tensor that owns its storage: it lies here */
    size_t *offset;
    size_t data, diff; /* bytes of each kind */
    char *arena[2];    /* data, diff; NULL: nobody asked yet */
} dni_base;

/* compact: only tensors with `keep`. `base` is freed by the caller also after a failure. */
dn_status dni_base_init(dni_base *base, const dni_program *program, bool compact);
void dni_base_free(dni_base *base);
dn_status dni_base_bind(dni_base *base, dni_section section);
bool dni_base_has(const dni_base *base, dni_tensor root);
/* NULL: not bound. */
void *dni_base_memory(const dni_base *base, const dni_program *program, dni_tensor root);

#endif
