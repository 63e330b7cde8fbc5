/* SPDX-License-Identifier: BSD-2-Clause
 * late.c: gradients that a backward leaves to the update of a solver, which makes each some
 * rows at a time and keeps none of it. Whoever needs one before that has all of them made as
 * ever. */
#include "net/net.h"

static size_t maker_of(const dn_net *net, const dni_param *param)
{
    bool trained = param->diff != DNI_NONE && dni_param_trained(param);
    return trained ? dni_plan_late_maker(net->plan, param->diff) : SIZE_MAX;
}

/* All of them, or none: zero so far, and never asked for. */
bool dni_net_can_leave(const dn_net *net)
{
    size_t end, makers = 0, first = dni_plan_late(net->plan, &end);
    for (size_t i = 0; i < net->num_params; i++) {
        const dni_store *store = net->params[i]->blob.store;
        if (maker_of(net, net->params[i]) == SIZE_MAX)
            continue;
        if (store->diff_open || (store->diff && !store->cleared))
            return false;
        makers++;
    }
    return makers > 0 && makers == end - first;
}

bool dni_net_without_diff(const dn_net *net, const dni_param *param)
{
    const dni_store *store = param->blob.store;
    return store && !store->diff && net->plan && maker_of(net, param) != SIZE_MAX;
}

bool dni_net_leaves(const dn_net *net, const dni_param *param)
{
    return (net->leaves || param->blob.store->taken) && maker_of(net, param) != SIZE_MAX;
}

void dni_net_take_left(dn_net *net, bool taken)
{
    for (size_t i = 0; i < net->num_params; i++) {
        dni_store *store = net->params[i]->blob.store;
        if (!store || store->late != net)
            continue;
        store->late = NULL;
        store->taken = taken;
    }
    net->leaves = false;
}

dn_status dni_net_was_kept(const dn_blob *weight)
{
    if (!weight->store->taken)
        return DN_OK;
    weight->store->diff_open = true;
    return dni_fail(DN_E_STATE,
                    "the update kept no gradient of '%s'; from the next step on it does",
                    weight->name);
}

dn_status dni_net_all_kept(const dn_net *net)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < net->num_params; i++)
        if (net->params[i]->diff != DNI_NONE)
            st = dni_net_was_kept(&net->params[i]->blob);
    return st;
}

dn_status dni_net_catch_up(dn_net *net)
{
    if (!net->leaves)
        return DN_OK;
    net->leaves = false;
    dn_status st = dni_net_bind_gradients(net, true);
    if (!st)
        st = dni_plan_run_late(net->plan);
    net->leaves = st != DN_OK;
    for (size_t i = 0; !st && i < net->num_params; i++)
        if (net->params[i]->blob.store->late == net)
            net->params[i]->blob.store->cleared = false;
    if (!st)
        dni_net_take_left(net, false);
    return st;
}

dn_status dni_net_backward_leaving(dn_net *net)
{
    net->may_leave = true;
    dn_status st = dn_net_backward(net);
    net->may_leave = false;
    return st;
}
