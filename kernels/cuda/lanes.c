/* SPDX-License-Identifier: BSD-2-Clause
 * lanes.c: what is recorded is noted op by op and captured when all of it is known: in two
 * streams where that ends sooner, so that gradients of weights are computed beside the chain of
 * the data's. What waits for what is told by the memory that ops touch, wherever the plan put
 * it; either lane has scratch and a workspace of its own, and an op the same bits in both. */
#include <stdint.h>
#include <string.h>

#include "device.h"

enum { LANES = 2, MOST_NODES = 4096 };

/* 1: the module that is built for comparison, in which recordings keep one stream
 * (tests/gpu/streams.py). */
#ifndef CUDA_STREAMS
#define CUDA_STREAMS 2
#endif

/* What has to wait for the other lane starts that much later. What takes longer than that fills
 * the device by itself. A part in MARGIN must be won, since costs are guesses. */
#define CROSS_NS  1000.0
#define BESIDE_NS 50e3
#define MARGIN    16

#define NONE  SIZE_MAX
#define WHOLE (-1)

typedef struct noted {
    dn_op *op;
    const dn_op_io *io;
    int32_t part; /* of it; WHOLE */
} noted;

struct cuda_tape {
    noted *ops;
    size_t num, room;
};

typedef struct span { /* of memory */
    uintptr_t begin, end;
    bool written;
} span;

typedef struct node {    /* an op, or small ones that are a chain */
    size_t first, end;   /* of what was noted */
    span *spans;         /* which end where those of the next node begin */
    double cost, tail;   /* ns: of it, from its beginning to the end of the recording */
    double ready[LANES]; /* when each lane knows that all it waits for is done */
    size_t waits;        /* for so many nodes that have no place yet; NONE: it has one itself */
    size_t place, after; /* in its lane; a node of the other one that it waits for, NONE */
    int32_t lane;
    bool asked; /* the other lane waits for it */
    cudaEvent_t done;
} node;

typedef struct plan {
    dn_backend *backend;
    const cuda_tape *tape;
    node *nodes; /* and one more, where spans end */
    size_t num;
    span *spans;
    uint64_t *follows; /* bit (i, k): node i comes after node k */
    size_t words;      /* of a row of them */
    size_t *order;     /* nodes as they are launched */
    int32_t lanes;
    cudaEvent_t forked, joined;
} plan;

/* ---- noting ------------------------------------------------------------------------------ */

cuda_tape *cuda_tape_make(dn_backend *backend)
{
    cuda_tape *t = backend->host.alloc(backend->host.user, sizeof(*t));
    if (t)
        memset(t, 0, sizeof(*t));
    return t;
}

void cuda_tape_free(dn_backend *backend)
{
    if (backend->tape)
        backend->host.free(backend->host.user, backend->tape->ops);
    backend->host.free(backend->host.user, backend->tape);
}

void cuda_tape_begin(dn_backend *backend)
{
    backend->tape->num = 0;
}

dn_status cuda_tape_note(dn_op *op, const dn_op_io *io)
{
    const dn_backend_host *host = &op->backend->host;
    cuda_tape *t = op->backend->tape;
    if (t->num + 2 > t->room) {
        size_t room = 2 * t->room + 64;
        noted *ops = host->alloc(host->user, room * sizeof(*ops));
        if (!ops)
            return host->fail(DN_E_NOMEM, "cuda: no memory for a recording");
        if (t->num)
            memcpy(ops, t->ops, t->num * sizeof(*ops));
        host->free(host->user, t->ops);
        t->ops = ops;
        t->room = room;
    }
    bool parts = op->kind->run_part && cuda_has_out(op, 1);
    t->ops[t->num++] = (noted){op, io, parts ? 0 : WHOLE};
    if (parts)
        t->ops[t->num++] = (noted){op, io, 1};
    return DN_OK;
}

/* ---- what waits for what ----------------------------------------------------------------- */

static span *put_spans(span *to, const cuda_operand *x, void *const *at, int32_t num,
                       bool written)
{
    static const size_t sizes[] = {4, 8, 2, 4, 8, 1}; /* of DN_F32 .. DN_U8 */
    for (int32_t i = 0; i < num; i++) {
        uintptr_t begin = (uintptr_t)at[i];
        if (x[i].info.dtype >= 0 && x[i].count > 0)
            *to++ = (span){begin, begin + (size_t)x[i].count * sizes[x[i].info.dtype], written};
    }
    return to;
}

/* Small ops that follow one another are one node. */
static void make_nodes(plan *p)
{
    const cuda_tape *t = p->tape;
    span *at = p->spans;
    for (size_t i = 0; i < t->num;) {
        node *n = &p->nodes[p->num++];
        size_t most = i + 1;
        if (cuda_chain_may(t->ops[i].op, t->ops[i].io))
            most = i + CUDA_CHAIN_MOST;
        *n = (node){.first = i, .spans = at, .after = NONE};
        for (; i < t->num && i < most; i++) {
            const noted *o = &t->ops[i];
            if (i > n->first && !cuda_chain_may(o->op, o->io))
                break;
            n->cost += i > n->first ? 0 : cuda_time(o->op, o->part);
            at = put_spans(at, o->op->in, (void *const *)o->io->in, o->op->num_inputs, false);
            int32_t skip = o->part > 0, num = o->part == 0 ? 1 : o->op->num_outputs - skip;
            at = put_spans(at, o->op->out + skip, o->io->out + skip, num, true);
        }
        n->end = i;
        n->tail = n->cost;
    }
    p->nodes[p->num] = (node){.spans = at};
}

static bool meet(const node *a, const node *b)
{
    for (const span *x = a->spans; x < a[1].spans; x++)
        for (const span *y = b->spans; y < b[1].spans; y++)
            if ((x->written || y->written) && x->begin < y->end && y->begin < x->end)
                return true;
    return false;
}

static bool follows(const plan *p, size_t i, size_t k)
{
    return p->follows[i * p->words + k / 64] >> (k % 64) & 1;
}

static void find_waits(plan *p)
{
    for (size_t i = p->num; i-- > 0;) {
        node *n = &p->nodes[i];
        for (size_t k = 0; k < i; k++) {
            node *before = &p->nodes[k];
            if (!meet(before, n))
                continue;
            p->follows[i * p->words + k / 64] |= (uint64_t)1 << (k % 64);
            n->waits++;
            if (before->cost + n->tail > before->tail)
                before->tail = before->cost + n->tail;
        }
    }
}

/* ---- which lane -------------------------------------------------------------------------- */

static bool may_be_in(const plan *p, const node *n, int32_t lane)
{
    size_t scratch = 0;
    for (size_t i = n->first; i < n->end; i++)
        if (p->tape->ops[i].op->scratch > scratch)
            scratch = p->tape->ops[i].op->scratch;
    return lane == 0 || (n->cost <= BESIDE_NS && scratch <= CUDA_SIDE_SCRATCH);
}

/* What can start soonest is next, in the lane where it can; of those what most hangs on. */
static size_t next_of(const plan *p, const double *free, int32_t *lane, double *start)
{
    size_t best = NONE;
    for (size_t i = 0; i < p->num; i++) {
        const node *n = &p->nodes[i];
        for (int32_t k = 0; n->waits == 0 && k < LANES && may_be_in(p, n, k); k++) {
            double at = n->ready[k] > free[k] ? n->ready[k] : free[k];
            if (best != NONE &&
                (at > *start || (at == *start && n->tail <= p->nodes[best].tail)))
                continue;
            best = i;
            *lane = k;
            *start = at;
        }
    }
    return best;
}

static double share_out(plan *p)
{
    double free[LANES] = {0}, longest = 0, start = 0;
    size_t count[LANES] = {0};
    int32_t lane = 0;
    for (size_t at = 0; at < p->num; at++) {
        size_t i = next_of(p, free, &lane, &start);
        node *n = &p->nodes[i];
        double end = start + n->cost;
        n->waits = NONE;
        n->lane = lane;
        n->place = count[lane]++;
        p->order[at] = i;
        free[lane] = end;
        longest = end > longest ? end : longest;
        for (size_t later = i + 1; later < p->num; later++) {
            node *l = &p->nodes[later];
            if (!follows(p, later, i))
                continue;
            l->waits--;
            for (int32_t k = 0; k < LANES; k++) {
                double known = k == lane ? end : end + CROSS_NS;
                l->ready[k] = known > l->ready[k] ? known : l->ready[k];
            }
        }
    }
    return longest;
}

static void keep_order(plan *p)
{
    p->lanes = 1;
    for (size_t i = 0; i < p->num; i++) {
        p->order[i] = i;
        p->nodes[i].lane = 0;
        p->nodes[i].after = NONE;
        p->nodes[i].asked = false;
    }
}

/* Of those in the other lane the last one that a node comes after, if its lane does not know
 * of it yet. */
static void find_crossings(plan *p)
{
    size_t known[LANES] = {0};
    for (size_t at = 0; at < p->num; at++) {
        size_t i = p->order[at];
        node *n = &p->nodes[i];
        for (size_t k = 0; k < i; k++) {
            const node *before = &p->nodes[k];
            if (before->lane == n->lane || before->place < known[n->lane] || !follows(p, i, k))
                continue;
            known[n->lane] = before->place + 1;
            n->after = k;
        }
        if (n->after != NONE)
            p->nodes[n->after].asked = true;
    }
}

static bool take_memory(plan *p, void *out, size_t count, size_t size)
{
    const dn_backend_host *host = &p->backend->host;
    void *memory = host->alloc(host->user, (count + 1) * size);
    if (memory)
        memset(memory, 0, (count + 1) * size);
    *(void **)out = memory;
    return memory != NULL;
}

static dn_status make_plan(plan *p)
{
    size_t num = p->tape->num, operands = 0;
    for (size_t i = 0; i < num; i++)
        operands += (size_t)(p->tape->ops[i].op->num_inputs + p->tape->ops[i].op->num_outputs);
    p->words = (num + 63) / 64;
    if (!take_memory(p, &p->nodes, num, sizeof(*p->nodes)) ||
        !take_memory(p, &p->spans, operands, sizeof(*p->spans)) ||
        !take_memory(p, &p->order, num, sizeof(*p->order)))
        return p->backend->host.fail(DN_E_NOMEM, "cuda: no memory for a recording");
    make_nodes(p);
    keep_order(p);
    if (p->num > MOST_NODES)
        return DN_OK;
    if (!take_memory(p, &p->follows, num * p->words, sizeof(*p->follows)))
        return p->backend->host.fail(DN_E_NOMEM, "cuda: no memory for a recording");
    double alone = 0;
    for (size_t i = 0; i < p->num; i++)
        alone += p->nodes[i].cost;
    find_waits(p);
    p->lanes = LANES;
    if (share_out(p) > alone * (1 - 1.0 / MARGIN) || CUDA_STREAMS < 2 ||
        !cuda_side_open(p->backend))
        keep_order(p);
    else
        find_crossings(p);
    return DN_OK;
}

static dn_status make_events(plan *p)
{
    dn_status status = DN_OK;
    if (p->lanes > 1)
        status = cuda_event_make(p->backend, &p->forked);
    if (p->lanes > 1 && status == DN_OK)
        status = cuda_event_make(p->backend, &p->joined);
    for (size_t i = 0; i < p->num && status == DN_OK; i++)
        if (p->nodes[i].asked)
            status = cuda_event_make(p->backend, &p->nodes[i].done);
    return status;
}

static void drop_plan(plan *p)
{
    const dn_backend_host *host = &p->backend->host;
    if (p->forked)
        cudaEventDestroy(p->forked);
    if (p->joined)
        cudaEventDestroy(p->joined);
    for (size_t i = 0; p->nodes && i < p->num; i++)
        if (p->nodes[i].done)
            cudaEventDestroy(p->nodes[i].done);
    host->free(host->user, p->nodes);
    host->free(host->user, p->spans);
    host->free(host->user, p->order);
    host->free(host->user, p->follows);
}

/* ---- capturing --------------------------------------------------------------------------- */

static dn_status launch(plan *p, const node *n)
{
    dn_backend *backend = p->backend;
    dn_status status = DN_OK;
    for (size_t i = n->first; i < n->end && status == DN_OK; i++) {
        const noted *o = &p->tape->ops[i];
        dn_op_io io = *o->io;
        if (n->lane)
            io.scratch = backend->device->side_scratch;
        if (o->part != WHOLE)
            status = o->op->kind->run_part(o->op, &io, o->part);
        else if (!cuda_chain_take(backend->chain, o->op, &io))
            status = o->op->kind->run(o->op, &io);
    }
    cuda_chain_run(backend->chain);
    return status
               ? status
               : cuda_check(backend, cudaGetLastError(), p->tape->ops[n->first].op->kind->name);
}

static dn_status launch_all(plan *p)
{
    dn_backend *backend = p->backend;
    const cuda_device *d = backend->device;
    cudaStream_t streams[LANES] = {d->own, d->side};
    dn_status status = DN_OK;
    if (p->lanes > 1)
        status = cuda_event_order(backend, p->forked, d->own, d->side);
    for (size_t at = 0; at < p->num && status == DN_OK; at++) {
        const node *n = &p->nodes[p->order[at]];
        status = cuda_use_stream(backend, streams[n->lane]);
        if (status == DN_OK && n->after != NONE)
            status = cuda_event_await(backend, p->nodes[n->after].done, backend->stream);
        if (status == DN_OK)
            status = launch(p, n);
        if (status == DN_OK && n->done)
            status = cuda_event_record(backend, n->done, backend->stream);
    }
    if (status == DN_OK && p->lanes > 1)
        status = cuda_event_order(backend, p->joined, d->side, d->own);
    return status;
}

static dn_status capture(plan *p, cudaGraph_t *graph)
{
    dn_backend *backend = p->backend;
    cudaStream_t own = backend->device->own;
    dn_status status = cuda_use_stream(backend, own);
    if (status == DN_OK) {
        cuda_chain_load(backend);
        status = cuda_check(backend, cudaGetLastError(), "a chain of small ops");
    }
    if (status == DN_OK)
        status =
            cuda_check(backend, cudaStreamBeginCapture(own, cudaStreamCaptureModeThreadLocal),
                       "recording");
    if (status != DN_OK)
        return status;
    backend->device->capturing = true;
    status = launch_all(p);
    backend->device->capturing = false;
    cudaError_t ended = cudaStreamEndCapture(own, graph);
    if (status == DN_OK)
        return cuda_check(backend, ended, "ending a recording");
    cudaGetLastError(); /* it says what the failure before it has said */
    return status;
}

dn_status cuda_tape_capture(dn_backend *backend, cudaGraph_t *graph)
{
    plan p = {.backend = backend, .tape = backend->tape};
    dn_status status = make_plan(&p);
    if (status == DN_OK)
        status = make_events(&p);
    if (status == DN_OK)
        status = capture(&p, graph);
    drop_plan(&p);
    return status;
}
