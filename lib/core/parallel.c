/* SPDX-License-Identifier: BSD-2-Clause
 * parallel.c: the workers of a context. Every worker has a lane of a job's tasks, the same part
 * of every job, so that what it wrote it finds again in its own cache; who is done takes from
 * the far end of the others' lanes. A worker that comes too late for a job finds it closed and
 * is not waited for, so the cost of a small job is the caller's alone. */
#define _GNU_SOURCE /* sched_getaffinity */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/core.h"

enum { PATH_SIZE = 1280, LONGEST_GROUP = 900 };
#define MOST_TASKS (INT64_C(1) << 31) /* of one job: a lane is two halves of 64 bits */

#define SPIN_US 100 /* spans most of what one thread does alone between two jobs of a run */

/* ---- how many threads -------------------------------------------------------------------- */

/* A small file of the system as text; false if there is none. */
static bool read_small(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buffer, size - 1);
    close(fd);
    buffer[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* ceil(quota / period) threads; 0: unlimited or not to be known. */
static long quota_threads(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (long)((quota - 1) / period + 1);
}

static long quota_v2(const char *root, const char *group)
{
    char path[PATH_SIZE], text[128];
    long long quota, period;
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s/cpu.max", root, group);
    if (!read_small(path, text, sizeof(text)) ||
        sscanf(text, "%lld %lld", &quota, &period) != 2) /* "max 100000" has no first number */
        return 0;
    return quota_threads(quota, period);
}

static long quota_v1(const char *root, const char *group)
{
    char path[PATH_SIZE], quota[64], period[64];
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", root, group);
    if (!read_small(path, quota, sizeof(quota)))
        return 0;
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", root, group);
    if (!read_small(path, period, sizeof(period)))
        return 0;
    return quota_threads(atoll(quota), atoll(period));
}

/* The smallest quota of a group and all above it; the path is cut on the way up. */
static long smallest_quota(const char *root, char *group,
                           long (*quota_of)(const char *, const char *), long smallest)
{
    for (;;) {
        long quota = quota_of(root, group);
        if (quota && (!smallest || quota < smallest))
            smallest = quota;
        char *slash = strrchr(group, '/');
        if (!slash)
            return smallest;
        *slash = 0;
    }
}

/* The list "cpu,cpuacct" has "cpu" in it. */
static bool has_cpu(const char *list, const char *end)
{
    while (list < end) {
        size_t n = strcspn(list, ",:");
        if (n == 3 && strncmp(list, "cpu", 3) == 0)
            return true;
        list += n + 1;
    }
    return false;
}

/* /proc/self/cgroup has lines "number:controllers:path"; v2 is number 0 without controllers. */
int64_t dni_quota_threads(const char *root)
{
    char path[PATH_SIZE], text[4096], *line, *rest;
    long smallest = 0;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (!read_small(path, text, sizeof(text)))
        return 0;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group || strlen(group) > LONGEST_GROUP)
            continue;
        if (group == list + 1)
            smallest = smallest_quota(root, group + 1, quota_v2, smallest);
        else if (has_cpu(list + 1, group))
            smallest = smallest_quota(root, group + 1, quota_v1, smallest);
    }
    return smallest;
}

static long affinity_threads(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
    return sysconf(_SC_NPROCESSORS_ONLN);
}

int32_t dni_default_threads(void)
{
    const char *asked = getenv("DEEPNET_NUM_THREADS");
    long threads = asked ? strtol(asked, NULL, 10) : 0;
    if (threads < 1) {
        int64_t quota = dni_quota_threads("");
        threads = affinity_threads();
        if (quota && quota < threads)
            threads = (long)quota;
    }
    return threads < 1 ? 1 : threads > 1024 ? 1024 : (int32_t)threads;
}

/* ---- the pool ---------------------------------------------------------------------------- */

typedef struct lane { /* tasks [low half, high half), each with a cache line of its own */
    _Alignas(64) _Atomic uint64_t range;
} lane;

typedef struct worker {
    dni_pool *pool;
    pthread_t thread;
    int32_t index;
} worker;

struct dni_pool {
    int32_t threads, started; /* started: workers that exist, of threads - 1 */
    int64_t spin_ns;          /* of looking for a job before sleeping */
    pid_t owner;              /* the process they are threads of; 0: not yet started */
    worker *workers;
    pthread_mutex_t turn; /* held by the caller whose job it is */
    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t wake, done;

    /* The job: written while it is closed and nobody is inside. */
    int64_t base; /* the task that lanes count from */
    int32_t num_lanes;
    lane *lanes; /* one per thread */
    dni_task_fn body;
    void *arg;

    _Alignas(64) atomic_uint generation; /* grows with every job, and when the pool ends */
    atomic_bool open, stop;
    atomic_int sleepers;
    _Alignas(64) atomic_int inside; /* workers that may touch the job */
    atomic_bool waiting;            /* the caller sleeps until nobody is inside */
};

static _Thread_local const dni_frame *current;

void dni_frame_enter(dni_frame *frame, const void *owner, int32_t index)
{
    *frame = (dni_frame){owner, index, current};
    current = frame;
}

void dni_frame_leave(const dni_frame *frame)
{
    current = frame->outer;
}

bool dni_run_nested(const void *owner, int64_t tasks, dni_task_fn body, void *arg)
{
    const dni_frame *f = current;
    while (f && f->owner != owner)
        f = f->outer;
    for (int64_t task = 0; f && task < tasks; task++)
        body(arg, task, f->worker);
    return f != NULL;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t range_of(uint64_t from, uint64_t to)
{
    return from | to << 32;
}

/* The next task of one's own lane, or the last of another's; false: none is left in it. */
static bool take(lane *l, bool own, int64_t *task)
{
    uint64_t range = atomic_load_explicit(&l->range, memory_order_relaxed);
    for (;;) {
        uint64_t from = range & UINT32_MAX, to = range >> 32;
        if (from >= to)
            return false;
        uint64_t left = own ? range_of(from + 1, to) : range_of(from, to - 1);
        *task = (int64_t)(own ? from : to - 1);
        if (atomic_compare_exchange_weak_explicit(&l->range, &range, left, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
}

static void take_tasks(dni_pool *pool, int32_t index)
{
    dni_frame here;
    dni_frame_enter(&here, pool, index);
    for (int32_t i = 0; i < pool->num_lanes; i++) {
        int32_t at = (index + i) % pool->num_lanes;
        int64_t task;
        while (take(&pool->lanes[at], at == index, &task))
            pool->body(pool->arg, pool->base + task, index);
    }
    dni_frame_leave(&here);
}

/* A worker says it is inside before it looks whether the job is open; the caller closes the job
 * before it looks who is inside. One of the two sees the other (sequential consistency). */
static void join_job(dni_pool *pool, int32_t index)
{
    atomic_fetch_add(&pool->inside, 1);
    if (atomic_load(&pool->open))
        take_tasks(pool, index);
    if (atomic_fetch_sub(&pool->inside, 1) == 1 && atomic_load(&pool->waiting)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

static bool spin_for_job(dni_pool *pool, unsigned seen)
{
    int64_t until = now_ns() + pool->spin_ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
                return true;
            relax();
        }
    } while (now_ns() < until);
    return false;
}

static void sleep_for_job(dni_pool *pool, unsigned seen)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->generation) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *arg)
{
    worker *self = arg;
    dni_pool *pool = self->pool;
    unsigned seen = 0;
    dni_fp_enter();
    for (;;) {
        if (!spin_for_job(pool, seen))
            sleep_for_job(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        seen = atomic_load(&pool->generation);
        join_job(pool, self->index);
    }
}

/* A forked child has the caller's memory and none of its workers: it starts its own. */
static void forget_workers(dni_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    atomic_store(&pool->generation, 0);
    atomic_store(&pool->open, false);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->inside, 0);
    atomic_store(&pool->waiting, false);
    pool->started = 0;
}

/* Workers take no signals: those are the host's threads' business. A thread that cannot be
 * started is one helper less, never a failure. */
static void start_workers(dni_pool *pool)
{
    sigset_t all, before;
    if (pool->owner)
        forget_workers(pool);
    pool->owner = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int32_t i = 0; i < pool->threads - 1; i++) {
        worker *w = &pool->workers[pool->started];
        *w = (worker){.pool = pool, .index = i + 1};
        if (pthread_create(&w->thread, NULL, work, w))
            break;
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void announce(dni_pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

/* Closes the job and waits until the workers inside have left it. */
static void finish(dni_pool *pool)
{
    atomic_store(&pool->open, false);
    int64_t until = 0;
    for (int i = 1; atomic_load(&pool->inside) != 0; i++) {
        relax();
        if (i % 32)
            continue;
        if (until == 0)
            until = now_ns() + pool->spin_ns;
        else if (now_ns() >= until)
            break;
    }
    if (atomic_load(&pool->inside) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->waiting, true);
    while (atomic_load(&pool->inside) != 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->waiting, false);
    pthread_mutex_unlock(&pool->lock);
}

/* Lane w of T gets tasks [n w / T, n (w + 1) / T). */
static void fill_lanes(dni_pool *pool, int64_t tasks)
{
    uint64_t n = (uint64_t)tasks, from = 0;
    pool->num_lanes = pool->threads < tasks ? pool->threads : (int32_t)tasks;
    for (int32_t w = 0; w < pool->num_lanes; w++) {
        uint64_t to = n * (uint64_t)(w + 1) / (uint64_t)pool->num_lanes;
        atomic_store_explicit(&pool->lanes[w].range, range_of(from, to), memory_order_relaxed);
        from = to;
    }
}

static void run_job(dni_pool *pool, int64_t tasks)
{
    bool helped = tasks > 1 && pool->threads > 1;
    if (helped && pool->owner != getpid())
        start_workers(pool);
    fill_lanes(pool, tasks);
    if (helped) {
        atomic_store(&pool->open, true);
        announce(pool);
    }
    take_tasks(pool, 0);
    if (helped)
        finish(pool);
}

void dni_pool_run(dni_pool *pool, int64_t tasks, dni_task_fn body, void *arg)
{
    if (dni_run_nested(pool, tasks, body, arg) || tasks <= 0)
        return;
    pthread_mutex_lock(&pool->turn);
    pool->body = body, pool->arg = arg;
    for (pool->base = 0; pool->base < tasks; pool->base += MOST_TASKS) {
        int64_t rest = tasks - pool->base;
        run_job(pool, rest < MOST_TASKS ? rest : MOST_TASKS);
    }
    pthread_mutex_unlock(&pool->turn);
}

/* ---- life -------------------------------------------------------------------------------- */

dn_status dni_pool_create(dni_pool **out, const dni_heap *heap, int32_t threads)
{
    if (threads < 1)
        return dni_fail(DN_E_INVALID, "%d threads; at least 1 is needed", threads);
    dni_pool *pool = dni_alloc_aligned(heap, sizeof(*pool));
    if (!pool)
        return DN_E_NOMEM;
    memset(pool, 0, sizeof(*pool));
    pool->threads = threads;
    pool->spin_ns = 1000 * (int64_t)SPIN_US;
    pool->workers = dni_alloc(heap, (size_t)threads, sizeof(worker));
    pool->lanes = dni_alloc_aligned(heap, (size_t)threads * sizeof(lane));
    if (!pool->workers || !pool->lanes) {
        dni_free_aligned(pool->lanes);
        dni_free(pool->workers);
        dni_free_aligned(pool);
        return DN_E_NOMEM;
    }
    pthread_mutex_init(&pool->turn, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    *out = pool;
    return DN_OK;
}

void dni_pool_free(dni_pool *pool)
{
    if (!pool)
        return;
    if (!pool->owner || pool->owner == getpid()) {
        atomic_store(&pool->stop, true);
        announce(pool);
        for (int32_t i = 0; i < pool->started; i++)
            pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->done);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
        pthread_mutex_destroy(&pool->turn);
    }
    dni_free_aligned(pool->lanes);
    dni_free(pool->workers);
    dni_free_aligned(pool);
}

int32_t dni_pool_threads(const dni_pool *pool)
{
    return pool->threads;
}

void dni_pool_set_spin(dni_pool *pool, int32_t microseconds)
{
    pool->spin_ns = 1000 * (int64_t)microseconds;
}
