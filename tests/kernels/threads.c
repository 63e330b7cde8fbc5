/* SPDX-License-Identifier: BSD-2-Clause
 * threads.c: a block of a CUDA kernel as BLOCK threads of one processor: each runs from barrier
 * to barrier before the next does, in one order or in the other. So what one reads of shared
 * memory outside of a region and another writes before it has looked, a barrier that not all
 * come to, and shared memory that nobody has written show, which loops over regions hide; and
 * whatever two of them do to the same memory with no barrier between (races.c). A module, as it
 * has the kernels once more: host.c's or, CUDA_OVER_FAKES, that of tests/cuda. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "grid.cuh"
#include "launches.h"
#include "races.h"

#define STACK 65536

typedef struct thread {
    jmp_buf at;
    bool began;
    int64_t block; /* that it works on */
    int line; /* of the barrier it has come to; 0: it has ended */
} thread;

extern const dn_backend_ops dn_cuda_host_backend;
extern char __start_cuda_shared[], __stop_cuda_shared[];
extern cuda_kernel *const __start_cuda_listed[], *const __stop_cuda_listed[];
extern const kernel_launches dn_kernel_launches;
const dn_backend_ops *dn_backend_entry(void);

static thread threads[BLOCK];
static _Alignas(64) char stacks[BLOCK][STACK];
static jmp_buf scheduler;
static int current;
static struct {
    cuda_body body;
    const void *args;
    int64_t block, next; /* next: -1: there is none */
} job;

int cuda_thread(void)
{
    return current;
}

void cuda_barrier(int line)
{
    threads[current].line = line;
    if (_setjmp(threads[current].at) == 0)
        longjmp(scheduler, 1);
}

void cuda_atomic(bool begins)
{
    race_atomic(begins);
}

static void do_block(int64_t block)
{
    threads[current].block = block;
    race_caller(block, current);
    job.body(job.args, block);
}

/* A thread lives as long as the process: at the end of a block it waits for the next. */
static void live(void)
{
    for (;;) {
        do_block(job.block);
        if (job.next >= 0)
            do_block(job.next);
        cuda_barrier(0);
    }
}

static void go_on(int number)
{
    static ucontext_t context, back;
    current = number;
    race_caller(threads[number].block, number);
    if (_setjmp(scheduler))
        return;
    if (threads[number].began)
        longjmp(threads[number].at, 1);
    threads[number].began = true;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks[number];
    context.uc_stack.ss_size = STACK;
    context.uc_link = NULL;
    makecontext(&context, live, 0);
    swapcontext(&back, &context);
}

/* Its name; NULL: it is not to be launched. */
static const char *launch(cuda_body body)
{
    cuda_kernel *const *k = __start_cuda_listed;
    while ((*k)->body != body)
        k++;
    return count_launch(&(*k)->launches) ? (*k)->name : NULL;
}

#ifdef CUDA_OVER_FAKES
#define rehearse NULL /* libraries would do all that they do */
#else
__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void)
{
    return &dn_cuda_host_backend;
}
#endif

static const char *missing(int i)
{
    for (cuda_kernel *const *k = __start_cuda_listed; k < __stop_cuda_listed; k++)
        if ((*k)->launches == 0 && i-- == 0)
            return (*k)->name;
    return NULL;
}

__attribute__((visibility("default")))
const kernel_launches dn_kernel_launches = {rehearse, missing, false};

void cuda_indices(cuda_body body, const void *args, int64_t n, bool last_first)
{
    const char *name = launch(body);
    if (!name)
        return;
    race_launch(name);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = last_first ? n - 1 - i : i;
        race_caller(at, -1);
        body(args, at);
    }
    race_end();
}

static size_t shared_size(void)
{
    return (size_t)(__stop_cuda_shared - __start_cuda_shared);
}

/* The threads' way from barrier to barrier, to the end of the block, or of two. */
static void run_job(const char *name, bool last_first)
{
    memset(__start_cuda_shared, 0xFF, shared_size());
    do {
        race_barrier();
        for (int i = 0; i < BLOCK; i++)
            go_on(last_first ? BLOCK - 1 - i : i);
        for (int i = 1; i < BLOCK; i++)
            if (threads[i].line != threads[0].line) {
                fprintf(stderr, "%s: thread 0 waits in line %d, thread %d in line %d\n", name,
                        threads[0].line, i, threads[i].line);
                abort(); /* a device would hang, or worse */
            }
    } while (threads[0].line);
}

void cuda_blocks(cuda_body body, const void *args, int64_t n, bool last_first)
{
    const char *name = launch(body);
    if (!name)
        return;
    race_memory(__start_cuda_shared, shared_size(), stacks[0], sizeof(stacks));
    race_launch(name);
    job.body = body;
    job.args = args;
    for (int64_t i = 0; i < n; i += 2) {
        job.block = last_first ? n - 1 - i : i;
        job.next = i + 1 == n ? -1 : last_first ? job.block - 1 : job.block + 1;
        run_job(name, last_first);
    }
    race_end();
}
