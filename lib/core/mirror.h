/* SPDX-License-Identifier: BSD-2-Clause
 * mirror.h: memory with a host side and a device side, in a context that computes on a device.
 * A piece of memory goes by its host address; what the device has of it is made when a plan
 * asks, and values travel only when the side that wants them is behind. In a context without a
 * device everything here does nothing. */
#ifndef DNI_MIRROR_H
#define DNI_MIRROR_H

#include <pthread.h>

#include "core/context.h"

typedef struct dni_span {
    char *host, *device;
    size_t bytes;
    bool on_host, on_device; /* the values there are the present ones */
    bool forgotten;          /* its host memory is no more */
    bool viewed;             /* `device` is the host application's own memory */
    int32_t holds;
    struct dni_span *next; /* in the mirror's table */
} dni_span;

/* slot: the context's device backend. */
dn_status dni_mirror_create(dni_mirror **out, dn_context *context,
                            const dni_backend_slot *slot);
void dni_mirror_free(dni_mirror *mirror);
const dni_backend_slot *dni_mirror_slot(const dn_context *context);

/* ---- for whoever owns host memory that ops use ------------------------------------------ */

/* Before the host reads; only what a device wrote since is copied. */
dn_status dni_mirror_fetch(const dn_context *context, const void *host);
/* Several of these, then dni_mirror_fetch of each, and nothing in between: they wait once. */
dn_status dni_mirror_fetch_soon(const dn_context *context, const void *host);
/* After (or just before) the host writes: what the device has is old. */
void dni_mirror_wrote(const dn_context *context, const void *host);
/* Where a device has it, brought up to date; *out NULL: nowhere. */
dn_status dni_mirror_look(const dn_context *context, const void *host, const void **out);
/* After something outside the library wrote the device's side: the host's is old. */
void dni_mirror_wrote_device(const dn_context *context, const void *host);
/* The device's side of `host` is `device` from now on, which is not ours; *view keeps the span,
 * NULL before the first call. device NULL: a side of our own again, with the host's values. */
dn_status dni_mirror_view(dn_context *context, void *host, size_t bytes, void *device,
                          dni_span **view);
/* Until everything asked for is done. */
dn_status dni_mirror_wait(const dn_context *context);
/* Zeros on whichever side has it. */
dn_status dni_mirror_zero(const dn_context *context, void *host, size_t bytes);
/* Before the memory is freed. */
void dni_mirror_forget(const dn_context *context, const void *host);

/* ---- for plans --------------------------------------------------------------------------- */

/* The span of `bytes` at `host`; released as often as held. The last release brings home what
 * only the device has. there: if it is a new one, the device alone has it: zeros. */
dn_status dni_mirror_hold(dn_context *context, void *host, size_t bytes, bool there,
                          dni_span **out);
/* What went by `from` goes by `to`, which is memory, from now on. */
void dni_mirror_move(const dn_context *context, const void *from, void *to);
void dni_mirror_release(const dn_context *context, dni_span *span);
/* If `host` has a span, *span holds it from now on; NULL before the first call. */
void dni_mirror_keep(const dn_context *context, const void *host, dni_span **span);
/* Whoever asks has the lock: threads whose nets share weights share their spans. soon: it will
 * be asked for, as dni_mirror_fetch_soon has it. */
dn_status dni_span_to_host(const dn_context *context, dni_span *span, bool soon);
dn_status dni_span_to_device(const dn_context *context, dni_span *span);
/* Device memory, zero; DN_E_LIMIT beyond the context's device_memory_limit. */
dn_status dni_mirror_alloc(const dn_context *context, size_t bytes, void *out);
void dni_mirror_dealloc(const dn_context *context, void *device);
/* Once for each run of a section: memory that nobody took up again for a while is given back to
 * the device. */
void dni_mirror_age(const dn_context *context);
/* Something found no memory: what is kept is given back, and for some runs nothing is kept.
 * False: there was nothing to give back. */
bool dni_mirror_make_room(const dn_context *context);
/* The same after what ended so, if that was it, whose words are forgotten: is it worth another
 * try? */
bool dni_mirror_again(const dn_context *context, dn_status st);
/* Bytes of device memory that there are now. */
size_t dni_mirror_held(const dn_context *context);
/* All that is kept is given back: who used it will not come again. */
void dni_mirror_empty(const dn_context *context);
/* What a thread put off, to be one with what it asks for next: plan/record.h. Whatever else
 * uses the device catches up first. */
typedef struct dni_late {
    dn_status (*run)(struct dni_late *late);
    pthread_t thread;
} dni_late;
/* From now on; nothing happens where another thread does. */
void dni_mirror_begin_late(const dn_context *context, dni_late *late);
void dni_mirror_end_late(const dn_context *context, const dni_late *late);
/* The calling thread's; NULL: it puts nothing off. */
dni_late *dni_mirror_late(const dn_context *context);
dn_status dni_mirror_catch_up(const dn_context *context);
/* A number that the context has not given before. */
uint64_t dni_mirror_number(const dn_context *context);
/* One thread at a time uses the device. */
void dni_mirror_lock(const dn_context *context);
void dni_mirror_unlock(const dn_context *context);

#endif
