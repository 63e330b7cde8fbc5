/* SPDX-License-Identifier: BSD-2-Clause
 * alloc.c: memory from the host's one callback. A block is preceded by 32 bytes that keep its
 * size and heap, so freeing needs neither and alignment stays the host's 16. */
#define _DEFAULT_SOURCE /* madvise */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/core.h"

#define ALIGN     ((size_t)64)
#define HUGE_PAGE ((size_t)2 << 20)
#define MAPPED    ((size_t)32 << 20) /* what is larger, glibc gives back when it is freed */

#ifdef MADV_HUGEPAGE
enum { ADVICE_HUGE = MADV_HUGEPAGE, ADVICE_SMALL = MADV_NOHUGEPAGE };
#else
enum { ADVICE_HUGE = -1, ADVICE_SMALL = -1 };
#endif

static void *default_fn(void *user, void *ptr, size_t old_size, size_t new_size)
{
    (void)user, (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

const dni_heap dni_default_heap = {default_fn, NULL};

/* The heap is a copy: the one that was given need not live as long as the block. */
typedef struct header {
    dni_heap heap;
    size_t total;
    size_t unused;
} header;
_Static_assert(sizeof(header) % 16 == 0, "blocks are aligned as the host's");

static _Thread_local size_t held;

size_t dni_held(void)
{
    return held;
}

static void *refuse(size_t count, size_t size)
{
    if (size == 1)
        dni_fail(DN_E_NOMEM, "out of memory: no room for %zu bytes", count);
    else
        dni_fail(DN_E_NOMEM, "out of memory: no room for %zu x %zu bytes", count, size);
    return NULL;
}

/* The whole size of a block for count * size bytes; false when that does not fit. */
static bool block_size(size_t count, size_t size, size_t extra, size_t *out)
{
    return dni_mul(count, size, out) && dni_add(*out, extra, out) && *out <= SIZE_MAX / 2;
}

void *dni_realloc(const dni_heap *heap, void *ptr, size_t count, size_t size)
{
    size_t total;
    header *block = ptr ? (header *)ptr - 1 : NULL;
    size_t old_total = block ? block->total : 0;
    if (!block_size(count, size, sizeof(header), &total))
        return refuse(count, size);
    block = heap->fn(heap->user, block, old_total, total);
    if (!block)
        return refuse(count, size);
    block->heap = *heap;
    block->total = total;
    held += total - old_total;
    return block + 1;
}

void *dni_alloc(const dni_heap *heap, size_t count, size_t size)
{
    void *ptr = dni_realloc(heap, NULL, count, size);
    if (ptr)
        memset(ptr, 0, count * size);
    return ptr;
}

void dni_free(void *ptr)
{
    if (!ptr)
        return;
    header *block = (header *)ptr - 1;
    held -= block->total;
    block->heap.fn(block->heap.user, block, block->total, 0);
}

/* Just before an aligned block: where the host's block begins, its size, who frees it, and how
 * many have it: its owner, until that frees it, and those who hold it. */
typedef struct aligned_header {
    void *block;
    size_t total;
    dni_heap heap;
    atomic_size_t holders;
} aligned_header;

/* Only within what the C library gave us; the host's memory is the host's to advise, and so is
 * the system's answer to keep or ignore. */
static void advise(const dni_heap *heap, void *block, size_t size, int advice)
{
    uintptr_t first = ((uintptr_t)block + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)block + size) & ~(HUGE_PAGE - 1);
    if (advice >= 0 && heap->fn == default_fn && end > first)
        (void)madvise((void *)first, end - first, advice);
}

void *dni_alloc_aligned(const dni_heap *heap, size_t bytes)
{
    size_t total;
    if (!block_size(bytes, 1, ALIGN + sizeof(aligned_header), &total))
        return refuse(bytes, 1);
    char *block = heap->fn(heap->user, NULL, 0, total);
    if (!block)
        return refuse(bytes, 1);
    /* Arenas are walked end to end in every step: huge pages spare the misses of address
     * translation and most page faults. */
    advise(heap, block, total, ADVICE_HUGE);
    uintptr_t first = (uintptr_t)block + sizeof(aligned_header);
    char *ptr = block + sizeof(aligned_header) + (ALIGN - first % ALIGN) % ALIGN;
    aligned_header *h = (aligned_header *)ptr - 1;
    *h = (aligned_header){.block = block, .total = total, .heap = *heap};
    atomic_init(&h->holders, 1);
    return ptr;
}

void dni_hold_aligned(void *ptr)
{
    atomic_fetch_add(&((aligned_header *)ptr - 1)->holders, 1);
}

void dni_free_aligned(void *ptr)
{
    aligned_header *h = ptr;
    if (h && atomic_fetch_sub(&(--h)->holders, 1) == 1)
        h->heap.fn(h->heap.user, h->block, h->total, 0);
}

/* A huge page around every byte that is touched would be all of it. Smaller blocks the C
 * library may keep for others, who want huge pages. */
void *dni_alloc_sparse(const dni_heap *heap, size_t bytes)
{
    void *block = dni_realloc(heap, NULL, bytes, 1);
    if (block && bytes > MAPPED)
        advise(heap, block, bytes, ADVICE_SMALL);
    return block;
}

char *dni_strndup(const dni_heap *heap, const char *text, size_t length)
{
    if (length == SIZE_MAX)
        return refuse(length, 1);
    char *copy = dni_realloc(heap, NULL, length + 1, 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

char *dni_strdup(const dni_heap *heap, const char *text)
{
    return dni_strndup(heap, text, strlen(text));
}

char *dni_format(const dni_heap *heap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        dni_fail(DN_E_NOMEM, "a text cannot be formatted");
        return NULL;
    }
    char *text = dni_realloc(heap, NULL, (size_t)length + 1, 1);
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)length + 1, format, args);
        va_end(args);
    }
    return text;
}

dn_status dni_grow(const dni_heap *heap, void *array, size_t *capacity, size_t need,
                   size_t element_size)
{
    void *old, *grown;
    if (need <= *capacity)
        return DN_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need)
        wanted = wanted > SIZE_MAX / 2 ? need : wanted * 2;
    memcpy(&old, array, sizeof(old)); /* array is a T **; T is not known here */
    grown = dni_realloc(heap, old, wanted, element_size);
    if (!grown)
        return DN_E_NOMEM;
    memset((char *)grown + *capacity * element_size, 0, (wanted - *capacity) * element_size);
    memcpy(array, &grown, sizeof(grown));
    *capacity = wanted;
    return DN_OK;
}
