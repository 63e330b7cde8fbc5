/* SPDX-License-Identifier: BSD-2-Clause
 * plan.h: from program to compiled program. There are two ways to run it: `whole` runs a
 * section at once, as a program of the plan's own in which ops are fused; `plain` runs any
 * range of the ops that the layers wrote. Tensors that stay readable have one memory for both.
 */
#ifndef DNI_PLAN_H
#define DNI_PLAN_H

#include "program/program.h"

typedef struct dni_plan dni_plan;

typedef struct dni_plan_options {
    bool compact;      /* tensors without `keep` share memory by liveness */
    bool plain;        /* nothing is fused */
    bool forward_only; /* whole runs are of the forward section alone */
    bool must_compute; /* some product must be done in what the program asks for */
    size_t limit;      /* bytes of all of it and what is beside it; 0: none */
    size_t beside;     /* bytes of weights, which are placed already */
    size_t gradients;  /* and of theirs, which a backward will ask for */
} dni_plan_options;

/* Sizes in bytes, known before anything is allocated. */
typedef struct dni_plan_sizes {
    size_t data, diff, temp, scratch;
    size_t own; /* of the program, its steps and their ops, which are made already */
} dni_plan_sizes;

/* Compiles; options may be NULL. The program is borrowed and must live as long as the plan. */
dn_status dni_plan_compile(dni_plan **out, dn_context *context, dni_program *program,
                           const dni_plan_options *options);
void dni_plan_free(dni_plan *plan);
/* Is there a way to run the section whole that is not the plain one? */
bool dni_plan_fuses(const dni_plan *plan, dni_section section);
/* Allocates what a section's tensors need and resolves its pointers, for whole runs or for
 * plain ones. WEIGHT, WEIGHT_DIFF and STATE tensors must have their memory by then. Binding
 * twice is fine and does nothing. */
dn_status dni_plan_bind(dni_plan *plan, dni_section section);
dn_status dni_plan_bind_plain(dni_plan *plan, dni_section section);
/* Takes up changed `memory` and `version` of WEIGHT, WEIGHT_DIFF and STATE tensors. */
dn_status dni_plan_rebind(dni_plan *plan);
/* Runs a bound section. fresh: the first op that adds to a WEIGHT_DIFF overwrites it, where
 * dni_plan_overwrites says that there is such an op. *layer: of the op that failed; may be
 * NULL. */
dn_status dni_plan_run(dni_plan *plan, dni_section section, bool fresh, int32_t *layer);
/* The same in parts: after op ends[i] (exclusive; ascending, none beyond the section's end) fn
 * is told, and what it returns ends the run. Only where dni_plan_fuses. */
typedef struct dni_pauses {
    const size_t *ends;
    size_t count;
    size_t end; /* where all ends; 0: with the section */
    dn_status (*fn)(void *user, size_t pause);
    void *user;
} dni_pauses;
dn_status dni_plan_run_paused(dni_plan *plan, dni_section section, bool fresh,
                              const dni_pauses *pauses, int32_t *layer);
/* Behind the last op of the section's whole run that writes the tensor; 0: none does. */
size_t dni_plan_last_write(const dni_plan *plan, dni_section section, dni_tensor tensor);
bool dni_plan_overwrites(const dni_plan *plan, dni_tensor weight_diff);
/* late.c's ops of whole runs, [returned, *end) of dni_plan_program: what they overwrite may be
 * without memory if they do not run. Where a bound one's input is. */
size_t dni_plan_late(const dni_plan *plan, size_t *end);
void *dni_plan_input(const dni_plan *plan, size_t op, int32_t input);
/* The late op that makes the gradient; SIZE_MAX: none does. */
size_t dni_plan_late_maker(const dni_plan *plan, dni_tensor weight_diff);
/* After a whole run that ended before them. */
dn_status dni_plan_run_late(dni_plan *plan);
/* Of a plain plan: ops [first, end) in all their turns. */
dn_status dni_plan_run_turns(dni_plan *plan, size_t first, size_t end);
/* Runs ops [first, end) of the layers' program; their sections must be bound plain. *layer: as
 * above. */
dn_status dni_plan_run_plain(dni_plan *plan, size_t first, size_t end, int32_t *layer);
/* Where a tensor of the layers' program lives when it runs plain; for one that stays readable,
 * always. NULL before its section is bound. */
void *dni_plan_memory(const dni_plan *plan, dni_tensor tensor);
/* The aligned block in which a tensor lives that the plan places and that stays readable. */
void *dni_plan_block(const dni_plan *plan, dni_tensor tensor);
/* The same brought up to date, now and from then on after every run; on a device perhaps an
 * address to go by. */
dn_status dni_plan_show(dni_plan *plan, dni_tensor tensor, void **out);
/* The same for the host to look at: memory, whose values are fetched as ever. What the host
 * writes there is seen by the next plain run, or by a fused one that does not itself write the
 * blob; not by the backward of a run in which the blob lies as NHWC, or bf16. */
dn_status dni_plan_look(dni_plan *plan, dni_tensor tensor, void **out);
/* Brings everything readable up to date, once. Plain runs do it first. */
dn_status dni_plan_settle(dni_plan *plan);
/* The values of a tensor go from one plan to another in which it is the same. */
dn_status dni_plan_carry(dni_plan *from, dni_plan *to, dni_tensor tensor);
/* Copies all values that stay readable and have memory to `buffer`, or back. */
size_t dni_plan_data_bytes(const dni_plan *plan);
dn_status dni_plan_copy_data(dni_plan *plan, char *buffer, bool back);
/* false: under `compact` the tensor's memory is used by others as well. */
bool dni_plan_readable(const dni_plan *plan, dni_tensor tensor);
dni_plan_sizes dni_plan_size(const dni_plan *plan);
/* What whole runs run, and how. */
const dni_program *dni_plan_program(const dni_plan *plan);
/* "cpu:sgemm", written anew by an op that describes itself. */
const char *dni_plan_implementation(dni_plan *plan, size_t op);
double dni_plan_cost(const dni_plan *plan, size_t op); /* ns, one thread; 0: unknown */
/* Bytes that the op keeps from its preparation; bit i of *unread: in place of input i, which
 * runs do not read. */
size_t dni_plan_keeps(const dni_plan *plan, size_t op, uint32_t *unread);
/* The op that takes up what this one makes while preparing, at once; SIZE_MAX: none does. */
size_t dni_plan_taken_by(const dni_plan *plan, size_t op);
/* Ops [*first, *end) run side by side, this one by the worker returned; -1: by itself. */
int32_t dni_plan_lane(const dni_plan *plan, size_t op, size_t *first, size_t *end);
/* Some steps run on a device; does this one? */
bool dni_plan_has_device(const dni_plan *plan);
bool dni_plan_on_device(const dni_plan *plan, size_t op);
/* Why steps [first, end), or some of them, could not be recorded; "": they were, or are yet to
 * be. */
const char *dni_plan_refused(const dni_plan *plan, size_t first, size_t end);
/* print.c: the steps of whole runs as a table, and those of the update behind them (NULL:
 * none); layer_name knows the layers of both. */
void dni_plan_print(dni_plan *plan, dni_plan *update,
                    const char *(*layer_name)(void *user, int32_t layer), void *user,
                    dni_text *text);
const char *dni_plan_declined(const dni_plan *plan, size_t op); /* "cpu: why"; "" */

#endif
