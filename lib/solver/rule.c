/* SPDX-License-Identifier: BSD-2-Clause
 * rule.c: which update rule a solver prototxt asks for. */
#include "solver/rule.h"

#include <string.h>

static const dni_update_rule *const rules[] = {
    &dni_rule_sgd,     &dni_rule_nesterov, &dni_rule_adagrad,
    &dni_rule_rmsprop, &dni_rule_adadelta, &dni_rule_adam,
};

static const dni_update_rule *by_old_type(int32_t old_type)
{
    for (size_t i = 0; i < DNI_COUNT(rules); i++)
        if (rules[i]->old_type == old_type)
            return rules[i];
    return NULL;
}

static dn_status by_type(const dni_update_rule **out, const char *type)
{
    const char *names[DNI_COUNT(rules)];
    for (size_t i = 0; i < DNI_COUNT(rules); i++) {
        names[i] = rules[i]->type;
        if (!strcmp(type, names[i])) {
            *out = rules[i];
            return DN_OK;
        }
    }
    const char *nearest = dni_nearest(type, names, DNI_COUNT(names));
    if (nearest)
        return dni_fail(DN_E_NET, "unknown solver type '%s'; did you mean '%s'?", type,
                        nearest);
    return dni_fail(DN_E_NET,
                    "unknown solver type '%s'; there are SGD, Nesterov, AdaGrad, "
                    "RMSProp, AdaDelta and Adam",
                    type);
}

dn_status dni_rule_find(const dni_update_rule **out, const Cnn__SolverParameter *p)
{
    const dni_update_rule *rule = by_old_type(p->solver_type), *named = rule;
    dn_status st = DN_OK;
    /* an unset `type` points to its default */
    if (p->type && (!p->has_solver_type || strcmp(p->type, "SGD")))
        st = by_type(&named, p->type);
    if (st)
        return st;
    if (p->has_solver_type && named != rule)
        return dni_fail(DN_E_NET,
                        "type '%s' and solver_type %s contradict each other; drop "
                        "the old solver_type",
                        named->type, rule ? rule->type : "?");
    if (named->check)
        st = named->check(p);
    if (!st)
        *out = named;
    return st;
}
