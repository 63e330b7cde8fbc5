/* SPDX-License-Identifier: BSD-2-Clause
 * overhead.c: what a step costs apart from its kernels: the net runs on a backend that takes
 * every op and does nothing, so all the time there is, is the library's own; of several threads
 * the workers are woken, for an op of no work. With a gap before every step they sleep by then.
 * --backends=LIST measures those instead. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static int the_backend, the_op; /* handles need an address, nothing more */
static const dn_backend_host *the_host;

static dn_status idle_open(dn_backend **out, const dn_backend_host *host)
{
    *out = (dn_backend *)&the_backend;
    the_host = host;
    return host ? DN_OK : DN_E_INVALID;
}

static void idle_close(dn_backend *backend)
{
    (void)backend;
}

static dn_status idle_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    (void)backend, (void)desc;
    *out = (dn_op *)&the_op;
    snprintf(info->implementation, sizeof info->implementation, "idle");
    return DN_OK;
}

static void nothing(void *arg, int64_t task, int32_t worker)
{
    (void)arg, (void)task, (void)worker;
}

static dn_status idle_run(dn_op *op, const dn_op_io *io)
{
    (void)op, (void)io;
    if (the_host->num_threads > 1)
        the_host->parallel_for(the_host->user, the_host->num_threads, nothing, NULL);
    return DN_OK;
}

static void idle_destroy(dn_op *op)
{
    (void)op;
}

static const dn_backend_ops idle = {.struct_size = sizeof idle,
                                    .name = "idle",
                                    .space = DN_SPACE_HOST,
                                    .open = idle_open,
                                    .close = idle_close,
                                    .op_create = idle_create,
                                    .op_run = idle_run,
                                    .op_destroy = idle_destroy};

typedef struct repeated { /* one run is too short for the clock */
    bench_net *net;
    int times;
} repeated;

static void run(void *arg)
{
    repeated *r = arg;
    if (r->net->train)
        bench_check(dn_solver_step(r->net->solver, r->times), "step");
    for (int i = 0; !r->net->train && i < r->times; i++)
        bench_step(r->net);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median and the least of single steps, each after a gap that does not count. */
static bench_times with_gaps(const bench_options *o, bench_net *net)
{
    static double seconds[100000];
    const struct timespec gap = {.tv_sec = o->gap_us / 1000000,
                                 .tv_nsec = o->gap_us % 1000000 * 1000L};
    double end = bench_now() + o->seconds;
    int n = 0;
    while (n < 100000 && (n < 3 || bench_now() < end)) {
        nanosleep(&gap, NULL);
        double start = bench_now();
        bench_step(net);
        seconds[n++] = bench_now() - start;
    }
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    return (bench_times){seconds[n / 2], seconds[0], n};
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv,
                                  "overhead [--seconds=S] [--threads=N] [--gap-us=N] "
                                  "[--backends=LIST] X_train.prototxt ...");
    for (int i = 0; i < o.num_files; i++) {
        char name[64];
        bench_options on_idle = o;
        on_idle.backend = o.backends ? NULL : &idle;
        bench_net n = bench_open(&on_idle, o.files[i]);
        repeated r = {&n, o.gap_us ? 1 : 1000};
        bench_net_name(o.files[i], name, sizeof name);
        run(&r);
        bench_times t = o.gap_us ? with_gaps(&o, &n) : bench_repeat(&o, o.seconds, run, &r);
        printf("{\"net\": \"%s\", \"job\": \"%s\", \"overhead_us\": %.3f, \"best_us\": %.3f}\n",
               name, n.train ? "train" : "infer", 1e6 * t.median / r.times,
               1e6 * t.best / r.times);
        bench_close(&n);
    }
    return 0;
}
