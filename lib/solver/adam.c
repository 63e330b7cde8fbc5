/* SPDX-License-Identifier: BSD-2-Clause
 * Adam (Kingma and Ba, 2014): h1 = momentum h1 + (1 - momentum) g;
 * h2 = momentum2 h2 + (1 - momentum2) g^2; w -= rate c h1 / (sqrt(h2) + delta) with
 * c = sqrt(1 - momentum2^t) / (1 - momentum^t), t counted from 1.
 * Fields: momentum (0) and momentum2 (0.999), both within [0, 1); delta (1e-8). */
#include <math.h>

#include "solver/rule.h"

static dn_status check(const Cnn__SolverParameter *p)
{
    if (!(p->momentum >= 0 && p->momentum < 1))
        return dni_fail(DN_E_NET, "Adam's momentum must be at least 0 and less than 1");
    if (!(p->momentum2 >= 0 && p->momentum2 < 1))
        return dni_fail(DN_E_NET, "momentum2 must be at least 0 and less than 1");
    return DN_OK;
}

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->momentum = p->momentum;
    args->momentum2 = p->momentum2;
    args->delta = p->delta;
}

static double correction(const Cnn__SolverParameter *p, int64_t iteration)
{
    double t = (double)iteration + 1;
    return sqrt(1 - pow(p->momentum2, t)) / (1 - pow(p->momentum, t));
}

const dni_update_rule dni_rule_adam = {
    .type = "Adam",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__ADAM,
    .rule = DN_UPDATE_ADAM,
    .histories = 2,
    .check = check,
    .fill = fill,
    .correction = correction,
};
