/* SPDX-License-Identifier: BSD-2-Clause
 * nets.c: time of a training step (X_train.prototxt) or a pass (X_deploy.prototxt), whole and by
 * layer. The whole is not the sum: the plan may run it faster. */
#include <stdio.h>

#include "bench.h"

typedef struct part {
    dn_net *net;
    int32_t layer;
    int backward;
} part;

static void run_part(void *arg)
{
    part *p = arg;
    bench_check(p->backward ? dn_net_backward_range(p->net, p->layer, p->layer)
                            : dn_net_forward_range(p->net, p->layer, p->layer, NULL), "layer");
}

/* A training net's gradients grow with every backward pass: they are cleared between layers. */
static double part_ms(const bench_options *o, bench_net *n, int32_t layer, int backward)
{
    part p = {n->net, layer, backward};
    double ms = 1e3 * bench_repeat(o, o->seconds / 20, run_part, &p).median;
    if (backward)
        bench_check(dn_net_clear_gradients(n->net), "gradients");
    return ms;
}

static void print_layers(const bench_options *o, bench_net *n)
{
    int32_t layers = dn_net_num_layers(n->net);
    for (int32_t l = 0; l < layers; l++) {
        printf("%s{\"layer\": \"%s\", \"type\": \"%s\", \"flops\": %lld, \"forward_ms\": %.4f",
               l ? ", " : "", dn_net_layer_name(n->net, l), dn_net_layer_type(n->net, l),
               (long long)dn_net_layer_flops(n->net, l), part_ms(o, n, l, 0));
        if (n->train)
            printf(", \"backward_ms\": %.4f", part_ms(o, n, l, 1));
        printf("}");
    }
}

static void measure(const bench_options *o, const char *path)
{
    char name[64];
    bench_net n = bench_open(o, path);
    bench_net_name(path, name, sizeof name);
    bench_step(&n);
    bench_times t = bench_repeat(o, o->seconds, bench_step, &n);
    printf("{\"net\": \"%s\", \"job\": \"%s\", \"batch\": %lld, \"threads\": %d, \"ms\": %.4f, "
           "\"best_ms\": %.4f, \"runs\": %d, \"layers\": [", name, n.train ? "train" : "infer",
           (long long)dn_blob_dim(dn_net_input(n.net, 0), 0), o->threads, 1e3 * t.median,
           1e3 * t.best, t.runs);
    print_layers(o, &n);
    printf("]}\n");
    fflush(stdout);
    bench_close(&n);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv, "nets [--threads=N] [--backends=LIST] [--seconds=S] "
                                              "[--cpu-time] "
                                              "X_train.prototxt X_deploy.prototxt ...");
    for (int i = 0; i < o.num_files; i++)
        measure(&o, o.files[i]);
    return 0;
}
