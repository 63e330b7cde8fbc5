/* SPDX-License-Identifier: BSD-2-Clause
 * threads.cuh: what grid.cuh takes for blocks that are threads, see threads.c. */
#ifndef DN_TESTS_KERNELS_THREADS_CUH
#define DN_TESTS_KERNELS_THREADS_CUH

/* What a kernel does for one index, or block. */
typedef void (*cuda_body)(const void *args, int64_t i);

typedef struct cuda_kernel {
    cuda_body body;
    const char *name;
    int64_t launches;
} cuda_kernel;

/* The caller's number. */
int cuda_thread(void);
/* Waits for all others, who must come to the same line. */
void cuda_barrier(int line);
/* Until it ends, what the caller does to memory others may do at the same time. */
void cuda_atomic(bool begins);
/* All indices, each a thread that waits for nobody. */
void cuda_indices(cuda_body body, const void *args, int64_t n, bool last_first);
/* All blocks: each thread of a block does, as on a device, one block of work and, without
 * waiting for the others, the next. */
void cuda_blocks(cuda_body body, const void *args, int64_t n, bool last_first);

#define SHARED static __attribute__((section("cuda_shared")))
#define THREADS(t) for (int t = cuda_thread(); t >= 0; t = -1, cuda_barrier(__LINE__))
#define BARRIER() cuda_barrier(__LINE__)
#define PER_THREAD(type, name, count) type name[1][count]
#define LANE(t) 0
#define IDLE(condition) 0
#define ATOMIC(statement)                                                                      \
    do {                                                                                       \
        cuda_atomic(true);                                                                     \
        statement;                                                                             \
        cuda_atomic(false);                                                                    \
    } while (0)
#define LISTED(name)                                                                           \
    static cuda_kernel name##_known = {name##_body, #name, 0};                                 \
    static cuda_kernel *const name##_listed                                                    \
        __attribute__((section("cuda_listed"), used)) = &name##_known;
#define RUN_MAP(body, op, args, n)                                                             \
    cuda_indices(body, args, n, (op)->backend->host.num_threads == 2)
#define RUN_BLOCKS(body, op, args, n)                                                          \
    cuda_blocks(body, args, n, (op)->backend->host.num_threads == 2)

#endif
