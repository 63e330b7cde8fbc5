/* SPDX-License-Identifier: BSD-2-Clause
 * lower.c: from layers to program to plan. Done once, and again when a shape changed: then
 * values whose tensors kept their shape are carried over, so that a run can go on in the
 * middle. */
#include <string.h>

#include "net/net.h"

typedef struct lowering {
    dn_net *net;
    dni_program *program;
    dni_builder b;
    dni_tensor *data, *diff;           /* per value */
    dni_tensor *root_data, *root_diff; /* per blob */
    dni_tensor *operands;              /* room for one layer's x, y, dx, dy, w, dw */
    bool *fresh;
    dni_tensor *w, *dw; /* per param */
} lowering;

/* ---- tensors ----------------------------------------------------------------------------- */

static bool stays_readable(const dn_net *net, int32_t blob)
{
    for (int32_t i = 0; i < net->num_outputs; i++)
        if (net->outputs[i] == blob)
            return true;
    for (size_t i = 0; i < net->num_keep; i++)
        if (!strcmp(net->keep[i], net->graph.blobs[blob]))
            return true;
    const dni_value *v = &net->graph.values[net->blobs[blob]->value];
    const dni_net_layer *maker = &net->layers[v->layer];
    return maker->layer.cls->flags & (DNI_LAYER_SOURCE | DNI_LAYER_INPUT) ||
           maker->loss_weight[v->top] != 0;
}

static dni_tensor add(lowering *w, const dni_tensor_info *info)
{
    dni_tensor t = dni_program_tensor(w->program, info);
    if (t == DNI_NONE && !w->b.status)
        w->b.status = DN_E_NOMEM;
    return t;
}

static void add_value(lowering *w, size_t v)
{
    const dn_net *net = w->net;
    const dni_value *value = &net->graph.values[v];
    const dn_blob *blob = net->blobs[value->blob];
    dni_tensor_info info = {.role = DNI_DATA,
                            .dtype = net->dtype,
                            .shape = net->value_shapes[v],
                            .storage = w->root_data[value->blob],
                            .blob = value->blob,
                            .keep = stays_readable(net, value->blob)};
    if (blob->own || blob->input) { /* without memory: only to be planned */
        info.role = DNI_STATE;
        info.memory = blob->own;
    }
    w->data[v] = add(w, &info);
    if (w->root_data[value->blob] == DNI_NONE)
        w->root_data[value->blob] = w->data[v];
    if (!value->gradient)
        return;
    info.role = DNI_DIFF;
    info.memory = NULL;
    info.storage = w->root_diff[value->blob];
    w->diff[v] = add(w, &info);
    if (w->root_diff[value->blob] == DNI_NONE)
        w->root_diff[value->blob] = w->diff[v];
}

const uint64_t *dni_net_version(const dn_net *net, const dni_store *store)
{
    static const uint64_t unmade = 0;
    if (net->state.phase != DN_PHASE_TEST)
        return NULL;
    return store ? &store->version : &unmade;
}

static void add_param(lowering *w, size_t i)
{
    dni_param *p = w->net->params[i];
    dni_tensor_info info = {.role = DNI_WEIGHT,
                            .dtype = w->net->dtype,
                            .shape = p->blob.shape,
                            .storage = DNI_NONE,
                            .blob = -1};
    const dni_store *store = p->blob.store; /* NULL: only to be planned */
    info.memory = store ? store->data : NULL;
    info.version = dni_net_version(w->net, store);
    w->w[i] = add(w, &info);
    w->dw[i] = DNI_NONE;
    if (!p->wanted)
        return;
    info.version = NULL;
    info.role = DNI_WEIGHT_DIFF;
    info.memory = store ? store->diff : NULL;
    w->dw[i] = add(w, &info);
}

static void add_tensors(lowering *w)
{
    dn_net *net = w->net;
    for (size_t i = 0; i < net->graph.num_blobs; i++)
        w->root_data[i] = w->root_diff[i] = DNI_NONE;
    for (size_t v = 0; v < net->graph.num_values; v++)
        w->data[v] = w->diff[v] = DNI_NONE;
    for (size_t v = 0; v < net->graph.num_values; v++)
        add_value(w, v);
    for (size_t i = 0; i < net->num_params; i++)
        add_param(w, i);
    int64_t two = 2;
    dni_tensor_info random = {.role = DNI_STATE,
                              .dtype = DN_I64,
                              .shape = dni_shape_of(1, &two),
                              .storage = DNI_NONE,
                              .memory = net->random_state,
                              .blob = -1};
    w->b.random = add(w, &random);
}

/* ---- one layer --------------------------------------------------------------------------- */

static dni_tensor *operand_room(lowering *w, size_t layer, dni_tensor **y, dni_tensor **dx,
                                dni_tensor **dy, dni_tensor **ww, dni_tensor **dw)
{
    const dni_node *node = &w->net->graph.nodes[layer];
    dni_tensor *x = w->operands;
    *y = x + node->num_bottoms;
    *dx = *y + node->num_tops;
    *dy = *dx + node->num_bottoms;
    *ww = *dy + node->num_tops;
    *dw = *ww + DNI_MAX_WEIGHTS;
    return x;
}

static void set_operands(lowering *w, size_t layer)
{
    dni_net_layer *l = &w->net->layers[layer];
    const dni_node *node = &w->net->graph.nodes[layer];
    dni_tensor *y, *dx, *dy, *ww, *dw, *x = operand_room(w, layer, &y, &dx, &dy, &ww, &dw);
    for (int32_t i = 0; i < node->num_bottoms; i++) {
        x[i] = w->data[node->bottoms[i]];
        dx[i] = l->layer.propagate[i] ? w->diff[node->bottoms[i]] : DNI_NONE;
        w->fresh[i] = dx[i] != DNI_NONE && !w->program->tensors[dx[i]].written;
    }
    for (int32_t i = 0; i < node->num_tops; i++) {
        y[i] = w->data[node->tops[i]];
        dy[i] = w->diff[node->tops[i]];
    }
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        ww[i] = w->w[l->params[i]];
        dw[i] = l->layer.weight_wanted[i] ? w->dw[l->params[i]] : DNI_NONE;
    }
    w->b.x = x, w->b.y = y, w->b.dx = dx, w->b.dy = dy, w->b.w = ww, w->b.dw = dw;
    w->b.dx_fresh = w->fresh;
    w->b.num_x = node->num_bottoms;
    w->b.num_y = node->num_tops;
    w->b.num_w = l->layer.num_weights;
    w->b.layer = (int32_t)layer;
}

static void lower_forward(lowering *w, size_t layer)
{
    dni_net_layer *l = &w->net->layers[layer];
    l->forward.first = w->program->num_ops;
    set_operands(w, layer);
    if (l->layer.cls->forward)
        l->layer.cls->forward(&l->layer, &w->b);
    l->forward.end = w->program->num_ops;
    if (l->forward.end && dni_layer_is_dynamic(&l->layer))
        w->program->ops[l->forward.end - 1].splits = true;
}

/* What the layer's tops received from the layers above: a loss starts with its weight; a value
 * that nobody passed a gradient to has none; an output's is the host's. */
static void seed_tops(lowering *w, size_t layer)
{
    const dni_net_layer *l = &w->net->layers[layer];
    const dni_node *node = &w->net->graph.nodes[layer];
    for (int32_t i = 0; i < node->num_tops; i++) {
        dni_tensor t = w->diff[node->tops[i]];
        if (t == DNI_NONE)
            continue;
        bool written = w->program->tensors[t].written;
        dn_args_fill fill = {.base.accumulate = written, .value = l->loss_weight[i]};
        bool silent = !written && w->net->graph.values[node->tops[i]].consumers > 0;
        if (fill.value != 0 || silent)
            dni_emit_arrays(&w->b, DN_OP_FILL, &fill, 0, &t, 1, &t);
    }
}

/* A bottom that the layer takes twice gets its second gradient in a place of its own. */
static void part_twins(lowering *w, const dni_node *node, bool join)
{
    dni_tensor *dx = (dni_tensor *)w->b.dx;
    for (int32_t i = 1; i < node->num_bottoms; i++)
        for (int32_t k = 0; k < i && dx[i] != DNI_NONE; k++) {
            if (node->bottoms[k] != node->bottoms[i] || dx[k] == DNI_NONE)
                continue;
            if (!join) {
                dx[i] = dni_temp_like(&w->b, dx[i]);
            } else if (w->program->tensors[dx[i]].written) {
                dn_args_eltwise sum = {.coeff = {1}};
                sum.base.accumulate = w->program->tensors[dx[k]].written;
                dni_emit(&w->b, DN_OP_ELTWISE, &sum, DNI_TENSORS(dx[i]), DNI_TENSORS(dx[k]));
            }
            break;
        }
}

static void lower_backward(lowering *w, size_t layer)
{
    dni_net_layer *l = &w->net->layers[layer];
    const dni_node *node = &w->net->graph.nodes[layer];
    l->backward.first = w->program->num_ops;
    if (l->needs_backward) {
        w->b.num_x = 0;
        w->b.layer = (int32_t)layer;
        seed_tops(w, layer);
        set_operands(w, layer);
        part_twins(w, node, false);
        if (!w->b.status)
            l->layer.cls->backward(&l->layer, &w->b);
        if (!w->b.status)
            part_twins(w, node, true);
    }
    l->backward.end = w->program->num_ops;
}

/* ---- the whole net ----------------------------------------------------------------------- */

static bool wants_backward(const dn_net *net)
{
    const dn_net *from = net->origin ? net->origin : net;
    return net->memory_mode != DN_MEMORY_COMPACT || net->state.phase == DN_PHASE_TRAIN ||
           from->file->net->force_backward;
}

static dn_status lower_layers(lowering *w)
{
    dn_net *net = w->net;
    add_tensors(w);
    w->b.section = DNI_FORWARD;
    for (size_t i = 0; i < net->num_layers && !w->b.status; i++) {
        net->layers[i].forward = net->layers[i].backward = (dni_range){0};
        if (i >= net->sound)
            continue;
        lower_forward(w, i);
        if (w->b.status)
            return dni_in_layer(net, &net->layers[i], w->b.status);
    }
    w->b.section = DNI_BACKWARD;
    bool whole = net->sound == net->num_layers && wants_backward(net);
    for (size_t i = net->num_layers; i-- > 0 && !w->b.status && whole;) {
        lower_backward(w, i);
        if (w->b.status)
            return dni_in_layer(net, &net->layers[i], w->b.status);
    }
    return w->b.status;
}

static size_t most_operands(const dn_net *net)
{
    size_t most = 0;
    for (size_t i = 0; i < net->num_layers; i++) {
        const dni_node *node = &net->graph.nodes[i];
        size_t n = 2 * (size_t)(node->num_bottoms + node->num_tops) + 2 * DNI_MAX_WEIGHTS;
        most = n > most ? n : most;
    }
    return most;
}

static dn_status allocate(lowering *w)
{
    const dni_heap *heap = w->net->heap;
    size_t values = w->net->graph.num_values, blobs = w->net->graph.num_blobs;
    size_t most = most_operands(w->net);
    w->program = dni_alloc(heap, 1, sizeof *w->program);
    w->data = dni_alloc(heap, 2 * values, sizeof *w->data);
    w->root_data = dni_alloc(heap, 2 * blobs, sizeof *w->root_data);
    w->operands = dni_alloc(heap, most, sizeof *w->operands);
    w->fresh = dni_alloc(heap, most, sizeof *w->fresh);
    w->w = dni_alloc(heap, 2 * w->net->num_params, sizeof *w->w);
    if (w->program)
        dni_program_init(w->program, heap);
    if (!w->program || !w->data || !w->root_data || !w->operands || !w->fresh || !w->w)
        return DN_E_NOMEM;
    w->diff = w->data + values;
    w->root_diff = w->root_data + blobs;
    w->dw = w->w + w->net->num_params;
    w->b = (dni_builder){.program = w->program, .dtype = w->net->dtype};
    w->program->limit = w->net->memory_limit;
    w->program->before = dni_held() - dni_net_weight_bytes(w->net);
    return DN_OK;
}

static void free_program(dni_program *program, dni_plan *plan)
{
    dni_plan_free(plan);
    if (program)
        dni_program_free(program);
    dni_free(program);
}

/* Values of tensors that are the same in both programs go along to the new memory. */
static dn_status carry_over(dn_net *net, const dni_program *program, dni_plan *plan)
{
    dn_status st = dni_plan_bind_plain(plan, DNI_FORWARD);
    for (size_t t = 0; !st && t < program->num_tensors && t < net->program->num_tensors; t++) {
        const dni_tensor_info *a = &net->program->tensors[t], *b = &program->tensors[t];
        if (a->role != b->role || (a->role != DNI_DATA && a->role != DNI_TEMP) ||
            a->dtype != b->dtype || !dni_shape_equal(&a->shape, &b->shape))
            continue;
        if (a->storage == (dni_tensor)t)
            st = dni_plan_carry(net->plan, plan, (dni_tensor)t);
    }
    return st;
}

static void adopt(dn_net *net, lowering *w, dni_plan *plan)
{
    dni_net_keep_weights(net);
    free_program(net->program, net->plan);
    dni_free(net->data);
    net->program = w->program;
    net->plan = plan;
    net->plans++;
    net->groups.made = false;
    net->data = w->data;
    net->diff = w->diff;
    w->program = NULL;
    w->data = NULL;
    for (size_t v = 0; v < net->graph.num_values; v++) {
        dn_blob *blob = net->blobs[net->graph.values[v].blob];
        blob->shape = net->value_shapes[v];
        blob->data = net->data[v];
        if (net->diff[v] != DNI_NONE)
            blob->diff = net->diff[v];
    }
    for (size_t i = 0; i < net->num_params; i++) {
        net->params[i]->data = w->w[i];
        net->params[i]->diff = w->dw[i];
    }
}

/* Said once, neither whenever shapes change nor of each net on the same weights. */
static void note_compute(const dn_net *net)
{
    if (net->plans == 1 && !net->origin && dni_plan_program(net->plan)->compute != net->compute)
        dni_log(net->context, DN_LOG_NOTICE,
                "no backend of this context computes this net in %s; it computes in f32",
                net->compute == DN_COMPUTE_BF16 ? "bf16" : "tf32");
}

/* Does a layer work in place on what a source or the host wrote? Such a forward cannot be done
 * again (replay.c). */
static bool changes_its_sources(const dn_net *net)
{
    bool from_source = false;
    for (size_t v = 0; v < net->graph.num_values && !from_source; v++) {
        const dni_value *value = &net->graph.values[v];
        const dni_node *maker = &net->graph.nodes[value->layer];
        if (value->top >= maker->num_bottoms)
            continue;
        const dni_value *before = &net->graph.values[maker->bottoms[value->top]];
        from_source =
            before->blob == value->blob &&
            net->layers[before->layer].layer.cls->flags & (DNI_LAYER_SOURCE | DNI_LAYER_INPUT);
    }
    return from_source;
}

dn_status dni_net_lower(dn_net *net)
{
    lowering w = {.net = net};
    dni_plan *plan = NULL;
    dni_fp host = dni_fp_enter();
    dn_status st = allocate(&w);
    if (!st)
        st = lower_layers(&w);
    net->once = changes_its_sources(net);
    /* Between the segments of a dynamic net values go from plan to plan, so each has a place.
     */
    dni_plan_options options = {.compact =
                                    net->memory_mode == DN_MEMORY_COMPACT && !net->dynamic,
                                .plain = net->context->plain || net->dynamic || net->once,
                                .forward_only = net->state.phase == DN_PHASE_TEST};
    options.must_compute = net->must_compute;
    options.limit = net->memory_limit;
    options.beside = dni_net_weight_bytes(net);
    options.gradients = dni_net_gradient_bytes(net);
    if (w.program) {
        w.program->compute = net->compute;
        w.program->compact = options.compact;
        w.program->late = options.compact && net->state.late;
    }
    if (!st)
        st = dni_plan_compile(&plan, net->context, w.program, &options);
    if (!st && net->dynamic_changed && net->plan)
        st = carry_over(net, w.program, plan);
    if (!st) {
        adopt(net, &w, plan);
        note_compute(net);
    } else if (w.program) {
        dni_saved_error saved;
        dni_save_error(&saved);
        free_program(w.program, plan);
        dni_restore_error(&saved);
    }
    dni_free(w.data);
    dni_free(w.root_data);
    dni_free(w.operands);
    dni_free(w.fresh);
    dni_free(w.w);
    dni_fp_leave(host);
    return st;
}
