/* SPDX-License-Identifier: BSD-2-Clause
 * reduce.c: gradients to the host's all_reduce, or a dn_parallel's: from the last weight to the
 * first, whatever the plan, which may be another on every rank. During the last backward of an
 * iteration they go as they are done, what is left before the update. */
#include "solver/solver.h"

static dn_status where_it_lies(const dn_solver *s, dni_store *store, void **out)
{
    const dn_context *context = s->net->context;
    const void *device = NULL;
    *out = store->diff;
    if (!s->options.all_reduce_on_device)
        return dni_mirror_fetch(context, store->diff);
    dn_status st = dni_mirror_look(context, store->diff, &device);
    if (!st && !device)
        st = dni_fail(DN_E_STATE, "all_reduce_on_device: no device has the gradient");
    *out = (void *)(uintptr_t)device;
    return st;
}

static dn_status reduce(dn_solver *s, dni_updated *w)
{
    dni_store *store = w->param->blob.store;
    void *data = NULL;
    dn_status st = dni_store_diff(store);
    if (!st)
        st = where_it_lies(s, store, &data);
    if (st)
        return st;
    st = s->options.all_reduce(s->options.all_reduce_user, data, store->count);
    if (s->options.all_reduce_on_device)
        dni_mirror_wrote_device(s->net->context, store->diff);
    else
        dni_mirror_wrote(s->net->context, store->diff);
    if (!st || s->joined)
        return st;
    return dni_fail(st < 0 ? st : DN_E_HOST, "all_reduce returned %d for weight '%s'", (int)st,
                    w->param->blob.name);
}

/* all: of those that are not done by now, too. */
static dn_status reduce_next(dn_solver *s, bool all)
{
    dni_update *u = s->update;
    dn_status st = DN_OK;
    while (!st && u->num_reduced < u->num_weights) {
        size_t i = u->num_weights - 1 - u->num_reduced;
        if (!all && !u->weights[i].done)
            break;
        u->num_reduced++;
        st = dni_update_again(u, i) ? DN_OK : reduce(s, &u->weights[i]);
    }
    return st;
}

static dn_status ready(void *user, dni_param *param)
{
    dn_solver *s = user;
    for (size_t i = 0; i < s->update->num_weights; i++)
        s->update->weights[i].done |= s->update->weights[i].param == param;
    return reduce_next(s, false);
}

void dni_solver_reduce_anew(dn_solver *s)
{
    s->update->num_reduced = 0;
    for (size_t i = 0; i < s->update->num_weights; i++)
        s->update->weights[i].done = false;
}

dn_status dni_solver_backward(dn_solver *s, bool last)
{
    if (!s->options.all_reduce || !last) {
        dn_status st = dni_update_fit(s->update, s->net);
        bool leaving = s->update->num_strips && !s->options.all_reduce;
        return st ? st : leaving ? dni_net_backward_leaving(s->net) : dn_net_backward(s->net);
    }
    return dni_net_backward_telling(s->net, ready, s);
}

dn_status dni_solver_reduce(dn_solver *s)
{
    if (!s->options.all_reduce)
        return DN_OK;
    dn_status st = reduce_next(s, true);
    dni_solver_reduce_anew(s);
    if (st || !s->options.all_reduce_wait)
        return st;
    st = s->options.all_reduce_wait(s->options.all_reduce_user);
    if (!st || s->joined)
        return st;
    return dni_fail(st < 0 ? st : DN_E_HOST, "all_reduce_wait returned %d", (int)st);
}
