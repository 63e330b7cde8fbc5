/* SPDX-License-Identifier: BSD-2-Clause
 * bench.c: a clock, options, medians; and a net opened for measuring. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_RUNS = 100000 };

bench_options bench_parse(int argc, char **argv, const char *usage)
{
    bench_options o = {.threads = 1, .seconds = 1};
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = strchr(argv[i], '=');
        if (value && strncmp(argv[i], "--threads=", 10) == 0)
            o.threads = atoi(value + 1);
        else if (value && strncmp(argv[i], "--backends=", 11) == 0)
            o.backends = value + 1;
        else if (value && strncmp(argv[i], "--modules=", 10) == 0)
            o.modules = value + 1;
        else if (value && strncmp(argv[i], "--seconds=", 10) == 0)
            o.seconds = strtod(value + 1, NULL);
        else if (value && strncmp(argv[i], "--spin-us=", 10) == 0)
            o.spin_us = atoi(value + 1);
        else if (value && strncmp(argv[i], "--gap-us=", 9) == 0)
            o.gap_us = atoi(value + 1);
        else if (value && strncmp(argv[i], "--plan=", 7) == 0)
            o.plan = strcmp(value + 1, "nhwc") == 0    ? DN_PLAN_NHWC
                     : strcmp(value + 1, "plain") == 0 ? DN_PLAN_PLAIN
                                                       : DN_PLAN_FUSED;
        else if (strcmp(argv[i], "--compute=bf16") == 0)
            o.compute = DN_COMPUTE_BF16;
        else if (strcmp(argv[i], "--cpu-time") == 0)
            o.cpu_time = 1;
        else if (strcmp(argv[i], "--each") == 0)
            o.each = 1;
        else {
            fprintf(stderr, "usage: %s\n", usage);
            exit(2);
        }
    }
    o.files = argv + i;
    o.num_files = argc - i;
    return o;
}

static double read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double bench_thread_now(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_times bench_repeat(const bench_options *o, double seconds, void (*body)(void *arg),
                         void *arg)
{
    clockid_t clock = o->cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    static double times[MAX_RUNS];
    double end = bench_now() + seconds;
    int n = 0;
    while (n < MAX_RUNS && (n < 3 || bench_now() < end)) {
        double start = read_clock(clock);
        body(arg);
        times[n++] = read_clock(clock) - start;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    return (bench_times){
        .median = 0.5 * (times[(n - 1) / 2] + times[n / 2]), .best = times[0], .runs = n};
}

void bench_check(dn_status status, const char *what)
{
    if (status == DN_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, dn_last_error());
    exit(1);
}

dn_context *bench_context(const bench_options *o)
{
    dn_context *context;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = o->threads,
                                  .backends = o->backends,
                                  .module_folder = o->modules,
                                  .backend = o->backend,
                                  .spin_us = o->spin_us,
                                  .plan = o->plan,
                                  .seed = 1};
    bench_check(dn_context_create(&context, &options), "context");
    return context;
}

int64_t bench_peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

int bench_net_name(const char *path, char *out, int size)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, (size_t)size, "%s", slash ? slash + 1 : path);
    char *form = strrchr(out, '_');
    int train = form && strncmp(form, "_train.", 7) == 0;
    if (form)
        *form = 0;
    return train;
}

void bench_fill_inputs(dn_net *net)
{
    uint32_t state = 1;
    for (int32_t i = 0; i < dn_net_num_inputs(net); i++) {
        dn_blob *blob = dn_net_input(net, i);
        float *data = dn_blob_mutable_data(blob);
        if (!data)
            bench_check(DN_E_INTERNAL, "input");
        for (int64_t k = 0; k < dn_blob_count(blob); k++) {
            state = state * 1664525u + 1013904223u;
            data[k] = dn_blob_axes(blob) == 1 ? (float)(state >> 24) / 26
                                              : (float)(state >> 8) / 8388608.0f - 1.0f;
            if (dn_blob_axes(blob) == 1)
                data[k] = (float)(int)data[k];
        }
    }
}

bench_net bench_open(const bench_options *o, const char *path)
{
    static const char rule[] = "base_lr: 0.0001 momentum: 0.9 weight_decay: 0.0005 "
                               "lr_policy: 'fixed' max_iter: 1000000000 net: '%s'";
    char name[64], solver[4096];
    bench_net n = {.context = bench_context(o),
                   .train = bench_net_name(path, name, sizeof name)};
    if (n.train) {
        int size = snprintf(solver, sizeof solver, rule, path);
        dn_solver_options options = {.struct_size = sizeof options, .compute = o->compute};
        bench_check(dn_solver_create_from_text(&n.solver, n.context, solver, (size_t)size, NULL,
                                               0, &options),
                    path);
        n.net = dn_solver_net(n.solver);
    } else {
        dn_net_options options = {.struct_size = sizeof options,
                                  .phase = DN_PHASE_TEST,
                                  .compute = o->compute,
                                  .memory = DN_MEMORY_COMPACT};
        bench_check(dn_net_create_from_prototxt(&n.net, n.context, path, &options), path);
    }
    bench_fill_inputs(n.net);
    return n;
}

void bench_step(void *bench_net_)
{
    bench_net *n = bench_net_;
    bench_check(n->train ? dn_solver_step(n->solver, 1) : dn_net_forward(n->net, NULL), "step");
}

void bench_close(bench_net *n)
{
    if (n->solver)
        dn_solver_free(n->solver);
    else
        dn_net_free(n->net);
    dn_context_free(n->context);
}
