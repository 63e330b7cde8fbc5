/* SPDX-License-Identifier: BSD-2-Clause
 * describe.c: a net in words: layers with shapes, ops with implementations, memory by kind. */
#include <string.h>

#include "net/net.h"

static void print_shape(dni_text *text, const dni_shape *shape)
{
    for (int32_t i = 0; i < shape->axes; i++)
        dni_text_printf(text, i ? "x%lld" : "%lld", (long long)shape->dim[i]);
    if (!shape->axes)
        dni_text_printf(text, "scalar");
}

static int64_t layer_params(const dn_net *net, const dni_net_layer *l)
{
    int64_t count = 0;
    for (int32_t i = 0; i < l->layer.num_weights; i++)
        count += dni_shape_count(&net->params[l->params[i]]->blob.shape);
    return count;
}

/* A net that is only wired has no ops whose flops could be counted: "-". */
static void describe_layers(const dn_net *net, dni_text *text)
{
    int64_t params = 0, flops = 0;
    dni_text_printf(text, "%-24s %-20s %12s %14s  %s\n", "layer", "type", "parameters", "flops",
                    "tops");
    for (size_t i = 0; i < net->num_layers; i++) {
        const dni_net_layer *l = &net->layers[i];
        int64_t own = dn_net_layer_flops(net, (int32_t)i);
        size_t from = text->size;
        dni_text_printf(text, "%-24s %-20s %12lld ", l->layer.name, l->layer.cls->type,
                        (long long)layer_params(net, l));
        if (net->plan)
            dni_text_printf(text, "%14lld ", (long long)own);
        else
            dni_text_printf(text, "%14s ", "-");
        for (int32_t k = 0; k < l->layer.num_tops; k++) {
            dni_text_printf(text, " %s ", l->layer.top_names[k]);
            print_shape(text, &net->value_shapes[net->graph.nodes[i].tops[k]]);
        }
        dni_text_end_line(text, from);
        flops += own;
    }
    for (size_t i = 0; i < net->num_params; i++)
        params += dni_shape_count(&net->params[i]->blob.shape);
    dni_text_printf(text, "%zu layers, %zu blobs, %lld parameters", net->num_layers,
                    net->graph.num_blobs, (long long)params);
    if (net->plan)
        dni_text_printf(text, ", %lld flops forward", (long long)flops);
    dni_text_printf(text, "\n");
}

static void describe_ops(const dn_net *net, dni_text *text)
{
    const dni_program *program = dni_plan_program(net->plan);
    for (size_t i = 0; i < program->num_ops; i++) {
        const dni_op *op = &program->ops[i];
        const char *declined = dni_plan_declined(net->plan, i);
        size_t from = text->size;
        dni_text_printf(text, "%4zu %s %-20s ", i, op->section == DNI_FORWARD ? "fwd" : "bwd",
                        op->layer < 0 ? "" : net->layers[op->layer].layer.name);
        dni_op_print(program, op, text);
        dni_text_printf(text, "  [%s]", dni_plan_implementation(net->plan, i));
        if (declined[0])
            dni_text_printf(text, "  (declined: %s)", declined);
        dni_text_end_line(text, from);
    }
}

/* Where a run of steps ends because what follows is not known yet. */
static void describe_segments(const dn_net *net, dni_text *text)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        size_t from = text->size;
        if (!dni_layer_is_dynamic(&net->layers[i].layer))
            continue;
        dni_text_printf(text,
                        "split after '%s': its shapes are found as it runs, and the plan is "
                        "made anew when they change",
                        net->layers[i].layer.name);
        dni_text_end_line(text, from);
    }
}

static const char *layer_name(void *net, int32_t layer)
{
    return layer == DNI_OF_LOSSES ? "(losses)"
           : layer < 0            ? ""
                                  : ((const dn_net *)net)->layers[layer].layer.name;
}

dn_status dn_net_memory_report(const dn_net *net, dn_net_memory *out)
{
    dni_clear_error();
    if (!net || !out || !out->struct_size)
        return dni_fail(DN_E_INVALID,
                        "dn_net_memory_report: an argument is NULL, or struct_size 0");
    dn_net_memory m = {.struct_size = out->struct_size};
    for (size_t i = 0; i < net->num_params; i++) {
        const dni_param *p = net->params[i];
        size_t bytes = (size_t)dni_shape_count(&p->blob.shape) * dni_dtype_size(net->dtype);
        m.weights += bytes;
        m.weight_gradients += p->wanted && !dni_net_without_diff(net, p) ? bytes : 0;
    }
    for (int32_t i = 0; i < net->num_inputs; i++)
        m.blobs += (size_t)dni_shape_count(&net->blobs[net->inputs[i]]->shape) *
                   dni_dtype_size(net->dtype);
    if (net->plan) {
        dni_plan_sizes sizes = dni_plan_size(net->plan);
        m.blobs += sizes.data;
        m.blob_gradients = sizes.diff;
        m.scratch = sizes.temp + sizes.scratch;
        m.plan = sizes.own;
    }
    m.total = m.weights + m.weight_gradients + m.blobs + m.blob_gradients + m.scratch + m.plan;
    memcpy(out, &m, out->struct_size < sizeof m ? out->struct_size : sizeof m);
    return DN_OK;
}

static void describe_memory(const dn_net *net, dni_text *text)
{
    dn_net_memory m = {.struct_size = sizeof m};
    if (dn_net_memory_report(net, &m))
        return;
    dni_text_printf(text,
                    "memory in bytes: weights %zu, their gradients %zu, blobs %zu, their "
                    "gradients %zu, scratch %zu, the plan itself %zu, in all %zu\n",
                    m.weights, m.weight_gradients, m.blobs, m.blob_gradients, m.scratch, m.plan,
                    m.total);
}

dn_status dni_net_describe(dn_net *net, uint32_t what, dni_plan *update, char **out)
{
    if (net->shapes_changed) {
        dn_status st = dn_net_reshape(net);
        if (st)
            return st;
    }
    dni_text text;
    dni_text_init(&text, net->heap);
    dni_text_append(&text, "", 0);
    if (what & DN_DESCRIBE_LAYERS)
        describe_layers(net, &text);
    if (what & DN_DESCRIBE_OPS && net->plan)
        describe_ops(net, &text);
    if (what & DN_DESCRIBE_PLAN && net->plan)
        dni_plan_print(net->plan, update, layer_name, net, &text);
    if (what & DN_DESCRIBE_PLAN && net->dynamic)
        describe_segments(net, &text);
    if (what & DN_DESCRIBE_MEMORY)
        describe_memory(net, &text);
    return dni_text_finish(&text, out);
}

dn_status dn_net_describe(dn_net *net, uint32_t what, char **out)
{
    dni_clear_error();
    if (!net || !out)
        return dni_fail_null(__func__);
    return dni_net_describe(net, what, NULL, out);
}

void dn_net_text_free(dn_net *net, char *text)
{
    if (net)
        dni_free(text);
}
