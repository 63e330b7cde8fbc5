/* SPDX-License-Identifier: BSD-2-Clause
 * test_workers.c: jobs of a pool, how many workers it has, and what they leave to the host: its
 * signals, its processor's time, its floating point. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>

#include "core/context.h"

#include "check.h"
#include "signals.h"

/* ---- jobs -------------------------------------------------------------------------------- */

enum { TASKS = 1000, MAX_THREADS = 8 };

typedef struct job {
    dni_pool *pool;
    atomic_int done[TASKS], busy[MAX_THREADS], clashes;
    bool nested;
} job;

static void count_inner(void *arg, int64_t task, int32_t worker)
{
    atomic_int *mine = arg;
    atomic_fetch_add(mine, (int)task + (worker >= 0));
}

static void do_task(void *arg, int64_t task, int32_t worker)
{
    job *j = arg;
    if (worker < 0 || worker >= dni_pool_threads(j->pool) ||
        atomic_fetch_add(&j->busy[worker], 1))
        atomic_fetch_add(&j->clashes, 1);
    if (j->nested) {
        atomic_int sum = 0;
        dni_pool_run(j->pool, 4, count_inner, &sum);
        if (sum != 10)
            atomic_fetch_add(&j->clashes, 1);
    }
    atomic_fetch_add(&j->done[task], 1);
    atomic_fetch_sub(&j->busy[worker], 1);
}

static void run_job(dni_pool *pool, int tasks, bool nested)
{
    job *j = calloc(1, sizeof(*j));
    int wrong = 0;
    j->pool = pool, j->nested = nested;
    dni_pool_run(pool, tasks, do_task, j);
    for (int i = 0; i < TASKS; i++)
        wrong += j->done[i] != (i < tasks);
    CHECK_AT(wrong == 0 && j->clashes == 0, "%d tasks: %d wrong, %d clashes", tasks, wrong,
             j->clashes);
    free(j);
}

typedef struct caller {
    dni_pool *pool;
    atomic_int *busy;
    int wrong;
} caller;

static void take_turn(void *arg, int64_t task, int32_t worker)
{
    atomic_int *busy = arg;
    (void)task;
    sched_yield(); /* to another caller, who has to wait */
    if (atomic_fetch_add(&busy[worker], 1))
        atomic_fetch_add(&busy[MAX_THREADS], 1);
    atomic_fetch_sub(&busy[worker], 1);
    atomic_fetch_add(&busy[MAX_THREADS + 1], 1);
}

static void *call_often(void *arg)
{
    caller *c = arg;
    for (int i = 0; i < 200; i++)
        dni_pool_run(c->pool, 1 + i % 7, take_turn, c->busy);
    return NULL;
}

static void test_callers(dni_pool *pool)
{
    atomic_int busy[MAX_THREADS + 2] = {0};
    pthread_t threads[3];
    caller c = {.pool = pool, .busy = busy};
    int expected = 0;
    for (int i = 0; i < 200; i++)
        expected += 3 * (1 + i % 7);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, call_often, &c);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(busy[MAX_THREADS], 0);
    CHECK_INT(busy[MAX_THREADS + 1], expected);
}

typedef struct meeting {
    atomic_int inside, strayed, missed;
    int threads;
} meeting;

/* Everybody's first task is the first of his own part: nobody goes on before all are there. */
static void meet(void *arg, int64_t task, int32_t worker)
{
    meeting *m = arg;
    const struct timespec nap = {.tv_nsec = 100000};
    if (atomic_fetch_add(&m->inside, 1) >= m->threads)
        return;
    if (task != 2 * worker)
        atomic_fetch_add(&m->strayed, 1);
    for (int i = 0; atomic_load(&m->inside) < m->threads; i++) {
        if (i == 20000) { /* a thread could not be started */
            atomic_fetch_add(&m->missed, 1);
            return;
        }
        nanosleep(&nap, NULL);
    }
}

static void test_lanes(dni_pool *pool)
{
    meeting m = {.threads = dni_pool_threads(pool)};
    dni_pool_run(pool, 2 * m.threads, meet, &m);
    CHECK_AT(m.strayed == 0 || m.missed, "%d of %d strayed", (int)m.strayed, m.threads);
}

/* A child has none of its parent's workers and must not wait for them. */
static inline void test_fork(dni_pool *pool)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        atomic_int sum = 0;
        alarm(60);
        dni_pool_run(pool, 4, count_inner, &sum);
        dni_pool_free(pool);
        _exit(sum == 10 ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    child = fork();
    if (child == 0) { /* nor to let go of what it has not used */
        alarm(60);
        dni_pool_free(pool);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void test_pool(void)
{
    check_heap counts = {0};
    dni_heap heap = {check_alloc, &counts};
    dni_pool *pool = NULL;
    const struct timespec nap = {.tv_nsec = 200000}; /* long enough to fall asleep */
    SECTION("workers");
    CHECK_STATUS(dni_pool_create(&pool, &heap, 0), DN_E_INVALID);
    for (int threads = 1; threads <= 5; threads += 2) {
        CHECK_STATUS(dni_pool_create(&pool, &heap, threads), DN_OK);
        CHECK_INT(dni_pool_threads(pool), threads);
        if (threads == 5)
            dni_pool_set_spin(pool, 0);
        for (int tasks = 0; tasks <= TASKS; tasks = tasks * 3 + 1)
            run_job(pool, tasks, tasks % 2 == 0);
        for (int i = 0; i < 50; i++) {
            if (i % 10 == 0)
                nanosleep(&nap, NULL);
            run_job(pool, i, i % 3 == 0);
        }
        CHECK_INT(threads_that_take(SIGTERM), 1);
        test_callers(pool);
        test_lanes(pool);
#ifndef __SANITIZE_THREAD__ /* which does not allow a forked child threads */
        test_fork(pool);
#endif
        dni_pool_free(pool);
    }
    pool = NULL;
    for (int i = 1; i <= 3; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        CHECK_STATUS(dni_pool_create(&pool, &heap, 4), DN_E_NOMEM);
    }
    CHECK(pool == NULL);
    counts.fail_at = 0;
    CHECK_STATUS(dni_pool_create(&pool, &heap, 4), DN_OK); /* never used: no worker started */
    dni_pool_free(pool);
    dni_pool_free(NULL);
    CHECK_HEAP_CLEAN(&counts);
}

/* A job of one pool, in whose tasks are jobs of another, in which are jobs of the first, before
 * and after: those run at once, in the task they are in. The other has no workers: these would
 * be in no task of the first one's, and wait for it. */
typedef struct two_pools {
    dni_pool *first, *second;
    atomic_int sum;
} two_pools;

static void innermost(void *arg, int64_t task, int32_t worker)
{
    (void)worker;
    atomic_fetch_add(&((two_pools *)arg)->sum, (int)task);
}

static void in_second(void *arg, int64_t task, int32_t worker)
{
    (void)task, (void)worker;
    dni_pool_run(((two_pools *)arg)->first, 3, innermost, arg);
}

static void in_first(void *arg, int64_t task, int32_t worker)
{
    two_pools *t = arg;
    (void)task, (void)worker;
    dni_pool_run(t->second, 2, in_second, t);
    dni_pool_run(t->first, 3, innermost, t);
}

static void test_pools(void)
{
    two_pools t = {.sum = 0};
    SECTION("workers: a pool's job in another's");
    CHECK_STATUS(dni_pool_create(&t.first, &dni_default_heap, 2), DN_OK);
    CHECK_STATUS(dni_pool_create(&t.second, &dni_default_heap, 1), DN_OK);
    alarm(60);
    dni_pool_run(t.first, 4, in_first, &t);
    alarm(0);
    CHECK_INT(t.sum, 4 * (2 * 3 + 3));
    dni_pool_free(t.first);
    dni_pool_free(t.second);
}

/* Processor time of all threads, in seconds, for jobs with naps between them. */
static double cost_of_waiting(int32_t spin_us)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    const dn_context_options o = {
        .struct_size = sizeof o, .num_threads = 3, .spin_us = spin_us};
    struct timespec first, last;
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    run_job(context->pool, 6, false); /* starts the workers */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &first);
    for (int i = 0; i < 100; i++) {
        nanosleep(&nap, NULL);
        run_job(context->pool, 6, false);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &last);
    dn_context_free(context);
    return (double)(last.tv_sec - first.tv_sec) + 1e-9 * (double)(last.tv_nsec - first.tv_nsec);
}

/* Workers that may not poll leave the processor alone; a busy machine is asked again. */
static void test_waiting(void)
{
    double asleep = 1, polling = 0;
    SECTION("workers: waiting");
    for (int i = 0; i < 5 && 3 * asleep > polling; i++) {
        asleep = cost_of_waiting(DN_SPIN_NONE);
        polling = cost_of_waiting(1000);
    }
    CHECK_AT(3 * asleep <= polling, "%g s asleep, %g s polling", asleep, polling);
}

static void test_default_threads(void)
{
    SECTION("default threads");
    setenv("DEEPNET_NUM_THREADS", "3", 1);
    CHECK_INT(dni_default_threads(), 3);
    setenv("DEEPNET_NUM_THREADS", "012", 1); /* decimal whatever it begins with */
    CHECK_INT(dni_default_threads(), 12);
    setenv("DEEPNET_NUM_THREADS", "99999999999999", 1);
    CHECK_INT(dni_default_threads(), 1024);
    setenv("DEEPNET_NUM_THREADS", "many", 1);
    int32_t several = dni_default_threads();
    unsetenv("DEEPNET_NUM_THREADS");
    CHECK_INT(dni_default_threads(), several);
    CHECK(several >= 1 && several <= 1024);
}

/* ---- quotas: a file system of our own ---------------------------------------------------- */

static void put_text(const char *root, const char *name, const char *text)
{
    char path[1500];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *at = path + strlen(root); (at = strchr(at + 1, '/'));) {
        *at = 0;
        mkdir(path, 0777);
        *at = '/';
    }
    check_write(path, text, strlen(text));
}

/* What /proc/self/cgroup says, then up to three files below /sys/fs/cgroup and their text. */
typedef struct quota_row {
    const char *groups;
    const char *files[3][2];
    int64_t threads;
} quota_row;

static void check_quota(const quota_row *row, size_t number)
{
    char name[40], root[512];
    snprintf(name, sizeof(name), "quota%zu", number);
    snprintf(root, sizeof(root), "%s", check_path(name));
    mkdir(root, 0777);
    put_text(root, "proc/self/cgroup", row->groups);
    for (int i = 0; i < 3 && row->files[i][0]; i++) {
        char path[256];
        snprintf(path, sizeof(path), "sys/fs/cgroup/%s", row->files[i][0]);
        put_text(root, path, row->files[i][1]);
    }
    int64_t threads = dni_quota_threads(root);
    CHECK_AT(threads == row->threads, "row %zu: %lld threads, expected %lld", number,
             (long long)threads, (long long)row->threads);
}

static void test_quotas(void)
{
    static const quota_row rows[] = {
        /* v2: a container sees its own group as the root */
        {"0::/\n", {{"cpu.max", "max 100000\n"}}, 0},
        {"0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
        {"0::/\n", {{"cpu.max", "150000 100000\n"}}, 2}, /* 1.5 cores */
        {"0::/\n", {{"cpu.max", "5000 100000\n"}}, 1},
        {"0::/\n", {{"cpu.max", "300000 50000\n"}}, 6},
        /* the least of the group and those above it, whichever has it */
        {"0::/a/b\n", {{"a/b/cpu.max", "400000 100000"}, {"a/cpu.max", "300000 100000"}}, 3},
        {"0::/a/b\n", {{"a/b/cpu.max", "100000 100000"}, {"a/cpu.max", "300000 100000"}}, 1},
        {"0::/a/b\n", {{"a/b/cpu.max", "max 100000"}, {"a/cpu.max", "700000 100000"}}, 7},
        {"0::/a/b\n", {{"a/c/cpu.max", "100000 100000"}}, 0}, /* of another group */
        /* v1, beside controllers of other kinds; the group may be the host's name for it */
        {"9:cpuset:/x\n4:cpu,cpuacct:/x\n0::/\n",
         {{"cpu/x/cpu.cfs_quota_us", "250000\n"}, {"cpu/x/cpu.cfs_period_us", "100000\n"}},
         3},
        {"4:cpuacct,cpu:/docker/1f\n",
         {{"cpu/cpu.cfs_quota_us", "400000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
         4},
        {"4:cpu:/\n",
         {{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
         0},
        {"4:cpuset:/\n5:cpuacct:/\n",
         {{"cpu/cpu.cfs_quota_us", "100000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
         0},
        /* both: a hybrid machine */
        {"4:cpu:/\n0::/u\n",
         {{"cpu/cpu.cfs_quota_us", "400000\n"},
          {"cpu/cpu.cfs_period_us", "100000\n"},
          {"u/cpu.max", "200000 100000\n"}},
         2},
        /* what no kernel writes */
        {"", {{0}}, 0},
        {"nonsense\n0:\n:\n", {{"cpu.max", "200000 100000"}}, 0},
        {"0::/\n", {{"cpu.max", "200000"}}, 0},
        {"0::/\n", {{"cpu.max", "200000 0"}}, 0},
        {"0::/\n", {{"cpu.max", "-200000 -100000"}}, 0},
        {"0::/\n", {{"cpu.max", "9223372036854775807 1"}}, INT64_MAX},
        {"0::/\n", {{"cpu.max", ""}}, 0}};
    SECTION("quotas of control groups");
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        check_quota(&rows[i], i);
    CHECK_INT(dni_quota_threads(check_path("absent")), 0);
}

/* Fewer cores than the machine has, as taskset gives them. */
static void test_affinity(void)
{
    cpu_set_t all, one;
    SECTION("default threads: affinity");
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
    CHECK_INT(dni_default_threads(), 1);
    CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
    int64_t quota = dni_quota_threads(""), cores = CPU_COUNT(&all);
    CHECK_INT(dni_default_threads(), quota && quota < cores ? quota : cores);
}

/* The cpu backend asks the processor itself; the compiler's answer is another's. */
#ifdef __x86_64__
extern int32_t cpu_best_isa(void); /* kernels/cpu/detect.c: 0 plain, 1 AVX2, 2 AVX-512 */

static void test_processor(void)
{
    SECTION("processor");
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl");
    CHECK_INT(cpu_best_isa(), avx512 ? 2 : avx2);
}
#else
static void test_processor(void)
{
}
#endif

static bool rounds_upward(void)
{
    volatile double one = 1, little = 1e-20;
    return one + little > 1;
}

static void in_upward(void *user, int64_t tasks, dni_task_fn body, void *arg)
{
    fesetround(FE_UPWARD);
    for (int64_t i = 0; i < tasks; i++)
        body(arg, i, 0);
    *(int *)user = rounds_upward();
    fesetround(FE_TONEAREST);
}

static void note_rounding(void *arg, int64_t task, int32_t worker)
{
    (void)worker;
    ((int *)arg)[task] = rounds_upward();
}

static void note_slowly(void *arg, int64_t task, int32_t worker)
{
    sched_yield(); /* so that others take some */
    note_rounding(arg, task, worker);
}

static void test_lent_threads(void)
{
    SECTION("threads of the host's that round upward");
    int after = 0, inside[2] = {-1, -1};
    dn_context context = {.parallel_for = in_upward, .parallel_user = &after};
    dni_parallel(&context, 2, note_rounding, inside);
    CHECK_INT(inside[0], false);
    CHECK_INT(inside[1], false);
    CHECK_INT(after, true);
}

/* A worker begins with what the host has set by then. */
static void test_rounding(void)
{
    int inside[64];
    meeting m = {.threads = 3};
    dni_pool *pool = NULL;
    SECTION("workers that are started by one who rounds upward");
    CHECK_STATUS(dni_pool_create(&pool, &dni_default_heap, 3), DN_OK);
    fesetround(FE_UPWARD);
    dni_pool_run(pool, 6, meet, &m); /* all are there */
    fesetround(FE_TONEAREST);
    CHECK(rounds_upward() == false);
    dni_pool_run(pool, 64, note_slowly, inside);
    for (int i = 0; i < 64; i++)
        CHECK_INT(inside[i], false);
    dni_pool_free(pool);
}

int main(void)
{
    test_pool();
    test_pools();
    test_waiting();
    test_default_threads();
    test_quotas();
    test_affinity();
    test_processor();
    test_lent_threads();
    test_rounding();
    return check_summary();
}
