/* SPDX-License-Identifier: BSD-2-Clause
 * Nesterov's accelerated gradient (Sutskever et al., "On the importance of initialization and
 * momentum in deep learning", 2013): h' = momentum h + rate g; w -= (1 + momentum) h' -
 * momentum h.
 * Fields: momentum (0). */
#include "solver/rule.h"

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->momentum = p->momentum;
}

const dni_update_rule dni_rule_nesterov = {
    .type = "Nesterov",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__NESTEROV,
    .rule = DN_UPDATE_NESTEROV,
    .histories = 1,
    .fill = fill,
};
