/* SPDX-License-Identifier: BSD-2-Clause
 * device.h: one device as the backend uses it: a stream, the host's or its own, staging,
 * cuBLAS, cuDNN. The host's current device is put back after every call. */
#ifndef DN_KERNELS_CUDA_DEVICE_H
#define DN_KERNELS_CUDA_DEVICE_H

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <stdatomic.h>

#include "cuda.h"

/* Libraries are opened at run time: of each the functions that are wanted, as a list
 * FUNCTIONS(X) of names, are fields of a struct `lib` and rows of a table. */
typedef struct cuda_function {
    const char *name;
    void *to; /* a pointer to such a function */
} cuda_function;
#define CUDA_TEXT(number)        #number
#define CUDA_SONAME(name, major) name ".so." CUDA_TEXT(major)
#define CUDA_FIELD(name)         __typeof__(name) *name;
#define CUDA_ROW(name)           {#name, &lib->name},
/* Opens the library, which *library is then, and finds all of its functions; are they there? */
bool cuda_find(void **library, const char *soname, const cuda_function *wanted, size_t count);

#define CUDA_SLOTS      64
#define CUDA_SLOT_BYTES ((size_t)64 << 10)
#define CUDA_STAGES     8
#define CUDA_MOST_STAGE ((size_t)32 << 20)
#define CUDA_LOOK_BYTES ((size_t)2 << 20)

/* A large piece on its way: through pinned memory, then beside the computation to the device,
 * then to where it belongs when the computation comes to it. */
typedef struct cuda_stage {
    void *pinned, *device;
    size_t bytes;
    cudaEvent_t copied; /* to the device: pinned is free */
    cudaEvent_t taken;  /* from there: so is device */
} cuda_stage;

/* A copy to the host that was begun, as it was said that it comes. */
typedef struct cuda_expected {
    const void *device; /* NULL: the host has it */
    size_t bytes, at;   /* where in the slot */
} cuda_expected;
#define CUDA_EXPECTED 16

typedef struct cuda_blas cuda_blas; /* blas.c */
typedef struct cuda_dnn cuda_dnn;   /* dnn.c */
typedef struct cuda_lt cuda_lt;     /* lt.c */

struct cuda_device {
    int32_t ordinal;
    struct cudaDeviceProp properties;
    int (*get_current)(void **); /* the driver's cuCtxGetCurrent and cuCtxSetCurrent */
    int (*set_current)(void *);
    void *context;                   /* the device's primary one, which the runtime works in */
    char *slots;                     /* pinned: CUDA_SLOTS small copies on their way, and one
                                        more to the host */
    cudaEvent_t arrived[CUDA_SLOTS]; /* all of these are made by the first copy */
    int32_t next_slot;
    atomic_bool no_slots; /* no memory to pin for them, and none was given back since */
    cuda_stage stages[CUDA_STAGES];
    int32_t num_stages, next_stage; /* those that are used, two at the least */
    atomic_bool no_stages;          /* likewise no memory for more of them */
    int32_t pieces, before;         /* large ones of this batch, of the one before: */
    uint64_t batch_at;              /* all that was copied when visits was up to so many */
    cudaStream_t copier;
    char *looks;          /* pinned: two pieces of something large on its way to the host */
    cudaEvent_t there[2]; /* it arrived */
    cuda_expected expected[CUDA_EXPECTED];
    int32_t num_expected;
    bool all_there;          /* in the slot */
    uint64_t expected_at;    /* when visits was so many; else there are none */
    _Atomic uint64_t visits; /* by cuda_enter */
    cuda_blas *blas;         /* NULL: not found */
    cuda_lt *lt;             /* likewise */
    cuda_dnn *dnn;           /* likewise */
    cudaStream_t own;        /* for recordings, and where the host has no stream for all else */
    cudaStream_t side; /* beside it in recordings; made, with the rest, for the first of them */
    void *side_workspace, *side_scratch;
    int64_t recordings; /* that there are */
    bool capturing;     /* one is made */
    bool astray; /* a library did not follow to backend->stream, and works in another one */
    bool gone;   /* the process ends, and the driver went before us with all that it had */
};

/* Makes the backend's device current; cuda_leave puts back what was: the host's context, be it
 * one of its own making, or none. */
typedef struct cuda_visit {
    const cuda_device *device; /* NULL: nothing to put back */
    void *before;
} cuda_visit;
dn_status cuda_enter(dn_backend *backend, cuda_visit *visit);
void cuda_leave(const cuda_visit *visit);

/* DN_OK, or a failure that says what was asked and CUDA's own words. */
dn_status cuda_check(dn_backend *backend, cudaError_t error, const char *what);

/* ": " and CUDA's own words where the device is lost, which libraries do not pass on: they have
 * other runtimes than ours, but an error that stays is in all of them. Else "". */
#define CUDA_WORDS 160
const char *cuda_lost_words(const dn_backend *backend, char words[CUDA_WORDS]);

/* Device memory, for which the side stream's is given up; use: "", or what it is for. */
dn_status cuda_alloc(dn_backend *backend, void **out, size_t bytes, const char *use);
dn_status cuda_alloc_pinned(dn_backend *backend, void **out, size_t bytes, unsigned flags);

/* Opens the device host->device; backend->device is set, also where this fails half-way. */
dn_status cuda_device_open(dn_backend *backend);
void cuda_device_close(dn_backend *backend);

/* With the device current; what kernels found wrong with the data comes out here. */
dn_status cuda_wait(dn_backend *backend);

/* staging.c: the table's entries of these names; what they made is freed by the last, with the
 * device current. */
dn_status cuda_copy_in(dn_backend *backend, void *device, const void *host, size_t bytes);
dn_status cuda_copy_out(dn_backend *backend, void *host, const void *device, size_t bytes);
dn_status cuda_copy_out_soon(dn_backend *backend, void *host, const void *device, size_t bytes);
void cuda_staging_close(dn_backend *backend);

/* Of events: *event is made unless it is there. What is queued in a stream after _await comes
 * after what was queued before _record; _order is both. */
dn_status cuda_event_make(dn_backend *backend, cudaEvent_t *event);
dn_status cuda_event_record(dn_backend *backend, cudaEvent_t event, cudaStream_t stream);
dn_status cuda_event_await(dn_backend *backend, cudaEvent_t event, cudaStream_t stream);
dn_status cuda_event_order(dn_backend *backend, cudaEvent_t event, cudaStream_t earlier,
                           cudaStream_t later);

/* lanes.c: what is to be recorded, all of which is captured at the end. `io` and what it points
 * to stay as they are until then. */
cuda_tape *cuda_tape_make(dn_backend *backend);
void cuda_tape_free(dn_backend *backend);
void cuda_tape_begin(dn_backend *backend);
dn_status cuda_tape_note(dn_op *op, const dn_op_io *io);
/* backend->stream is any of those that were recorded then. */
dn_status cuda_tape_capture(dn_backend *backend, cudaGraph_t *graph);

/* The side stream and what goes with it. False: there is no memory for it; no error is left. */
#define CUDA_SIDE_SCRATCH ((size_t)16 << 20)
bool cuda_side_open(dn_backend *backend);
/* Gives it back where no recording is left that may use it. False: nothing was. */
bool cuda_side_close(dn_backend *backend);

/* Looks for cuBLAS: leaves device->blas NULL where there is none. */
dn_status cuda_blas_open(dn_backend *backend);
void cuda_blas_close(dn_backend *backend);
/* The status of cuBLAS, or of cuBLASLt, as ours, with its words. */
dn_status cuda_blas_check(dn_backend *backend, cublasStatus_t status, const char *what);
#define CUDA_BLAS_WORKSPACE ((size_t)32 << 20) /* what it wants on Hopper; less elsewhere */
void *cuda_blas_workspace(const dn_backend *backend);
/* cuBLASLt, likewise: only where there is cuBLAS, whose workspace it uses. */
#define CUDA_LT_ALIGNED 16 /* bytes that operands are multiples of */
dn_status cuda_lt_open(dn_backend *backend);
void cuda_lt_close(dn_backend *backend);
/* "cuBLAS 13.1", or what stands in for it. */
void cuda_blas_describe(const dn_backend *backend, char *buffer, size_t size);
/* The same of cuDNN. */
dn_status cuda_dnn_open(dn_backend *backend);
void cuda_dnn_close(dn_backend *backend);
void cuda_dnn_describe(const dn_backend *backend, char *buffer, size_t size);

/* nccl.c: the table's entries of these names. */
dn_status cuda_comm_create(dn_backend *const *backends, int32_t count, void **comms);
dn_status cuda_comm_mean(dn_backend *backend, void *comm, float *device, int64_t count);
dn_status cuda_comm_wait(dn_backend *backend, void *comm);
void cuda_comm_free(dn_backend *backend, void *comm, int32_t abort);

/* All work goes to `stream` from now on. Where a library does not follow this fails, and the
 * next call, for whatever stream, asks it again. */
dn_status cuda_use_stream(dn_backend *backend, cudaStream_t stream);
/* blas.c, dnn.c: takes up backend->stream. */
dn_status cuda_blas_follow(dn_backend *backend);
dn_status cuda_dnn_follow(dn_backend *backend);

#endif
