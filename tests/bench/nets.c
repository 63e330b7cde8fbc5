/* SPDX-License-Identifier: BSD-2-Clause
 * nets.c: time of a training step (X_train.prototxt) or a pass (X_deploy.prototxt), whole and
 * by layer. The whole is not the sum: the plan may run it faster, and a layer alone finds its
 * data in the caches. */
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
                            : dn_net_forward_range(p->net, p->layer, p->layer, NULL),
                "layer");
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

static void update(void *arg)
{
    bench_check(dn_solver_apply_update(arg), "update");
}

static void clear(void *arg)
{
    bench_check(dn_net_clear_gradients(arg), "gradients");
}

static long long blob_bytes(dn_blob *blob)
{
    return blob ? 4 * (long long)dn_blob_count(blob) : 0;
}

/* Bytes of a layer's bottoms, tops and weights; what it reads and writes at least. */
static void print_bytes(dn_net *net, int32_t l)
{
    long long bottoms = 0, tops = 0, params = 0;
    for (int32_t i = 0; i < dn_net_layer_num_bottoms(net, l); i++)
        bottoms += blob_bytes(dn_net_layer_bottom(net, l, i));
    for (int32_t i = 0; i < dn_net_layer_num_tops(net, l); i++)
        tops += blob_bytes(dn_net_layer_top(net, l, i));
    for (int32_t i = 0; i < dn_net_layer_num_params(net, l); i++)
        params += blob_bytes(dn_net_layer_param(net, l, i));
    printf(", \"bottom_bytes\": %lld, \"top_bytes\": %lld, \"param_bytes\": %lld", bottoms,
           tops, params);
}

static void print_layers(const bench_options *o, bench_net *n)
{
    int32_t layers = dn_net_num_layers(n->net);
    for (int32_t l = 0; l < layers; l++) {
        printf("%s{\"layer\": \"%s\", \"type\": \"%s\", \"flops\": %lld, \"forward_ms\": %.4f",
               l ? ", " : "", dn_net_layer_name(n->net, l), dn_net_layer_type(n->net, l),
               (long long)dn_net_layer_flops(n->net, l), part_ms(o, n, l, 0));
        print_bytes(n->net, l);
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
           "\"best_ms\": %.4f, \"runs\": %d, ",
           name, n.train ? "train" : "infer", (long long)dn_blob_dim(dn_net_input(n.net, 0), 0),
           o->threads, 1e3 * t.median, 1e3 * t.best, t.runs);
    if (n.train)
        printf("\"update_ms\": %.4f, \"clear_ms\": %.4f, ",
               1e3 * bench_repeat(o, o->seconds / 10, update, n.solver).median,
               1e3 * bench_repeat(o, o->seconds / 10, clear, n.net).median);
    printf("\"layers\": [");
    print_layers(o, &n);
    printf("]}\n");
    fflush(stdout);
    bench_close(&n);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv,
                                  "nets [--threads=N] [--backends=LIST] [--seconds=S] "
                                  "[--cpu-time] "
                                  "X_train.prototxt X_deploy.prototxt ...");
    for (int i = 0; i < o.num_files; i++)
        measure(&o, o.files[i]);
    return 0;
}
