/* SPDX-License-Identifier: BSD-2-Clause
 * threads.c: keeps oneDNN single-threaded. Built on OpenMP it takes the team that the calling
 * thread may have; that number is the thread's own (an internal control variable), is set to 1
 * around every call, and put back: the host's OpenMP is not disturbed. The functions are those
 * that oneDNN's own calls find, whichever OpenMP that is; a sequential build has none. */
#include <stdatomic.h>

#include "onednn.h"

extern int omp_get_max_threads(void) __attribute__((weak));
extern void omp_set_num_threads(int) __attribute__((weak));

static bool has_openmp(void)
{
    return omp_get_max_threads && omp_set_num_threads;
}

bool one_threads_fit(void)
{
    unsigned runtime = dnnl_version()->cpu_runtime;
    return runtime == DNNL_RUNTIME_SEQ || (runtime == DNNL_RUNTIME_OMP && has_openmp());
}

int one_enter(void)
{
    int before = has_openmp() ? omp_get_max_threads() : 1;
    if (before != 1)
        omp_set_num_threads(1);
    return before;
}

void one_leave(int before)
{
    if (before != 1)
        omp_set_num_threads(before);
}

typedef struct job {
    one_task_fn *body;
    void *arg;
    atomic_int status;
} job;

static void run_task(void *arg, int64_t task, int32_t worker)
{
    job *j = arg;
    int before = one_enter();
    dnnl_status_t st = j->body(j->arg, task, worker);
    one_leave(before);
    int none = dnnl_success;
    if (st != dnnl_success)
        atomic_compare_exchange_strong(&j->status, &none, (int)st);
}

dn_status one_for(const dn_backend *backend, int64_t tasks, one_task_fn *body, void *arg)
{
    const dn_backend_host *host = &backend->host;
    job j = {.body = body, .arg = arg, .status = dnnl_success};
    if (tasks > 0) /* one, too: a stream is its worker's */
        host->parallel_for(host->user, tasks, run_task, &j);
    return one_result(backend, (dnnl_status_t)atomic_load(&j.status), NULL);
}
