/* SPDX-License-Identifier: BSD-2-Clause
 * create.c: a net from a file, from text or beside another net: wire, set up, infer, lower. */
#include <string.h>

#include "core/mirror.h"
#include "layers/guess.h"
#include "net/net.h"

static dn_status take_options(dn_net_options *to, const dn_net_options *from)
{
    dn_status st = dni_take_options(to, from, sizeof *to, "dn_net_options");
    if (st)
        return st;
    if (to->phase < DN_PHASE_DEFAULT || to->phase > DN_PHASE_TEST)
        return dni_fail(DN_E_INVALID, "phase %d is none of DN_PHASE_*", to->phase);
    if (to->dtype != DN_F32 && to->dtype != DN_F64)
        return dni_fail(DN_E_UNSUPPORTED, "dtype %d: a net is DN_F32 or DN_F64", to->dtype);
    if (to->memory != DN_MEMORY_READABLE && to->memory != DN_MEMORY_COMPACT)
        return dni_fail(DN_E_INVALID, "memory %d is none of DN_MEMORY_*", to->memory);
    if ((to->num_stages && !to->stages) || (to->num_keep && !to->keep) ||
        (to->input_shapes_count && !to->input_shapes) || to->input_shapes_count < 0)
        return dni_fail(DN_E_INVALID, "an array in dn_net_options is NULL but has a count");
    if (to->compute < DN_COMPUTE_F32 || to->compute > DN_COMPUTE_BF16)
        return dni_fail(DN_E_INVALID, "compute is %d; it is a DN_COMPUTE_*, 0 to 2",
                        to->compute);
    if (to->compute && to->dtype == DN_F64)
        return dni_fail(DN_E_INVALID, "a net in DN_F64 computes in no lesser type");
    return DN_OK;
}

/* What the options leave open is the prototxt's own `state`, and TEST. */
static dni_net_state state_of(const Cnn__NetParameter *net, const dn_net_options *o)
{
    dni_net_state state = {.phase = o->phase ? o->phase : DN_PHASE_TEST,
                           .level = o->level,
                           .stages = o->stages,
                           .num_stages = o->num_stages};
    const Cnn__NetState *own = net->state;
    if (!own)
        return state;
    if (!o->phase && own->has_phase)
        state.phase = own->phase == CNN__PHASE__TRAIN ? DN_PHASE_TRAIN : DN_PHASE_TEST;
    if (!o->level)
        state.level = own->level;
    if (!o->num_stages) {
        state.stages = (const char *const *)own->stage;
        state.num_stages = own->n_stage;
    }
    return state;
}

static void free_strings(char **strings, size_t count)
{
    for (size_t i = 0; strings && i < count; i++)
        dni_free(strings[i]);
    dni_free(strings);
}

static dn_status copy_strings(const dni_heap *heap, char ***out, const char *const *from,
                              size_t count)
{
    *out = dni_alloc(heap, count, sizeof **out);
    if (!*out)
        return DN_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = dni_strdup(heap, from[i] ? from[i] : "");
        if (!(*out)[i])
            return DN_E_NOMEM;
    }
    return DN_OK;
}

static dn_status check_keep(const dn_net *net)
{
    for (size_t i = 0; i < net->num_keep; i++) {
        bool found = false;
        for (size_t b = 0; b < net->graph.num_blobs; b++)
            found |= !strcmp(net->graph.blobs[b], net->keep[i]);
        if (!found)
            return dni_fail(DN_E_NOTFOUND, "keep names blob '%s', which the net does not have",
                            net->keep[i]);
    }
    return DN_OK;
}

/* Shapes the host chose for the inputs, in their order, before anything depends on them. */
static dn_status give_input_shapes(dn_net *net, const dn_net_options *o)
{
    int32_t next = 0;
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->graph.nodes[i].num_tops; k++) {
            if (!(net->layers[i].layer.cls->flags & DNI_LAYER_INPUT) ||
                next >= o->input_shapes_count)
                continue;
            net->layers[i].shape_given[k] = true;
            net->value_shapes[net->graph.nodes[i].tops[k]] = o->input_shapes[next++];
        }
    if (next < o->input_shapes_count)
        return dni_fail(DN_E_INVALID, "%d input shapes were given, the net has %d inputs",
                        o->input_shapes_count, next);
    return DN_OK;
}

static dn_status build(dn_net *net, const dn_net_options *o)
{
    dn_status st = dni_net_wire(net);
    if (!st)
        st = check_keep(net);
    if (!st)
        st = give_input_shapes(net, o);
    if (!st)
        st = dni_net_set_up_layers(net);
    if (!st && !net->wire_only)
        st = dni_net_fill_params(net);
    if (!st)
        st = dni_net_infer_gradients(net);
    if (!st)
        st = dni_net_make_blobs(net);
    if (!st && !net->wire_only)
        st = dni_net_lower(net);
    return st;
}

/* The dialect's fields, of the layers that take part. */
static dn_status judge_fields(const dn_net *net, dni_net_file *file, const dni_net_state *state)
{
    const Cnn__NetParameter *p = file->net;
    dn_status st = dni_fields_judge(&p->base, net->heap, file->locations, net->wire_only);
    for (size_t i = 0; !st && i < p->n_layer; i++)
        if (dni_layer_included(p->layer[i], state))
            st = dni_fields_judge(&p->layer[i]->base, net->heap, file->locations,
                                  net->wire_only);
    return st;
}

/* What a layer keeps for itself is of no plan: a prototxt may ask for any length. */
static void *alloc_table(void *user, void *block, size_t old_size, size_t new_size)
{
    dn_net *net = user;
    if (net->memory_limit && new_size > net->memory_limit) {
        net->refused = true;
        return NULL;
    }
    return net->heap->fn(net->heap->user, block, old_size, new_size);
}

static dn_status create_as(dn_net **out, dn_context *context, dni_net_file *file,
                           dn_net *origin, const dni_net_state *state, const dn_net_options *o,
                           uint64_t seed, int32_t guess)
{
    const dni_heap *heap = &context->heap;
    dn_net *net = dni_alloc(heap, 1, sizeof *net);
    if (!net)
        return DN_E_NOMEM;
    *net = (dn_net){.context = context,
                    .heap = heap,
                    .file = file,
                    .origin = origin,
                    .dtype = o->dtype,
                    .memory_mode = o->memory,
                    .memory_limit = o->memory_limit,
                    .wire_only = o->wire_only != 0,
                    .guess = guess,
                    .compute = o->compute,
                    .must_compute = !o->compute_fallback,
                    .num_keep = o->num_keep,
                    .seed = seed};
    net->tables = net->memory_limit ? (dni_heap){alloc_table, net} : *heap;
    dni_context_hold(context);
    atomic_init(&net->references, 1);
    if (origin)
        atomic_fetch_add(&origin->references, 1);
    net->state = *state;
    net->state.stages = NULL;
    char **stages = NULL;
    dn_status st = file && !guess ? judge_fields(net, file, state) : DN_OK;
    if (!st)
        st = copy_strings(heap, &stages, state->stages, state->num_stages);
    net->state.stages = (const char *const *)stages;
    if (!st)
        st = copy_strings(heap, &net->keep, o->keep, o->num_keep);
    dni_fp host = dni_fp_enter();
    if (!st)
        st = build(net, o);
    dni_fp_leave(host);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        if (net->refused) {
            st = dni_fail(DN_E_LIMIT, "%s; memory_limit is %zu", saved.text, net->memory_limit);
            dni_save_error(&saved);
        }
        net->file = NULL; /* still the caller's */
        dn_net_free(net);
        dni_restore_error(&saved);
        return st;
    }
    *out = net;
    return DN_OK;
}

/* Where shapes of data that is not opened do not fit, another guess may. */
static dn_status create(dn_net **out, dn_context *context, dni_net_file *file, dn_net *origin,
                        const dni_net_state *state, const dn_net_options *o, uint64_t seed)
{
    dn_status first = create_as(out, context, file, origin, state, o, seed, 0), st = first;
    if (st != DN_E_SHAPE || !o->wire_only)
        return st;
    dni_saved_error saved;
    dni_save_error(&saved);
    for (int32_t i = 1; st && st != DN_E_NOMEM && i <= DNI_GUESSES; i++) {
        dni_clear_error();
        st = create_as(out, context, file, origin, state, o, seed, i);
    }
    if (!st || st == DN_E_NOMEM)
        return st;
    dni_restore_error(&saved);
    return first;
}

dn_status dni_net_create(dn_net **out, dn_context *context, dni_net_file *file,
                         const dni_net_state *state, const dn_net_options *options,
                         uint64_t seed)
{
    dn_net_options o;
    dn_status st = take_options(&o, options);
    if (st)
        return st;
    return create(out, context, file, NULL, state, &o, seed);
}

/* Takes the file over, also on failure. */
static dn_status from_file(dn_net **out, dn_context *context, dni_net_file *file,
                           const dn_net_options *o)
{
    dni_net_state state = state_of(file->net, o);
    dn_status st = create(out, context, file, NULL, &state, o, context->seed);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_net_file_free(file);
        dni_restore_error(&saved);
    } else {
        dni_log_notes(context, file->locations);
    }
    return st;
}

dn_status dn_net_create_from_prototxt(dn_net **out, dn_context *context, const char *path,
                                      const dn_net_options *options)
{
    dn_net_options o;
    dni_net_file *file = NULL;
    dni_clear_error();
    if (!out || !context || !path)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (!st)
        st = dni_net_read(&file, &context->heap, path, o.dialect);
    return st ? st : from_file(out, context, file, &o);
}

dn_status dn_net_create_from_text(dn_net **out, dn_context *context, const char *text,
                                  size_t size, const dn_net_options *options)
{
    dn_net_options o;
    dni_net_file *file = NULL;
    dni_clear_error();
    if (!out || !context || !text)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (!st)
        st = dni_net_read_text(&file, &context->heap, text, size, "net", o.dialect);
    return st ? st : from_file(out, context, file, &o);
}

dn_status dn_net_create_shared(dn_net **out, dn_net *net, const dn_net_options *options)
{
    dn_net_options o;
    dn_net *made = NULL;
    dni_clear_error();
    if (!out || !net)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (st)
        return st;
    o.dtype = net->dtype;
    dn_net *origin = net->origin ? net->origin : net;
    dni_net_state state = net->state;
    state.iteration = NULL; /* it may outlive the solver */
    if (o.phase)
        state.phase = o.phase;
    st = create(&made, net->context, NULL, origin, &state, &o, net->seed);
    if (!st)
        st = dn_net_share_weights(made, net);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dn_net_free(made);
        dni_restore_error(&saved);
        return st;
    }
    *out = made;
    return DN_OK;
}

dn_status dn_net_plan_memory(dn_context *context, const char *path,
                             const dn_net_options *options, dn_net_memory *out)
{
    dn_net_options o;
    dn_net *net = NULL;
    dni_saved_error saved;
    dni_clear_error();
    if (!out || !out->struct_size)
        return dni_fail(DN_E_INVALID, "dn_net_plan_memory: out is NULL, or struct_size 0");
    dn_status st = take_options(&o, options);
    o.wire_only = 1;
    if (!st)
        st = dn_net_create_from_prototxt(&net, context, path, &o);
    if (!st)
        st = dni_net_lower(net);
    if (!st)
        st = dn_net_memory_report(net, out);
    dni_save_error(&saved);
    dn_net_free(net);
    dni_restore_error(&saved);
    return st;
}

/* ---- freeing ----------------------------------------------------------------------------- */

static void free_layers(dn_net *net)
{
    for (size_t i = 0; net->layers && i < net->num_layers; i++) {
        dni_net_layer *l = &net->layers[i];
        if (l->layer.state && l->layer.cls->teardown)
            l->layer.cls->teardown(&l->layer);
        dni_free(l->layer.state);
        dni_free(l->host_class);
        dni_free(l->layer.bottom_names);
        dni_free(l->layer.propagate);
        dni_free(l->shapes);
        dni_free(l->loss_weight);
        dni_free(l->shape_given);
        dni_message_free(l->defaults);
    }
    dni_free(net->layers);
}

static void free_blobs(dn_net *net)
{
    for (size_t i = 0; net->blobs && i < net->graph.num_blobs; i++) {
        if (!net->blobs[i])
            continue;
        dni_blob_release_own(net->blobs[i]);
        dni_free_aligned(net->blobs[i]->zero);
        dni_free(net->blobs[i]->name);
        dni_free(net->blobs[i]);
    }
    dni_free(net->blobs);
    for (size_t i = 0; i < net->num_params; i++) {
        dni_store_release(net->params[i]->blob.store);
        dni_free(net->params[i]->blob.name);
        dni_free(net->params[i]);
    }
    dni_free(net->params);
    dni_free(net->shared.links);
    dni_free(net->inputs);
    dni_free(net->outputs);
}

/* The last of the nets that share a prototxt takes it along, with the net that read it. */
static void let_go(dn_net *net)
{
    if (!net || atomic_fetch_sub(&net->references, 1) > 1)
        return;
    dn_context *context = net->context;
    dni_net_file_free(net->file);
    dni_free(net);
    dn_context_free(context);
}

void dn_net_free(dn_net *net)
{
    if (!net)
        return;
    if (net->leaves)
        dni_net_take_left(net, false);
    dni_net_keep_weights(net);
    dni_plan_free(net->plan);
    dni_net_free_groups(net);
    if (net->program)
        dni_program_free(net->program);
    dni_free(net->program);
    free_layers(net);
    free_blobs(net);
    dni_mirror_empty(net->context);
    dni_free(net->data);
    dni_free(net->value_shapes);
    dni_graph_free(&net->graph);
    free_strings((char **)net->state.stages, net->state.num_stages);
    free_strings(net->keep, net->num_keep);
    for (size_t i = 0; i < DNI_COUNT(net->report_text); i++)
        dni_free(net->report_text[i]);
    let_go(net->origin);
    let_go(net);
}
