/* SPDX-License-Identifier: BSD-2-Clause
 * fake.h: a device without hardware. Its memory is the host's, but whoever touches it outside
 * an op or a copy faults; ops are ref's. It records and replays as CUDA does (nothing runs
 * while it records), and fails when it is told to. */
#ifndef DN_TESTS_DEVICE_FAKE_H
#define DN_TESTS_DEVICE_FAKE_H

#include <stdbool.h>

#include "deepnet/sys/backend.h"

typedef struct fake_control {
    uint64_t declines;  /* bit k: kind k is not taken */
    bool declines_many; /* UPDATE of more than one weight is not */
    size_t limit;       /* bytes of device memory; 0: none */
    int64_t fail_run;   /* this run of an op fails (counted from 1), and all after it */
    bool fail_out;      /* nothing can be copied from the device */
    int64_t runs, replays, copies_in, copies_out; /* counted */
    int64_t trips_out; /* of copies to the host: those that were said to come share one */
    size_t bytes_in, bytes_out, allocated, most;
    int64_t waits, allocations;
} fake_control;

extern fake_control fake;
/* What a host does with device memory, its own or what it was given, in the context made last:
 * makes it, writes and reads it, frees it. */
void *fake_make(size_t bytes);
void fake_poke(void *device, const void *from, size_t bytes);
void fake_peek(void *to, const void *device, size_t bytes);
void fake_drop(void *device);
const dn_backend_host *fake_host(void); /* what its backend was given */
extern const dn_backend_ops fake_backend;

#endif
