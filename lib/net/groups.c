/* SPDX-License-Identifier: BSD-2-Clause
 * groups.c: up to where a backward is done with the gradients of the last weights, so that they
 * can be summed over devices while earlier layers still compute. Groups are of some size: each
 * ends a recorded run of steps, and so costs a launch, for nothing if the backend waits for
 * more before it sums. So they are of what the CUDA module waits for: 1 MiB, then 4 each. */
#include "net/net.h"

#define FIRST_BYTES ((size_t)1 << 20)
#define MORE_BYTES  ((size_t)4 << 20)

void dni_net_free_groups(dn_net *net)
{
    dni_free(net->groups.params);
    dni_free(net->groups.of);
    dni_free(net->groups.ends);
    net->groups = (dni_groups){.ready = net->groups.ready, .user = net->groups.user};
}

/* From the last to the first, as they are summed: a weight's turn comes when its bias, which is
 * written after it, is done. The op after which it does is kept in `of` for now. */
static void list_params(dn_net *net)
{
    dni_groups *g = &net->groups;
    size_t turn = 0;
    for (size_t i = net->num_params; i-- > 0;) {
        dni_tensor diff = net->params[i]->diff;
        size_t end = diff == DNI_NONE ? 0 : dni_plan_last_write(net->plan, DNI_BACKWARD, diff);
        if (!end)
            continue;
        turn = end > turn ? end : turn;
        g->of[g->num_params] = turn;
        g->params[g->num_params++] = i;
    }
}

static void cut_groups(dn_net *net)
{
    dni_groups *g = &net->groups;
    size_t bytes = 0;
    for (size_t i = 0; i < g->num_params; i++) {
        const dni_store *store = net->params[g->params[i]]->blob.store;
        size_t end = g->of[i];
        bytes += (size_t)store->count * dni_dtype_size(store->dtype);
        g->of[i] = g->count;
        bool last = i + 1 == g->num_params;
        if (last || (bytes >= (g->count ? MORE_BYTES : FIRST_BYTES) && g->of[i + 1] > end)) {
            g->ends[g->count++] = end;
            bytes = 0;
        }
    }
}

static dn_status tell(void *user, size_t group)
{
    dn_net *net = user;
    const dni_groups *g = &net->groups;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < g->num_params; i++) {
        dni_param *param = net->params[g->params[i]];
        if (g->of[i] != group)
            continue;
        param->blob.store->cleared = false; /* it was written by now */
        st = g->ready(g->user, param);
    }
    return st;
}

dn_status dni_net_groups(dn_net *net, dni_pauses *pauses)
{
    dni_groups *g = &net->groups;
    *pauses = (dni_pauses){.fn = tell, .user = net};
    if (!g->ready)
        return DN_OK;
    if (!g->made) {
        dni_net_free_groups(net);
        g->params = dni_alloc(net->heap, net->num_params, sizeof *g->params);
        g->of = dni_alloc(net->heap, net->num_params, sizeof *g->of);
        g->ends = dni_alloc(net->heap, net->num_params, sizeof *g->ends);
        if (!g->params || !g->of || !g->ends)
            return DN_E_NOMEM;
        list_params(net);
        cut_groups(net);
        g->made = true;
    }
    pauses->ends = g->ends;
    pauses->count = g->count;
    return DN_OK;
}

dn_status dni_net_backward_telling(dn_net *net,
                                   dn_status (*ready)(void *user, dni_param *param), void *user)
{
    net->groups.ready = ready;
    net->groups.user = user;
    dn_status st = dn_net_backward(net);
    net->groups.ready = NULL;
    return st;
}
