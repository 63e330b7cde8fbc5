/* SPDX-License-Identifier: BSD-2-Clause
 * solver.h: the solver a user holds. Making it is in solver.c and nets.c, the loop in step.c,
 * tests in test.c, files in snapshot.c and restore.c. */
#ifndef DNI_SOLVER_H
#define DNI_SOLVER_H

#include <stdatomic.h>

#include "deepnet/solver.h"
#include "net/pack.h"
#include "plan/record.h"
#include "solver/update.h"

typedef struct dni_test_output {
    const char *name; /* of the blob */
    double sum;
    float mean;
} dni_test_output;

typedef struct dni_test_net {
    dn_net *net;
    int64_t iterations;       /* passes of one test */
    dni_test_output *outputs; /* every element of every output blob */
    size_t num_outputs, cap_outputs;
} dni_test_net;

struct dn_solver {
    dn_context *context;
    const dni_heap *heap;
    dni_solver_file *file;
    const Cnn__SolverParameter *param; /* of file */
    char *prefix;                      /* of snapshots; NULL: none known */
    const dni_update_rule *rule;
    dn_net *net;
    dni_test_net *tests;
    int32_t num_tests;
    dni_update *update;

    int64_t iteration, max_iter;
    int32_t step; /* what Caffe calls current_step */
    dni_plateau plateau;
    float rate;       /* of the last or present iteration */
    float given_rate; /* by dn_solver_set_learning_rate */
    bool rate_is_given;
    float *losses; /* the last average_loss of them, a ring */
    int64_t num_losses, next_loss;
    double pass_loss; /* of this iteration: their sum, so far */
    int32_t num_passes;
    int64_t unread;   /* net->step after the forward whose loss the device still has; 0: none */
    int64_t num_kept; /* passes after the last one in pass_loss, or losses: in update->losses */
    dn_status late;   /* what reading it failed with, when there was no status to return */
    atomic_bool cancel;
    bool running;
    bool joined; /* by a dn_parallel: what its all_reduce says are our own words */
    dn_solver_options options;
    dni_join join;              /* forward, backward and update */
    dni_saved_error late_words; /* of late */
};

/* nets.c: net 0 is the one that learns, net i tests[i - 1]'s; NULL: no such net. */
dn_net *dni_solver_net(const dn_solver *solver, uint32_t index);
/* nets.c: makes net and tests by the rules of precedence; net_text may be NULL. */
dn_status dni_solver_make_nets(dn_solver *solver, const char *net_text, size_t net_size);
/* step.c */
/* The losses that the device still has; waits for them then. */
dn_status dni_solver_read_loss(dn_solver *solver);
dn_status dni_solver_emit(dn_solver *solver, int32_t kind, int32_t test_net, float loss,
                          const char *path);
/* DN_E_INVALID for NULL, DN_E_STATE for a solver that is wired only. */
dn_status dni_solver_can_run(const dn_solver *solver);
/* DN_E_STATE if it is joined: what it does by itself would part it from the others. */
dn_status dni_solver_check_alone(const dn_solver *solver);
/* DN_E_CANCELLED if dn_solver_cancel was called, and takes the request back. */
dn_status dni_solver_check_cancel(dn_solver *solver);
/* dn_solver_step and dn_solver_solve, after the error was cleared. */
dn_status dni_solver_step(dn_solver *solver, int64_t iterations);
dn_status dni_solver_solve(dn_solver *solver);
/* reduce.c: one pass back; with all_reduce and `last`, gradients go there as they come. */
dn_status dni_solver_backward(dn_solver *solver, bool last);
/* Those that did not go yet go now; returns when all are back. */
dn_status dni_solver_reduce(dn_solver *solver);
/* None has gone: after an iteration that failed. */
void dni_solver_reduce_anew(dn_solver *solver);
/* test.c */
dn_status dni_solver_test_one(dn_solver *solver, int32_t index);
dn_status dni_solver_test_all(dn_solver *solver);
/* solver.c: DN_E_IO unless there is a folder where the prefix says snapshots go. */
dn_status dni_solver_check_folder(const dn_solver *solver);
/* snapshot.c: path as dn_solver_snapshot has it. */
dn_status dni_solver_snapshot_to(dn_solver *solver, const char *path);
enum { DNI_STATE_HISTORY = 3 }; /* the field of SolverState */
/* The i-th history of a .solverstate: the rule's first of all weights, then its second; zeros
 * of weights that are not trained, as in Caffe. False: there is none. */
bool dni_solver_history(const dn_solver *solver, size_t i, dni_pack_blob *out);
/* state_hdf5.c: a .solverstate.h5, read as the bytes of a binary one. *out: dni_free. */
dn_status dni_state_write_hdf5(const dn_solver *solver, const char *path,
                               const Cnn__SolverState *state);
dn_status dni_state_read_hdf5(const dni_view *view, char **out, size_t *size);

#endif
