/* SPDX-License-Identifier: BSD-2-Clause
 * memory.c: what a net takes: the most memory that was resident after two steps, in a process
 * of its own for each net, and what dn_net_memory_report says. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void measure(const bench_options *o, const char *path)
{
    char name[64];
    int64_t before = bench_peak_memory();
    bench_net n = bench_open(o, path);
    dn_net_memory m = {.struct_size = sizeof m};
    bench_net_name(path, name, sizeof name);
    bench_step(&n);
    bench_step(&n);
    bench_check(dn_net_memory_report(n.net, &m), "memory");
    printf(
        "{\"net\": \"%s\", \"job\": \"%s\", \"peak_bytes\": %lld, \"before_bytes\": %lld, "
        "\"weights\": %zu, \"weight_gradients\": %zu, \"blobs\": %zu, \"blob_gradients\": %zu, "
        "\"scratch\": %zu}\n",
        name, n.train ? "train" : "infer", (long long)bench_peak_memory(), (long long)before,
        m.weights, m.weight_gradients, m.blobs, m.blob_gradients, m.scratch);
    fflush(stdout);
    bench_close(&n);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv,
                                  "memory [--threads=N] [--backends=LIST] "
                                  "X_train.prototxt X_deploy.prototxt ...");
    int failed = 0;
    for (int i = 0; i < o.num_files; i++) {
        pid_t child = fork();
        if (child == 0) {
            measure(&o, o.files[i]);
            exit(0);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) < 0 || status)
            failed = 1;
    }
    return failed;
}
