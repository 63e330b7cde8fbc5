/* SPDX-License-Identifier: BSD-2-Clause
 * upgrade.c: old nets and solvers in today's words: layers of both old generations, `input`
 * fields, transformations inside data parameters, multipliers of BatchNorm statistics,
 * solver enums. */
#include "proto/upgrade.h"

#include <string.h>

static bool is_batch_norm_old(const Cnn__LayerParameter *l)
{
    if (!l->type || strcmp(l->type, "BatchNorm") || l->n_param != 3)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (!l->param[i]->has_lr_mult || l->param[i]->lr_mult != 0 ||
            !l->param[i]->has_decay_mult || l->param[i]->decay_mult != 0)
            return true;
    return false;
}

bool dni_net_is_old(const Cnn__NetParameter *net)
{
    bool old = net->n_layers || dni_net_has_inputs(net);
    for (size_t i = 0; !old && i < net->n_layer; i++)
        old = is_batch_norm_old(net->layer[i]);
    return old;
}

/* ---- layers ------------------------------------------------------------------------------ */

static dn_status upgrade_layer(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                               const dni_heap *heap, dni_locations *locations)
{
    dni_remarks *remarks = dni_locations_remarks(locations);
    dn_status st = dni_locations_move(locations, heap, old, layer);
    if (!st)
        st = dni_remarks_move(remarks, heap, old, NULL, DNI_ANY_INDEX, layer, NULL, 0);
    if (!st)
        st = old->layer ? dni_upgrade_v0(layer, old, heap, locations)
                        : dni_upgrade_v1(layer, old, heap, remarks);
    return st ? st : dni_upgrade_transform(layer, heap, remarks);
}

static dn_status upgrade_layers(Cnn__NetParameter *net, const dni_heap *heap,
                                dni_locations *locations)
{
    bool v0 = false;
    for (size_t i = 0; i < net->n_layers; i++)
        v0 |= net->layers[i]->layer != NULL;
    dn_status st = v0 ? dni_upgrade_v0_padding(net, heap, locations)
                      : dni_remarks_move(dni_locations_remarks(locations), heap, net, "layers",
                                         DNI_ANY_INDEX, net, "layer", dni_net_has_inputs(net));
    if (st)
        return st;
    net->layer = dni_alloc(heap, net->n_layers, sizeof *net->layer);
    if (!net->layer)
        return DN_E_NOMEM;
    for (size_t i = 0; i < net->n_layers; i++) {
        net->layer[i] = dni_message_new(heap, &cnn__layer_parameter__descriptor);
        if (!net->layer[i])
            return DN_E_NOMEM;
        net->n_layer++;
        st = upgrade_layer(net->layer[i], net->layers[i], heap, locations);
        if (st)
            return dni_in_location(st, locations, net->layer[i]);
    }
    for (size_t i = 0; i < net->n_layers; i++)
        dni_message_free(net->layers[i]);
    dni_free(net->layers);
    net->layers = NULL;
    net->n_layers = 0;
    return DN_OK;
}

/* ---- transformations --------------------------------------------------------------------- */

/* A parameter that has its own transform_param, or the four fields as of V1. */
static dn_status move_transform(Cnn__LayerParameter *layer, ProtobufCMessage *from,
                                bool loose_fields, const dni_heap *heap, dni_remarks *remarks)
{
    static const char *const fields[] = {"scale", "mean_file", "crop_size", "mirror"};
    dn_status st = DN_OK;
    if (!from)
        return DN_OK;
    if (!layer->transform_param)
        st = dni_field_move(heap, from, "transform_param", &layer->base, "transform_param",
                            NULL);
    for (size_t i = 0; loose_fields && !st && i < DNI_COUNT(fields); i++) {
        if (!dni_field_set(from, fields[i]))
            continue;
        ProtobufCMessage *to = dni_field_sub(heap, &layer->base, "transform_param");
        st = to ? dni_field_move(heap, from, fields[i], to, fields[i], NULL) : DN_E_NOMEM;
        if (!st)
            st = dni_remarks_move(remarks, heap, from, fields[i], 0, to, fields[i], 0);
    }
    return st;
}

dn_status dni_upgrade_transform(Cnn__LayerParameter *layer, const dni_heap *heap,
                                dni_remarks *remarks)
{
    const struct {
        const char *type;
        ProtobufCMessage *param;
        bool loose_fields;
    } sources[] = {
        {"Data", (ProtobufCMessage *)layer->data_param, true},
        {"ImageData", (ProtobufCMessage *)layer->image_data_param, true},
        {"WindowData", (ProtobufCMessage *)layer->window_data_param, true},
        {"HDF5Data", (ProtobufCMessage *)layer->hdf5_data_param, false},
    };
    for (size_t i = 0; layer->type && i < DNI_COUNT(sources); i++)
        if (!strcmp(sources[i].type, layer->type))
            return move_transform(layer, sources[i].param, sources[i].loose_fields, heap,
                                  remarks);
    return DN_OK;
}

/* What Caffe passes over in a `layer` is worth a word: it looks as if it did something. */
static dn_status note_transforms(const Cnn__NetParameter *net, const dni_heap *heap,
                                 dni_locations *locations)
{
    static const char *const fields[] = {"scale", "mean_file", "crop_size", "mirror",
                                         "transform_param"};
    dn_status st = DN_OK;
    for (size_t i = 0; i < net->n_layer; i++) {
        const Cnn__LayerParameter *l = net->layer[i];
        const ProtobufCMessage *params[] = {(const ProtobufCMessage *)l->data_param,
                                            (const ProtobufCMessage *)l->image_data_param,
                                            (const ProtobufCMessage *)l->window_data_param};
        if (l->type && !strcmp(l->type, "VideoData"))
            continue; /* it reads them there */
        for (size_t k = 0; !st && k < DNI_COUNT(params) * DNI_COUNT(fields); k++) {
            const ProtobufCMessage *param = params[k / DNI_COUNT(fields)];
            const char *field = fields[k % DNI_COUNT(fields)];
            if (param && dni_field_set(param, field))
                st = dni_locations_note(locations, heap, l,
                                        "layer '%s': '%s' has no effect in %s; it belongs into "
                                        "transform_param of the layer",
                                        l->name ? l->name : "", field,
                                        param->descriptor->short_name);
        }
    }
    return st;
}

/* ---- inputs ------------------------------------------------------------------------------ */

bool dni_net_has_inputs(const Cnn__NetParameter *net)
{
    return net->n_input || net->n_bottom;
}

static dn_status give_dims(Cnn__InputParameter *input, Cnn__NetParameter *net,
                           const dni_heap *heap, dni_remarks *remarks)
{
    dn_status st = DN_OK;
    input->shape = dni_alloc(heap, net->n_input, sizeof *input->shape);
    if (!input->shape)
        return DN_E_NOMEM;
    for (size_t i = 0; !st && i < net->n_input; i++) {
        Cnn__BlobShape *shape = dni_message_new(heap, &cnn__blob_shape__descriptor);
        if (!shape)
            return DN_E_NOMEM;
        input->shape[input->n_shape++] = shape;
        shape->dim = dni_alloc(heap, 4, sizeof *shape->dim);
        if (!shape->dim)
            return DN_E_NOMEM;
        for (shape->n_dim = 0; !st && shape->n_dim < 4; shape->n_dim++) {
            size_t at = 4 * i + shape->n_dim;
            shape->dim[shape->n_dim] = net->input_dim[at];
            st = dni_remarks_move(remarks, heap, net, "input_dim", at, shape, "dim",
                                  shape->n_dim);
        }
    }
    return st;
}

static dn_status prepend(Cnn__NetParameter *net, Cnn__LayerParameter *layer,
                         const dni_heap *heap)
{
    Cnn__LayerParameter **more = dni_realloc(heap, net->layer, net->n_layer + 1, sizeof *more);
    if (!more)
        return DN_E_NOMEM;
    memmove(more + 1, more, net->n_layer * sizeof *more);
    more[0] = layer;
    net->layer = more;
    net->n_layer++;
    return DN_OK;
}

/* Remarks on input fields go to the layer; those on layers are one further. */
static dn_status move_input_remarks(const Cnn__NetParameter *net,
                                    const Cnn__LayerParameter *layer, const dni_heap *heap,
                                    dni_remarks *remarks)
{
    static const char *const names[] = {"bottom", "input"};
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < DNI_COUNT(names); i++)
        st = dni_remarks_move(remarks, heap, net, names[i], DNI_ANY_INDEX, layer, "top", 0);
    if (!st)
        st = dni_remarks_move(remarks, heap, net, "input_shape", DNI_ANY_INDEX,
                              layer->input_param, "shape", 0);
    return st ? st
              : dni_remarks_move(remarks, heap, net, "layer", DNI_ANY_INDEX, net, "layer", 1);
}

static dn_status upgrade_inputs(Cnn__NetParameter *net, const dni_heap *heap,
                                dni_locations *locations)
{
    dni_remarks *remarks = dni_locations_remarks(locations);
    int32_t line, column;
    if (net->n_bottom && net->n_input)
        return dni_fail(DN_E_NET, "the net has both `input` and `bottom`");
    if (net->n_bottom) { /* what `input` was before it had that name */
        dn_status moved = dni_field_move(heap, &net->base, "bottom", &net->base, "input", NULL);
        if (moved)
            return moved;
    }
    if (net->n_input_dim && (net->n_input_dim % 4 || net->n_input_dim / 4 != net->n_input))
        return dni_fail(DN_E_NET, "%zu input_dim for %zu inputs; each input needs 4",
                        net->n_input_dim, net->n_input);
    if (net->n_input_shape && net->n_input_shape != net->n_input)
        return dni_fail(DN_E_NET, "%zu input_shape for %zu inputs", net->n_input_shape,
                        net->n_input);
    Cnn__LayerParameter *layer = dni_message_new(heap, &cnn__layer_parameter__descriptor);
    dn_status st = layer ? prepend(net, layer, heap) : DN_E_NOMEM;
    if (st) {
        dni_message_free(layer);
        return st;
    }
    layer->name = dni_strdup(heap, "input");
    layer->type = dni_strdup(heap, "Input");
    ProtobufCMessage *input = dni_field_sub(heap, &layer->base, "input_param");
    if (!layer->name || !layer->type || !input)
        return DN_E_NOMEM;
    if (net->n_input && dni_locations_find(locations, net->input[0], &line, &column))
        st = dni_locations_add(locations, heap, layer, line, column);
    if (!st && net->n_input_dim && !net->n_input_shape)
        st = give_dims(layer->input_param, net, heap, remarks);
    if (!st)
        st = move_input_remarks(net, layer, heap, remarks);
    if (!st)
        st = dni_field_move(heap, &net->base, "input_shape", input, "shape", NULL);
    if (!st)
        st = dni_field_move(heap, &net->base, "input", &layer->base, "top", NULL);
    dni_free(net->input_dim);
    net->input_dim = NULL;
    net->n_input_dim = 0;
    return st;
}

/* ---- all of it --------------------------------------------------------------------------- */

static void upgrade_batch_norm(Cnn__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        if (!is_batch_norm_old(net->layer[i]))
            continue;
        for (size_t k = 0; k < 3; k++) {
            Cnn__ParamSpec *spec = net->layer[i]->param[k];
            spec->has_lr_mult = spec->has_decay_mult = 1;
            spec->lr_mult = spec->decay_mult = 0;
        }
    }
}

dn_status dni_net_upgrade(Cnn__NetParameter *net, const dni_heap *heap,
                          dni_locations *locations)
{
    dn_status st = net->n_layers ? DN_OK : note_transforms(net, heap, locations);
    if (st)
        return st;
    if (net->n_layers && net->n_layer)
        return dni_in_location(
            dni_fail(DN_E_NET, "the net has both `layer` and `layers`: two generations of the "
                               "language in one file"),
            locations, net->layers[0]);
    if (net->n_layers)
        st = upgrade_layers(net, heap, locations);
    const char *first = net->n_input ? net->input[0] : NULL;
    if (!st && dni_net_has_inputs(net)) {
        st = upgrade_inputs(net, heap, locations);
        st = dni_in_location(st, locations, first);
    }
    if (!st)
        upgrade_batch_norm(net);
    dni_remarks_settle(dni_locations_remarks(locations));
    return st;
}

dn_status dni_solver_upgrade(Cnn__SolverParameter *solver, const dni_heap *heap,
                             dni_remarks *remarks)
{
    static const char *const types[] = {"SGD",     "Nesterov", "AdaGrad",
                                        "RMSProp", "AdaDelta", "Adam"};
    if (!solver->has_solver_type)
        return DN_OK;
    if (dni_field_set(&solver->base, "type"))
        return dni_fail(DN_E_PARSE, "both type and the old solver_type are given; keep type");
    if ((unsigned)solver->solver_type >= DNI_COUNT(types))
        return dni_fail(DN_E_UNSUPPORTED, "solver_type %d is not known",
                        (int)solver->solver_type);
    char *type = dni_strdup(heap, types[solver->solver_type]);
    if (!type)
        return DN_E_NOMEM;
    solver->type = type;
    solver->has_solver_type = 0;
    solver->solver_type = CNN__SOLVER_PARAMETER__SOLVER_TYPE__SGD;
    dn_status st = dni_remarks_move(remarks, heap, solver, "solver_type", 0, solver, "type", 0);
    dni_remarks_settle(remarks);
    return st;
}
