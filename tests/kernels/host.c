/* SPDX-License-Identifier: BSD-2-Clause
 * host.c: the host of the kernel check. Tasks run one after another, but in an order and on
 * workers that depend on the number of threads: whatever depends on either shows. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static char message[512];
static int64_t live, spoilt;

/* What lies between what was asked for and the end of the allocation, which must stay. */
static size_t guard_of(size_t bytes)
{
    return (bytes + 64) / 64 * 64 - bytes;
}

/* The size lies before it, so that host_free finds the guard. */
static void *host_alloc(void *user, size_t bytes)
{
    unsigned char *memory = aligned_alloc(64, 64 + bytes + guard_of(bytes));
    if (!memory)
        return NULL;
    live++;
    memcpy(memory, &bytes, sizeof bytes);
    memset(memory + 64 + bytes, 0xA5, guard_of(bytes));
    return memory + 64;
}

static void host_free(void *user, void *ptr)
{
    if (!ptr)
        return;
    unsigned char *memory = (unsigned char *)ptr - 64;
    size_t bytes, guard = 0;
    memcpy(&bytes, memory, sizeof bytes);
    while (guard < guard_of(bytes) && memory[64 + bytes + guard] == 0xA5)
        guard++;
    spoilt += guard < guard_of(bytes);
    live--;
    free(memory);
}

static dn_status host_fail(dn_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    return status;
}

static void forwards(void *user, int64_t tasks, void (*body)(void *, int64_t, int32_t),
                     void *arg)
{
    for (int64_t t = 0; t < tasks; t++)
        body(arg, t, 0);
}

static void backwards(void *user, int64_t tasks, void (*body)(void *, int64_t, int32_t),
                      void *arg)
{
    for (int64_t t = tasks - 1; t >= 0; t--)
        body(arg, t, (int32_t)(t % 2));
}

static void interleaved(void *user, int64_t tasks, void (*body)(void *, int64_t, int32_t),
                        void *arg)
{
    for (int64_t first = 2; first >= 0; first--)
        for (int64_t t = first; t < tasks; t += 3)
            body(arg, t, (int32_t)(first + t / 3) % 3);
}

void host_init(dn_backend_host *host, int32_t num_threads)
{
    *host = (dn_backend_host){.struct_size = sizeof(*host),
                              .alloc = host_alloc,
                              .free = host_free,
                              .fail = host_fail,
                              .num_threads = num_threads,
                              .tune = getenv("DN_TEST_TUNE") != NULL,
                              .allow_nondeterministic = getenv("DN_TEST_UNORDERED") != NULL};
    host->parallel_for = num_threads == 1   ? forwards
                         : num_threads == 2 ? backwards
                                            : interleaved;
}

const char *host_message(void)
{
    return message;
}

int64_t host_live_allocations(void)
{
    return live;
}

int64_t host_spoilt_allocations(void)
{
    return spoilt;
}
