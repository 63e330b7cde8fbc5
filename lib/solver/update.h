/* SPDX-License-Identifier: BSD-2-Clause
 * update.h: the step from gradients to weights as a program of its own: clip if asked, then one
 * UPDATE op of all weights, or one per weight where the backend takes no more, or under LARC;
 * compiled once, when the solver is made. Its forward, if any, is losses.c's. */
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

/* A top with a loss weight. */
typedef struct dni_loss_top {
    int32_t value; /* of the net's graph */
    float weight;
} dni_loss_top;

/* On a device: losses of passes that nobody has read yet. */
typedef struct dni_losses {
    void *ring; /* T: (passes, tops), the newest pass first; NULL: losses are read at once */
    int64_t passes; /* those of the mean, and of one more iteration; 2: it is of one */
    dni_loss_top *tops;
    size_t num_tops;
    dni_tensor first; /* of the tops' tensors, one after the other */
    uint64_t plan;    /* net->plans when they were bound; 0: they are not */
} dni_losses;

/* Rows of a weight from `row` on, so many at a time (strips.c). */
typedef struct dni_strip {
    size_t weight, maker; /* of its gradient: the op of the net's plan */
    size_t op;            /* the first of two here */
    int64_t row, at;      /* at: elements before it */
    dni_tensor first;     /* dy, x, w, their product, histories */
} dni_strip;

typedef struct dni_update {
    dn_context *context;
    const dni_update_rule *rule;
    const Cnn__SolverParameter *param;
    int32_t dtype;
    dni_program program;
    dni_plan *plan;
    dni_updated *weights; /* those that are trained, in order of declaration; late ones last */
    void *each;           /* T: of every weight lr_mult and decay */
    size_t num_weights;
    size_t num_late; /* the last so many, whose gradients the backward may leave */
    dni_strip *strips;
    size_t num_strips; /* 0: nothing can be left under the net's present plan */
    /* In the program: the first op, and those of the late weights from their gradients, in
     * whose place strips may come. */
    size_t first_op, late_op, strips_op;
    uint64_t of;        /* net->plans when it was made */
    size_t num_reduced; /* the last so many went to all_reduce in this iteration */
    union {
        float f32[4];
        double f64[4];
    } hyper;
    dni_losses losses;
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
/* From the gradients, or from what the backward left of them. */
dn_status dni_update_run(dni_update *update, dn_net *net);
/* Makes strips for the net's present plan; nothing to do if it is the one before. */
dn_status dni_update_fit(dni_update *update, const dn_net *net);
/* strips.c: of the late weights; and whether what they go by has moved. */
void dni_emit_strips(dni_builder *b, dni_update *update, const dn_net *net, dni_tensor hyper);
bool dni_strips_follow(dni_update *update, const dn_net *net);
/* For strips.c: memory that is not the program's; UPDATE of one weight, a second history behind
 * the first. */
dni_tensor dni_memory_tensor(dni_builder *b, dni_role role, const dni_shape *shape,
                             void *memory);
void dni_emit_update(dni_builder *b, const dni_update *update, size_t weight, dni_tensor hyper,
                     dni_tensor data, dni_tensor diff, dni_tensor history);
/* losses.c: of all that the mean is of, and those of an iteration. */
dn_status dni_losses_create(dni_losses *losses, const dn_net *net,
                            const Cnn__SolverParameter *p);
/* After a pass: its loss goes to the ring, which waits for nothing; DN_DECLINED: it cannot. */
dn_status dni_losses_keep(dni_update *update, const dn_net *net);
/* So many passes ago, of a ring whose values are on the host. */
float dni_losses_at(const dni_losses *losses, int32_t dtype, int64_t pass);
/* Does an earlier weight have this one's memory (dn_net_share_weights)? It is updated once. */
bool dni_update_again(const dni_update *update, size_t weight);
/* Bytes of one history of a weight. */
size_t dni_updated_bytes(const dni_updated *weight);

#endif
