/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/solver.h: training: a solver prototxt's nets, schedule and update rule, stepped by
 * the host's loop. Use one solver from one thread at a time (dn_solver_cancel from any). */
#ifndef DEEPNET_SOLVER_H
#define DEEPNET_SOLVER_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/net.h"

DN_BEGIN_DECLS

typedef struct dn_solver dn_solver;

enum {
    DN_EVENT_STEP_BEGIN = 1, /* before forward of an iteration */
    DN_EVENT_GRADIENTS = 2,  /* gradients are ready, the update is next */
    DN_EVENT_STEP_END = 3,   /* after the update; iteration was advanced */
    DN_EVENT_TEST_BEGIN = 4,
    DN_EVENT_TEST_END = 5, /* dn_solver_test_output has the averages */
    DN_EVENT_DISPLAY = 6,  /* every `display` iterations */
    DN_EVENT_SNAPSHOT = 7  /* written; path is set */
};

typedef struct dn_event {
    size_t struct_size;
    int32_t kind;
    int32_t test_net; /* TEST_BEGIN, TEST_END */
    int64_t iteration;
    /* Mean over average_loss iterations; in test events the test loss, or 0. On a device it is
     * the value that was read last, so that no event waits for the device; DISPLAY alone waits
     * and has this iteration's. */
    float loss;
    float rate;       /* learning rate of this iteration */
    const char *path; /* SNAPSHOT: the .solverstate */
} dn_event;

/* Returns DN_OK to go on; anything else ends dn_solver_step with that status, or DN_E_HOST for
 * a positive number. May read and write blobs of the solver's nets; may not step the solver.
 * `event` is borrowed for the call. On a device the work that comes before the event has been
 * queued in the context's device_stream when this is called, but may not be done. */
typedef dn_status (*dn_event_fn)(void *user, dn_solver *solver, const dn_event *event);

/* Zero is the default of every field; struct_size = sizeof(dn_solver_options). */
typedef struct dn_solver_options {
    size_t struct_size;
    dn_event_fn on_event; /* called during dn_solver_step, on its thread; NULL: none */
    void *on_event_user;
    int32_t manual_tests;     /* 1: no tests by test_interval; the host calls dn_solver_test */
    int32_t manual_snapshots; /* 1: no snapshots by `snapshot` and after max_iter */
    int32_t seed_given;       /* 1: `seed` counts rather than the prototxt's random_seed */
    int32_t wire_only;        /* 1: parse, and wire the nets; open no data, train nothing */
    uint64_t seed;
    /* Data-parallel training by the host's own means: replaces data[0 .. count), one weight's
     * gradient, with the sum over all ranks, in place, before the update. (With clip_gradients
     * it should be their mean.) Called for each weight once an iteration, from the net's last
     * weight to its first in every context; late layers' weights come while the backward of
     * earlier layers still runs. Every rank must end up with the same bits. NULL: one solver
     * trains alone. */
    dn_status (*all_reduce)(void *user, float *data, int64_t count);
    void *all_reduce_user;
    int64_t max_iter;                  /* overrides max_iter when > 0 */
    int32_t compute, compute_fallback; /* of the nets, as in dn_net_options */
    /* Of the nets. DN_MEMORY_COMPACT trains in less, inner blobs unreadable; and gradients of
     * inner products' large weights (1 MiB and more) may be made by the update, which keeps
     * none of them. Who asks for one before the update, in DN_EVENT_GRADIENTS, has it as ever;
     * the first to ask after one gets NULL (DN_E_STATE), as does a backward or an update before
     * dn_net_clear_gradients, and from the next step on all are kept. */
    int32_t memory;
    /* 0: all_reduce gets host memory, into which the gradient was copied. 1: it gets device
     * memory, queues its work in the context's device_stream, and returns at once. */
    int32_t all_reduce_on_device;
    /* Not NULL: all_reduce may return before its sum is there; this is called before the update
     * and returns when all sums are there (on a device: when work that is queued from then on
     * runs after them). */
    dn_status (*all_reduce_wait)(void *user);
    /* num_ranks > 1: this is solver `rank` of num_ranks that train the same net, each on its
     * own part of the data. Its data layers take records rank, rank + num_ranks, ..., and it
     * draws random numbers of its own. Only rank 0 has test nets and takes the prototxt's
     * snapshots. */
    int32_t rank, num_ranks;
    /* For rules of the train net, as `deepnet train --stage --level` has them: num_stages
     * stages, copied, beside those of the prototxt's train_state; a level in its place unless
     * it is 0. */
    const char *const *stages;
    size_t num_stages;
    int32_t level, reserved; /* reserved: 0 */
} dn_solver_options;

/* Creates a solver with its train net and test nets. A relative net path means the working
 * directory; where nothing is there, the solver's own folder. solver_mode GPU in a context
 * without a device: one notice to the context's log, then the CPU (see dn_solver_device).
 * out: yours, dn_solver_free; untouched on failure. Statuses as dn_net_create_from_prototxt.
 * Since 0.1. */
DN_API dn_status dn_solver_create_from_prototxt(dn_solver **out, dn_context *context,
                                                const char *path,
                                                const dn_solver_options *options);
/* The same from text; net_text (may be NULL) replaces the solver's net fields. Since 0.1. */
DN_API dn_status dn_solver_create_from_text(dn_solver **out, dn_context *context,
                                            const char *text, size_t size, const char *net_text,
                                            size_t net_size, const dn_solver_options *options);
/* Frees a solver and its nets; blobs and nets borrowed from it end with it. NULL is fine.
 * Since 0.1. */
DN_API void dn_solver_free(dn_solver *solver);

/* Runs `iterations` (0 or more) iterations: forward and backward iter_size times, clip,
 * regularise, update; tests, displays and snapshots when the prototxt says. Returns DN_OK,
 * DN_E_CANCELLED (the state is that after the last whole iteration), or what failed: weights
 * and histories are then those of the last whole iteration, but what a forward moves on (the
 * batch, random numbers, BatchNorm's averages) has moved on. Since 0.1. */
DN_API dn_status dn_solver_step(dn_solver *solver, int64_t iterations);
/* Steps to max_iter, with the last test, display and snapshot as Caffe has them. Since 0.1. */
DN_API dn_status dn_solver_solve(dn_solver *solver);

/* The parts of an iteration, for hosts that run dn_net_forward and dn_net_backward of
 * dn_solver_net by themselves: the update from the gradients as they stand, then iteration + 1.
 * (dn_net_clear_gradients is the host's.) Since 0.1. */
DN_API dn_status dn_solver_apply_update(dn_solver *solver);

/* Asks a running dn_solver_step (or test) to stop after the present iteration; if none runs,
 * the next one stops at once. Any thread, also from a signal handler. Since 0.1. */
DN_API void dn_solver_cancel(dn_solver *solver);

/* The net that is trained, and the test nets, which share its weights. Borrowed, good until the
 * solver is freed; NULL: no test net of that index. Since 0.1. */
DN_API dn_net *dn_solver_net(dn_solver *solver);
DN_API int32_t dn_solver_num_test_nets(const dn_solver *solver);
DN_API dn_net *dn_solver_test_net(dn_solver *solver, int32_t index);

/* Describes the net that is trained, as dn_net_describe does. In PLAN the steps of the update
 * follow those of forward and backward: a whole iteration. A wire_only solver has no steps.
 * - what: DN_DESCRIBE_*.
 * - out: receives the text, yours: free it with dn_net_text_free of dn_solver_net, before the
 *   solver. Untouched on failure.
 * Returns DN_OK, DN_E_INVALID (an argument is NULL), DN_E_NOMEM, or what dn_net_reshape returns
 * when inputs were given new shapes. Thread-safety: one thread at a time, as all of the solver.
 * Since 0.1. */
DN_API dn_status dn_solver_describe(dn_solver *solver, uint32_t what, char **out);

/* The device that solver_mode and device_id of the prototxt ask for, counted as in
 * dn_context_options.device: 0 the host, 1 the first device. It is a wish: the solver computes
 * where its context does, so a host that wants to honour it creates the context accordingly
 * (the `deepnet` command does). Since 0.1. */
DN_API int32_t dn_solver_device(const dn_solver *solver);

/* Iterations done so far, and the prototxt's max_iter (or the option's). Since 0.1. */
DN_API int64_t dn_solver_iteration(const dn_solver *solver);
DN_API int64_t dn_solver_max_iteration(const dn_solver *solver);
/* The training loss, a mean over the last average_loss iterations (prototxt; default 1). On a
 * device dn_solver_step(solver, 1) returns without waiting for it; this call waits, and a
 * failure on the device may be reported by a later call. If the host runs or reshapes the net
 * before it asks, and average_loss and iter_size are 1, it gets the loss that was read before
 * that; likewise after a step that failed with DN_E_DEVICE (0: none was read). Since 0.1. */
DN_API float dn_solver_loss(const dn_solver *solver);
/* The update rule: "SGD", "Adam", ... Borrowed. Since 0.1. */
DN_API const char *dn_solver_type(const dn_solver *solver);
/* Iterations between tests and displays (0: none), and passes of one test, as the prototxt has
 * them. Since 0.1. */
DN_API int64_t dn_solver_test_interval(const dn_solver *solver);
DN_API int64_t dn_solver_display(const dn_solver *solver);
DN_API int64_t dn_solver_test_iterations(const dn_solver *solver, int32_t index);

/* The learning rate of the next iteration by its policy, or as set. Setting one holds until it
 * is set again; a value < 0 goes back to the policy. DN_E_INVALID: NaN, or solver NULL.
 * Since 0.1. */
DN_API float dn_solver_learning_rate(const dn_solver *solver);
DN_API dn_status dn_solver_set_learning_rate(dn_solver *solver, float rate);

/* Runs test net `index` test_iter times and averages its outputs. Returns DN_OK, DN_E_INVALID
 * (no such test net), DN_E_CANCELLED, or what failed. Since 0.1. */
DN_API dn_status dn_solver_test(dn_solver *solver, int32_t index);
/* Averages of the last test of a net: name of the output blob, element within it, mean value.
 * An index outside: NULL, 0. Since 0.1. */
DN_API int32_t dn_solver_num_test_outputs(const dn_solver *solver, int32_t test_net);
DN_API const char *dn_solver_test_output_name(const dn_solver *solver, int32_t test_net,
                                              int32_t output);
DN_API float dn_solver_test_output(const dn_solver *solver, int32_t test_net, int32_t output);

/* Writes path.caffemodel and path.solverstate (.h5 forms by snapshot_format); path NULL:
 * snapshot_prefix + "_iter_N". Each appears whole or not at all; older ones survive a failure.
 * Returns DN_OK, DN_E_IO, DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_solver_snapshot(dn_solver *solver, const char *path);
/* Resumes training from a .solverstate (Caffe's or our own) and the weights that it names. Our
 * own also hold the random state and the data cursors: training that was stopped and resumed
 * has the same bits as training that was not. On failure the solver is unchanged, but for files
 * that are cut while they are read (see dn_net_load_weights). Returns DN_OK, DN_E_IO,
 * DN_E_PARSE, DN_E_DATA, DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_solver_restore(dn_solver *solver, const char *path);

/* Several solvers that train one net data-parallel, on several devices or in several contexts.
 * Each computes the gradients of its own batch; the mean of the gradients is the step of all of
 * them, so the batch is in effect num_ranks times as large. Gradients are exchanged by the
 * backend if it can do so (on CUDA devices by NCCL, when it is found), while earlier layers
 * still compute; otherwise through host memory. Either way every rank gets the same bits,
 * whatever the timing. */
typedef struct dn_parallel dn_parallel;

/* Joins solvers[0 .. count), 1 to 64 of them, which were created from the same prototxt with
 * rank = their index and num_ranks = count. All take over the weights, histories, iteration and
 * data cursors of solvers[0]. They are borrowed until dn_parallel_free; meanwhile stepping,
 * updating or restoring one by itself fails with DN_E_STATE, and a host that writes weights or
 * sets the learning rate does so in all of them, between two calls. On CUDA devices a rank
 * waits, within a step, for the others while its context is locked: while a step runs, the
 * contexts of the ranks may not be used from another rank's callbacks (a net of context 0 run
 * in an event callback of rank 1 would wait for ever), and other threads that use them may wait
 * for the slowest rank. Returns DN_OK, DN_E_INVALID (solvers that do not fit together),
 * DN_E_UNSUPPORTED (DN_F64 nets), DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_parallel_create(dn_parallel **out, dn_solver *const *solvers,
                                    int32_t count);
/* As dn_solver_step and dn_solver_solve, for all of them at once: solvers[0] in the caller's
 * thread, each other one in a thread of its own. If one fails, all stop; its status and message
 * are the call's, and the next call goes on from the state of solvers[0]. To cancel, call
 * dn_solver_cancel with solvers[0]. Returns DN_OK, DN_E_INVALID (NULL, iterations below 0),
 * DN_E_STATE (a call runs, of which this may be a callback), or what dn_solver_step returns.
 * Since 0.1. */
DN_API dn_status dn_parallel_step(dn_parallel *parallel, int64_t iterations);
DN_API dn_status dn_parallel_solve(dn_parallel *parallel);
/* What exchanges the gradients: the backend's name, such as "cuda", or "host" for host memory.
 * Borrowed. Since 0.1. */
DN_API const char *dn_parallel_transport(const dn_parallel *parallel);
/* Frees the group, not its solvers: free those after it. Not while a call runs, so not from a
 * callback. NULL is fine. Since 0.1. */
DN_API void dn_parallel_free(dn_parallel *parallel);

DN_END_DECLS
#endif
