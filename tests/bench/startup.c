/* SPDX-License-Identifier: BSD-2-Clause
 * startup.c: from the start of a process to the end of its first step: it runs itself, and the
 * child ends without cleaning up once it has stepped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

typedef struct start {
    const bench_options *o;
    char *program, *path;
} start;

static void run_child(void *arg)
{
    start *s = arg;
    char threads[32];
    snprintf(threads, sizeof threads, "--threads=%d", s->o->threads);
    char *argv[] = {s->program, threads, "child", s->path, NULL};
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || status) {
        fprintf(stderr, "the child failed\n");
        exit(1);
    }
}

static void first_step(const bench_options *o, const char *path)
{
    bench_net n = bench_open(o, path);
    bench_step(&n);
    _exit(0);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv,
                                  "startup [--threads=N] [--seconds=S] "
                                  "X_train.prototxt X_deploy.prototxt ...");
    if (o.num_files == 2 && strcmp(o.files[0], "child") == 0)
        first_step(&o, o.files[1]);
    for (int i = 0; i < o.num_files; i++) {
        char name[64];
        start s = {&o, argv[0], o.files[i]};
        int train = bench_net_name(o.files[i], name, sizeof name);
        bench_times t = bench_repeat(&o, o.seconds, run_child, &s);
        printf("{\"net\": \"%s\", \"job\": \"%s\", \"threads\": %d, \"start_ms\": %.3f, "
               "\"best_ms\": %.3f, \"runs\": %d}\n",
               name, train ? "train" : "infer", o.threads, 1e3 * t.median, 1e3 * t.best,
               t.runs);
    }
    return 0;
}
