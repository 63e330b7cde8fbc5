/* SPDX-License-Identifier: BSD-2-Clause
 * threads.cuh: what grid.cuh takes for blocks that are threads, see threads.c. */
#ifndef DN_TESTS_KERNELS_THREADS_CUH
#define DN_TESTS_KERNELS_THREADS_CUH

/* The caller's number. */
int cuda_thread(void);
/* Waits for all others, who must come to the same line. */
void cuda_barrier(int line);
/* What each thread of a block does, as it does on a device: one block of work and, without
 * waiting for the others, the next; -1: there is none. */
void cuda_blocks(void (*body)(const void *args, int64_t block), const void *args, int64_t block,
                 int64_t next, bool last_first);

#define SHARED static __attribute__((section("cuda_shared")))
#define THREADS(t) for (int t = cuda_thread(); t >= 0; t = -1, cuda_barrier(__LINE__))
#define BARRIER() cuda_barrier(__LINE__)
#define PER_THREAD(type, name, count) type name[1][count]
#define LANE(t) 0
#define IDLE(condition) 0
#define RUN_ALL(body, op, args, n)                                                             \
    for (int64_t block = 0; block < n; block += 2)                                             \
    cuda_blocks(body, args, in_some_order(op, block, n),                                       \
                block + 1 < n ? in_some_order(op, block + 1, n) : -1,                          \
                (op)->backend->host.num_threads == 2)

#endif
