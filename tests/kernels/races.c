/* SPDX-License-Identifier: BSD-2-Clause
 * races.c: whether two threads of a kernel meet in memory. The kernels are compiled with calls
 * for what -fsanitize=thread would watch; here they note which thread and block last wrote and
 * who has read since: since the last barrier, or, between blocks, which never wait for each
 * other, since the launch. Of what is accessed each fourth byte is known, from its first: no
 * elements overlap otherwise. That the bits come out right is no excuse. Noting takes its time,
 * so a kernel that has touched much is watched less often (race_launch). */
#include "races.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOBODY = -1, ATOMICALLY = -2, SEVERAL = -3, ALONE = -4 };

enum { PAGE = 4096, BUCKETS = 1 << 16, RECENT = 64, KEPT = 2048, NEAR = 1 << 16 };
enum { KERNELS = 512, SHARE = 1 << 14 };

/* Of a byte. Numbers of old launches and barriers say that the rest is not true any more. */
typedef struct cell {
    uint32_t launch, barrier;
    int32_t block_wrote, block_read, wrote, read;
} cell;

typedef struct page {
    uintptr_t number;
    struct page *next;
    cell cells[PAGE];
} page;

static page *pages[BUCKETS], *recent[RECENT];
static int num_pages;
static uint32_t launch, barrier;
static struct history {
    const char *kernel;
    int64_t launches, touches;
} histories[KERNELS], *watched; /* NULL: no kernel runs, or nobody watches it */
static int32_t block, thread;
static bool atomically;
static struct {
    uintptr_t shared, shared_size, stacks, stacks_size;
    cell *cells; /* of what is shared, words or longer */
} memory;

static void *zeros(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (!p)
        abort();
    return p;
}

void race_memory(char *shared, size_t shared_size, char *stacks, size_t stacks_size)
{
    if (memory.cells)
        return;
    memory.cells = zeros(shared_size / 4, sizeof(cell));
    memory.shared = (uintptr_t)shared;
    memory.shared_size = shared_size;
    memory.stacks = (uintptr_t)stacks;
    memory.stacks_size = stacks_size;
}

static void forget(void)
{
    for (int i = 0; i < BUCKETS; i++)
        while (pages[i]) {
            page *next = pages[i]->next;
            free(pages[i]);
            pages[i] = next;
        }
    memset(recent, 0, sizeof(recent));
    num_pages = 0;
}

static struct history *history_of(const char *name)
{
    for (int i = 0; i < KERNELS; i++)
        if (!histories[i].kernel || histories[i].kernel == name) {
            histories[i].kernel = name;
            return &histories[i];
        }
    abort();
}

/* The first launch is watched, and all that are small; large ones as often as the others leave
 * them time, so that each kernel is seen at many shapes whatever their order. */
void race_launch(const char *name)
{
    struct history *h = history_of(name);
    if (num_pages > KEPT)
        forget();
    watched = h->touches <= SHARE * h->launches++ ? h : NULL;
    launch++;
    barrier++;
}

void race_end(void)
{
    watched = NULL;
}

void race_barrier(void)
{
    barrier++;
}

void race_caller(int64_t of_block, int of_thread)
{
    block = (int32_t)of_block;
    thread = of_thread < 0 ? ALONE : of_thread;
}

void race_atomic(bool begins)
{
    atomically = begins;
}

static page *page_of(uintptr_t number)
{
    page **bucket = &pages[(number ^ number >> 16) % BUCKETS], *p = recent[number % RECENT];
    if (p && p->number == number)
        return p;
    for (p = *bucket; p && p->number != number;)
        p = p->next;
    if (!p) {
        p = zeros(1, sizeof(*p));
        p->number = number;
        p->next = *bucket;
        *bucket = p;
        num_pages++;
    }
    recent[number % RECENT] = p;
    return p;
}

static void found(uintptr_t at, bool writes, const char *whose, int32_t number, int32_t other)
{
    char who[32], where[64] = "";
    if (other >= 0)
        snprintf(who, sizeof(who), "%s %d", whose, other);
    else
        snprintf(who, sizeof(who), "%s", other == SEVERAL ? "several" : "one that is atomic");
    if (at - memory.shared < memory.shared_size)
        snprintf(where, sizeof(where), ", byte %zu of shared memory",
                 (size_t)(at - memory.shared));
    fprintf(stderr, "%s: %s %d %s%s what %s touched%s\n", watched->kernel, whose, number,
            writes ? "writes" : "reads", atomically ? ", atomically," : "", who, where);
    abort(); /* on a device, now this and now that */
}

/* Notes what `own` does; who it meets, or `own`. */
static int32_t meets(int32_t *wrote, int32_t *read, int32_t own, bool writes)
{
    int32_t other = *wrote;
    if (other != NOBODY && other != own)
        return other;
    if (writes && *read != NOBODY && *read != own)
        return *read;
    if (writes)
        *wrote = own;
    else
        *read = *read == NOBODY || *read == own ? own : SEVERAL;
    return own;
}

static inline void touch(const void *p, bool writes)
{
    uintptr_t at = (uintptr_t)p, here = (uintptr_t)__builtin_frame_address(0);
    if (!watched || at - memory.stacks < memory.stacks_size || at - (here - NEAR) < 2 * NEAR)
        return;
    bool shared = at - memory.shared < memory.shared_size;
    cell *c = shared ? &memory.cells[(at - memory.shared) / 4]
                     : &page_of(at / PAGE)->cells[at % PAGE];
    int32_t own = atomically ? ATOMICALLY : thread, other = own;
    watched->touches++;
    if (c->barrier != barrier) {
        c->barrier = barrier;
        c->wrote = c->read = NOBODY;
    }
    if (thread != ALONE)
        other = meets(&c->wrote, &c->read, own, writes);
    if (other != own)
        found(at, writes, "thread", thread, other);
    if (shared)
        return;
    if (c->launch != launch) {
        c->launch = launch;
        c->block_wrote = c->block_read = NOBODY;
    }
    own = atomically ? ATOMICALLY : block;
    other = meets(&c->block_wrote, &c->block_read, own, writes);
    if (other != own)
        found(at, writes, "block", block, other);
}

/* ---- what compilers call -------------------------------------------------------------------
 */

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *p, size_t size)
{
    for (size_t i = 0; i < size; i += 4)
        touch((char *)p + i, false);
}

void __tsan_write_range(void *p, size_t size)
{
    for (size_t i = 0; i < size; i += 4)
        touch((char *)p + i, true);
}

#define WATCHED(size)                                                                          \
    void __tsan_read##size(void *p);                                                           \
    void __tsan_write##size(void *p);                                                          \
    void __tsan_unaligned_read##size(void *p);                                                 \
    void __tsan_unaligned_write##size(void *p);                                                \
    void __tsan_read##size(void *p)                                                            \
    {                                                                                          \
        __tsan_read_range(p, size);                                                            \
    }                                                                                          \
    void __tsan_write##size(void *p)                                                           \
    {                                                                                          \
        __tsan_write_range(p, size);                                                           \
    }                                                                                          \
    void __tsan_unaligned_read##size(void *p)                                                  \
    {                                                                                          \
        __tsan_read_range(p, size);                                                            \
    }                                                                                          \
    void __tsan_unaligned_write##size(void *p)                                                 \
    {                                                                                          \
        __tsan_write_range(p, size);                                                           \
    }
WATCHED(1)
WATCHED(2)
WATCHED(4)
WATCHED(8)
WATCHED(16)
