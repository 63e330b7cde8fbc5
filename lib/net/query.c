/* SPDX-License-Identifier: BSD-2-Clause
 * query.c: looking around in a net: blobs, layers, weights. Indices outside give NULL or 0. */
#include <string.h>

#include "layers/memory_data.h"
#include "net/net.h"

const char *dn_net_name(const dn_net *net)
{
    if (!net)
        return "";
    const char *name = (net->origin ? net->origin : net)->file->net->name;
    return name ? name : "";
}

int32_t dn_net_phase(const dn_net *net)
{
    return net ? net->state.phase : DN_PHASE_DEFAULT;
}

int32_t dn_net_num_blobs(const dn_net *net)
{
    return net ? (int32_t)net->graph.num_blobs : 0;
}

dn_blob *dn_net_blob_at(dn_net *net, int32_t index)
{
    dni_clear_error();
    if (net && index >= 0 && index < (int32_t)net->graph.num_blobs)
        return net->blobs[index];
    dni_fail(DN_E_INVALID, "there is no blob %d", index);
    return NULL;
}

dn_blob *dn_net_blob(dn_net *net, const char *name)
{
    dni_clear_error();
    if (!net || !name) {
        dni_fail(DN_E_INVALID, "the net or the name is NULL");
        return NULL;
    }
    const char *const *names = (const char *const *)net->graph.blobs;
    for (size_t i = net->graph.num_blobs; i-- > 0;) /* the last of a name is what it means */
        if (!strcmp(names[i], name))
            return net->blobs[i];
    const char *near = dni_nearest(name, names, net->graph.num_blobs);
    if (near)
        dni_fail(DN_E_NOTFOUND, "the net has no blob '%s'; did you mean '%s'?", name, near);
    else
        dni_fail(DN_E_NOTFOUND, "the net has no blob '%s'", name);
    return NULL;
}

int32_t dn_net_num_inputs(const dn_net *net)
{
    return net ? net->num_inputs : 0;
}

dn_blob *dn_net_input(dn_net *net, int32_t index)
{
    dni_clear_error();
    if (net && index >= 0 && index < net->num_inputs)
        return net->blobs[net->inputs[index]];
    dni_fail(DN_E_INVALID, "there is no input %d", index);
    return NULL;
}

int32_t dn_net_num_outputs(const dn_net *net)
{
    return net ? net->num_outputs : 0;
}

dn_blob *dn_net_output(dn_net *net, int32_t index)
{
    dni_clear_error();
    if (net && index >= 0 && index < net->num_outputs)
        return net->blobs[net->outputs[index]];
    dni_fail(DN_E_INVALID, "there is no output %d", index);
    return NULL;
}

/* ---- layers ------------------------------------------------------------------------------ */

static const dni_net_layer *layer_at(const dn_net *net, int32_t layer)
{
    return net && layer >= 0 && layer < (int32_t)net->num_layers ? &net->layers[layer] : NULL;
}

int32_t dn_net_num_layers(const dn_net *net)
{
    return net ? (int32_t)net->num_layers : 0;
}

const char *dn_net_layer_name(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l ? l->layer.name : NULL;
}

const char *dn_net_layer_type(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l ? l->layer.cls->type : NULL;
}

const char *dn_layer_type(int32_t index)
{
    int32_t count = 0;
    while (dni_layer_classes[count])
        count++;
    return index >= 0 && index < count ? dni_layer_classes[index]->type : NULL;
}

int32_t dn_net_find_layer(const dn_net *net, const char *name)
{
    for (int32_t i = 0; name && i < dn_net_num_layers(net); i++)
        if (!strcmp(net->layers[i].layer.name, name))
            return i;
    return -1;
}

int32_t dn_net_layer_num_bottoms(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l ? l->layer.num_bottoms : 0;
}

int32_t dn_net_layer_num_tops(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l ? l->layer.num_tops : 0;
}

dn_blob *dn_net_layer_bottom(dn_net *net, int32_t layer, int32_t index)
{
    const dni_net_layer *l = layer_at(net, layer);
    if (!l || index < 0 || index >= l->layer.num_bottoms)
        return NULL;
    return net->blobs[net->graph.values[net->graph.nodes[layer].bottoms[index]].blob];
}

dn_blob *dn_net_layer_top(dn_net *net, int32_t layer, int32_t index)
{
    const dni_net_layer *l = layer_at(net, layer);
    if (!l || index < 0 || index >= l->layer.num_tops)
        return NULL;
    return net->blobs[net->graph.values[net->graph.nodes[layer].tops[index]].blob];
}

int32_t dn_net_layer_num_params(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l ? l->layer.num_weights : 0;
}

dn_blob *dn_net_layer_param(dn_net *net, int32_t layer, int32_t index)
{
    const dni_net_layer *l = layer_at(net, layer);
    if (!l || index < 0 || index >= l->layer.num_weights)
        return NULL;
    return &net->params[l->params[index]]->blob;
}

int64_t dn_net_layer_flops(const dn_net *net, int32_t layer)
{
    const dni_net_layer *l = layer_at(net, layer);
    int64_t flops = 0;
    for (size_t i = l && net->program ? l->forward.first : 0;
         l && net->program && i < l->forward.end; i++)
        flops += dni_op_flops(net->program, &net->program->ops[i]);
    return flops;
}

float dn_net_layer_loss_weight(const dn_net *net, int32_t layer, int32_t top)
{
    const dni_net_layer *l = layer_at(net, layer);
    return l && top >= 0 && top < l->layer.num_tops ? l->loss_weight[top] : 0;
}

/* ---- data of the host -------------------------------------------------------------------- */

dn_status dn_net_set_memory_data(dn_net *net, const char *layer, const float *data,
                                 const float *labels, int64_t n)
{
    dni_clear_error();
    if (!net || !data || !labels)
        return dni_fail_null(__func__);
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_layer *l = &net->layers[i].layer;
        if (strcmp(l->cls->type, "MemoryData") || (layer && strcmp(l->name, layer)))
            continue;
        return dni_in_layer(net, &net->layers[i], dni_memory_data_set(l, data, labels, n));
    }
    if (layer)
        return dni_fail(DN_E_NOTFOUND, "the net has no MemoryData layer '%s'", layer);
    return dni_fail(DN_E_NOTFOUND, "the net has no MemoryData layer");
}
