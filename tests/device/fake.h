/* SPDX-License-Identifier: BSD-2-Clause
 * fake.h: a device without hardware. Its memory is the host's, but whoever touches it outside
 * an op or a copy faults; ops are ref's. It records and replays as CUDA does (nothing runs
 * while it records), and fails when it is told to. */
#ifndef DN_TESTS_DEVICE_FAKE_H
#define DN_TESTS_DEVICE_FAKE_H

#include <stdbool.h>

#include "deepnet/sys/backend.h"

typedef struct fake_control {
    uint64_t declines; /* bit k: kind k is not taken */
    size_t limit;      /* bytes of device memory; 0: none */
    int64_t fail_run;  /* this run of an op fails (counted from 1), and all after it */
    bool fail_out;     /* nothing can be copied from the device */
    int64_t runs, replays, copies_in, copies_out; /* counted */
    size_t bytes_in, bytes_out, allocated, most;
} fake_control;

extern fake_control fake;
extern const dn_backend_ops fake_backend;

#endif
