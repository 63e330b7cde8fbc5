/* SPDX-License-Identifier: BSD-2-Clause
 * context.h: what the host lent, as the engine sees it: heap, log, workers, chain of backends.
 */
#ifndef DNI_CONTEXT_H
#define DNI_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/core.h"
#include "deepnet/context.h"

#define DNI_MAX_BACKENDS 8

typedef struct dni_backend_slot {
    const dn_backend_ops *ops; /* `table`: what a release of before did not have is NULL */
    const dn_backend_ops *given;
    dn_backend_ops table;
    dn_backend *backend;
    char description[160];
} dni_backend_slot;

typedef struct dni_mirror dni_mirror; /* mirror.h */

typedef struct dni_tuned { /* a measured cost (plan/tune.c) */
    uint64_t key;
    double cost;
} dni_tuned;

struct dn_context {
    dni_heap heap;
    atomic_int references; /* the host's, and one of each net and solver */
    void (*log)(void *user, int32_t level, const char *line);
    void *log_user;
    dni_parallel_fn parallel_for;
    void *parallel_user;
    dni_pool *pool; /* NULL when the host brought its own parallel_for */
    int32_t num_threads;
    dn_layer_class *layers; /* types of the host's, num_layers of them */
    size_t num_layers;
    uint64_t seed;
    bool has_device;
    size_t device_memory_limit; /* bytes; 0: none */
    dni_mirror *mirror;         /* NULL: everything is computed on the host */
    bool plain;                 /* ops run as layers wrote them */
    bool nhwc;                  /* every op that can run in NHWC does */
    dn_backend_host host;       /* what the backends were given */
    dni_backend_slot backends[DNI_MAX_BACKENDS];
    int32_t num_backends;
    bool tune; /* matrix products go to whoever is measured to be fastest */
    pthread_mutex_t tuned_lock;
    dni_tuned *tuned;
    size_t num_tuned, cap_tuned;
};

/* Until a dn_context_free more. */
void dni_context_hold(dn_context *context);
const dni_heap *dni_context_heap(const dn_context *context);
/* One line to the host's log, if it has one. No floating-point conversions. */
void dni_log(const dn_context *context, int32_t level, const char *format, ...)
    DNI_PRINTF(3, 4);
/* The context's workers or the host's. */
void dni_parallel(const dn_context *context, int64_t tasks, dni_task_fn body, void *arg);

#endif
