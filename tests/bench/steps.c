/* SPDX-License-Identifier: BSD-2-Clause
 * steps.c: what each step of a whole run takes where it runs, between its neighbours, and the
 * sums by kind. Reaches inside: every backend's op_run is replaced by one with a clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "net/net.h"
#include "plan/facts.h"
#include "plan/plan.h"

#include "bench.h"

enum { MAX_BACKENDS = 8, MAX_LOG = 20000 };

static dn_backend_ops timed[MAX_BACKENDS];
static const dn_backend_ops *real_ops[MAX_BACKENDS];
static double record[MAX_LOG];
static int logged, cpu_time;

static double now(void)
{
    return cpu_time ? bench_thread_now() : bench_now();
}

static dn_status run_timed(int backend, dn_op *op, const dn_op_io *io)
{
    double start = now();
    dn_status st = real_ops[backend]->op_run(op, io);
    if (logged < MAX_LOG)
        record[logged++] = now() - start;
    return st;
}

#define RUN(i)                                                                                 \
    static dn_status run_##i(dn_op *op, const dn_op_io *io)                                    \
    {                                                                                          \
        return run_timed(i, op, io);                                                           \
    }
RUN(0)
RUN(1)
RUN(2)
RUN(3)
static dn_status (*const runs[])(dn_op *, const dn_op_io *) = {run_0, run_1, run_2, run_3};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs a section until o->seconds have passed and keeps each step's median, in order. */
static int time_section(const bench_options *o, dn_net *net, bool backward, double *medians)
{
    static double all[2048][64];
    double end = bench_now() + o->seconds;
    int steps = 0, n = 0;
    while (n < 64 && (n < 3 || bench_now() < end)) {
        if (backward)
            bench_check(dn_net_forward(net, NULL), "forward");
        logged = 0;
        if (backward)
            bench_check(dn_net_clear_gradients(net), "clear");
        bench_check(backward ? dn_net_backward(net) : dn_net_forward(net, NULL), "run");
        steps = logged;
        for (int i = 0; i < steps && i < 2048; i++)
            all[i][n] = record[i];
        n++;
    }
    for (int i = 0; i < steps; i++) {
        qsort(all[i], (size_t)n, sizeof all[i][0], by_value);
        medians[i] = all[i][n / 2];
    }
    return steps;
}

typedef struct kind_sum {
    double ms;
    int count;
} kind_sum;

static void print_section(const bench_options *o, dn_net *net, dni_section section)
{
    static double medians[MAX_LOG];
    const dni_program *p = dni_plan_program(net->plan);
    kind_sum sums[2][DN_OP_KIND_END] = {0};
    double total = 0;
    bool backward = section == DNI_BACKWARD;
    time_section(o, net, backward, medians); /* warm */
    int steps = time_section(o, net, backward, medians), at = 0;
    for (size_t i = 0; i < p->num_ops && at < steps; i++) {
        const dni_op *op = &p->ops[i];
        if (op->section != section || op->kind == DN_OP_HOST_CALL)
            continue;
        double ms = 1e3 * medians[at++];
        bool nhwc = false;
        for (int32_t k = 0; k < op->num_inputs; k++)
            nhwc |=
                op->inputs[k] != DNI_NONE && p->tensors[op->inputs[k]].layout == DN_LAYOUT_NHWC;
        total += ms;
        sums[nhwc][op->kind].ms += ms;
        sums[nhwc][op->kind].count++;
        if (!o->each)
            continue;
        dni_text text;
        char *line;
        dni_text_init(&text, net->heap);
        dni_op_print(p, op, &text);
        if (!dni_text_finish(&text, &line)) {
            printf("%9.3f ms %9.3f said %10lld bytes %12lld flops  %-20s %-28s %s %s\n", ms,
                   dni_plan_cost(net->plan, i) / 1e6, (long long)dni_op_bytes(p, op),
                   (long long)dni_op_flops(p, op),
                   op->layer < 0 ? "" : net->layers[op->layer].layer.name,
                   dni_plan_implementation(net->plan, i), nhwc ? "nhwc " : "plain", line);
            dni_free(line);
        }
    }
    printf("%s %.3f ms:", backward ? "backward" : "forward", total);
    for (int k = 0; k < DN_OP_KIND_END; k++)
        for (int l = 0; l < 2; l++)
            if (sums[l][k].count)
                printf(" %s%s %.3f (%d)", dni_op_kind_of(k)->name, l ? "/nhwc" : "",
                       sums[l][k].ms, sums[l][k].count);
    printf("\n");
}

static void measure(const bench_options *o, const char *path)
{
    char name[64];
    int train = bench_net_name(path, name, sizeof name);
    dn_context *context = bench_context(o);
    context->num_threads = 1; /* for plans: nothing side by side, a step has the clock alone */
    for (int32_t i = 0; i < context->num_backends; i++) {
        real_ops[i] = context->backends[i].ops;
        timed[i] = *real_ops[i];
        timed[i].op_run = runs[i];
        context->backends[i].ops = &timed[i];
    }
    dn_net *net;
    dn_net_options n = {.struct_size = sizeof n,
                        .phase = train ? DN_PHASE_TRAIN : DN_PHASE_TEST,
                        .compute = o->compute,
                        .memory = DN_MEMORY_COMPACT};
    bench_check(dn_net_create_from_prototxt(&net, context, path, &n), path);
    bench_fill_inputs(net);
    printf("%s\n", name);
    print_section(o, net, DNI_FORWARD);
    if (train)
        print_section(o, net, DNI_BACKWARD);
    fflush(stdout);
    dn_net_free(net);
    for (int32_t i = 0; i < context->num_backends; i++)
        context->backends[i].ops = real_ops[i];
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv, "steps [options of nets] X_train.prototxt ...");
    cpu_time = o.cpu_time;
    for (int i = 0; i < o.num_files; i++)
        measure(&o, o.files[i]);
    return 0;
}
