/* SPDX-License-Identifier: BSD-2-Clause
 * plan.h: from program to compiled program: each op gets an implementation from the context's
 * chain of backends, each tensor a place in an arena. Running is then a loop over prepared ops. */
#ifndef DNI_PLAN_H
#define DNI_PLAN_H

#include "program/program.h"

typedef struct dni_plan dni_plan;

typedef struct dni_plan_options {
    bool compact;     /* tensors without `keep` share memory by liveness */
    size_t limit;     /* bytes of arenas and scratch together; 0: none */
} dni_plan_options;

/* Sizes in bytes, known before anything is allocated. */
typedef struct dni_plan_sizes {
    size_t data, diff, temp, scratch;
} dni_plan_sizes;

/* Compiles; options may be NULL. The program is borrowed and must live as long as the plan. */
dn_status dni_plan_compile(dni_plan **out, dn_context *context, dni_program *program,
                           const dni_plan_options *options);
void dni_plan_free(dni_plan *plan);
/* Allocates what a section's tensors need and resolves its pointers. WEIGHT, WEIGHT_DIFF and STATE
 * tensors must have their memory by then. Binding twice is fine and does nothing. */
dn_status dni_plan_bind(dni_plan *plan, dni_section section);
/* Takes up changed `memory` of WEIGHT, WEIGHT_DIFF and STATE tensors. */
dn_status dni_plan_rebind(dni_plan *plan);
/* Runs ops [first, end) of the program, whose sections must be bound. */
dn_status dni_plan_run(dni_plan *plan, size_t first, size_t end);
/* Where a tensor lives; NULL before its section is bound. */
void *dni_plan_memory(const dni_plan *plan, dni_tensor tensor);
/* false: under `compact` the tensor's memory is used by others as well. */
bool dni_plan_readable(const dni_plan *plan, dni_tensor tensor);
dni_plan_sizes dni_plan_size(const dni_plan *plan);
const char *dni_plan_implementation(const dni_plan *plan, size_t op); /* "cpu:sgemm" */
const char *dni_plan_declined(const dni_plan *plan, size_t op);       /* "cpu: why"; "" */

#endif
