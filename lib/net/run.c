/* SPDX-License-Identifier: BSD-2-Clause
 * run.c: forward and backward are loops over prepared ops. Nothing here allocates once the
 * shapes stand still. */
#include <string.h>

#include "net/net.h"

/* Which layer was the host's question about: the failed op's, for the message. */
static dn_status run_ops(dn_net *net, size_t first, size_t end)
{
    int32_t layer = -1;
    dn_status st = dni_plan_run_plain(net->plan, first, end, &layer);
    return st && layer >= 0 ? dni_in_layer(net, &net->layers[layer], st) : st;
}

/* All of them at once, as their ops follow one another, or up to the next one that finds its
 * shapes as it runs. */
static dn_status run_layers(dn_net *net, int32_t from, int32_t to, bool backward)
{
    const dni_net_layer *layers = net->layers;
    if (backward)
        return run_ops(net, layers[from].backward.first, layers[to].backward.end);
    net->fused_state = false;
    for (int32_t i = from, last; i <= to; i++) {
        for (last = i; last < to && !dni_layer_is_dynamic(&layers[last].layer);)
            last++;
        dn_status st = run_ops(net, layers[i].forward.first, layers[last].forward.end);
        if (st)
            return st;
        while (i < last)
            net->layers[i++].ran_fused = false;
        net->layers[last].ran_fused = false;
        bool again = net->dynamic_changed;
        if (!again && (net->sound == net->num_layers || (size_t)i + 1 != net->sound))
            continue;
        net->dynamic_changed = true; /* values go along to the new plan */
        st = dni_net_infer_shapes(net, (size_t)i);
        if (!st)
            st = dni_net_lower(net);
        net->dynamic_changed = false;
        if (st) {
            net->shapes_changed = true;
            return st;
        }
        if (again)
            i--; /* its tops now have room of the right size */
    }
    return DN_OK;
}

/* A section at once, fused. */
static dn_status run_whole(dn_net *net, dni_section section, bool fresh)
{
    int32_t layer = -1;
    dni_pauses pauses = {0};
    dn_status st = dni_plan_bind(net->plan, section);
    if (!st && section == DNI_BACKWARD)
        st = dni_net_groups(net, &pauses);
    if (section == DNI_BACKWARD && net->leaves)
        pauses.end = dni_plan_late(net->plan, &(size_t){0});
    if (!st)
        st = dni_plan_run_paused(net->plan, section, fresh, &pauses, &layer);
    return st && layer >= 0 ? dni_in_layer(net, &net->layers[layer], st) : st;
}

static bool is_whole(const dn_net *net, int32_t low, int32_t high, dni_section section)
{
    return low == 0 && high == (int32_t)net->num_layers - 1 && !net->stay_plain &&
           dni_plan_fuses(net->plan, section);
}

static double sum_of(const void *values, int64_t count, int32_t dtype)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += dtype == DN_F64 ? ((const double *)values)[i] : ((const float *)values)[i];
    return sum;
}

static dn_status total_loss(const dn_net *net, int32_t from, int32_t to, float *out)
{
    float loss = 0;
    for (int32_t i = from; i <= to; i++) {
        const dni_net_layer *l = &net->layers[i];
        for (int32_t k = 0; k < l->layer.num_tops; k++) {
            if (l->loss_weight[k] == 0)
                continue;
            int32_t value = net->graph.nodes[i].tops[k];
            void *values = NULL;
            dn_status st = dni_plan_look(net->plan, net->data[value], &values);
            if (!st)
                st = dni_mirror_fetch(net->context, values);
            if (st)
                return st;
            dni_fp host = dni_fp_enter();
            loss +=
                l->loss_weight[k] *
                (float)sum_of(values, dni_shape_count(&net->value_shapes[value]), net->dtype);
            dni_fp_leave(host);
        }
    }
    *out = loss;
    return DN_OK;
}

static dn_status check_range(const dn_net *net, int32_t low, int32_t high)
{
    if (!net)
        return dni_fail(DN_E_INVALID, "the net is NULL");
    if (low < 0 || high >= (int32_t)net->num_layers || low > high)
        return dni_fail(DN_E_INVALID, "layers %d to %d: the net has layers 0 to %d", low, high,
                        (int32_t)net->num_layers - 1);
    return DN_OK;
}

static dn_status make_ready(dn_net *net)
{
    if (net->wire_only)
        return dni_fail(DN_E_STATE, "the net was created with wire_only: it cannot run");
    return net->shapes_changed ? dn_net_reshape(net) : DN_OK;
}

static dn_status forward_whole(dn_net *net)
{
    for (size_t i = 0; i < net->num_layers; i++)
        net->layers[i].ran_fused = true;
    net->fused_state = true;
    net->left = 0;
    return run_whole(net, DNI_FORWARD, false);
}

/* Without readable blobs, what the range starts from is to be made first, unless the last one
 * ended there. */
static dn_status forward_layers(dn_net *net, int32_t from, int32_t to)
{
    dn_status st = dni_plan_bind_plain(net->plan, DNI_FORWARD);
    bool gone = net->program->compact && from != net->left && !net->once;
    net->left = 0;
    if (!st && from > 0 && gone)
        st = dni_net_replay(net, from, true);
    return st ? st : run_layers(net, from, to, false);
}

/* A forward in TRAIN moves running statistics: nets on the same weights, which may have folded
 * them into others, see it by the version. */
static void touch_statistics(const dn_net *net)
{
    for (size_t i = 0; i < net->num_params; i++)
        if (net->params[i]->statistic)
            dni_store_touch(net->params[i]->blob.store);
}

/* What the host changed since the last run, or changes now, for a device to take up. */
static void announce(dn_net *net, int32_t from, int32_t to)
{
    dni_fp host = dni_fp_enter();
    for (int32_t i = from; i <= to; i++) {
        dni_layer *layer = &net->layers[i].layer;
        if (layer->cursor && layer->cursor->begin)
            layer->cursor->begin(layer);
    }
    dni_fp_leave(host);
    dni_mirror_wrote(net->context, net->random_state);
    for (int32_t i = 0; i < net->num_inputs; i++) {
        const dn_blob *blob = net->blobs[net->inputs[i]];
        if (blob->lent_on_device)
            dni_mirror_wrote_device(net->context, blob->own);
        else if (blob->lent)
            dni_mirror_wrote(net->context, blob->own);
    }
}

dn_status dni_net_loss(const dn_net *net, float *out)
{
    return total_loss(net, 0, (int32_t)net->num_layers - 1, out);
}

dn_status dn_net_forward_range(dn_net *net, int32_t from, int32_t to, float *loss)
{
    dni_clear_error();
    dn_status st = check_range(net, from, to);
    if (!st)
        st = make_ready(net);
    if (!st)
        st = dni_net_catch_up(net);
    if (st)
        return st;
    net->ran_forward = false;
    if (from == 0) {
        net->random_state[0] = (int64_t)net->seed;
        net->random_state[1] = net->step++;
        if (net->state.ranks > 1) /* no two ranks draw the same numbers */
            net->random_state[1] = net->random_state[1] * net->state.ranks + net->state.rank;
    }
    announce(net, from, to);
    st = is_whole(net, from, to, DNI_FORWARD) ? forward_whole(net)
                                              : forward_layers(net, from, to);
    if (net->state.phase == DN_PHASE_TRAIN)
        touch_statistics(net);
    if (st)
        return st;
    net->ran_forward = true;
    net->left = to + 1;
    net->reshaped = false;
    return loss ? total_loss(net, from, to, loss) : DN_OK;
}

dn_status dn_net_forward(dn_net *net, float *loss)
{
    return dn_net_forward_range(net, 0, net ? (int32_t)net->num_layers - 1 : 0, loss);
}

dn_status dni_net_bind_gradients(dn_net *net, bool for_plain)
{
    bool moved = false;
    for (size_t i = 0; i < net->num_params; i++) {
        dni_param *p = net->params[i];
        dni_store *store = p->blob.store;
        if (p->diff == DNI_NONE || dni_net_leaves(net, p))
            continue;
        dn_status st = store->late ? dni_net_catch_up(store->late) : DN_OK;
        if (!st)
            st = for_plain ? dni_store_diff(store) : dni_store_make_diff(store);
        if (st)
            return st;
        void **memory = &net->program->tensors[p->diff].memory;
        moved |= *memory != store->diff && net->program->late;
        *memory = store->diff;
    }
    return moved ? dni_plan_rebind(net->plan) : DN_OK;
}

dn_status dni_net_bind_backward(dn_net *net)
{
    dn_status st = dni_net_bind_gradients(net, true);
    return st ? st : dni_plan_bind(net->plan, DNI_BACKWARD);
}

/* Where all gradients are cleared, the first op that adds to one overwrites it instead; those
 * that have no such op are written zero. */
static dn_status settle_gradients(dn_net *net, bool *fresh)
{
    *fresh = true;
    for (size_t i = 0; i < net->num_params; i++)
        *fresh &= net->params[i]->diff == DNI_NONE || net->params[i]->blob.store->cleared ||
                  dni_net_leaves(net, net->params[i]);
    for (size_t i = 0; i < net->num_params; i++) {
        dni_param *p = net->params[i];
        if (p->diff == DNI_NONE || (*fresh && dni_plan_overwrites(net->plan, p->diff)) ||
            dni_net_leaves(net, p))
            continue;
        dn_status st = dni_store_diff(p->blob.store);
        if (st)
            return st;
    }
    return DN_OK;
}

static dn_status backward_whole(dn_net *net)
{
    bool fresh = false;
    net->leaves = net->may_leave && dni_net_can_leave(net);
    dn_status st = dni_net_bind_gradients(net, false);
    if (!st)
        st = settle_gradients(net, &fresh);
    if (!st)
        st = run_whole(net, DNI_BACKWARD, fresh);
    net->leaves &= !st;
    for (size_t i = 0; i < net->num_params && !st; i++)
        if (dni_net_leaves(net, net->params[i]))
            net->params[i]->blob.store->late = net;
        else if (net->params[i]->diff != DNI_NONE)
            net->params[i]->blob.store->cleared = false;
    return st;
}

static dn_status backward_layers(dn_net *net, int32_t from, int32_t to)
{
    dn_status st = dni_net_bind_gradients(net, true);
    if (!st)
        st = dni_plan_bind_plain(net->plan, DNI_BACKWARD);
    if (!st)
        st = dni_net_replay(net, (int32_t)net->num_layers, false);
    return st ? st : run_layers(net, from, to, true);
}

dn_status dn_net_backward_range(dn_net *net, int32_t from, int32_t to)
{
    dni_clear_error();
    dn_status st = check_range(net, to, from);
    if (st)
        return st;
    bool spent = net->program && net->program->compact && from >= net->left;
    if (!net->ran_forward || net->shapes_changed || spent)
        return dni_fail(DN_E_STATE, "backward needs a forward of the same shapes before it%s",
                        spent ? ", one of its own with DN_MEMORY_COMPACT" : "");
    bool fused = net->fused_state && is_whole(net, to, from, DNI_BACKWARD);
    st = dni_net_catch_up(net);
    if (!st)
        st = dni_net_all_kept(net);
    if (st)
        return st;
    st = fused ? backward_whole(net) : backward_layers(net, from, to);
    net->left = to; /* values gave their places to gradients */
    return st;
}

dn_status dn_net_backward(dn_net *net)
{
    return dn_net_backward_range(net, net ? (int32_t)net->num_layers - 1 : 0, 0);
}

dn_status dn_net_clear_gradients(dn_net *net)
{
    dni_clear_error();
    if (!net)
        return dni_fail(DN_E_INVALID, "the net is NULL");
    dn_status st = DN_OK;
    dni_net_take_left(net, false);
    for (size_t i = 0; !st && i < net->num_params; i++)
        st = dni_store_clear(net->params[i]->blob.store);
    return st;
}

dn_status dn_net_reshape(dn_net *net)
{
    dni_clear_error();
    if (!net)
        return dni_fail(DN_E_INVALID, "the net is NULL");
    if (!net->shapes_changed)
        return DN_OK;
    for (size_t i = 0; i < net->num_layers; i++) /* what an earlier run found counts no more */
        if (dni_layer_is_dynamic(&net->layers[i].layer))
            memset(net->layers[i].shape_given, 0,
                   (size_t)net->layers[i].layer.num_tops * sizeof(bool));
    dn_status st = dni_net_catch_up(net);
    if (!st)
        st = dni_net_infer_shapes(net, net->num_layers);
    if (!st && !net->wire_only)
        st = dni_net_lower(net);
    net->shapes_changed = st != DN_OK;
    net->ran_forward = net->fused_state = false;
    net->left = 0;
    net->reshaped = true;
    return st;
}
