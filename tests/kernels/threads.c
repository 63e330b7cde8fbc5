/* SPDX-License-Identifier: BSD-2-Clause
 * threads.c: a block of a CUDA kernel as BLOCK threads of one processor: each runs from barrier
 * to barrier before the next does, in one order or in the other. So what one reads of shared
 * memory outside of a region and another writes before it has looked, a barrier that not all
 * come to, and shared memory that nobody has written show, which loops over regions hide. A
 * module, as it has the kernels once more. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "grid.cuh"

#define STACK 65536

typedef struct thread {
    jmp_buf at;
    bool began;
    int line; /* of the barrier it has come to; 0: it has ended */
} thread;

extern const dn_backend_ops dn_cuda_host_backend;
extern char __start_cuda_shared[], __stop_cuda_shared[];
const dn_backend_ops *dn_backend_entry(void);

static thread threads[BLOCK];
static _Alignas(64) char stacks[BLOCK][STACK];
static jmp_buf scheduler;
static int current;
static struct {
    void (*body)(const void *args, int64_t block);
    const void *args;
    int64_t block, next;
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

/* A thread lives as long as the process: at the end of a block it waits for the next. */
static void live(void)
{
    for (;;) {
        job.body(job.args, job.block);
        if (job.next >= 0)
            job.body(job.args, job.next);
        cuda_barrier(0);
    }
}

static void go_on(int number)
{
    static ucontext_t context, back;
    current = number;
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

void cuda_blocks(void (*body)(const void *args, int64_t block), const void *args, int64_t block,
                 int64_t next, bool last_first)
{
    job.body = body;
    job.args = args;
    job.block = block;
    job.next = next;
    memset(__start_cuda_shared, 0xFF, (size_t)(__stop_cuda_shared - __start_cuda_shared));
    do {
        for (int i = 0; i < BLOCK; i++)
            go_on(last_first ? BLOCK - 1 - i : i);
        for (int i = 1; i < BLOCK; i++)
            if (threads[i].line != threads[0].line) {
                fprintf(stderr, "thread 0 waits in line %d, thread %d in line %d\n",
                        threads[0].line, i, threads[i].line);
                abort(); /* a device would hang, or worse */
            }
    } while (threads[0].line);
}

__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void)
{
    return &dn_cuda_host_backend;
}
