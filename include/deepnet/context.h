/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/context.h: what the host provides to the library: memory, threads, a log, a choice of
 * backends. There is no global state: contexts are independent of each other.
 *
 * Nets are read, planned and run in C's default floating-point environment. The host may have
 * set another rounding mode, flush denormals or trap: its settings are restored before a call
 * returns. The host's own layers and backends are called in the default environment, too.
 *
 * A process may fork while no call is running; the child's first run starts its own workers. A
 * device cannot be used by both processes. A net that has read from a database fails in the
 * child (DN_E_STATE); the child has to create its own. */
#ifndef DEEPNET_CONTEXT_H
#define DEEPNET_CONTEXT_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/status.h"
#include "deepnet/sys/backend.h"
#include "deepnet/sys/layer.h"

DN_BEGIN_DECLS

typedef struct dn_context dn_context;

enum { DN_LOG_NOTICE = 0, DN_LOG_WARNING = 1 };
enum { DN_SPIN_NONE = -1 };
enum { DN_PLAN_FUSED = 0, DN_PLAN_PLAIN = 1, DN_PLAN_NHWC = 2 };

/* Zero is the default of every field; set struct_size = sizeof(dn_context_options). An option
 * that this release does not know must be zero. */
typedef struct dn_context_options {
    size_t struct_size;
    /* Allocates all memory the library uses, in the manner of Lua: ptr NULL allocates new_size
     * bytes (aligned as malloc aligns), new_size 0 frees, anything else resizes; returning NULL
     * means out of memory. Called from any thread that uses the context, and by
     * dn_blob_end_hold, perhaps after the context was freed. NULL: realloc and free of the C
     * library. */
    void *(*alloc)(void *user, void *ptr, size_t old_size, size_t new_size);
    void *alloc_user;
    /* Receives one line of text, without a newline; level is DN_LOG_NOTICE or DN_LOG_WARNING.
     * Called on the thread that called the library. NULL: lines are dropped; the library itself
     * never prints. */
    void (*log)(void *user, int32_t level, const char *line);
    void *log_user;
    /* Runs tasks on the host's own threads: must call body(arg, task, worker) once for every
     * task in [0, tasks), with worker in [0, num_threads) and never two calls at once with the
     * same worker, and return when all are done. NULL: the context starts its own threads. */
    void (*parallel_for)(void *user, int64_t tasks,
                         void (*body)(void *arg, int64_t task, int32_t worker), void *arg);
    void *parallel_user;
    /* Threads that compute, the caller included. 0: DEEPNET_NUM_THREADS, else the cores this
     * process may use (affinity and container limits). Results do not depend on it. */
    int32_t num_threads;
    /* 0: compute on the CPU. n > 0: use the n-th device of the first device backend;
     * DN_E_DEVICE if it does not answer, DN_E_UNSUPPORTED if the machine has none, or no
     * module for devices was found. */
    int32_t device;
    /* Names of the backends in the chain, best first, separated by commas: "cpu,ref", "ref".
     * A name is that of a built-in backend or of a module in module_folder; a name with a '/'
     * is the path of a module. NULL: the CPU modules found in module_folder, then all built-in
     * backends. `ref` is always last. */
    const char *backends;
    /* A backend provided by the host, first in the chain. NULL: none. */
    const dn_backend_ops *backend;
    /* Seed of every random number in the context's nets; 0 is a seed like any other. A solver's
     * random_seed overrides it. Same seed, same bits. */
    uint64_t seed;
    /* Folder of backend modules. NULL: where they were installed. */
    const char *module_folder;
    /* DN_PLAN_FUSED: whole runs of a net fuse ops and share memory where results allow it.
     * DN_PLAN_PLAIN: every op runs as its layer wrote it, which is slower; results differ by
     * rounding alone. Runs of single layers are always plain. DN_PLAN_NHWC: as FUSED, and every
     * op that can work on channels-last images does, faster or not: for tests and measurements.
     */
    int32_t plan;
    /* Microseconds for which one of the context's own workers polls for more work before it
     * sleeps; waking it takes about 50. 0: 100, which bridges what one thread does alone within
     * a run. DN_SPIN_NONE: sleep at once. At most 1000000. */
    int32_t spin_us;
    /* Layer types provided by the host (sys/layer.h), num_layers of them. */
    const dn_layer_class *const *layers;
    size_t num_layers;
    /* 1: if several backends of the chain offer a convolution or a matrix product, it is timed
     * on each of them when a net is planned, and the context remembers the result by shape.
     * Planning takes longer; which backend wins, and so the rounding of results, may differ
     * from one process to the next. 0: the backends' own estimates decide. */
    int32_t tune;
    /* 0: the same bits from run to run on one device. 1: the device's backend may sum in
     * varying order where that is faster (split products, cuDNN's algorithms that use atomic
     * additions). It makes no difference on the CPU. */
    int32_t allow_nondeterministic;
    /* With a device: the stream or queue that its work goes to (CUDA: a cudaStream_t of that
     * device; cudaStreamLegacy is allowed). The context adds work to it, waits for it, and
     * never destroys it; it must outlive the context. Work is done in the order in which the
     * host and the context queued it; calls return before their work is done, unless they bring
     * values to the host. While a call is running, nobody else may add to the stream. NULL: the
     * backend makes a stream of its own, which is not ordered with the host's work; see
     * dn_context_synchronise. */
    void *device_stream;
    /* With a device: the most bytes of its memory that the context's nets and solvers may hold
     * at once, including memory kept for the next plan. Exceeding it fails with DN_E_LIMIT; a
     * smaller batch may then work. Memory that the device's libraries allocate for themselves
     * does not count, nor does what the backend works in: on CUDA 32 MiB for products, up to
     * 64 MiB for inputs on their way, or as much as a batch of them and at most 256 MiB, and,
     * if they can be had, 48 MiB from when a step is first recorded in two streams. 0: no
     * limit. */
    size_t device_memory_limit;
} dn_context_options;

/* Creates a context.
 * out      receives the context; free it with dn_context_free. Untouched on failure.
 * options  borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_INVALID (an option outside its range), DN_E_NOMEM, DN_E_NOTFOUND (no such
 * backend), DN_E_DEVICE (the device does not answer), DN_E_UNSUPPORTED (there is none).
 * Thread-safety: any thread. Afterwards nets of one context may run concurrently. Since 0.1. */
DN_API dn_status dn_context_create(dn_context **out, const dn_context_options *options);

/* Frees a context. Nets and solvers that still exist keep it alive, and what the host provided
 * must last until the last of them is freed. NULL is allowed. Since 0.1. */
DN_API void dn_context_free(dn_context *context);

/* Threads the context computes with, at least 1. Since 0.1. */
DN_API int32_t dn_context_num_threads(const dn_context *context);

/* Waits until the device has done all work of this context; without a device it returns at
 * once. Returns DN_OK, or the status that the work failed with. Since 0.1. */
DN_API dn_status dn_context_synchronise(dn_context *context);

/* How many backends the context has; description of the i-th, "cpu: OpenBLAS, AVX-512". The
 * text is borrowed and lives as long as the context; NULL: no such index. Since 0.1. */
DN_API int32_t dn_context_num_backends(const dn_context *context);
DN_API const char *dn_context_backend(const dn_context *context, int32_t index);

DN_END_DECLS
#endif
