/* SPDX-License-Identifier: BSD-2-Clause
 * launches.h: what a module that knows its kernels by name tells the check (threads.c, ptx.so
 * of tests/cuda): so a sample has cases of every kernel, however few of the cases launch it. */
#ifndef DN_TESTS_KERNELS_LAUNCHES_H
#define DN_TESTS_KERNELS_LAUNCHES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kernel_launches {
    /* From true to false launches are counted, not done. Returns how many were of kernels that
     * have hardly been launched yet. NULL: launches are always done. */
    int (*rehearse)(bool begins);
    /* The i-th kernel that was never launched; NULL: there are no more. */
    const char *(*missing)(int i);
    bool bounded; /* accesses outside of a piece of memory fail: operands need no guards */
} kernel_launches;

/* What both do for that. */
enum { HARDLY = 8 }; /* launches, of which the first cases' are as small as the numbers get */

static struct {
    bool on;
    int rare; /* launches of it */
} rehearsal;

static inline int rehearse(bool begins)
{
    rehearsal.on = begins;
    rehearsal.rare = begins ? 0 : rehearsal.rare;
    return rehearsal.rare;
}

/* A launch of a kernel that had so many; false: it is not to be done. */
static inline bool count_launch(int64_t *launches)
{
    if (rehearsal.on)
        rehearsal.rare += *launches < HARDLY;
    else
        ++*launches;
    return !rehearsal.on;
}

#endif
