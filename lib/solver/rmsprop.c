/* SPDX-License-Identifier: BSD-2-Clause
 * RMSProp (Tieleman and Hinton, 2012): h = rms_decay h + (1 - rms_decay) g^2;
 * w -= rate g / (sqrt(h) + delta).
 * Fields: rms_decay (0.99), within [0, 1); delta (1e-8); momentum must be 0. */
#include "solver/rule.h"

static dn_status check(const Cnn__SolverParameter *p)
{
    if (p->momentum != 0)
        return dni_fail(DN_E_NET, "RMSProp has no momentum; remove it or set it to 0");
    if (!(p->rms_decay >= 0 && p->rms_decay < 1))
        return dni_fail(DN_E_NET, "rms_decay must be at least 0 and less than 1");
    return DN_OK;
}

static void fill(const Cnn__SolverParameter *p, dn_args_update *args)
{
    args->delta = p->delta;
    args->rms_decay = p->rms_decay;
}

const dni_update_rule dni_rule_rmsprop = {
    .type = "RMSProp",
    .old_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__RMSPROP,
    .rule = DN_UPDATE_RMSPROP,
    .histories = 1,
    .check = check,
    .fill = fill,
};
