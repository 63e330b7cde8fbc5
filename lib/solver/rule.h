/* SPDX-License-Identifier: BSD-2-Clause
 * rule.h: what tells one kind of solver from another: an update rule is a small const table,
 * one file each; the arithmetic itself is the op UPDATE. Learning-rate policies are in
 * schedule.c. */
#ifndef DNI_RULE_H
#define DNI_RULE_H

#include "cnn.pb-c.h"
#include "core/context.h"

typedef struct dni_update_rule {
    const char *type;  /* SolverParameter.type */
    int32_t old_type;  /* SolverParameter.solver_type, the same by number */
    int32_t rule;      /* DN_UPDATE_* */
    int32_t histories; /* blobs of state per weight, of its shape */
    dn_status (*check)(const Cnn__SolverParameter *p); /* NULL: nothing to check */
    void (*fill)(const Cnn__SolverParameter *p, dn_args_update *args);
    /* hyper[1] of the update that follows `iteration` others; NULL: 1. */
    double (*correction)(const Cnn__SolverParameter *p, int64_t iteration);
} dni_update_rule;

extern const dni_update_rule dni_rule_sgd, dni_rule_nesterov, dni_rule_adagrad,
    dni_rule_rmsprop, dni_rule_adadelta, dni_rule_adam;

/* The rule a solver prototxt asks for, by `type` or the old enum, its parameters checked. */
dn_status dni_rule_find(const dni_update_rule **out, const Cnn__SolverParameter *p);

/* The fields lr_policy needs are there and in range. */
dn_status dni_schedule_check(const Cnn__SolverParameter *p, int64_t max_iter);
/* multistep: how many stepvalues `iteration` has passed, at most one more than `step` (Caffe
 * looks at one each iteration). Other policies: what Caffe keeps as current_step. */
int32_t dni_schedule_step(const Cnn__SolverParameter *p, int64_t iteration, int32_t step);
#define DNI_LOSS_MOST 1e38F
/* What plateau goes by: the least loss so far, and the iteration of it or of the last step. */
typedef struct dni_plateau {
    float least; /* at first DNI_LOSS_MOST */
    int64_t since;
} dni_plateau;

bool dni_schedule_reads_loss(const Cnn__SolverParameter *p);
/* plateau: the step of `iteration`: one more where plateau_winsize[step] iterations have gone
 * by since, with no loss below the least. */
int32_t dni_schedule_plateau(const Cnn__SolverParameter *p, int64_t iteration, int32_t step,
                             float loss, dni_plateau *state);
/* The learning rate of `iteration`; step as dni_schedule_step gave it for this iteration. */
float dni_schedule_rate(const Cnn__SolverParameter *p, int64_t max_iter, int64_t iteration,
                        int32_t step);
/* Does the momentum change from step to step (NVIDIA's momentum_policy)? What it then is. */
bool dni_schedule_moves_momentum(const Cnn__SolverParameter *p);
double dni_schedule_momentum(const Cnn__SolverParameter *p, int64_t max_iter, int64_t iteration,
                             double rate);

#endif
