/* SPDX-License-Identifier: BSD-2-Clause
 * record.h: runs of device steps are recorded once they have run to their end, and replayed
 * from then on, if the backend can. Between dni_join_begin and dni_join_end replays are put off
 * until something else uses the device, and those that so follow one another are one. */
#ifndef DNI_PLAN_RECORD_H
#define DNI_PLAN_RECORD_H

#include "core/mirror.h"
#include "plan/steps.h"

typedef struct dni_recording {
    size_t first, end;
    bool fresh;
    bool ran;        /* to its end: nothing is tried, or loaded, for the first time while it is
                        recorded */
    void *recording; /* the backend's; NULL: none yet */
    char refused[120]; /* these steps cannot be recorded: why; "": they may be */
    size_t scarce;     /* there was no memory for it while so much was held: tried again when it
                          is less, as each try costs more than a run; 0: there was */
} dni_recording;

/* Steps [first, end), which are all on the device, once the host's of before are done. */
dn_status dni_record_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                         size_t *failed);
/* Before pointers change: recordings of `s` are of no use then. */
void dni_record_drop(dni_steps *s);

enum { DNI_JOIN_PARTS = 8, DNI_JOIN_KEPT = 4 };

typedef struct dni_join_part { /* a recording of some steps */
    const dni_steps *steps;
    uint64_t version;
    size_t index;
} dni_join_part;

typedef struct dni_joined {
    dni_join_part parts[DNI_JOIN_PARTS];
    size_t count;  /* 0: none */
    uint64_t used; /* dni_join.begun the last time */
    void *recording;
    size_t scarce; /* as of a part */
} dni_joined;

/* The owner's, from step to step; zero at first. */
typedef struct dni_join {
    dni_late late; /* first: it is cast to */
    dn_context *context;
    dni_joined now; /* put off */
    dni_joined kept[DNI_JOIN_KEPT];
    uint64_t begun; /* how often */
} dni_join;

void dni_join_begin(dni_join *join, dn_context *context);
/* Runs what is put off, also after st, a failure, which it returns. */
dn_status dni_join_end(dni_join *join, dn_status st);
void dni_join_free(dni_join *join);

#endif
