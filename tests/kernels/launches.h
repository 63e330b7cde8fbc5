/* SPDX-License-Identifier: BSD-2-Clause
 * launches.h: what a module that knows its kernels by name tells the check (threads.c): so a
 * sample has cases of every kernel, however few of the cases launch it. */
#ifndef DN_TESTS_KERNELS_LAUNCHES_H
#define DN_TESTS_KERNELS_LAUNCHES_H

#include <stdbool.h>

typedef struct kernel_launches {
    /* From true to false launches are counted, not done. Returns how many were of kernels that
     * have hardly been launched yet. NULL: launches are always done. */
    int (*rehearse)(bool begins);
    /* The i-th kernel that was never launched; NULL: there are no more. */
    const char *(*missing)(int i);
} kernel_launches;

#endif
