/* SPDX-License-Identifier: BSD-2-Clause
 * update.h: the step from gradients to weights as a program of its own: clip if asked, then one
 * UPDATE op of all weights, or one per weight where the backend takes no more, or under LARC;
 * compiled once, when the solver is made. */
#ifndef DNI_UPDATE_H
#define DNI_UPDATE_H

#include "net/net.h"
#include "solver/rule.h"

typedef struct dni_updated {
    dni_param *param;
    int32_t layer;         /* the first that has it */
    dni_tensor data, diff; /* the histories follow */
    void *history[2];      /* of the weight's shape; [1] where the rule has two */
    void *memory[2];       /* data and diff of the weight when the program was bound to them */
    void *aside[2];        /* what it was bound to, where an earlier weight has that memory */
    bool done; /* the last backward of this iteration will add nothing to its gradient */
} dni_updated;

typedef struct dni_update {
    dn_context *context;
    const dni_update_rule *rule;
    int32_t dtype;
    dni_program program;
    dni_plan *plan;
    dni_updated *weights; /* those that are trained, in order of declaration */
    void *each;           /* T: of every weight lr_mult and decay */
    size_t num_weights;
    size_t num_reduced; /* the last so many went to all_reduce in this iteration */
    union {
        float f32[4];
        double f64[4];
    } hyper;
    double momentum; /* room for one T: of a momentum_policy */
    double norm2;    /* room for one T: the squared norm of all gradients */
} dni_update;

dn_status dni_update_create(dni_update **out, dn_net *net, const dni_update_rule *rule,
                            const Cnn__SolverParameter *p);
void dni_update_free(dni_update *update);
/* For the next update; scale multiplies the gradients (1 / iter_size). On a device they go
 * there at once, if they are others than before. */
dn_status dni_update_set(dni_update *update, double rate, double correction, double scale);
/* Where dni_schedule_moves_momentum: likewise. */
dn_status dni_update_set_momentum(dni_update *update, double momentum);
dn_status dni_update_run(dni_update *update);
/* Does an earlier weight have this one's memory (dn_net_share_weights)? It is updated once. */
bool dni_update_again(const dni_update *update, size_t weight);
/* Bytes of one history of a weight. */
size_t dni_updated_bytes(const dni_updated *weight);

#endif
