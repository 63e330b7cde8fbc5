/* SPDX-License-Identifier: BSD-2-Clause
 * replay.c: from fused runs to plain ones. A fused forward leaves every readable blob as a
 * plain one does, but not what only the layers' own backward reads. If that is asked for after
 * all, the forward is done once more, plain, from the data that the sources left: same random
 * numbers, carried states of before, statistics and readable blobs put back. From then on the
 * net runs plain, so that the host pays for this once. */
#include <string.h>

#include "net/net.h"

static size_t statistics_bytes(const dn_net *net)
{
    size_t bytes = 0;
    for (size_t i = 0; i < net->num_params; i++)
        if (net->params[i]->statistic)
            bytes += (size_t)net->params[i]->blob.store->count * dni_dtype_size(net->dtype);
    return bytes;
}

static dn_status copy_statistics(const dn_net *net, char *saved, bool back)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < net->num_params; i++) {
        const dni_store *store = net->params[i]->blob.store;
        size_t bytes = (size_t)store->count * dni_dtype_size(net->dtype);
        if (!net->params[i]->statistic)
            continue;
        st = dni_mirror_fetch(net->context, store->data);
        memcpy(back ? store->data : saved, back ? saved : store->data, bytes);
        if (back)
            dni_mirror_wrote(net->context, store->data);
        saved += bytes;
    }
    return st;
}

/* States go on from where the last run began. */
static dn_status carry_back(const dni_layer *layer)
{
    dn_status st = DN_OK;
    for (const dni_carry *c = layer->carry; !st && c < layer->carry + DNI_MAX_CARRY; c++) {
        if (!c->now)
            continue;
        st = dni_mirror_fetch(layer->context, c->was);
        memcpy(c->now, c->was, c->bytes);
        dni_mirror_wrote(layer->context, c->now);
    }
    return st;
}

/* From the first layer that ran fused on: what later ones left may lie where this one writes.
 */
static dn_status run_again(dn_net *net, int32_t end, bool again)
{
    for (int32_t i = 0; i < end; i++) {
        dni_net_layer *l = &net->layers[i];
        bool source = l->layer.cls->flags & (DNI_LAYER_SOURCE | DNI_LAYER_INPUT);
        bool sink = l->layer.num_tops == 0; /* what it does, it does outside of the net: once */
        again |= l->ran_fused;
        if (!again)
            continue;
        dn_status st = source || sink ? DN_OK : carry_back(&l->layer);
        if (!st && !source && !sink)
            st = dni_plan_run_plain(net->plan, l->forward.first, l->forward.end, NULL);
        if (st)
            return dni_in_layer(net, l, st);
        l->ran_fused = false;
    }
    return DN_OK;
}

dn_status dni_net_replay(dn_net *net, int32_t end, bool all)
{
    int32_t first = 0;
    while (!all && first < end && !net->layers[first].ran_fused)
        first++;
    if (first == end)
        return DN_OK;
    net->stay_plain = true;
    dn_status st = dni_plan_settle(net->plan);
    if (st)
        return st;
    size_t bytes = dni_plan_data_bytes(net->plan);
    char *saved = dni_alloc(net->heap, 1, bytes + statistics_bytes(net));
    if (!saved)
        return DN_E_NOMEM;
    st = dni_plan_copy_data(net->plan, saved, false);
    if (!st)
        st = copy_statistics(net, saved + bytes, false);
    if (!st) {
        st = run_again(net, end, all);
        dn_status back = copy_statistics(net, saved + bytes, true);
        st = st ? st : back;
        back = dni_plan_copy_data(net->plan, saved, true);
        st = st ? st : back;
    }
    dni_free(saved);
    net->fused_state = false;
    return st;
}
