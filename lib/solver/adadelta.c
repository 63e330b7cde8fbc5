/* SPDX-License-Identifier: BSD-2-Clause
 * AdaDelta (Zeiler, 2012), with m = momentum: h1 = m h1 + (1 - m) g^2;
 * s = g sqrt((h2 + delta) / (h1 + delta)); h2 = m h2 + (1 - m) s^2; w -= rate s.
 * Fields: momentum (0), delta (1e-8). */
#include "solver/rule.h"

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->momentum = p->momentum;
    args->delta = p->delta;
}

const dni_update_rule dni_rule_adadelta = {
    .type = "AdaDelta",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__ADADELTA,
    .rule = DN_UPDATE_ADADELTA,
    .histories = 2,
    .fill = fill,
};
