/* SPDX-License-Identifier: BSD-2-Clause
 * tune.c: runs an op three times after a first and takes the best: on a machine with other work
 * that is nearest to the truth. Memory is lent for the measurement alone. Different nets of a
 * context may be planned at once: the table has a lock, the measurement has none. */
#include "plan/tune.h"

#include <string.h>
#include <time.h>

#include "program/program.h"

enum { RUNS = 3 };

bool dni_is_product(int32_t kind)
{
    return kind == DN_OP_GEMM || kind == DN_OP_CONV || kind == DN_OP_CONV_BWD_DATA ||
           kind == DN_OP_CONV_BWD_WEIGHTS;
}

/* ---- what is known ----------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u; /* FNV-1a */
    return hash;
}

static uint64_t mix_operands(uint64_t hash, const dn_operand *operands, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const dn_operand *o = &operands[i];
        hash = mix(hash, &o->dtype, sizeof o->dtype);
        if (o->dtype < 0)
            continue;
        hash = mix(hash, &o->layout, sizeof o->layout);
        hash = mix(hash, o->shape.dim, (size_t)o->shape.axes * sizeof o->shape.dim[0]);
    }
    return hash;
}

static uint64_t key_of(const dni_backend_slot *slot, const dn_op_desc *d, size_t args_size)
{
    uint64_t hash = mix(14695981039346656037u, slot->ops->name, strlen(slot->ops->name));
    hash = mix(hash, &d->kind, sizeof d->kind);
    hash = mix(hash, d->args, args_size);
    hash = mix(hash, &d->constant, sizeof d->constant);
    hash = mix(hash, &d->compute, sizeof d->compute);
    hash = mix(hash, &d->compact, sizeof d->compact);
    hash = mix_operands(hash, d->inputs, d->num_inputs);
    return mix_operands(hash, d->outputs, d->num_outputs);
}

static bool recall(dn_context *c, uint64_t key, double *cost)
{
    bool found = false;
    pthread_mutex_lock(&c->tuned_lock);
    for (size_t i = 0; i < c->num_tuned && !found; i++)
        if (c->tuned[i].key == key) {
            *cost = c->tuned[i].cost;
            found = true;
        }
    pthread_mutex_unlock(&c->tuned_lock);
    return found;
}

static dn_status remember(dn_context *c, uint64_t key, double cost)
{
    pthread_mutex_lock(&c->tuned_lock);
    dn_status st =
        dni_grow(&c->heap, &c->tuned, &c->cap_tuned, c->num_tuned + 1, sizeof *c->tuned);
    if (!st)
        c->tuned[c->num_tuned++] = (dni_tuned){key, cost};
    pthread_mutex_unlock(&c->tuned_lock);
    return st;
}

/* ---- measuring --------------------------------------------------------------------------- */

typedef struct trial { /* what an op is run on */
    const dni_heap *heap;
    void *in[DN_MAX_OPERANDS], *out[DN_MAX_OPERANDS], *scratch, *keep;
    dn_op_io io;
} trial;

/* Small numbers in every element; NULL if there is no memory. */
static void *lend(const dni_heap *heap, const dn_operand *o)
{
    size_t bytes = (size_t)dni_shape_count(&o->shape) * dni_dtype_size(o->dtype);
    char *memory = dni_alloc_aligned(heap, bytes + 64);
    for (size_t i = 0; memory && o->dtype == DN_F32 && i < bytes / sizeof(float); i++)
        ((float *)memory)[i] = (float)(i % 31) / 31 - 0.5f;
    if (memory && o->dtype != DN_F32)
        memset(memory, 0, bytes);
    return memory;
}

static bool lend_all(const dni_heap *heap, const dn_operand *operands, int32_t count,
                     void **memory)
{
    for (int32_t i = 0; i < count; i++)
        if (operands[i].dtype >= 0 && !(memory[i] = lend(heap, &operands[i])))
            return false;
    return true;
}

static dn_status borrow(trial *t, const dn_op_desc *d, const dn_op_info *info)
{
    bool there = lend_all(t->heap, d->inputs, d->num_inputs, t->in) &&
                 lend_all(t->heap, d->outputs, d->num_outputs, t->out);
    t->scratch = dni_alloc_aligned(t->heap, info->scratch + 64);
    t->keep = dni_alloc_aligned(t->heap, info->keep + 64);
    t->io = (dn_op_io){.struct_size = sizeof t->io,
                       .in = t->in,
                       .out = t->out,
                       .scratch = t->scratch,
                       .keep = info->keep ? t->keep : NULL};
    return there && t->scratch && t->keep ? DN_OK : DN_E_NOMEM;
}

static void give_back(trial *t)
{
    for (int32_t i = 0; i < DN_MAX_OPERANDS; i++) {
        dni_free_aligned(t->in[i]);
        dni_free_aligned(t->out[i]);
    }
    dni_free_aligned(t->scratch);
    dni_free_aligned(t->keep);
}

/* One thread's time is its own, whatever else the machine does; of several only the wall's. */
static double now_ns(const dn_context *context)
{
    struct timespec t;
    clock_gettime(context->num_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static dn_status measure(const dn_context *context, const dn_backend_ops *ops, dn_op *op,
                         bool prepares, const trial *t, double *best)
{
    dn_status st = prepares && ops->op_prepare ? ops->op_prepare(op, &t->io) : DN_OK;
    for (int run = 0; !st && run <= RUNS; run++) {
        double begin = now_ns(context);
        st = ops->op_run(op, &t->io);
        double took = now_ns(context) - begin;
        if (run == 1 || (run > 1 && took < *best))
            *best = took;
    }
    return st;
}

dn_status dni_tune(dn_context *context, const dni_backend_slot *slot, const dn_op_desc *desc,
                   size_t args_size, dn_op *op, dn_op_info *info)
{
    uint64_t key = key_of(slot, desc, args_size);
    if (recall(context, key, &info->cost))
        return DN_OK;
    trial t = {.heap = &context->heap};
    double best = 0;
    dn_status st = borrow(&t, desc, info);
    if (!st)
        st = measure(context, slot->ops, op, desc->constant || info->keep, &t, &best);
    give_back(&t);
    if (st)
        return st;
    info->cost = best * context->num_threads;
    return remember(context, key, info->cost);
}
