/* SPDX-License-Identifier: BSD-2-Clause
 * gradient.c: what needs a gradient, as Caffe infers it: forward, a value needs one if a weight
 * that learns stands before it; backward, only what a loss depends on counts. force_backward
 * asks for all that a layer allows. */
#include "net/net.h"

static bool layer_learns(const dn_net *net, dni_net_layer *l)
{
    bool learns = false;
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        const dni_param *p = net->params[l->params[i]];
        l->layer.weight_wanted[i] = p->lr_mult != 0 && !p->statistic;
        learns |= l->layer.weight_wanted[i];
    }
    return learns;
}

static bool allows(const dni_layer *layer, int32_t bottom)
{
    return layer->cls->backward && !(bottom < 16 && layer->cls->no_gradient >> bottom & 1);
}

static void spread_forward(dn_net *net)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        const dni_node *node = &net->graph.nodes[i];
        const Cnn__LayerParameter *p = l->layer.param;
        l->needs_backward = layer_learns(net, l);
        for (int32_t k = 0; k < node->num_bottoms; k++) {
            bool wants = net->graph.values[node->bottoms[k]].gradient;
            if ((size_t)k < p->n_propagate_down)
                wants = p->propagate_down[k];
            l->layer.propagate[k] = wants && allows(&l->layer, k);
            l->needs_backward |= l->layer.propagate[k];
        }
        l->needs_backward &= l->layer.cls->backward != NULL;
        for (int32_t k = 0; k < node->num_tops; k++)
            net->graph.values[node->tops[k]].gradient = l->needs_backward;
    }
}

/* value_under[v]: some loss depends on value v; value_stop[v]: nobody passes it a gradient. */
static void keep_under_loss(dn_net *net, bool *value_under, bool *value_wanted)
{
    for (size_t i = net->num_layers; i-- > 0;) {
        dni_net_layer *l = &net->layers[i];
        const dni_node *node = &net->graph.nodes[i];
        bool contributes = false, reached = false;
        for (int32_t k = 0; k < node->num_tops; k++) {
            bool loss = l->loss_weight[k] != 0;
            contributes |= loss || value_under[node->tops[k]];
            reached |= loss || value_wanted[node->tops[k]];
        }
        if (!contributes || !reached)
            l->needs_backward = false;
        for (int32_t k = 0; k < node->num_bottoms; k++) {
            l->layer.propagate[k] &= l->needs_backward;
            value_under[node->bottoms[k]] |= contributes;
            value_wanted[node->bottoms[k]] |= l->layer.propagate[k];
        }
    }
}

static void force(dn_net *net)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        const dni_node *node = &net->graph.nodes[i];
        l->needs_backward = l->layer.cls->backward != NULL;
        for (int32_t k = 0; k < node->num_bottoms; k++) {
            const dni_net_layer *maker =
                &net->layers[net->graph.values[node->bottoms[k]].layer];
            bool data = (maker->layer.cls->flags & DNI_LAYER_SOURCE) != 0;
            l->layer.propagate[k] |= allows(&l->layer, k) && !data;
        }
        for (int32_t k = 0; k < l->layer.num_weights; k++)
            l->layer.weight_wanted[k] = !net->params[l->params[k]]->statistic;
    }
}

static void mark_values(dn_net *net)
{
    for (size_t v = 0; v < net->graph.num_values; v++)
        net->graph.values[v].gradient = false;
    for (size_t i = 0; i < net->num_params; i++)
        net->params[i]->wanted = false;
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        const dni_node *node = &net->graph.nodes[i];
        if (!l->needs_backward)
            continue;
        for (int32_t k = 0; k < node->num_tops; k++)
            net->graph.values[node->tops[k]].gradient = true;
        for (int32_t k = 0; k < node->num_bottoms; k++)
            net->graph.values[node->bottoms[k]].gradient |= l->layer.propagate[k];
        for (int32_t k = 0; k < l->layer.num_weights; k++)
            net->params[l->params[k]]->wanted |= l->layer.weight_wanted[k];
    }
}

/* What is left in the diff of value v goes up through layers that share their diffs. */
static void lend_upwards(dn_net *net, const dni_value *value)
{
    dni_net_layer *l = &net->layers[value->layer];
    while (l->layer.cls->flags & DNI_LAYER_SHARED_DIFF && !l->needs_backward) {
        dni_value *bottom = &net->graph.values[net->graph.nodes[value->layer].bottoms[0]];
        if (bottom->gradient || bottom->consumers != 1)
            return;
        l->needs_backward = l->layer.propagate[0] = bottom->gradient = true;
        value = bottom;
        l = &net->layers[value->layer];
    }
}

/* After mark_values: diffs that nobody wants, lent to a layer that leaves something there. */
static void lend_diffs(dn_net *net)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        l->layer.scratch_diff = false;
        if (!l->needs_backward || !(l->layer.cls->flags & DNI_LAYER_SCRATCH_DIFF))
            continue;
        dni_value *value = &net->graph.values[net->graph.nodes[i].bottoms[0]];
        l->layer.scratch_diff = !value->gradient;
        value->gradient = true;
        if (l->layer.scratch_diff)
            lend_upwards(net, value);
    }
}

dn_status dni_net_infer_gradients(dn_net *net)
{
    size_t n = net->graph.num_values;
    bool *flags = dni_alloc(net->heap, 2 * n + 1, sizeof *flags);
    if (!flags)
        return DN_E_NOMEM;
    spread_forward(net);
    keep_under_loss(net, flags, flags + n);
    if ((net->origin ? net->origin : net)->file->net->force_backward)
        force(net);
    mark_values(net);
    lend_diffs(net);
    dni_free(flags);
    return DN_OK;
}
