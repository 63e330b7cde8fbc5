/* SPDX-License-Identifier: BSD-2-Clause
 * AdaGrad (Duchi et al., 2011): h += g^2; w -= rate g / (sqrt(h) + delta).
 * Fields: delta (1e-8); momentum must be 0. */
#include "solver/rule.h"

static dn_status check(const Cnn__SolverParameter *p)
{
    if (p->momentum != 0)
        return dni_fail(DN_E_NET, "AdaGrad has no momentum; remove it or set it to 0");
    return DN_OK;
}

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->delta = p->delta;
}

const dni_update_rule dni_rule_adagrad = {
    .type = "AdaGrad",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__ADAGRAD,
    .rule = DN_UPDATE_ADAGRAD,
    .histories = 1,
    .check = check,
    .fill = fill,
};
