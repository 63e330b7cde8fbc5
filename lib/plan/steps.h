/* SPDX-License-Identifier: BSD-2-Clause
 * steps.h: a program compiled: every op with its implementation and its pointers, every tensor
 * with its place. Running is a loop over prepared steps. */
#ifndef DNI_STEPS_H
#define DNI_STEPS_H

#include "plan/base.h"
#include "plan/choose.h"

typedef struct dni_step {                            /* all that a run reads */
    dn_status (*run)(dn_op *op, const dn_op_io *io); /* NULL: a host call */
    dn_op *op;
    dn_op_io io;
    bool on_device;
} dni_step;

typedef struct dni_sides dni_sides; /* device.h */

enum { DNI_LANES = 8 };

typedef struct dni_group { /* steps [first, end), lanes of which run side by side */
    size_t first, end;
    int32_t lanes;
} dni_group;

typedef struct dni_watch { /* a weight that constants were made from */
    dni_tensor tensor;
    uint64_t seen; /* its version then */
} dni_watch;

typedef struct dni_steps {
    dn_context *context;
    dni_program *program; /* borrowed */
    dni_base *base;       /* borrowed */
    dni_step *steps;      /* one per op */
    dni_choice *choices;  /* one per op */
    size_t *keep_at;      /* per op, where in `keep` */
    size_t *scratch_at;   /* per op, where in `scratch` */
    dni_group *groups;    /* ascending */
    size_t num_groups;
    uint8_t *lane;    /* per op, of its group */
    size_t *taken_by; /* per op: the one that takes up at once what it makes; SIZE_MAX */
    bool *fleeting;   /* per tensor: it is there while that happens */
    size_t first[DNI_SECTIONS], end[DNI_SECTIONS];
    dn_op **fresh;       /* per op: the same, overwriting weights' gradients; NULL: none */
    bool *overwritten;   /* per tensor: such an op is the first to write it */
    void **pointers;     /* operands of all ops, one after the other */
    dni_tensor *lies_in; /* per storage: the one whose place it has */
    dni_section *home;   /* per storage: the section whose arena it lies in */
    size_t *offset;
    size_t arena_size[DNI_SECTIONS];
    char *arena[DNI_SECTIONS];
    bool bound[DNI_SECTIONS];
    size_t scratch_size, keep_size;
    size_t host_scratch; /* of ops that run on the host */
    bool host_keeps;     /* one of them keeps something */
    void *scratch;
    char *keep;
    dni_watch *watches;
    size_t num_watches;
    bool prepared;
    dni_sides *sides; /* NULL: the context has no device */
} dni_steps;

/* fresh: also make ops that overwrite the gradients of weights. `s` is freed by the caller also
 * after a failure. */
dn_status dni_steps_compile(dni_steps *s, dn_context *context, dni_program *program,
                            dni_base *base, bool fresh);
void dni_steps_free(dni_steps *s);
/* Bytes beside the base: arenas, scratch, what ops keep. */
size_t dni_steps_bytes(const dni_steps *s);
/* Allocates what the section needs and resolves its pointers; the base must be bound. */
dn_status dni_steps_bind(dni_steps *s, dni_section section);
/* Takes up changed `memory` of WEIGHT, WEIGHT_DIFF and STATE tensors. */
dn_status dni_steps_rebind(dni_steps *s);
void *dni_steps_memory(const dni_steps *s, dni_tensor tensor);
/* Makes constants anew if a weight they were made from changed. */
dn_status dni_steps_prepare(dni_steps *s);
/* Resolves the pointers of one step. */
dn_status dni_steps_resolve(dni_steps *s, size_t step);
/* Moves their pointers on, or back, by so many turns. */
void dni_steps_advance(dni_steps *s, size_t first, size_t end, int32_t turns);
/* Runs steps [first, end), `fresh` ops where there are any and that is true. *failed: where it
 * stopped; may be NULL. */
dn_status dni_steps_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                        size_t *failed);
/* Those of a lane, one after the other; lane < 0: all. */
dn_status dni_steps_run_lane(const dni_steps *s, size_t first, size_t end, int32_t lane,
                             bool fresh, size_t *failed);

/* branches.c: finds what can run side by side: groups, lane. */
dn_status dni_steps_find_groups(dni_steps *s);
/* Gives lanes scratch of their own: scratch_at. false: too much for a size_t. */
bool dni_steps_share_scratch(dni_steps *s);
dn_status dni_steps_run_group(const dni_steps *s, const dni_group *group, bool fresh,
                              size_t *failed);

/* fleeting.c: finds what is fleeting. */
dn_status dni_steps_find_fleeting(dni_steps *s);
/* arena.c: gives every tensor of the list a place: lies_in, home, offset, arena_size. in_turns:
 * a whole backward follows each forward, and nothing else does. */
dn_status dni_steps_place(dni_steps *s, bool in_turns);

#endif
