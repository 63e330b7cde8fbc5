/* SPDX-License-Identifier: BSD-2-Clause
 * races.h: who did what to which memory, see races.c. */
#ifndef DN_TESTS_KERNELS_RACES_H
#define DN_TESTS_KERNELS_RACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kernel begins: what was done before it is over. Not all of its launches are watched. */
void race_launch(const char *kernel);
/* It has ended: what is done to memory is the host's again. */
void race_end(void);
/* All threads of the block have met. */
void race_barrier(void);
/* Who does what follows; thread -1: it has a block for itself. */
void race_caller(int64_t block, int thread);
/* It may be done by several at a time. */
void race_atomic(bool begins);
/* Memory of blocks each for itself, though it is one here; and of threads. */
void race_memory(char *shared, size_t shared_size, char *stacks, size_t stacks_size);

#endif
