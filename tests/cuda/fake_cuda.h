/* SPDX-License-Identifier: BSD-2-Clause
 * fake_cuda.h: what a test tells the fake CUDA runtime and reads of it: `fake_cuda` in the
 * module that was linked with it. */
#ifndef DN_TESTS_CUDA_FAKE_CUDA_H
#define DN_TESTS_CUDA_FAKE_CUDA_H

#include <stddef.h>

typedef struct fake_cuda_control {
    /* Told; counted from 1, 0: never. */
    long fail_launch; /* this launch is refused */
    long fail_call;   /* of streams, events and recordings: this call fails, */
    long fail_more;   /* and so many after it */
    long fail_wait;   /* this wait for a stream fails, and what it is for is never done */
    long lost;        /* at this launch the device is lost, with all that is asked of it */
    size_t limit;     /* bytes of device memory; 0: none */
    size_t kernel;    /* bytes of it that must be free for a launch that is not recorded, */
    size_t graph;     /* and for each that is when a recording is prepared */
    int driver;       /* the driver's version, if it is too old */
    int no_capture;   /* streams cannot be recorded */
    int no_pinned;    /* the host has no more memory to pin */
    int gone;         /* the driver has ended */
    int soon; /* streams that are made now do what waits for nothing at once; 0: when waited for
               */
    int order; /* of the streams of a recording that a replay goes on with: 0 that where it
                  began, as long as it can, 1 the other, more: either */
    int slow;  /* so many milliseconds pass before the second device gives memory */
    const long *half; /* NULL, or means that some ranks wait in and others have not come to */
    /* Counted. */
    long calls; /* that may fail so */
    long launches, given, recordings, replays, allocations;
    long kernels;          /* of the last recording, libraries' not among them */
    long lanes, all, path; /* of that: streams; launches, the libraries' too; the most of them
                              that come one after the other */
    size_t held, most, copied[4]; /* bytes by cudaMemcpyKind */
    long waits;                   /* for a stream, */
    long paced;                   /* for an event whose turn has not come, */
    long held_up; /* for every device: memory taken or given back, copies out of it to memory
                     that is not pinned, recordings made */
    long late;    /* calls to let go of something when the driver had ended */
    long stuck; /* calls for which the host waits for every device, while there was one `half`:
                   for ever, if the caller is of those who have not come */
} fake_cuda_control;

#endif
