/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/context.h: what the host lends the library: memory, threads, a log, a choice of
 * backends. There is no global state: two contexts know nothing of each other.
 *
 * Nets are read, planned and run in C's default floating-point environment, whatever the host
 * has set: it may round otherwise, flush denormals or trap, and finds its settings as they were
 * when a call returns. Layers and backends of the host that a run calls see the default, too.
 *
 * A fork is fine while no call runs: the child's first run starts workers of its own. A device
 * cannot be used on both sides; a net that has read a database fails in the child (DN_E_STATE),
 * which makes its own. */
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
    /* All memory the library uses, with sizes as Lua has it: ptr NULL allocates new_size bytes
     * (aligned as malloc aligns), new_size 0 frees, else resizes; NULL means none left. Called
     * from any thread that uses the context. NULL: realloc and free of the C library. */
    void *(*alloc)(void *user, void *ptr, size_t old_size, size_t new_size);
    void *alloc_user;
    /* One line of text, without a newline; level is DN_LOG_NOTICE or DN_LOG_WARNING. NULL:
     * lines are dropped, the library itself never prints. Called on the thread that made the
     * call. */
    void (*log)(void *user, int32_t level, const char *line);
    void *log_user;
    /* The host's own workers: must call body(arg, task, worker) once for every task in
     * [0, tasks), worker in [0, num_threads), no two at once with the same worker, and return
     * when all are done. NULL: the context starts its own. */
    void (*parallel_for)(void *user, int64_t tasks,
                         void (*body)(void *arg, int64_t task, int32_t worker), void *arg);
    void *parallel_user;
    /* Threads that compute, the caller included. 0: DEEPNET_NUM_THREADS, else the cores this
     * process may use (affinity and container limits). Results do not depend on it. */
    int32_t num_threads;
    /* 0: the host computes. n > 0: the n-th device of the first device backend; DN_E_DEVICE if
     * it does not answer, DN_E_UNSUPPORTED if no module for one was found. */
    int32_t device;
    /* Names of the backends in the chain, best first, separated by commas: "cpu,ref", "ref".
     * A name is a built-in backend's or a module's in module_folder; one with a '/' is a
     * module's path. NULL: the modules for the host that lie in module_folder, then every
     * built-in one. `ref` is always last. */
    const char *backends;
    /* A backend of the host itself, first in the chain. NULL: none. */
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
    /* Microseconds for which a worker of the context's own looks for more work before it
     * sleeps, busily; waking one costs some 50. 0: 100, which spans what one thread does alone
     * within a run. DN_SPIN_NONE: sleep at once. At most 1000000. */
    int32_t spin_us;
    /* Layer types of the host's own (sys/layer.h), num_layers of them. */
    const dn_layer_class *const *layers;
    size_t num_layers;
    /* 1: where several backends of the chain offer a convolution or a matrix product, it is
     * timed on each when a net is planned, and the context remembers what it found by shape.
     * Planning takes longer; which backend wins, and so the rounding of results, may differ
     * from one process to the next. 0: backends say what they expect to take. */
    int32_t tune;
    /* 0: the same bits from run to run on one device. 1: its backend may sum in an order that
     * changes, where that is faster: split products, and cuDNN's algorithms that add as they
     * come. The backends for the host have nothing to gain from it. */
    int32_t allow_nondeterministic;
    /* With a device: where its work is queued, a stream or queue as its backend has them
     * (CUDA: a cudaStream_t of that device; cudaStreamLegacy too). The context adds to it and
     * waits for it, and never destroys it: it must outlive the context. What the host queued
     * there before a call is done before that call's work, and the other way round; calls
     * return before the work is done unless they bring values to the host. While a call runs
     * nobody else may add to it. NULL: one of the backend's own, which nothing of the host's
     * is ordered with; see dn_context_synchronise. */
    void *device_stream;
    /* With a device: bytes of its memory that the context's nets and solvers may hold at once,
     * what is kept for the next plan included. Beyond it: DN_E_LIMIT, and a smaller batch then
     * works. What the device's libraries take for themselves does not count. 0: none. */
    size_t device_memory_limit;
} dn_context_options;

/* Creates a context.
 * out      receives the context; free it with dn_context_free. Untouched on failure.
 * options  borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_INVALID (an option outside its range), DN_E_NOMEM, DN_E_NOTFOUND (no such
 * backend), DN_E_DEVICE (the device does not answer).
 * Thread-safety: any thread. Afterwards nets of one context may run concurrently. Since 0.1. */
DN_API dn_status dn_context_create(dn_context **out, const dn_context_options *options);

/* Frees a context. Nets and solvers that are still there keep it, and what the host lent it
 * must last until the last of them is freed. NULL is fine. Since 0.1. */
DN_API void dn_context_free(dn_context *context);

/* Threads the context computes with, at least 1. Since 0.1. */
DN_API int32_t dn_context_num_threads(const dn_context *context);

/* Waits until everything that was asked for in this context is done on its device; at once
 * where there is none. Returns DN_OK, or what the work failed with. Since 0.1. */
DN_API dn_status dn_context_synchronise(dn_context *context);

/* How many backends the context has; description of the i-th, "cpu: OpenBLAS, AVX-512". The
 * text is borrowed and lives as long as the context; NULL: no such index. Since 0.1. */
DN_API int32_t dn_context_num_backends(const dn_context *context);
DN_API const char *dn_context_backend(const dn_context *context, int32_t index);

DN_END_DECLS
#endif
