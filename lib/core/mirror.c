/* SPDX-License-Identifier: BSD-2-Clause
 * mirror.c: see mirror.h. A table of spans by host address, and a list of the blocks of device
 * memory: one that is let go is kept for whoever asks for as much next, and given back when
 * nobody did for some runs, or when memory is short. The lock is recursive, so that what takes
 * it may be built from what takes it. */
#include "core/mirror.h"

#include <string.h>

#define BUCKETS 256 /* 2 to the 8: bucket_of */
#define WAITS   32  /* runs of a section for which a block is kept */

typedef struct block {
    void *device;
    size_t bytes;
    bool used;
    int64_t since; /* m->runs when it was let go */
    struct block *next;
} block;

struct dni_mirror {
    dn_context *context;
    const dni_backend_slot *slot;
    pthread_mutex_t lock;
    dni_span *buckets[BUCKETS];
    block *blocks;
    size_t held, kept; /* bytes of all blocks; blocks that nobody uses */
    int64_t runs;
    int64_t scarce; /* memory was short: until that run nothing is kept */
    dni_late *late;
    uint64_t numbers;
};

/* The upper bits of the product: those of large blocks are alike below 4096. */
static dni_span **bucket_of(dni_mirror *m, const void *host)
{
    return &m->buckets[(uint32_t)((uintptr_t)host >> 6) * 2654435761u >> 24];
}

static dni_span **find(dni_mirror *m, const void *host)
{
    dni_span **at = bucket_of(m, host);
    while (*at && (*at)->host != host)
        at = &(*at)->next;
    return at;
}

/* Blocks that nobody has used since run `before`. */
static void give_back(dni_mirror *m, int64_t before)
{
    for (block **at = &m->blocks; *at && m->kept;) {
        block *b = *at;
        if (b->used || b->since > before) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        m->kept--;
        m->held -= b->bytes;
        m->slot->ops->mem_free(m->slot->backend, b->device);
        dni_free(b);
    }
}

bool dni_mirror_make_room(const dn_context *context)
{
    dni_mirror *m = context->mirror;
    dni_mirror_lock(context);
    bool any = m->kept > 0;
    m->scarce = m->runs + WAITS;
    give_back(m, INT64_MAX);
    dni_mirror_unlock(context);
    return any;
}

bool dni_mirror_again(const dn_context *context, dn_status st)
{
    bool again = st == DN_E_NOMEM && dni_mirror_make_room(context);
    if (again)
        dni_clear_error();
    return again;
}

size_t dni_mirror_held(const dn_context *context)
{
    return context->mirror->held;
}

dn_status dni_mirror_create(dni_mirror **out, dn_context *context, const dni_backend_slot *slot)
{
    const dn_backend_ops *ops = slot->ops;
    if (!ops->mem_alloc || !ops->mem_free || !ops->copy_in || !ops->copy_out)
        return dni_fail(DN_E_INVALID,
                        "backend '%s' computes on a device, and lacks mem_alloc, "
                        "mem_free, copy_in or copy_out",
                        ops->name);
    dni_mirror *m = dni_alloc(&context->heap, 1, sizeof *m);
    if (!m)
        return DN_E_NOMEM;
    pthread_mutexattr_t recursive;
    bool made = !pthread_mutexattr_init(&recursive);
    if (made) {
        pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
        made = !pthread_mutex_init(&m->lock, &recursive);
        pthread_mutexattr_destroy(&recursive);
    }
    if (!made) {
        dni_free(m);
        return dni_fail(DN_E_NOMEM, "no memory for a lock");
    }
    m->context = context;
    m->slot = slot;
    *out = m;
    return DN_OK;
}

void dni_mirror_free(dni_mirror *m)
{
    if (!m)
        return;
    give_back(m, INT64_MAX);
    pthread_mutex_destroy(&m->lock);
    dni_free(m);
}

const dni_backend_slot *dni_mirror_slot(const dn_context *context)
{
    return context->mirror ? context->mirror->slot : NULL;
}

void dni_mirror_lock(const dn_context *context)
{
    pthread_mutex_lock(&context->mirror->lock);
}

void dni_mirror_unlock(const dn_context *context)
{
    pthread_mutex_unlock(&context->mirror->lock);
}

void dni_mirror_begin_late(const dn_context *context, dni_late *late)
{
    dni_mirror *m = context->mirror;
    if (!m)
        return;
    dni_mirror_lock(context);
    late->thread = pthread_self();
    if (!m->late)
        m->late = late;
    dni_mirror_unlock(context);
}

void dni_mirror_end_late(const dn_context *context, const dni_late *late)
{
    dni_mirror *m = context->mirror;
    if (!m)
        return;
    dni_mirror_lock(context);
    if (m->late == late)
        m->late = NULL;
    dni_mirror_unlock(context);
}

dni_late *dni_mirror_late(const dn_context *context)
{
    dni_late *late = context->mirror->late;
    return late && pthread_equal(late->thread, pthread_self()) ? late : NULL;
}

dn_status dni_mirror_catch_up(const dn_context *context)
{
    dni_mirror *m = context->mirror;
    if (!m)
        return DN_OK;
    dni_mirror_lock(context);
    dn_status st = m->late ? m->late->run(m->late) : DN_OK;
    dni_mirror_unlock(context);
    return st;
}

uint64_t dni_mirror_number(const dn_context *context)
{
    dni_mirror_lock(context);
    uint64_t number = ++context->mirror->numbers;
    dni_mirror_unlock(context);
    return number;
}

/* ---- device memory ----------------------------------------------------------------------- */

static dn_status zero_device(const dni_backend_slot *slot, void *device, size_t bytes)
{
    const char zeros[4096] = {0};
    const dn_backend_ops *ops = slot->ops;
    dn_status st = DN_OK;
    if (ops->mem_zero)
        return ops->mem_zero(slot->backend, device, bytes);
    for (size_t at = 0; !st && at < bytes; at += sizeof zeros)
        st = ops->copy_in(slot->backend, (char *)device + at, zeros,
                          bytes - at < sizeof zeros ? bytes - at : sizeof zeros);
    return st;
}

/* The smallest that was let go and is large enough, unless it is more than twice too large. */
static block *find_kept(const dni_mirror *m, size_t bytes)
{
    block *best = NULL;
    for (block *b = m->kept ? m->blocks : NULL; b; b = b->next)
        if (!b->used && b->bytes >= bytes && b->bytes / 2 <= bytes &&
            (!best || b->bytes < best->bytes))
            best = b;
    return best;
}

static dn_status within_limit(dni_mirror *m, size_t bytes)
{
    size_t limit = m->context->device_memory_limit;
    if (!limit || (bytes <= limit && m->held <= limit - bytes))
        return DN_OK;
    give_back(m, INT64_MAX);
    if (bytes <= limit && m->held <= limit - bytes)
        return DN_OK;
    return dni_fail(DN_E_LIMIT,
                    "%zu bytes of device memory were asked for, %zu are in use, the context's "
                    "device_memory_limit is %zu",
                    bytes, m->held, limit);
}

static dn_status make_block(dni_mirror *m, size_t bytes, block **out)
{
    const dni_backend_slot *slot = m->slot;
    dn_status st = within_limit(m, bytes);
    block *b = st ? NULL : dni_alloc(&m->context->heap, 1, sizeof *b);
    if (!b)
        return st ? st : DN_E_NOMEM;
    do
        st = slot->ops->mem_alloc(slot->backend, bytes, &b->device);
    while (dni_mirror_again(m->context, st));
    if (st) {
        dni_free(b);
        return st;
    }
    b->bytes = bytes;
    b->next = m->blocks;
    m->blocks = b;
    m->held += bytes;
    m->kept++;
    *out = b;
    return DN_OK;
}

static void let_go(dni_mirror *m, block *b)
{
    b->used = false;
    b->since = m->runs;
    m->kept++;
    if (m->runs < m->scarce)
        give_back(m, INT64_MAX);
}

dn_status dni_mirror_alloc(const dn_context *context, size_t bytes, void *out)
{
    dni_mirror *m = context->mirror;
    dni_mirror_lock(context);
    block *b = find_kept(m, bytes);
    dn_status st = b ? DN_OK : make_block(m, bytes, &b);
    if (!st) {
        b->used = true;
        m->kept--;
        st = zero_device(m->slot, b->device, bytes);
        if (st)
            let_go(m, b);
        else
            *(void **)out = b->device;
    }
    dni_mirror_unlock(context);
    return st;
}

void dni_mirror_dealloc(const dn_context *context, void *device)
{
    if (!device)
        return;
    dni_mirror *m = context->mirror;
    dni_mirror_lock(context);
    for (block *b = m->blocks; b; b = b->next)
        if (b->used && b->device == device) {
            let_go(m, b);
            break;
        }
    dni_mirror_unlock(context);
}

void dni_mirror_empty(const dn_context *context)
{
    if (!context->mirror)
        return;
    dni_mirror_lock(context);
    give_back(context->mirror, INT64_MAX);
    dni_mirror_unlock(context);
}

void dni_mirror_age(const dn_context *context)
{
    dni_mirror *m = context->mirror;
    dni_mirror_lock(context);
    give_back(m, ++m->runs - WAITS);
    dni_mirror_unlock(context);
}

dn_status dni_span_to_host(const dn_context *context, dni_span *span, bool soon)
{
    const dni_backend_slot *slot = context->mirror->slot;
    dn_status (*copy)(dn_backend *, void *, const void *, size_t) =
        soon ? slot->ops->copy_out_soon : slot->ops->copy_out;
    if (span->on_host || !copy)
        return DN_OK;
    dn_status st = dni_mirror_catch_up(context);
    if (!st)
        st = copy(slot->backend, span->host, span->device, span->bytes);
    span->on_host = !st && !soon;
    return st;
}

dn_status dni_span_to_device(const dn_context *context, dni_span *span)
{
    const dni_backend_slot *slot = context->mirror->slot;
    if (span->on_device)
        return DN_OK;
    dn_status st = dni_mirror_catch_up(context);
    if (st)
        return st;
    do /* it takes memory on its way */
        st = slot->ops->copy_in(slot->backend, span->device, span->host, span->bytes);
    while (dni_mirror_again(context, st));
    span->on_device = !st;
    return st;
}

/* ---- spans ------------------------------------------------------------------------------- */

static void drop(const dn_context *context, dni_span *span)
{
    if (!span->viewed)
        dni_mirror_dealloc(context, span->device);
    dni_free(span);
}

/* view: what its device side is; NULL: memory of our own. */
static dn_status make(dn_context *context, void *host, size_t bytes, void *view, bool there,
                      dni_span **out)
{
    dni_span *span = dni_alloc(&context->heap, 1, sizeof *span);
    if (!span)
        return DN_E_NOMEM;
    *span = (dni_span){.host = host,
                       .device = view,
                       .bytes = bytes,
                       .on_host = !there,
                       .on_device = there,
                       .viewed = view != NULL};
    dn_status st = view ? DN_OK : dni_mirror_alloc(context, bytes, &span->device);
    if (st) {
        dni_free(span);
        return st;
    }
    dni_span **bucket = bucket_of(context->mirror, host);
    span->next = *bucket;
    *bucket = span;
    *out = span;
    return DN_OK;
}

dn_status dni_mirror_hold(dn_context *context, void *host, size_t bytes, bool there,
                          dni_span **out)
{
    dni_mirror_lock(context);
    dni_span *span = *find(context->mirror, host);
    dn_status st = span ? DN_OK : make(context, host, bytes, NULL, there, &span);
    if (!st && span->bytes != bytes)
        st = dni_fail(DN_E_INTERNAL, "memory of %zu bytes is mirrored as %zu", bytes,
                      span->bytes);
    if (!st) {
        span->holds++;
        *out = span;
    }
    dni_mirror_unlock(context);
    return st;
}

void dni_mirror_move(const dn_context *context, const void *from, void *to)
{
    dni_mirror_lock(context);
    dni_span **at = find(context->mirror, from), *span = *at;
    if (span) {
        dni_span **bucket = bucket_of(context->mirror, to);
        *at = span->next;
        span->host = to;
        span->next = *bucket;
        *bucket = span;
    }
    dni_mirror_unlock(context);
}

void dni_mirror_release(const dn_context *context, dni_span *span)
{
    if (!span)
        return;
    dni_mirror_lock(context);
    if (--span->holds == 0) {
        if (!span->forgotten) {
            if (!span->viewed)
                /* a lost device keeps what it had */
                (void)dni_span_to_host(context, span, false);
            *find(context->mirror, span->host) = span->next;
        }
        drop(context, span);
    }
    dni_mirror_unlock(context);
}

/* The span of `host`, with the lock; NULL, and without: there is none. */
static dni_span *take(const dn_context *context, const void *host)
{
    if (!context->mirror || !host)
        return NULL;
    dni_mirror_lock(context);
    dni_span *span = *find(context->mirror, host);
    if (!span)
        dni_mirror_unlock(context);
    return span;
}

void dni_mirror_keep(const dn_context *context, const void *host, dni_span **span)
{
    dni_span *found = take(context, host);
    if (!found)
        return;
    found->holds += !*span;
    *span = found;
    dni_mirror_unlock(context);
}

void dni_mirror_forget(const dn_context *context, const void *host)
{
    dni_span *span = take(context, host);
    if (!span)
        return;
    *find(context->mirror, host) = span->next;
    span->forgotten = true;
    dni_mirror_unlock(context);
}

static dn_status fetch(const dn_context *context, const void *host, bool soon)
{
    dni_span *span = take(context, host);
    if (!span)
        return DN_OK;
    dn_status st = dni_span_to_host(context, span, soon);
    dni_mirror_unlock(context);
    return st;
}

dn_status dni_mirror_fetch(const dn_context *context, const void *host)
{
    return fetch(context, host, false);
}

dn_status dni_mirror_fetch_soon(const dn_context *context, const void *host)
{
    return fetch(context, host, true);
}

dn_status dni_mirror_look(const dn_context *context, const void *host, const void **out)
{
    dni_span *span = take(context, host);
    *out = NULL;
    if (!span)
        return DN_OK;
    dn_status st = dni_span_to_device(context, span);
    if (!st)
        st = dni_mirror_catch_up(context);
    if (!st)
        *out = span->device;
    dni_mirror_unlock(context);
    return st;
}

static void wrote(const dn_context *context, const void *host, bool on_device)
{
    dni_span *span = take(context, host);
    if (!span)
        return;
    span->on_host = !on_device;
    span->on_device = on_device;
    dni_mirror_unlock(context);
}

void dni_mirror_wrote(const dn_context *context, const void *host)
{
    wrote(context, host, false);
}

void dni_mirror_wrote_device(const dn_context *context, const void *host)
{
    wrote(context, host, true);
}

static dn_status take_back(dn_context *context, dni_span **view)
{
    dni_span *span = *view;
    void *own = NULL;
    dn_status st = dni_mirror_catch_up(context);
    if (!st && span)
        st = dni_mirror_alloc(context, span->bytes, &own);
    if (!span || st)
        return st;
    span->device = own;
    span->viewed = span->on_device = false;
    span->on_host = true;
    *view = NULL;
    dni_mirror_release(context, span);
    return DN_OK;
}

dn_status dni_mirror_view(dn_context *context, void *host, size_t bytes, void *device,
                          dni_span **view)
{
    if (!device)
        return take_back(context, view);
    dni_mirror_lock(context);
    dni_span *span = *view ? *view : *find(context->mirror, host);
    dn_status st = dni_mirror_catch_up(context);
    if (!st && !span)
        st = make(context, host, bytes, device, false, &span);
    if (!st) {
        if (!span->viewed)
            dni_mirror_dealloc(context, span->device);
        span->device = device;
        span->viewed = span->on_device = true;
        span->on_host = false;
        span->holds += !*view;
        *view = span;
    }
    dni_mirror_unlock(context);
    return st;
}

dn_status dni_mirror_wait(const dn_context *context)
{
    const dni_backend_slot *slot = dni_mirror_slot(context);
    if (!slot || !slot->ops->synchronise)
        return DN_OK;
    dni_mirror_lock(context);
    dn_status st = dni_mirror_catch_up(context);
    if (!st)
        st = slot->ops->synchronise(slot->backend);
    dni_mirror_unlock(context);
    return st;
}

dn_status dni_mirror_zero(const dn_context *context, void *host, size_t bytes)
{
    dni_span *span = take(context, host);
    if (!span) {
        memset(host, 0, bytes);
        return DN_OK;
    }
    dn_status st = dni_mirror_catch_up(context);
    if (!st)
        st = zero_device(context->mirror->slot, span->device, span->bytes);
    span->on_host = st != DN_OK;
    span->on_device = !st;
    dni_mirror_unlock(context);
    return st;
}
