/* SPDX-License-Identifier: BSD-2-Clause
 * SGD with momentum: h = momentum h + rate g; w -= h.
 * Fields: momentum (0). */
#include "solver/rule.h"

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->momentum = p->momentum;
}

const dni_update_rule dni_rule_sgd = {
    .type = "SGD",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__SGD,
    .rule = DN_UPDATE_SGD,
    .histories = 1,
    .fill = fill,
};
