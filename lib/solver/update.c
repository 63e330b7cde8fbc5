/* SPDX-License-Identifier: BSD-2-Clause
 * update.c: builds and runs the update program. Weights and gradients are the net's memory,
 * histories are ours; numbers that change from step to step go in through `hyper`. */
#include "solver/update.h"

#include <string.h>

#include "plan/choose.h"

#define NORM_GROUP DN_MAX_OPERANDS

size_t dni_updated_bytes(const dni_updated *weight)
{
    const dn_blob *blob = &weight->param->blob;
    return (size_t)dni_shape_count(&blob->shape) * dni_dtype_size(blob->dtype);
}

/* ---- the program ------------------------------------------------------------------------ */

dni_tensor dni_memory_tensor(dni_builder *b, dni_role role, const dni_shape *shape,
                             void *memory)
{
    dni_tensor_info info = {.role = role,
                            .dtype = b->dtype,
                            .shape = *shape,
                            .storage = DNI_NONE,
                            .memory = memory,
                            .blob = -1};
    if (b->status)
        return DNI_NONE;
    dni_tensor t = dni_program_tensor(b->program, &info);
    if (t == DNI_NONE)
        b->status = DN_E_NOMEM;
    return t;
}

static dni_tensor scalar(dni_builder *b)
{
    return dni_temp(b, b->dtype, 0, NULL);
}

/* norm2 = sum of squares of all gradients: groups as large as one op takes, then their sum. */
static void emit_norm2(dni_builder *b, const dni_update *u, dni_tensor norm2)
{
    for (size_t first = 0; first < u->num_weights && !b->status; first += NORM_GROUP) {
        dni_tensor diffs[NORM_GROUP];
        int32_t count = 0;
        while (count < NORM_GROUP && first + (size_t)count < u->num_weights) {
            diffs[count] = u->weights[first + (size_t)count].diff;
            count++;
        }
        dni_tensor part = first ? scalar(b) : norm2;
        dni_emit_arrays(b, DN_OP_SUMSQ_ALL, NULL, count, diffs, 1, &part);
        if (first)
            dni_emit_sum2(b, 1, norm2, 1, part, norm2);
    }
}

/* hyper[2] = min(1, clip / norm): gradients are scaled where the update reads them. */
static void emit_clip(dni_builder *b, dni_update *u, double clip, dni_tensor hyper)
{
    dni_tensor norm2 = dni_constant(b, b->dtype, 1, &u->norm2), factor = scalar(b);
    dn_args_scale_clip args = {.clip = clip};
    emit_norm2(b, u, norm2);
    dni_emit_fill(b, factor, 1);
    dni_emit(b, DN_OP_SCALE_CLIP, &args, DNI_TENSORS(norm2), DNI_TENSORS(factor));
    dni_emit_rows(b, 1, 1, 0, 0, 0, 2, factor, hyper);
}

/* NVIDIA's LARC. Each weight has a rate of its own, local = larc_eta |w| / |g| (1 where one of
 * them is 0), in place of lr_mult: at most the solver's ("clip"), or times it ("scale"). */
typedef struct larc {
    dni_tensor hyper, rate, scale; /* of the gradients: hyper[2] hyper[3] */
    double eta;
    bool on, clip;
} larc;

static dni_tensor emit_part(dni_builder *b, dni_tensor hyper, int64_t i)
{
    dni_tensor part = scalar(b);
    dni_emit_rows(b, 1, 1, 0, i, 0, 0, hyper, part);
    return part;
}

static larc emit_larc(dni_builder *b, const Cnn__SolverParameter *p, dni_tensor hyper)
{
    larc l = {.hyper = hyper, .eta = p->larc_eta, .on = p->larc};
    if (!l.on)
        return l;
    l.clip = !strcmp(p->larc_policy, "clip");
    l.rate = emit_part(b, hyper, 0);
    l.scale = emit_part(b, hyper, 2);
    dni_emit_product(b, l.scale, emit_part(b, hyper, 3), l.scale);
    if (l.clip)
        dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, l.rate, l.rate);
    return l;
}

/* hyper with the rate of one weight. */
static dni_tensor emit_local(dni_builder *b, const larc *l, const dni_updated *w)
{
    dni_tensor local = scalar(b), g2 = scalar(b), both = scalar(b), none = scalar(b);
    dni_tensor hyper = dni_temp_like(b, l->hyper);
    dn_args_copy first = {.axes = 1, .dim = {1}, .alpha = l->clip ? -1 : 1};
    dni_emit(b, DN_OP_SUMSQ_ALL, NULL, DNI_TENSORS(w->data), DNI_TENSORS(local));
    dni_emit(b, DN_OP_SUMSQ_ALL, NULL, DNI_TENSORS(w->diff), DNI_TENSORS(g2));
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, local, both);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, g2, none);
    dni_emit_product(b, both, none, both);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 1, 0, both, none);
    dni_emit_sum2(b, 1, local, 1, none, local); /* nothing is divided by 0 */
    dni_emit_sum2(b, 1, g2, 1, none, g2);
    dni_emit_bcast(b, DN_BCAST_DIV, 1, 1, 1, local, g2, local);
    dni_emit_unary(b, DN_FN_POWER, l->eta * l->eta, 0, 0.5, local, local);
    dni_emit_bcast(b, DN_BCAST_DIV, 1, 1, 1, local, l->scale, local);
    dni_emit_product(b, local, both, local);
    dni_emit_sum2(b, l->clip ? -1 : 1, local, l->clip ? -1 : 1, none, local);
    if (l->clip) /* min(a, b) = -max(-a, -b) */
        dni_emit_pair(b, DN_ELTWISE_MAX, local, l->rate, local);
    else
        dni_emit_product(b, local, l->rate, local);
    dni_emit_copy(b, l->hyper, hyper);
    dni_emit(b, DN_OP_COPY, &first, DNI_TENSORS(local), DNI_TENSORS(hyper));
    return hyper;
}

/* The updates of weights [from, end), from op `first` on, as one op, where whoever takes the
 * first of them takes that. */
static void join_updates(dni_builder *b, const dni_update *u, size_t first, size_t from,
                         size_t end)
{
    dni_program *p = b->program;
    dni_choice one, all = {.op = NULL};
    if (b->status || p->num_ops - first != end - from || end - from < 2)
        return;
    dni_op op = p->ops[first];
    op.layer = -1;
    op.num_inputs = 2;
    op.inputs[1] = dni_constant(b, b->dtype, 2 * (int64_t)(end - from),
                                (char *)u->each + 2 * from * dni_dtype_size(b->dtype));
    op.num_outputs = (int32_t)(end - from) * (2 + u->rule->histories);
    for (int32_t k = 0; k < DN_MAX_OPERANDS; k++)
        op.outputs[k] = u->weights[from].data + k;
    if (!b->status)
        b->status = dni_choose(u->context, p, &p->ops[first], &one);
    if (b->status)
        return;
    one.ops->op_destroy(one.op);
    b->status = dni_choose(u->context, p, &op, &all);
    if (b->status)
        return;
    all.ops->op_destroy(all.op);
    for (size_t i = first + 1; all.ops == one.ops && i < p->num_ops; i++)
        p->ops[i].kind = 0;
    if (all.ops == one.ops)
        p->ops[first] = op;
    dni_program_sweep(p);
}

static void store(void *memory, int32_t dtype, size_t i, double value)
{
    if (dtype == DN_F64)
        ((double *)memory)[i] = value;
    else
        ((float *)memory)[i] = (float)value;
}

/* A momentum that changes: histories are multiplied by it before the UPDATE, which has 1. */
static void emit_momentum(dni_builder *b, dni_update *u)
{
    dni_tensor momentum = dni_constant(b, b->dtype, 1, &u->momentum);
    for (size_t i = 0; i < u->num_weights && !b->status; i++) {
        dni_tensor h = u->weights[i].diff + 1;
        dni_emit_bcast(b, DN_BCAST_MUL, 1, 1, dni_tensor_count(b, h), h, momentum, h);
    }
}

void dni_emit_update(dni_builder *b, const dni_update *u, size_t weight, dni_tensor hyper,
                     dni_tensor data, dni_tensor diff, dni_tensor history)
{
    const Cnn__SolverParameter *p = u->param;
    const dni_updated *w = &u->weights[weight];
    dn_args_update args = {.rule = u->rule->rule,
                           .l1 =
                               p->regularization_type && !strcmp(p->regularization_type, "L1"),
                           .lr_mult = p->larc ? 1 : w->param->lr_mult,
                           .decay = (double)p->weight_decay * w->param->decay_mult};
    u->rule->fill(p, &args);
    args.momentum = dni_schedule_moves_momentum(p) ? 1 : args.momentum;
    store(u->each, b->dtype, 2 * weight, args.lr_mult);
    store(u->each, b->dtype, 2 * weight + 1, args.decay);
    dni_emit(b, DN_OP_UPDATE, &args, DNI_TENSORS(hyper),
             DNI_TENSORS(data, diff, history, u->rule->histories > 1 ? history + 1 : DNI_NONE));
}

static void emit_updates(dni_builder *b, dni_update *u, const larc *local, dni_tensor hyper,
                         size_t from, size_t end)
{
    size_t first = b->program->num_ops;
    for (size_t i = from; i < end && !b->status; i++) {
        const dni_updated *w = &u->weights[i];
        b->layer = w->layer;
        dni_emit_update(b, u, i, local->on ? emit_local(b, local, w) : hyper, w->data, w->diff,
                        w->diff + 1);
    }
    join_updates(b, u, first, from, end);
}

/* The ring moves on by a pass; the newest comes first. */
static void emit_losses(dni_builder *b, dni_losses *l)
{
    dni_shape one = dni_shape_of(0, NULL);
    int64_t tops = (int64_t)l->num_tops;
    if (!l->ring)
        return;
    dni_tensor ring = dni_constant(b, b->dtype, l->passes * tops, l->ring);
    dni_tensor before = dni_temp_like(b, ring);
    dni_emit_copy(b, ring, before);
    dni_emit_rows(b, 1, (l->passes - 1) * tops, 0, 0, 0, tops, before, ring);
    for (int64_t i = 0; i < tops; i++) {
        dni_tensor top = dni_memory_tensor(b, DNI_WEIGHT, &one, NULL);
        l->first = top - (dni_tensor)i;
        dni_emit_rows(b, 1, 1, 0, 0, 0, i, top, ring);
    }
}

static dn_status build(dni_update *u, const dn_net *net)
{
    const Cnn__SolverParameter *p = u->param;
    size_t rest = u->num_weights - u->num_late;
    dni_builder b = {.program = &u->program,
                     .section = DNI_FORWARD,
                     .layer = DNI_OF_LOSSES,
                     .dtype = u->dtype,
                     .random = DNI_NONE};
    emit_losses(&b, &u->losses);
    b.section = DNI_UPDATE;
    b.layer = -1;
    u->first_op = u->program.num_ops;
    for (size_t i = 0; i < u->num_weights && !b.status; i++) { /* in the order of UPDATE */
        dni_updated *w = &u->weights[i];
        const dn_blob *blob = &w->param->blob;
        w->memory[0] = dni_update_again(u, i) ? NULL : blob->store->data; /* laid aside */
        w->memory[1] = blob->store->diff;
        w->data = dni_memory_tensor(&b, DNI_WEIGHT, &blob->shape, blob->store->data);
        w->diff = dni_memory_tensor(&b, DNI_WEIGHT_DIFF, &blob->shape, blob->store->diff);
        for (int32_t k = 0; k < u->rule->histories; k++)
            dni_memory_tensor(&b, DNI_STATE, &blob->shape, w->history[k]);
    }
    dni_tensor hyper = dni_constant(&b, b.dtype, 4, &u->hyper);
    if (p->clip_gradients >= 0 && u->num_weights)
        emit_clip(&b, u, p->clip_gradients, hyper);
    larc local = emit_larc(&b, p, hyper);
    if (dni_schedule_moves_momentum(p))
        emit_momentum(&b, u);
    emit_updates(&b, u, &local, hyper, 0, rest);
    u->late_op = u->program.num_ops;
    emit_updates(&b, u, &local, hyper, rest, u->num_weights);
    u->strips_op = u->program.num_ops;
    for (size_t i = u->late_op; i < u->strips_op; i++)
        u->program.ops[i].late = true;
    if (!b.status)
        dni_emit_strips(&b, u, net, hyper);
    return b.status;
}

/* ---- create, run, free ------------------------------------------------------------------ */

static int32_t layer_with(const dn_net *net, size_t param)
{
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->layers[i].layer.num_weights; k++)
            if (net->layers[i].params[k] == (int32_t)param)
                return (int32_t)i;
    return -1;
}

/* The gradient may be left to the update. */
static bool is_late(const dn_net *net, const dni_param *param)
{
    return param->diff != DNI_NONE && dni_plan_late_maker(net->plan, param->diff) != SIZE_MAX;
}

static dn_status collect(dni_update *u, dn_net *net, bool late)
{
    const dni_heap *heap = &u->context->heap;
    for (size_t i = 0; i < net->num_params; i++) {
        if (!dni_param_trained(net->params[i]) || is_late(net, net->params[i]) != late)
            continue;
        dni_updated *w = &u->weights[u->num_weights++];
        u->num_late += late;
        w->param = net->params[i];
        w->layer = layer_with(net, i);
        dn_status st = late ? DN_OK : dni_store_diff(w->param->blob.store);
        for (int32_t k = 0; !st && k < u->rule->histories; k++) {
            w->history[k] = dni_alloc_aligned(heap, dni_updated_bytes(w));
            if (!w->history[k])
                return DN_E_NOMEM;
            memset(w->history[k], 0, dni_updated_bytes(w));
        }
        if (st)
            return st;
    }
    return DN_OK;
}

static dn_status collect_all(dni_update *u, dn_net *net)
{
    const dni_heap *heap = &u->context->heap;
    u->weights = dni_alloc(heap, net->num_params, sizeof *u->weights);
    u->each = dni_alloc(heap, net->num_params, 2 * dni_dtype_size(u->dtype));
    u->strips = dni_alloc(heap, net->num_params, 2 * sizeof *u->strips);
    if (!u->weights || !u->each || !u->strips)
        return DN_E_NOMEM;
    dn_status st = collect(u, net, false);
    return st ? st : collect(u, net, true);
}

dn_status dni_update_fit(dni_update *u, const dn_net *net)
{
    if (u->plan && (!u->num_late || u->of == net->plans))
        return DN_OK;
    dni_plan_free(u->plan);
    u->plan = NULL;
    dni_program_free(&u->program);
    u->of = net->plans;
    dn_status st = build(u, net);
    if (!st)
        st = dni_plan_compile(&u->plan, u->context, &u->program,
                              &(dni_plan_options){.plain = true});
    if (!st)
        st = dni_plan_bind(u->plan, DNI_UPDATE);
    if (st) {
        dni_plan_free(u->plan);
        u->plan = NULL;
    }
    return st;
}

dn_status dni_update_create(dni_update **out, dn_net *net, const dni_update_rule *rule,
                            const Cnn__SolverParameter *p)
{
    if (dni_schedule_moves_momentum(p) && rule->rule != DN_UPDATE_SGD)
        return dni_fail(DN_E_UNSUPPORTED, "momentum_policy '%s' is for SGD, not for %s",
                        p->momentum_policy, rule->type);
    dni_update *u = dni_alloc(net->heap, 1, sizeof *u);
    if (!u)
        return DN_E_NOMEM;
    u->context = net->context;
    u->rule = rule;
    u->param = p;
    u->dtype = net->dtype;
    dni_program_init(&u->program, net->heap);
    dn_status st = collect_all(u, net);
    if (!st)
        st = dni_losses_create(&u->losses, net, p);
    if (!st)
        st = dni_update_fit(u, net);
    if (st) {
        dni_update_free(u);
        return st;
    }
    *out = u;
    return DN_OK;
}

void dni_update_free(dni_update *u)
{
    if (!u)
        return;
    dni_mirror_forget(u->context, &u->hyper); /* what a device has need not come home */
    dni_mirror_forget(u->context, &u->norm2);
    dni_mirror_forget(u->context, u->losses.ring);
    for (size_t i = 0; i < u->num_weights; i++)
        for (int k = 0; k < 2; k++) {
            dni_mirror_forget(u->context, u->weights[i].history[k]);
            dni_mirror_forget(u->context, u->weights[i].aside[k]);
        }
    dni_plan_free(u->plan);
    dni_program_free(&u->program);
    for (size_t i = 0; i < u->num_weights; i++)
        for (int k = 0; k < 2; k++) {
            dni_free_aligned(u->weights[i].history[k]);
            dni_free_aligned(u->weights[i].aside[k]);
        }
    dni_free(u->losses.tops);
    dni_free(u->losses.ring);
    dni_free(u->strips);
    dni_free(u->weights);
    dni_free(u->each);
    dni_free(u);
}

bool dni_update_again(const dni_update *u, size_t weight)
{
    for (size_t i = 0; i < weight; i++)
        if (u->weights[i].param->blob.store == u->weights[weight].param->blob.store)
            return true;
    return false;
}

/* Zeros, whose update is nobody's, in place of memory that an earlier weight's UPDATE writes:
 * the gradient there is the sum of both. */
static dn_status lay_aside(const dni_update *u, dni_updated *w)
{
    for (int k = 0; k < 2; k++) {
        if (!w->aside[k])
            w->aside[k] = dni_alloc_aligned(&u->context->heap, dni_updated_bytes(w));
        if (!w->aside[k])
            return DN_E_NOMEM;
        memset(w->aside[k], 0, dni_updated_bytes(w));
    }
    return DN_OK;
}

/* The net may have been given other memory for a weight since (sharing). */
static dn_status follow_memory(dni_update *u, const dn_net *net)
{
    bool moved = net->leaves && dni_strips_follow(u, net);
    for (size_t i = 0; i < u->num_weights; i++) {
        dni_store *store = u->weights[i].param->blob.store;
        dn_status st = dni_net_leaves(net, u->weights[i].param) ? DN_OK : dni_store_diff(store);
        if (st)
            return st;
        moved |= u->weights[i].memory[0] != store->data;
        moved |= u->weights[i].memory[1] != store->diff;
    }
    if (!moved)
        return DN_OK;
    for (size_t i = 0; i < u->num_weights; i++) {
        dni_updated *w = &u->weights[i];
        bool again = dni_update_again(u, i);
        dn_status st = again ? lay_aside(u, w) : DN_OK;
        if (st)
            return st;
        dni_store *store = w->param->blob.store;
        u->program.tensors[w->data].memory = again ? w->aside[0] : store->data;
        u->program.tensors[w->diff].memory = again ? w->aside[1] : store->diff;
    }
    for (size_t i = 0; u->losses.ring && i < u->losses.num_tops; i++)
        u->program.tensors[u->losses.first + (dni_tensor)i].memory = NULL;
    u->losses.plan = 0;
    dn_status st = dni_plan_rebind(u->plan);
    /* Not before: until then, the next update tries again. */
    for (size_t i = 0; !st && i < u->num_weights; i++) {
        u->weights[i].memory[0] = u->weights[i].param->blob.store->data;
        u->weights[i].memory[1] = u->weights[i].param->blob.store->diff;
    }
    return st;
}

dn_status dni_update_set(dni_update *u, double rate, double correction, double scale)
{
    const double hyper[4] = {rate, correction, 1, scale};
    const void *device;
    bool changed = false;
    for (int i = 0; i < 4; i++)
        if (u->dtype == DN_F64) {
            changed |= u->hyper.f64[i] != hyper[i];
            u->hyper.f64[i] = hyper[i];
        } else {
            changed |= u->hyper.f32[i] != (float)hyper[i];
            u->hyper.f32[i] = (float)hyper[i];
        }
    if (changed)
        dni_mirror_wrote(u->context, &u->hyper);
    return changed ? dni_mirror_look(u->context, &u->hyper, &device) : DN_OK;
}

dn_status dni_update_set_momentum(dni_update *u, double momentum)
{
    const void *device;
    store(&u->momentum, u->dtype, 0, momentum);
    dni_mirror_wrote(u->context, &u->momentum);
    return dni_mirror_look(u->context, &u->momentum, &device);
}

dn_status dni_update_run(dni_update *u, dn_net *net)
{
    bool strips = net->leaves;
    dn_status st = strips ? DN_OK : dni_net_all_kept(net);
    if (!st)
        st = dni_update_fit(u, net);
    if (!st)
        st = follow_memory(u, net);
    if (!st)
        st = dni_plan_run_plain(u->plan, u->first_op, strips ? u->late_op : u->strips_op, NULL);
    for (size_t i = 0; !st && strips && i < u->num_strips; i++)
        st = dni_plan_run_turns(u->plan, u->strips[i].op, u->strips[i].op + 2);
    if (!st && strips)
        dni_net_take_left(net, true);
    for (size_t i = 0; i < u->num_weights; i++)
        dni_store_touch(u->weights[i].param->blob.store);
    return st;
}
